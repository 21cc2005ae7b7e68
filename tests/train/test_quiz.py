"""A quiz asks the policy as it is, changes what is drawn after it and nothing before, and keeps the best adapter: also
where the run is killed in between."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, TrainerCallback
from trl import DPOConfig

from rlcode.errors import InputError, SandboxError
from rlcode.run_directory import write_json_lines
from rlcode.types import Completion, ErrorType, Problem, TestCase, TestKind, Unscored, Verdict, to_json
from sampling.adapters import adapter_version
from sampling.engine import GenerationRequest, SamplingParams
from sampling.notebook import ErrorNotebook
from sampling.snapshots import SnapshotHistory
from sampling.store import read_rollouts
from sandbox.pool import open_sandbox
from sandbox.protocol import Job, Sandbox
from tests.train.model_configs import model_config
from train.arguments import PairArguments, PolicyArguments
from train.dpo import train_dpo

pytestmark = pytest.mark.usefixtures("one_thread")

RIGHT, TYPE_ERROR, NAME_ERROR = "    return 1", "    return 1 + None", "    return one"
PROBLEMS = [
    Problem(f"v{i}", "def solve():\n", (TestCase(TestKind.ASSERTS, code="assert solve() == 1"),), "solve")
    for i in range(4)
]
B = 4
"""Draws of an optimizer step."""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with open_sandbox("local", workers=1) as opened:
        yield opened


@dataclass
class ScriptedEngine:
    """Writes what the script says for a policy version and the number of the problem."""

    tokenizer: Any
    script: Callable[[int, int], str]
    policy_version: int = 0
    asked: Counter[int] = field(default_factory=Counter)
    weights: dict[int, dict] = field(default_factory=dict)
    """Of the adapters that it was given."""
    name, block_size = "scripted", None

    def load_adapter(self, version: int, path: Path) -> float:
        assert adapter_version(path) == version
        self.policy_version = version
        self.weights[version] = load_file(path / "adapter_model.safetensors")
        return 0.0

    def generate(self, requests: Iterable[GenerationRequest], params: SamplingParams) -> Iterator[Completion]:
        for request in requests:
            self.asked[self.policy_version] += 1
            text = self.script(self.policy_version, int(request.task_id[1:]))
            yield Completion(
                *(request.task_id, request.index, text, request.prompt_token_ids, (1,), (-1.0,), "stop"),
                policy_version=self.policy_version,
            )


class BrokenSandbox:
    """Can judge nothing."""

    backend = "broken"

    def submit(self, job: Job) -> Future[Verdict | Unscored]:
        future: Future[Verdict | Unscored] = Future()
        future.set_result(Unscored("no sandbox today"))
        return future


@dataclass
class Watch(TrainerCallback):
    """Keeps what is logged; ends the run like a kill after some step."""

    killed_after: int | None = None
    logged: list[dict] = field(default_factory=list)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict, **kwargs: Any) -> None:
        self.logged.append({**logs, "step": state.global_step})

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.killed_after:
            raise KeyboardInterrupt

    def quizzes(self, name: str) -> dict[int, float]:
        return {entry["step"]: entry[f"quiz/{name}"] for entry in self.logged if f"quiz/{name}" in entry}


@dataclass
class Setting:
    model: Path
    rollouts: Path
    problems: Path
    sandbox: Any

    def engine(self, script: Callable[[int, int], str]) -> ScriptedEngine:
        return ScriptedEngine(AutoTokenizer.from_pretrained(self.model), script)

    def train(self, path: Path, engine: Any, *, killed_after: int | None = None, **options: Any) -> Watch:
        """Eight steps, with a quiz after every second and a checkpoint after every third."""
        watch = Watch(killed_after)
        config = DPOConfig(
            output_dir=str(path),
            per_device_train_batch_size=B,
            learning_rate=1e-3,
            num_train_epochs=1,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            report_to="none",
            save_strategy="steps",
            save_steps=3,
            logging_steps=1,
            disable_tqdm=True,
        )
        arguments = {
            "rollouts": [str(self.rollouts)],
            "num_pairs": 8 * B,
            "strategy_options": {"power": 8.0},
            "quiz_steps": 2,
            "quiz_benchmark_file": str(self.problems),
            "quiz_generations": 10,
            "prompt_style": "completion",
        }
        model = model_config(self.model)
        pair_args = PairArguments(**{**arguments, **options})
        train_dpo(pair_args, PolicyArguments(), model, config, [watch], engine=engine, sandbox=self.sandbox)
        return watch


@pytest.fixture(scope="module")
def setting(tmp_path_factory, random_model: Path, judged_rollouts: Path, sandbox: Sandbox) -> Setting:
    problems = tmp_path_factory.mktemp("problems") / "validation.jsonl"
    write_json_lines(problems, map(to_json, PROBLEMS))
    return Setting(random_model, judged_rollouts, problems, sandbox)


def draws_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in (path / "draws.jsonl").read_text().splitlines()]


def mends_one_problem_at_step_4(version: int, number: int) -> str:
    """Version 1 is the start. All pass there; then type errors, of which one problem gets rid."""
    if version == 1 or (version >= 5 and number == 0):
        return RIGHT
    return TYPE_ERROR


@pytest.fixture(scope="module")
def run(tmp_path_factory, setting: Setting) -> tuple[Path, ScriptedEngine, Watch]:
    path, engine = tmp_path_factory.mktemp("quiz") / "run", setting.engine(mends_one_problem_at_step_4)
    return path, engine, setting.train(path, engine)


def test_a_quiz_is_held_at_the_start_at_intervals_and_at_the_end(run: tuple[Path, ScriptedEngine, Watch]):
    path, engine, watch = run
    assert engine.asked == {1: 40, 3: 40, 5: 40, 7: 40, 9: 40}
    assert watch.quizzes("pass@1") == {0: 1.0, 2: 0.0, 4: 0.25, 6: 0.25, 8: 0.25}
    assert watch.quizzes("error/type") == {2: 1.0, 4: 0.75, 6: 0.75, 8: 0.75}
    assert watch.quizzes("best_pass@1") == dict.fromkeys((0, 2, 4, 6, 8), 1.0)
    assert set(watch.quizzes("unscored").values()) == {0.0}
    stored = Counter(rollout.completion.policy_version for rollout in read_rollouts([path / "quiz"]))
    assert stored == engine.asked


def test_a_quiz_changes_what_is_drawn_from_its_position_on_and_nothing_before(run: tuple[Path, ScriptedEngine, Watch]):
    path, _, watch = run
    history = SnapshotHistory.load(path / "checkpoint-8" / "snapshots")
    # accelerate has read one batch more when a step ends, so step 3 is the first that the quiz after step 2 can change
    assert [snapshot.from_position for snapshot in history] == [0, 3 * B, 5 * B, 7 * B, 9 * B]
    types = [draw["error_type"] for draw in draws_of(path)]
    assert set(types[: 3 * B]) == {ErrorType.NAME}, "name errors are twice as frequent in the rollouts, and power is 8"
    assert set(types[3 * B :]) == {ErrorType.TYPE}
    shares = [entry["draws/type/type"] for entry in watch.logged if "draws/type/type" in entry]
    assert shares == [0.0] * 3 + [1.0] * 5
    assert ErrorNotebook.load(path / "notebook.json").scored == 40 + 5 * 40


def test_the_best_adapter_is_that_of_the_best_quiz_and_of_equal_ones_the_earlier(
    tmp_path: Path, setting: Setting, run: tuple[Path, ScriptedEngine, Watch]
):
    path, *_ = run
    assert adapter_version(path / "best_adapter") == 1
    passed = {1: 1, 3: 2, 5: 3, 7: 3, 9: 2}
    other = setting.engine(lambda version, number: RIGHT if number < passed[version] else NAME_ERROR)
    setting.train(tmp_path / "run", other, quiz_generations=1)
    best = load_file(tmp_path / "run" / "best_adapter" / "adapter_model.safetensors")
    assert adapter_version(tmp_path / "run" / "best_adapter") == 5
    assert all(torch.equal(best[name], weights) for name, weights in other.weights[5].items())
    assert any(not torch.equal(best[name], weights) for name, weights in other.weights[7].items())
    assert [adapter_version(kept) for kept in (tmp_path / "run" / "best_adapters").iterdir()] == [5]


def test_a_run_that_goes_on_repeats_no_quiz_from_before_its_checkpoint_and_forgets_those_after(
    tmp_path: Path, setting: Setting, run: tuple[Path, ScriptedEngine, Watch]
):
    undisturbed, *_ = run

    def does_best_after_the_checkpoint(version: int, number: int) -> str:
        return RIGHT if version == 5 else mends_one_problem_at_step_4(version, number)

    path = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        setting.train(path, setting.engine(does_best_after_the_checkpoint), killed_after=5)
    assert {r.completion.policy_version for r in read_rollouts([path / "quiz"])} == {1, 3, 5}
    assert (path / "checkpoint-3").is_dir()

    engine = setting.engine(mends_one_problem_at_step_4)
    setting.train(path, engine)
    assert engine.asked == {5: 40, 7: 40, 9: 40}
    answers = Counter((r.completion.policy_version, r.completion.task_id) for r in read_rollouts([path / "quiz"]))
    assert answers == {(version, problem.task_id): 10 for version in (1, 3, 5, 7, 9) for problem in PROBLEMS}
    assert draws_of(path) == draws_of(undisturbed)
    assert adapter_version(path / "best_adapter") == 1
    last, expected = (ErrorNotebook.load(one / "notebook.json") for one in (path, undisturbed))
    assert last.kinds() == expected.kinds()


def test_the_trainers_own_model_answers_as_the_policy_that_it_is_by_then(tmp_path: Path, setting: Setting):
    """A model of random weights learns nothing here, but what it writes moves with its weights."""
    setting.train(tmp_path, None, quiz_generations=2, quiz_max_completion_length=12)
    answers: dict[int, list[tuple[int, ...]]] = {}
    for rollout in sorted(read_rollouts([tmp_path / "quiz"]), key=lambda r: (r.completion.task_id, r.completion.index)):
        answers.setdefault(rollout.completion.policy_version, []).append(rollout.completion.token_ids)
    assert {version: len(texts) for version, texts in answers.items()} == dict.fromkeys((1, 3, 5, 7, 9), 8)
    assert answers[1] != answers[9]


def test_too_many_answers_that_cannot_be_judged_end_the_run(tmp_path: Path, setting: Setting):
    broken = replace(setting, sandbox=BrokenSandbox())
    with pytest.raises(SandboxError, match="5 of 40 samples could not be judged"):
        broken.train(tmp_path, setting.engine(lambda version, number: RIGHT))


def test_what_cannot_be_judged_is_counted_and_left_out(tmp_path: Path, setting: Setting):
    broken = replace(setting, sandbox=BrokenSandbox())
    watch = broken.train(tmp_path, setting.engine(lambda version, number: RIGHT), max_unscored_share=1.0)
    assert watch.quizzes("unscored") == dict.fromkeys((0, 2, 4, 6, 8), 40.0)
    assert ErrorNotebook.load(tmp_path / "notebook.json").scored == 40


def test_a_quiz_without_problems_says_what_to_name(tmp_path: Path, setting: Setting):
    with pytest.raises(InputError, match="file"):
        setting.train(tmp_path, setting.engine(lambda version, number: RIGHT), quiz_benchmark_file=None)
