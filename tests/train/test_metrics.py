"""What a real run logs is described, adds up, and arrives in TensorBoard."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from trl import DPOConfig, GRPOConfig, SFTConfig

from rlcode.types import Problem, TestCase, TestKind
from sandbox.pool import open_sandbox
from tests.train.model_configs import model_config
from train.arguments import GrpoArguments, PairArguments, PolicyArguments, SftArguments
from train.dpo import train_dpo
from train.grpo import train_grpo
from train.sft import train_sft

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTED = "".join((ROOT / "docs" / name).read_text() for name in ("metrics.md", "dpo.md", "grpo_groups.md"))
DOCUMENTED += (ROOT / "docs" / "rewards.md").read_text()
OF_TRL = (
    r"loss|grad_norm|learning_rate|epoch|step|entropy|kl|reward|reward_std|rewards/.*|frac_reward_zero_std|step_time|"
    r"completions/.*|clip_ratio/.*|logps/.*|logits/.*|mean_token_accuracy|num_tokens|total_flos|train_.*"
)
COMMON: dict[str, Any] = {
    "max_steps": 2,
    "logging_steps": 1,
    "use_cpu": True,
    "bf16": False,
    "gradient_checkpointing": False,
    "save_strategy": "steps",
    "save_steps": 2,
}
PROBLEMS = [
    Problem(f"t{n}", "def solve(xs):\n", (TestCase(TestKind.ASSERTS, code=f"assert solve([{n}]) == {n}"),), "solve")
    for n in range(4)
]


def history(run: Path) -> list[dict[str, float]]:
    """What the last checkpoint has; the run keeps it too."""
    states = [json.loads((folder / "trainer_state.json").read_text()) for folder in (run / "checkpoint-2", run)]
    logged, kept = (state["log_history"] for state in states)
    assert kept[: len(logged)] == logged
    return logged


def documented() -> set[str]:
    """The names in the tables; `<type>` stands for any one."""
    names = re.findall(r"`([a-z_]+/[a-z_@0-9/<> ]+|alarms)`", DOCUMENTED)
    return {
        re.escape(name)
        .replace(r"<error\ type>", ".+")
        .replace("<type>", ".+")
        .replace("<term>", ".+")
        .replace("<part>", ".+")
        for name in names
    }


def check(log: list[dict[str, float]], expected: set[str]) -> None:
    names = {name for entry in log for name in entry}
    patterns = documented()
    ours = {name for name in names if not re.fullmatch(OF_TRL, name)}
    assert not [name for name in ours if not any(re.fullmatch(pattern, name) for pattern in patterns)]
    assert expected <= ours
    for entry in log:
        parts = [value for name, value in entry.items() if name.startswith("seconds/") and name != "seconds/step"]
        assert all(part >= 0 for part in parts)
        assert sum(parts) == pytest.approx(entry["seconds/step"])


def test_of_grpo(tmp_path: Path, random_model: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "tensorboard"))
    config = GRPOConfig(
        output_dir=str(tmp_path / "run"),
        num_generations=4,
        per_device_train_batch_size=8,
        max_completion_length=8,
        report_to="tensorboard",
        **COMMON,
    )
    args = GrpoArguments(prompt_style="completion", max_refills=0)
    with open_sandbox("local", 1) as sandbox:
        train_grpo(args, model_config(random_model), config, PROBLEMS, sandbox=sandbox)
    log = history(tmp_path / "run")
    expected = {
        *("rollouts/pass_rate", "rollouts/unscored", "rollouts/error/syntax", "rollouts/tokens", "queue/job_wait"),
        *("policy/version", "policy/lag", "groups/zero_variance_share", "reward/correctness", "alarms"),
        *("seconds/generate", "seconds/judge_wait", "seconds/sync", "seconds/update", "seconds/step"),
    }
    check(log, expected)
    for entry in log:
        assert entry["alarms"] == 0
        errors = sum(share for name, share in entry.items() if name.startswith("rollouts/error/"))
        assert errors + entry["rollouts/pass_rate"] == pytest.approx(1)
    (events,) = (tmp_path / "tensorboard").rglob("events.out.tfevents.*")
    scalars = EventAccumulator(str(events)).Reload()
    for name in expected:
        values = [(event.step, event.value) for event in scalars.Scalars(f"train/{name}")]
        assert values[:2] == [(entry["step"], pytest.approx(entry[name])) for entry in log], name
    shown = capsys.readouterr()
    assert "step 1/2 · " in shown.err
    assert "'loss'" not in shown.out + shown.err


def test_of_dpo_with_quizzes(tmp_path: Path, random_model: Path, judged_rollouts: Path, monkeypatch, capsys):
    monkeypatch.setattr("train.quiz.training_problems_from", lambda *given: PROBLEMS)
    config = DPOConfig(output_dir=str(tmp_path), per_device_train_batch_size=4, report_to="none", **COMMON)
    pairs = PairArguments(
        rollouts=[str(judged_rollouts)],
        num_pairs=8,
        quiz_steps=1,
        quiz_max_completion_length=4,
        prompt_style="completion",
    )
    with open_sandbox("local", 1) as sandbox:
        train_dpo(pairs, PolicyArguments(), model_config(random_model), config, sandbox=sandbox)
    log = history(tmp_path)
    quizzes = [entry for entry in log if "quiz/pass@1" in entry]
    assert [entry["step"] for entry in quizzes] == [0, 1, 2]
    assert all(entry["quiz/samples"] == len(PROBLEMS) for entry in quizzes)
    steps = [entry for entry in log if "loss" in entry]
    check(steps, {"seconds/quiz", "seconds/data", "seconds/update", "seconds/step", "alarms"})
    assert all(entry["seconds/quiz"] > 0 for entry in steps)
    assert "step 2/2 · " in capsys.readouterr().err


def test_of_sft_and_with_callbacks_no_progress_is_shown(
    tmp_path: Path, random_model: Path, judged_rollouts: Path, capsys
):
    from transformers import TrainerCallback

    config = SFTConfig(output_dir=str(tmp_path), per_device_train_batch_size=4, report_to="none", **COMMON)
    args = SftArguments(rollouts=[str(judged_rollouts)])
    train_sft(args, PolicyArguments(), model_config(random_model), config, callbacks=[TrainerCallback()])
    check(history(tmp_path), {"seconds/data", "seconds/update", "seconds/step", "alarms"})
    shown = capsys.readouterr()
    assert "step 1/2" not in shown.err
    assert "'loss'" not in shown.out + shown.err
