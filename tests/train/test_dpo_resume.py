"""Killed at any step and started again with the same command, a DPO run draws what an undisturbed one draws: on one
process and on two under each stage of ZeRO, whatever reads ahead, with quizzes that change what is drawn."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from safetensors.torch import load_file

from rlcode.run_directory import write_json_lines
from rlcode.tiny.tasks import SMALL_WORLD, make_problems
from rlcode.types import to_json
from sampling.store import read_rollouts
from tests.conftest import ALL_TESTS
from tests.train.killed import kill_all
from train.checkpoints import WHOLE

ROOT = Path(__file__).resolve().parents[2]
ACCELERATE = Path(sys.executable).with_name("accelerate")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", "PYTHONPATH": str(ROOT)}


def command(processes: str, *arguments: object) -> list[str]:
    launcher = [sys.executable]
    if processes != "one":
        launcher = [str(ACCELERATE), "launch", "--config_file", f"configs/accelerate/{processes}.yaml"]
    return [*launcher, "train/dpo.py", "--config", "configs/tiny/dpo.yaml", *map(str, arguments)]


def run(line: list[str]) -> None:
    done = subprocess.run(line, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


def kill_after_draws(line: list[str], run_directory: Path, draws: int) -> None:
    """Run the command and SIGKILL all of its processes as soon as so many draws are written down."""
    with subprocess.Popen(
        line, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        while len(draws_of(run_directory)) < draws and process.poll() is None:
            time.sleep(0.02)
        kill_all(process)
    assert not (run_directory / "adapter").exists(), "it ended before it could be killed"


def draws_of(run_directory: Path) -> list[str]:
    path = run_directory / "draws.jsonl"
    return path.read_text().splitlines() if path.exists() else []


def weights(run_directory: Path) -> dict:
    return load_file(run_directory / "adapter" / "adapter_model.safetensors")


@pytest.fixture(scope="module")
def common(tmp_path_factory, random_model: Path, judged_rollouts: Path) -> list[object]:
    """Two epochs of six steps; a checkpoint after every second, a quiz after every third.

    What the model writes has no meaning, and the quiz finds few other failures than wrong indentation in it.
    """
    folder = tmp_path_factory.mktemp("input")
    rollouts = judged_rollouts.read_text().replace('"type"', '"indentation"')
    (folder / "rollouts.jsonl").write_text(rollouts)
    write_json_lines(folder / "validation.jsonl", map(to_json, make_problems("validation", 8, 0, SMALL_WORLD)))
    return [
        *("--model_name_or_path", random_model, "--rollouts", folder / "rollouts.jsonl"),
        *("--num_pairs", 44, "--num_train_epochs", 2, "--save_strategy", "steps", "--save_steps", 2),
        # the NLL term is a mean over the tokens of a process, so it is left out where processes are compared
        *("--loss_type", "sigmoid", "--loss_weights", 1.0, "--learning_rate", 2e-4),
        *("--quiz_steps", 3, "--quiz_benchmark_file", folder / "validation.jsonl", "--quiz_generations", 4),
        *(
            "--quiz_delay",
            3,
            "--quiz_max_completion_length",
            16,
            "--sandbox",
            "local",
            "--strategy_options",
            '{"power": 4}',
        ),
    ]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, common: list[object]) -> Path:
    run_directory = tmp_path_factory.mktemp("dpo") / "whole"
    run(command("one", *common, "--output_dir", run_directory))
    types = [json.loads(line)["error_type"] for line in draws_of(run_directory)]
    assert len(types) == 2 * 48
    assert types[:16].count("indentation") < 16 < 60 < types[16:].count("indentation"), "the quizzes changed nothing"
    return run_directory


@pytest.mark.parametrize(
    ("processes", "kills", "options"),
    [
        ("one", (5 * 8, 9 * 8), ["--per_device_train_batch_size", 4, "--gradient_accumulation_steps", 2]),
        *([("zero1", (5 * 8,), ["--per_device_train_batch_size", 4])] if ALL_TESTS else []),
        ("zero2", (7 * 8,), ["--per_device_train_batch_size", 4, "--dataloader_num_workers", 1]),
        ("zero3", (5 * 8,), ["--per_device_train_batch_size", 4]),
    ],
)
def test_a_killed_run_draws_what_the_undisturbed_one_does(
    tmp_path: Path, common: list[object], undisturbed: Path, processes: str, kills: tuple[int, ...], options: list
):
    line = command(processes, *common, *options, "--output_dir", tmp_path / "killed")
    for draws in kills:
        kill_after_draws(line, tmp_path / "killed", draws)
        assert list((tmp_path / "killed").glob(f"checkpoint-*/{WHOLE}")), "nothing to resume from"
    run(line)
    assert draws_of(tmp_path / "killed") == draws_of(undisturbed)
    one, two = weights(undisturbed), weights(tmp_path / "killed")
    assert max((one[name] - two[name]).abs().max().item() for name in one) < 1e-4
    state = json.loads((tmp_path / "killed" / "checkpoint-12" / "trainer_state.json").read_text())
    last = [entry for entry in state["log_history"] if "draws/distinct_pairs" in entry][-1]
    pairs = {(line["chosen"]["side"], line["rejected"]["side"]) for line in map(json.loads, draws_of(undisturbed))}
    assert last["draws/distinct_pairs"] == len(pairs)
    answers = [
        Counter((r.completion.policy_version, r.completion.task_id) for r in read_rollouts([one / "quiz"]))
        for one in (undisturbed, tmp_path / "killed")
    ]
    assert answers[0] == answers[1]
    assert set(answers[0].values()) == {4}


@pytest.fixture(scope="module")
def quizzed_by_vllm(tmp_path_factory, common: list[object]) -> Path:
    """The same with vLLM in the one process."""
    run_directory = tmp_path_factory.mktemp("dpo") / "vllm"
    run(command("one", *common, *BY_VLLM, "--output_dir", run_directory))
    return run_directory


BY_VLLM = ("--engine", "vllm", "--engine_max_model_length", 512, "--num_train_epochs", 1)


@pytest.mark.parametrize("processes", ["zero1", "zero2", "zero3"] if ALL_TESTS else ["zero2"])
def test_a_killed_run_that_vllm_holds_quizzes_for_draws_what_the_undisturbed_one_does(
    tmp_path: Path, common: list[object], quizzed_by_vllm: Path, processes: str
):
    line = command(processes, *common, *BY_VLLM, "--per_device_train_batch_size", 4, "--output_dir", tmp_path / "run")
    kill_after_draws(line, tmp_path / "run", 5 * 8)
    run(line)
    assert draws_of(tmp_path / "run") == draws_of(quizzed_by_vllm)
    one, two = weights(quizzed_by_vllm), weights(tmp_path / "run")
    assert max((one[name] - two[name]).abs().max().item() for name in one) < 1e-4
    answers = [
        sorted((c.policy_version, c.task_id, c.index, c.token_ids) for c in completions)
        for completions in (
            [r.completion for r in read_rollouts([path / "quiz"])] for path in (quizzed_by_vllm, tmp_path / "run")
        )
    ]
    assert answers[0] == answers[1]
    assert len({version for version, *_ in answers[0]}) == 3, "at the start, after three steps and after six"
