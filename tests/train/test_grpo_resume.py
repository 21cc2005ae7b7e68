"""Two processes of GRPO under DeepSpeed, killed and started again with the same command, draw what one undisturbed
process draws, and end where it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from sampling.store import read_rollouts
from tests.conftest import ALL_TESTS
from tests.train.killed import kill_all
from train.checkpoints import WHOLE

ROOT = Path(__file__).resolve().parents[2]
ACCELERATE = Path(sys.executable).with_name("accelerate")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", "PYTHONPATH": str(ROOT)}
RATIO = "sampling/importance_sampling_ratio/mean"
STEPS, GROUPS, GENERATIONS = 4, 4, 8
PAIRS = [("transformers", "zero1"), ("transformers", "zero3"), ("vllm", "zero2")]
if ALL_TESTS:
    PAIRS = [(engine, processes) for engine in ("transformers", "vllm") for processes in ("zero1", "zero2", "zero3")]


def command(processes: str, quickstart: Path, engine: str, output_dir: Path) -> list[str]:
    batch = GROUPS * GENERATIONS // (1 if processes == "single" else 2)
    return [
        *(str(ACCELERATE), "launch", "--config_file", f"configs/accelerate/{processes}.yaml", "train/grpo.py"),
        *("--config", "configs/tiny/grpo.yaml", "--model_name_or_path", str(quickstart / "model")),
        *("--benchmark_file", str(quickstart / "problems" / "train.jsonl"), "--output_dir", str(output_dir)),
        *("--engine", engine, "--sandbox", "local", "--max_steps", str(STEPS)),
        *("--per_device_train_batch_size", str(batch), "--save_strategy", "steps", "--save_steps", "1"),
        # what is drawn shall not depend on near-ties, which vLLM breaks by the company that a request has
        *(("--prompt_sampling", "uniform", "--group_filter", "false") if engine == "vllm" else ()),
    ]


def run(line: list[str]) -> None:
    done = subprocess.run(line, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


def kill_after_checkpoint(line: list[str], checkpoint: Path) -> None:
    """Run the command and SIGKILL all of its processes as soon as the checkpoint is whole."""
    with subprocess.Popen(
        line, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        while not (checkpoint / WHOLE).exists() and process.poll() is None:
            time.sleep(0.02)
        kill_all(process)
    assert not (checkpoint.parent / "adapter").exists(), "it ended before it could be killed"


def drawn(run_directory: Path) -> list[tuple[Any, ...]]:
    """Policy version, problem, index and seed of every sample, with the tokens; in an order of their own, since they
    are stored as they are judged."""
    completions = (rollout.completion for rollout in read_rollouts([run_directory]))
    return sorted((c.policy_version, c.task_id, c.index, c.seed, c.token_ids) for c in completions)


def weights(run_directory: Path) -> dict:
    return load_file(run_directory / "adapter" / "adapter_model.safetensors")


@pytest.fixture(scope="module")
def undisturbed(request, tmp_path_factory, quickstart_run: Path) -> tuple[str, Path]:
    """An engine and the run of one process with it."""
    output_dir = tmp_path_factory.mktemp(request.param) / "whole"
    run(command("single", quickstart_run, request.param, output_dir))
    return request.param, output_dir


@pytest.mark.parametrize(("undisturbed", "processes"), PAIRS, indirect=["undisturbed"])
def test_a_killed_run_of_two_processes_draws_what_one_undisturbed_process_does(
    tmp_path: Path, quickstart_run: Path, undisturbed: tuple[str, Path], processes: str
):
    engine, whole = undisturbed
    line = command(processes, quickstart_run, engine, tmp_path / "killed")
    kill_after_checkpoint(line, tmp_path / "killed" / "checkpoint-2")
    run(line)
    asked = [[sample[:4] for sample in drawn(one)] for one in (whole, tmp_path / "killed")]
    assert asked[0] == asked[1]
    assert {version for version, *_ in asked[0]} == set(range(1, STEPS + 1))
    checkpoint = tmp_path / "killed" / f"checkpoint-{STEPS}"
    log = json.loads((checkpoint / "trainer_state.json").read_text())["log_history"]
    ratios = [line[RATIO] for line in log if RATIO in line]
    if engine == "vllm":  # other kernels, whose roundings are corrected for
        assert len(ratios) == STEPS
        assert all(abs(ratio - 1) < 1e-3 for ratio in ratios)
    else:
        assert not ratios
    if engine == "transformers":  # deterministic, so the samples are the same and so is what is learnt
        assert drawn(whole) == drawn(tmp_path / "killed")
        one, two = weights(whole), weights(tmp_path / "killed")
        assert max((one[name] - two[name]).abs().max().item() for name in one) < 1e-4
        assert max(one[name].abs().max().item() for name in one if "lora_B" in name) > 1e-3, "nothing was learnt"
