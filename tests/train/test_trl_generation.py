"""GRPO with TRL's own generation: the reward is the sandbox's, what would be ignored is refused, and the reward reaches
the child process that TRL's asynchronous trainer judges in."""

from __future__ import annotations

import json
import multiprocessing
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch
from accelerate import Accelerator
from trl import GRPOConfig, ModelConfig

from rewards.correctness import CorrectnessReward
from rlcode.data.registry import load_problems
from rlcode.errors import ConfigError, SandboxError
from rlcode.types import Problem, TestCase, TestKind, Unscored
from sandbox.pool import open_sandbox
from sandbox.service import SandboxClient, SandboxService
from train import async_grpo
from train.arguments import AsyncGrpoArguments, GrpoArguments
from train.checkpoints import WHOLE
from train.grpo import train_grpo
from train.trl_generation import WatchedReward, check_generation

ROOT = Path(__file__).resolve().parents[2]


def grpo_config(output_dir: Path, **fields: Any) -> GRPOConfig:
    common: dict[str, Any] = {
        "num_generations": 8,
        "per_device_train_batch_size": 32,
        "max_steps": 1,
        "max_completion_length": 100,
        "log_completions": True,
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
    }
    return GRPOConfig(output_dir=str(output_dir), **{**common, **fields})


def test_trl_generates_and_our_reward_judges(tmp_path: Path, quickstart_run: Path):
    problems = load_problems("jsonl", quickstart_run / "problems" / "train.jsonl")
    args = GrpoArguments(engine="trl", prompt_style="completion", reward_terms={"correctness": 1.0, "format": 0.0})
    model = ModelConfig(model_name_or_path=str(quickstart_run / "model"), lora_r=8)
    with open_sandbox("local", 2) as sandbox:
        adapter = train_grpo(args, model, grpo_config(tmp_path), problems, sandbox=sandbox)
        rows = pd.concat(pd.read_parquet(table) for table in (tmp_path / "completions").glob("*.parquet"))
        task_ids = {problem.prompt: problem.task_id for problem in problems}
        reward = CorrectnessReward(problems, sandbox)
        said = reward(
            list(rows["prompt"]), list(rows["completion"]), task_id=[task_ids[prompt] for prompt in rows["prompt"]]
        )
        reward.close()
    assert list(rows["composite"]) == said
    assert set(said) == {0.0, 1.0}
    assert json.loads((adapter / "rlcode_adapter.json").read_text())["policy_version"] == 2
    assert not list(tmp_path.glob("rollouts*")), "TRL's completions are not stored as rollouts"


@pytest.mark.parametrize(
    ("ours", "theirs", "words"),
    [
        ({"engine": "trl", "held_back_tests": 0.5}, {}, "no effect: held_back_tests"),
        ({"engine": "trl", "max_refills": 1, "engine_batch_size": 8}, {}, "no effect: max_refills, engine_batch_size"),
        ({"engine": "vllm"}, {"loss_type": "vespo"}, "needs vllm_importance_sampling_mode token_truncate"),
        ({"engine": "transformers"}, {"use_vllm": True}, "use_vllm has TRL generate.*--engine trl"),
    ],
)
def test_fields_of_whoever_does_not_generate_are_refused(tmp_path: Path, ours: dict, theirs: dict, words: str):
    with pytest.raises(ConfigError, match=words):
        check_generation(GrpoArguments(**ours), grpo_config(tmp_path, **theirs))


def test_trls_own_vllm_is_reached_by_its_fields(tmp_path: Path):
    check_generation(GrpoArguments(engine="trl"), grpo_config(tmp_path, use_vllm=True, vllm_mode="server"))


def solved(task_id: str) -> Problem:
    return Problem(task_id, "def f():\n", (TestCase(TestKind.ASSERTS, code="assert f() == 1"),), entry_point="f")


COMPLETIONS = ["    return 1\n", "    return 2\n", "    return one\n"]


def judge_in_a_child(reward: WatchedReward, results: Any) -> None:
    prompts = ["def f():\n"] * len(COMPLETIONS)
    results.put(reward(prompts=prompts, completions=COMPLETIONS, task_id=["t"] * len(COMPLETIONS)))
    reward.close()


