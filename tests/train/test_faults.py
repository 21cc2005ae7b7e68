"""Whatever fails in the middle of a run, it ends with the cause, and the same command goes on once that is gone."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import TrainerCallback

import sandbox.keeper
import train.policy
from rewards.composite import CompositeReward
from rlcode.cli import run_main
from rlcode.errors import DiskError, EngineError, NonFiniteError, SandboxError, StoreError
from rlcode.types import Completion
from sampling.adapters import adapter_version
from sampling.notebook import ErrorNotebook
from sampling.store import read_rollouts
from sandbox.local import LocalWorker
from sandbox.worker import WorkerLost
from tests.train.short_runs import CHANCES, METHODS, STEPS, At, ScriptedEngine, gap, seen, whole_checkpoints
from train.finite import require_finite_weights
from train.pair_trainer import PairTrainer

EACH_STEP = {"save_strategy": "steps", "save_steps": 1}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, random_model: Path, judged_rollouts: Path) -> Callable[[str], Path]:
    """The directory of a run of a method in which nothing fails."""
    runs: dict[str, Path] = {}

    def of(method: str) -> Path:
        if method not in runs:
            runs[method] = tmp_path_factory.mktemp(method)
            METHODS[method](runs[method], random_model, judged_rollouts)
        return runs[method]

    return of


def require_same(path: Path, undisturbed: Path, method: str) -> None:
    if method != "sft":
        notebooks = [ErrorNotebook.load(run / "notebook.json") for run in (path, undisturbed)]
        assert notebooks[0].evidence() == notebooks[1].evidence()
    assert seen(path, method) == seen(undisturbed, method)
    assert gap(path / "adapter", undisturbed / "adapter") < 1e-7
    assert adapter_version(path / "adapter") == adapter_version(undisturbed / "adapter")


def note_of(error: BaseException) -> str:
    (note,) = error.__notes__
    return note


# What judges and what writes.


def test_a_reward_that_raises_keeps_its_trace_and_says_how_to_go_on(
    tmp_path: Path, random_model: Path, judged_rollouts: Path, undisturbed, monkeypatch: pytest.MonkeyPatch
):
    def spoil() -> None:
        monkeypatch.setattr(CompositeReward, "__call__", lambda *args, **kwargs: 1 // 0)

    with pytest.raises(ZeroDivisionError) as failure:
        METHODS["grpo"](tmp_path, random_model, judged_rollouts, At(3, spoil), **EACH_STEP)
    assert note_of(failure.value) == f"in step 3 of {STEPS}: the same command goes on from {tmp_path / 'checkpoint-2'}"
    assert failure.traceback[-1].name == "<lambda>"
    monkeypatch.undo()
    METHODS["grpo"](tmp_path, random_model, judged_rollouts, **EACH_STEP)
    require_same(tmp_path, undisturbed("grpo"), "grpo")


def test_a_sandbox_that_dies_for_good_ends_the_run_and_no_sample_is_counted_as_wrong(
    tmp_path: Path, random_model: Path, judged_rollouts: Path, undisturbed, monkeypatch: pytest.MonkeyPatch
):
    def dead(*args: Any) -> Any:
        raise SandboxError("no more processes can be started")

    def lost(*args: Any) -> Any:
        raise WorkerLost("it is gone")

    monkeypatch.setattr(sandbox.keeper, "LONGEST_PAUSE_S", 0.01)  # it is a minute until it gives up

    def die() -> None:
        monkeypatch.setattr(LocalWorker, "start", dead)
        monkeypatch.setattr(LocalWorker, "ask", lost)

    with pytest.raises(
        SandboxError, match=r"no local worker could be started.*no more processes can be started"
    ) as failure:
        METHODS["grpo"](tmp_path, random_model, judged_rollouts, At(2, die), **EACH_STEP)
    assert note_of(failure.value).endswith("goes on from " + str(tmp_path / "checkpoint-1"))
    assert all(r.verdict is None for r in read_rollouts([tmp_path]) if r.completion.policy_version == 2)
    monkeypatch.undo()
    METHODS["grpo"](tmp_path, random_model, judged_rollouts, **EACH_STEP)
    require_same(tmp_path, undisturbed("grpo"), "grpo")


def test_an_engine_that_is_lost_ends_the_run_with_its_own_words(
    tmp_path: Path, random_model: Path, judged_rollouts: Path, capsys: pytest.CaptureFixture[str]
):
    engine = ScriptedEngine(random_model, CHANCES)

    def lose(*args: Any) -> Iterator[Any]:
        raise EngineError("the vLLM server http://gpu:8000 did not answer for 300 s")

    def run(argv: list[str]) -> int:
        stop = At(2, lambda: setattr(engine, "generate", lose))
        METHODS["grpo"](tmp_path, random_model, judged_rollouts, stop, engine=engine, **EACH_STEP)
        return 0

    assert run_main(run, []) == 1
    said = capsys.readouterr().err.splitlines()[-2:]
    assert said == [
        "error: the vLLM server http://gpu:8000 did not answer for 300 s",
        f"in step 2 of {STEPS}: the same command goes on from {tmp_path / 'checkpoint-1'}",
    ]


# What is on the disk, whenever it ends.


def failing(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, *, at: int) -> None:
    """Let a function raise the `at`-th time that it is called."""
    calls, real = iter(range(1, at + 1)), getattr(owner, name)

    def sometimes(*args: Any, **kwargs: Any) -> Any:
        if next(calls, None) == at:
            raise RuntimeError("killed")
        return real(*args, **kwargs)

    monkeypatch.setattr(owner, name, sometimes)


def test_the_last_whole_checkpoint_stays_until_the_next_one_is_whole(
    tmp_path: Path, random_model: Path, judged_rollouts: Path, monkeypatch: pytest.MonkeyPatch
):
    failing(monkeypatch, PairTrainer, "save_beside", at=2)
    with pytest.raises(RuntimeError, match="killed"):
        METHODS["dpo"](tmp_path, random_model, judged_rollouts, save_total_limit=1, **EACH_STEP)
    assert (tmp_path / "checkpoint-2" / "optimizer.pt").exists()
    assert whole_checkpoints(tmp_path) == ["checkpoint-1"]
    METHODS["dpo"](tmp_path, random_model, judged_rollouts, save_total_limit=1, **EACH_STEP)
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == [f"checkpoint-{STEPS}"]


@pytest.mark.parametrize("method", METHODS)
def test_an_adapter_appears_whole_and_a_run_that_lacks_only_that_is_finished_by_the_same_command(
    tmp_path: Path,
    random_model: Path,
    judged_rollouts: Path,
    undisturbed,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
):
    options = {"save_strategy": "steps", "save_steps": STEPS}
    # GRPO hands the adapter on to its engine at each step
    failing(monkeypatch, train.policy, "write_adapter_metadata", at=1 + STEPS if method == "grpo" else 1)
    with pytest.raises(RuntimeError, match="killed") as failure:
        METHODS[method](tmp_path, random_model, judged_rollouts, **options)
    assert note_of(failure.value).startswith("after the last step: the same command goes on from")
    assert not (tmp_path / "adapter").exists()
    monkeypatch.undo()
    METHODS[method](tmp_path, random_model, judged_rollouts, **options)
    require_same(tmp_path, undisturbed(method), method)


# Numbers that are none.


class Poison(TrainerCallback):
    """Makes a weight of the adapter NaN when step 3 begins."""

    def on_step_begin(self, args: object, state: Any, control: object, model: Any = None, **kwargs: object) -> None:
        if state.global_step == 2:
            weight = next(weight for name, weight in model.named_parameters() if "lora_B.default" in name)
            weight.data[0, 0] = torch.nan


@pytest.mark.parametrize("method", METHODS)
def test_nan_in_the_loss_ends_the_run_before_it_is_saved_and_names_the_tasks(
    tmp_path: Path, random_model: Path, judged_rollouts: Path, undisturbed, method: str
):
    task = "t[0-7]" if method == "grpo" else "p[0-7]"
    with pytest.raises(
        NonFiniteError, match=rf"step 3: .*the loss is nan.*in the batch: {task}(, {task})*\. "
    ) as failure:
        METHODS[method](tmp_path, random_model, judged_rollouts, Poison(), **EACH_STEP)
    assert note_of(failure.value).endswith("goes on from " + str(tmp_path / "checkpoint-2"))
    assert whole_checkpoints(tmp_path) == ["checkpoint-1", "checkpoint-2"]
    assert not (tmp_path / "checkpoint-3").exists()
    METHODS[method](tmp_path, random_model, judged_rollouts, **EACH_STEP)
    require_same(tmp_path, undisturbed(method), method)


def test_weights_that_are_infinite_are_not_saved(random_model: Path):
    model = torch.nn.Linear(2, 2)
    trainer = SimpleNamespace(
        model=model, accelerator=SimpleNamespace(num_processes=1), state=SimpleNamespace(global_step=4)
    )
    require_finite_weights(trainer)
    model.weight.data[0, 1] = torch.inf
    with pytest.raises(NonFiniteError, match=r"after step 4 .* nothing is saved"):
        require_finite_weights(trainer)
    model.weight.requires_grad = False
    require_finite_weights(trainer)


# Full disks: a file that may not grow any more stands for one.


@pytest.fixture
def room() -> Iterator[Callable[[int], None]]:
    """Sets how many bytes a file may have, until the test is over."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def leave(size: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))

    yield leave
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


