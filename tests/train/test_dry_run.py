"""A dry run does two real steps at maximum lengths, says what they took, and leaves nothing."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from rlcode.cli import run_main
from rlcode.data import jsonl
from rlcode.types import Problem, TestCase, TestKind
from train import dpo, dry_run, grpo, sft
from train.group_trainer import GroupTrainer
from train.pair_trainer import PairTrainer

COMMON = ["--lora_r", "4", "--use_cpu", "true", "--report_to", "none", "--dry_run", "true", "--sandbox", "local"]


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where temporary directories are made; what a dry run makes is gone when a test is over."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert not list(folder.glob("rlcode-dry-run-*"))


@pytest.fixture
def problems(tmp_path: Path) -> Path:
    """Ten, with prompts of different lengths."""
    tests = (TestCase(TestKind.ASSERTS, code="assert solve(0) == 1"),)
    made = [Problem(f"p{n}", "def solve(n):\n" + f"    # {'long ' * n}\n", tests, "solve") for n in range(10)]
    jsonl.save(made, tmp_path / "problems.jsonl")
    return tmp_path / "problems.jsonl"


def parts_in(shown: str) -> dict[str, float]:
    """The peak of each part in GiB."""
    rows = re.findall(r"│ ([a-z ,]+?) +│ +[\d.]+ +│ +([\d.]+) +│", shown)
    return {name: float(peak) for name, peak in rows}


def test_a_dry_run_of_dpo_takes_pairs_as_long_as_they_may_be(
    tmp_path: Path, random_model: Path, problems: Path, capsys, monkeypatch: pytest.MonkeyPatch
):
    seen: list[tuple[int, ...]] = []
    real = PairTrainer.training_step
    monkeypatch.setattr(
        PairTrainer,
        "training_step",
        lambda self, model, inputs, *rest: (
            seen.append(tuple(inputs["input_ids"].shape)),
            real(self, model, inputs, *rest),
        )[1],
    )
    words = ["--model_name_or_path", str(random_model), "--output_dir", str(tmp_path / "run"), *COMMON]
    words += ["--rollouts", "not/needed", "--max_length", "96", "--per_device_train_batch_size", "2"]
    words += ["--quiz_steps", "8", "--quiz_benchmark_file", str(problems), "--quiz_max_completion_length", "20"]
    assert run_main(dpo.main, words) == 0
    assert seen == [(4, 96)] * 2
    assert not (tmp_path / "run").exists()
    shown = capsys.readouterr().out
    assert {"load", "update", "generation", "checkpoint"} <= parts_in(shown).keys()
    assert min(parts_in(shown).values()) > 0.05, "a process with torch in it takes more"
    assert "fits: at most" in shown


def test_a_dry_run_of_sft_needs_no_programs(tmp_path: Path, random_model: Path, capsys):
    words = ["--model_name_or_path", str(random_model), "--output_dir", str(tmp_path / "run"), *COMMON]
    words += ["--benchmark", "mbpp", "--max_length", "64", "--per_device_train_batch_size", "2"]
    assert run_main(sft.main, words) == 0
    assert {"load", "update", "checkpoint"} <= parts_in(capsys.readouterr().out).keys()


def test_a_dry_run_lets_trl_generate_where_the_run_does(tmp_path: Path, random_model: Path, problems: Path, capsys):
    words = ["--model_name_or_path", str(random_model), "--output_dir", str(tmp_path / "run"), *COMMON]
    words += ["--benchmark_file", str(problems), "--prompt_style", "completion", "--num_generations", "4"]
    words += ["--per_device_train_batch_size", "8", "--max_completion_length", "12", "--engine", "trl"]
    assert run_main(grpo.main, words) == 0
    assert {"load", "update", "checkpoint"} <= parts_in(capsys.readouterr().out).keys()


def test_a_dry_run_of_grpo_writes_completions_to_the_last_token_on_the_longest_prompts(
    tmp_path: Path, random_model: Path, problems: Path, capsys, monkeypatch: pytest.MonkeyPatch
):
    seen: list[tuple[int, set[int]]] = []
    real = GroupTrainer._calculate_rewards

    def watched(self, inputs, prompts, completions, completion_ids, *rest):
        seen.append((len({row["task_id"] for row in inputs}), {len(ids) for ids in completion_ids}))
        return real(self, inputs, prompts, completions, completion_ids, *rest)

    monkeypatch.setattr(GroupTrainer, "_calculate_rewards", watched)
    words = ["--model_name_or_path", str(random_model), "--output_dir", str(tmp_path / "run"), *COMMON]
    words += ["--benchmark_file", str(problems), "--prompt_style", "completion", "--num_generations", "4"]
    words += ["--per_device_train_batch_size", "8", "--max_completion_length", "24"]
    assert run_main(grpo.main, words) == 0
    assert seen == [(2, {24})] * 2
    shown = capsys.readouterr().out
    assert {"load", "update", "generation", "checkpoint"} <= parts_in(shown).keys()
    assert re.search(r"judging, beside them +│ +[\d.]+", shown)


def test_the_longest_prompts_are_taken(random_model: Path, problems: Path):
    from types import SimpleNamespace

    from trl import ModelConfig

    from rlcode.data.registry import load_problems
    from sampling.arguments import PromptArguments

    trial = SimpleNamespace(model_args=ModelConfig(model_name_or_path=str(random_model)))
    args = PromptArguments(prompt_style="completion")
    taken = dry_run.longest(load_problems("jsonl", problems, None), args, trial, 3)  # type: ignore[arg-type]
    assert [problem.task_id for problem in taken] == ["p9", "p8", "p7"]


def test_a_run_that_does_not_fit_ends_with_exit_code_1_and_names_the_part(
    tmp_path: Path, random_model: Path, capsys, monkeypatch: pytest.MonkeyPatch
):
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(PairTrainer, "training_step", full)
    words = ["--model_name_or_path", str(random_model), "--output_dir", str(tmp_path / "run"), *COMMON]
    assert run_main(dpo.main, [*words, "--max_length", "64"]) == 1
    done = capsys.readouterr()
    assert "memory ran out in the part 'update'" in done.err
    assert "does not fit" in done.out


def test_a_stage_that_only_generates_is_tried_too(random_model: Path, problems: Path, capsys):
    words = ["--model", str(random_model), "--benchmark", "jsonl", "--benchmark_file", str(problems)]
    words += ["--sandbox", "local", "--max_completion_length", "20", "--prompt_style", "completion"]
    assert dry_run.main(["rollout", *words, "--output_dir", "not/made"]) == 0
    assert "generation" in parts_in(capsys.readouterr().out)
    assert dry_run.main(["validation", *words, "--k", "1", "--output_dir", "not/made"]) == 0
    assert not Path("not").exists()