def test_the_reward_works_in_a_process_that_it_is_sent_to():
    args = AsyncGrpoArguments(reward_terms={"correctness": 1.0, "ladder": 0.5})
    with (
        open_sandbox("local", 1) as sandbox,
        SandboxService(sandbox) as service,
        SandboxClient(service.address) as client,
    ):
        reward = WatchedReward.watching(args, 100, [solved("t")], client)
        context = multiprocessing.get_context("spawn")
        results = context.SimpleQueue()
        process = context.Process(target=judge_in_a_child, args=(reward, results))
        process.start()
        passed, wrong, error = results.get()
        process.join()
        assert [passed, wrong, error] == reward([""] * 3, COMPLETIONS, task_id=["t"] * 3)
        reward.close()
    assert passed == 1.5
    assert passed > wrong > error


class Broken:
    """A sandbox that can judge nothing."""

    def submit(self, job: Any) -> Any:
        from concurrent.futures import Future

        future: Future[Unscored] = Future()
        future.set_result(Unscored("the engine is gone"))
        return future


def test_a_run_stops_when_too_much_can_not_be_judged(caplog: pytest.LogCaptureFixture):
    reward = WatchedReward.watching(AsyncGrpoArguments(), 100, [solved("t")], Broken())  # type: ignore[arg-type]
    with pytest.raises(SandboxError, match="1 of 3 samples could not be judged"):
        reward([""] * 3, COMPLETIONS, task_id=["t"] * 3)
    reward.close()
    assert "3 of 3 completions could not be judged: the engine is gone" in caplog.text


def test_the_asynchronous_trainer_is_built_as_far_as_it_goes_without_a_gpu(tmp_path: Path, random_model: Path):
    from trl.experimental.async_grpo import AsyncGRPOConfig

    args = AsyncGrpoArguments(model_name_or_path=str(random_model), sandbox="local", prompt_style="completion")
    config = AsyncGRPOConfig(
        str(tmp_path), use_cpu=True, bf16=False, gradient_checkpointing=False, report_to="none", dtype="float32"
    )
    with ExitStack() as stack, pytest.raises((AssertionError, RuntimeError), match=r"CUDA|NVIDIA"):
        async_grpo.open_async_trainer(args, config, [solved("t")], stack)


def test_the_asynchronous_trainer_goes_on_from_its_last_whole_checkpoint(
    tmp_path: Path, random_model: Path, monkeypatch: pytest.MonkeyPatch
):
    class Trainer:
        """Only says where it goes on from."""

        def __init__(self, checkpoints: Path) -> None:
            self.args = SimpleNamespace(output_dir=str(checkpoints), resume_from_checkpoint=None)
            self.model, self.accelerator = torch.nn.Linear(1, 1), Accelerator(cpu=True)
            self.state = SimpleNamespace(global_step=9, max_steps=9)

        def train(self, resume_from_checkpoint: str | None) -> None:
            self.resumed_from = resume_from_checkpoint

        def save_model(self, path: str) -> None:
            Path(path).mkdir()

        def add_callback(self, callback: object) -> None: ...

        remove_callback = add_callback

        def save_state(self) -> None: ...

    for name in ("checkpoint-5", "checkpoint-6"):
        (tmp_path / name).mkdir()
    (tmp_path / "checkpoint-5" / WHOLE).touch()
    trainer = Trainer(tmp_path)
    monkeypatch.setattr(async_grpo, "open_async_trainer", lambda *given: trainer)
    async_grpo.train_async_grpo(AsyncGrpoArguments(model_name_or_path=str(random_model)), trainer.args, [])
    assert trainer.resumed_from == str(tmp_path / "checkpoint-5")


def test_without_its_attention_the_asynchronous_script_says_how_to_get_it(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(async_grpo, "parse_config", lambda *given, **options: (None, None))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'rlcode\[async\]'"):
        async_grpo.main([])


def test_without_a_gpu_the_asynchronous_script_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    line = ["--config", str(ROOT / "configs" / "async_grpo.yaml"), "--output_dir", str(tmp_path / "run")]
    with pytest.raises(ConfigError, match=r"needs a GPU.*train/grpo.py"):
        async_grpo.main([*line, "--use_cpu", "true", "--bf16", "false"])
    assert not (tmp_path / "run").exists()