PLENTY = 1 << 40


def test_a_checkpoint_that_does_not_fit_is_not_taken_for_whole(
    tmp_path: Path, random_model: Path, judged_rollouts: Path, undisturbed, room: Callable[[int], None]
):
    with pytest.raises(DiskError, match=r"can't be written: .*Free: .* Make room, and run the same command") as failure:
        METHODS["dpo"](tmp_path, random_model, judged_rollouts, At(3, lambda: room(1 << 13)), **EACH_STEP)
    room(PLENTY)
    assert note_of(failure.value).endswith("goes on from " + str(tmp_path / "checkpoint-2"))
    assert whole_checkpoints(tmp_path) == ["checkpoint-1", "checkpoint-2"]
    METHODS["dpo"](tmp_path, random_model, judged_rollouts, **EACH_STEP)
    require_same(tmp_path, undisturbed("dpo"), "dpo")


def test_an_adapter_that_does_not_fit_does_not_end_the_run(
    tmp_path: Path, random_model: Path, judged_rollouts: Path, undisturbed, room: Callable[[int], None]
):
    """Four steps are saved, so it is the last step and the adapter that are written again."""
    options = {"save_strategy": "steps", "save_steps": STEPS - 1, "save_total_limit": 1}
    with pytest.raises(DiskError, match="can't be written") as failure:
        METHODS["sft"](tmp_path, random_model, judged_rollouts, At(STEPS, lambda: room(1 << 13)), **options)
    room(PLENTY)
    assert note_of(failure.value).endswith("goes on from " + str(tmp_path / f"checkpoint-{STEPS - 1}"))
    assert not (tmp_path / "adapter").exists()
    METHODS["sft"](tmp_path, random_model, judged_rollouts, **options)
    require_same(tmp_path, undisturbed("sft"), "sft")


def test_draws_that_do_not_fit_are_drawn_again(
    tmp_path: Path, random_model: Path, judged_rollouts: Path, undisturbed, room: Callable[[int], None]
):
    draws = tmp_path / "draws.jsonl"
    with pytest.raises(DiskError, match="File too large"):
        METHODS["dpo"](
            tmp_path,
            random_model,
            judged_rollouts,
            At(3, lambda: room(draws.stat().st_size + 7)),
            save_steps=2,
            save_strategy="steps",
        )
    room(PLENTY)
    assert not draws.read_text().endswith("\n"), "no line was torn"
    METHODS["dpo"](tmp_path, random_model, judged_rollouts, save_steps=2, save_strategy="steps")
    require_same(tmp_path, undisturbed("dpo"), "dpo")


def test_rollouts_that_do_not_fit_leave_no_torn_line(
    tmp_path: Path, random_model: Path, judged_rollouts: Path, undisturbed, room: Callable[[int], None]
):
    rollouts = tmp_path / "rollouts-rank0-00000.jsonl"
    engine = ScriptedEngine(random_model, CHANCES)
    write = engine.generate

    def write_little(*args: Any) -> Iterator[Completion]:
        if engine.policy_version == 3:
            room(rollouts.stat().st_size + 1500)
        return write(*args)

    engine.generate = write_little
    with pytest.raises(StoreError, match="no more rollouts can be written"):
        METHODS["grpo"](tmp_path, random_model, judged_rollouts, engine=engine, **EACH_STEP)
    room(PLENTY)
    assert rollouts.read_bytes().endswith(b"}\n")
    assert any(r.completion.policy_version == 3 for r in read_rollouts([tmp_path])), "nothing more was written"
    METHODS["grpo"](tmp_path, random_model, judged_rollouts, **EACH_STEP)
    require_same(tmp_path, undisturbed("grpo"), "grpo")
