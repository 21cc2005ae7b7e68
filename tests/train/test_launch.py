"""The scripts as people launch them, from the quickstart's own model: one process, and two under DeepSpeed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from safetensors.torch import load_file

from rlcode.run_directory import write_json_lines
from rlcode.types import Problem, TestCase, TestKind, from_json, to_json
from sampling.adapters import adapter_version
from sampling.notebook import ErrorNotebook
from sampling.store import read_rollouts
from tests.conftest import ALL_TESTS
from train.checkpoints import WHOLE

ROOT = Path(__file__).resolve().parents[2]
ACCELERATE = Path(sys.executable).with_name("accelerate")


def launch(processes: str, script: str, *arguments: object) -> subprocess.CompletedProcess:
    command = [
        *(str(ACCELERATE), "launch", "--config_file", f"configs/accelerate/{processes}.yaml", f"train/{script}.py"),
        *("--config", f"configs/tiny/{script}.yaml"),
        *map(str, arguments),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900, check=False)


def succeed(done: subprocess.CompletedProcess) -> None:
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


def weights(run: Path) -> dict:
    return load_file(run / "adapter" / "adapter_model.safetensors")


@pytest.mark.parametrize(
    ("processes", "engine", "sandbox", "batch"),
    [("single", "transformers", "docker", 64), *([("zero2", "vllm", "docker", 32)] if ALL_TESTS else [])],
)
def test_grpo_runs(tmp_path: Path, quickstart_run: Path, processes: str, engine: str, sandbox: str, batch: int):
    done = launch(
        *(processes, "grpo", "--model_name_or_path", quickstart_run / "model"),
        *("--benchmark_file", quickstart_run / "problems" / "train.jsonl", "--output_dir", tmp_path),
        *("--engine", engine, "--sandbox", sandbox, "--per_device_train_batch_size", batch, "--max_steps", 2),
    )
    succeed(done)
    rollouts = list(read_rollouts(sorted(tmp_path.glob("rollouts-rank*.jsonl"))))
    assert len(rollouts) >= 2 * 64, "dropped groups are stored too"
    assert all(rollout.verdict is not None for rollout in rollouts)
    assert 0 < sum(rollout.verdict.passed for rollout in rollouts) < len(rollouts)
    assert {rollout.completion.policy_version for rollout in rollouts} == {1, 2}
    assert len({rollout.completion.seed for rollout in rollouts}) == len(rollouts), "two processes drew the same noise"
    assert json.loads((tmp_path / "adapter" / "rlcode_adapter.json").read_text())["policy_version"] == 3
    assert max(w.abs().max().item() for name, w in weights(tmp_path).items() if "lora_B" in name) > 1e-4


def server_of(run: Path) -> int | None:
    """The process of the run's vLLM server, if there is one."""
    pattern = f"vllm.entrypoints.*--model {run.parent}"
    found = subprocess.run(["pgrep", "-f", pattern], capture_output=True, check=False, timeout=60)
    return int(found.stdout.split()[0]) if found.stdout else None


def draws_of(run: Path) -> list[tuple[object, ...]]:
    completions = (rollout.completion for rollout in read_rollouts([run]))
    return sorted((c.policy_version, c.task_id, c.index, c.token_ids) for c in completions)


def test_two_processes_with_a_server_that_is_killed_draw_what_one_with_vllm_inside_draws(
    tmp_path: Path, quickstart_run: Path
):
    model = shutil.copytree(quickstart_run / "model", tmp_path / "model")  # its path tells this run's server
    common = ("--model_name_or_path", model, "--benchmark_file", quickstart_run / "problems" / "train.jsonl")
    common = (*common, "--engine", "vllm", "--sandbox", "local", "--max_steps", 3, "--engine_server_wait_s", 600)
    one, two = tmp_path / "one", tmp_path / "two"
    succeed(launch("single", "grpo", *common, "--output_dir", one, "--per_device_train_batch_size", 16))
    with ThreadPoolExecutor(1) as beside:
        batch = ("--per_device_train_batch_size", 8)
        done = beside.submit(launch, "zero2", "grpo", *common, "--output_dir", two, *batch)
        while not done.done() and not any(two.glob("rollouts-rank*.jsonl")):
            time.sleep(0.02)
        server = server_of(two)
        assert server is not None, done.result().stderr[-4000:]
        os.kill(server, signal.SIGKILL)
        succeed(done.result())
    assert draws_of(two) == draws_of(one)
    assert "it is started again" in (two / "vllm" / "rank0" / "keeper.log").read_text()
    assert server_of(two) is None, "the server outlived its run"
    apart = [weights(run) for run in (one, two)]
    assert max((apart[0][name] - apart[1][name]).abs().max().item() for name in apart[0]) < 1e-4


def test_two_processes_draw_the_problems_that_one_draws_and_groups_that_straddle_them_are_whole(
    tmp_path: Path, quickstart_run: Path
):
    """Three groups of eight: the second lies half on either process. Half of the problems can't be solved."""
    lines = (quickstart_run / "problems" / "train.jsonl").read_text().splitlines()[:24]
    problems = [from_json(Problem, json.loads(line)) for line in lines]
    nothing = TestCase(TestKind.ASSERTS, code="assert solve(None) == 'no answer'")
    problems[::2] = [replace(problem, tests=(nothing,)) for problem in problems[::2]]
    write_json_lines(tmp_path / "problems.jsonl", map(to_json, problems))
    drawn = {}
    for processes, batch in {"single": 24, "zero2": 12}.items():
        common = ("--model_name_or_path", quickstart_run / "model", "--benchmark_file", tmp_path / "problems.jsonl")
        common = (*common, "--sandbox", "local", "--max_steps", 2, "--log_completions", "true")
        run = tmp_path / processes
        succeed(launch(processes, "grpo", *common, "--output_dir", run, "--per_device_train_batch_size", batch))
        drawn[processes] = sorted(
            (c.policy_version, c.task_id, c.index, c.token_ids) for c in (r.completion for r in read_rollouts([run]))
        )
        for table in sorted((run / "completions").glob("*.parquet")):
            rows = pd.read_parquet(table)
            groups = [rows.iloc[start : start + 8] for start in range(0, 24, 8)]
            assert all(group["prompt"].nunique() == 1 for group in groups)
            assert all(abs(group["advantage"].sum()) < 1e-3 for group in groups)
            assert any(group["correctness"].nunique() == 2 for group in groups)
        assert ErrorNotebook.load(run / "notebook.json").scored == len(drawn[processes])
    assert drawn["single"] == drawn["zero2"]
    assert len(drawn["single"]) > 2 * 24, "nothing was dropped"
    assert (tmp_path / "zero2" / "rollouts-rank1-00000.jsonl").is_file()


def command(script: str, *arguments: object) -> list[str]:
    return [sys.executable, f"train/{script}.py", "--config", f"configs/tiny/{script}.yaml", *map(str, arguments)]


def kill_when(line: list[str], sign: Path) -> None:
    """Run the command and SIGKILL it as soon as the file is there."""
    with subprocess.Popen(line, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not sign.exists() and process.poll() is None:
            time.sleep(0.02)
        process.kill()
    assert sign.exists(), "it ended before it could be killed"


@pytest.mark.parametrize("script", ["grpo", *(["dpo"] if ALL_TESTS else [])])
def test_a_killed_run_goes_on_and_ends_where_the_undisturbed_one_does(
    tmp_path: Path, quickstart_run: Path, script: str
):
    common = ["--model_name_or_path", quickstart_run / "model", "--save_strategy", "steps", "--save_steps", 2]
    if script == "dpo":
        common += ["--rollouts", quickstart_run / "dpo-1" / "rollouts.jsonl", "--num_pairs", 48]
    else:
        common += ["--benchmark_file", quickstart_run / "problems" / "train.jsonl", "--max_steps", 5]
        # with a beta there is a frozen copy of the adapter, which must not be taken for the one in training
        common += ["--sandbox", "local", "--adapter", quickstart_run / "dpo-1" / "adapter", "--beta", 0.04]
    whole = command(script, *common, "--output_dir", tmp_path / "whole")
    killed = command(script, *common, "--output_dir", tmp_path / "killed")
    kill_when(killed, tmp_path / "killed" / "checkpoint-2" / WHOLE)
    assert not (tmp_path / "killed" / "adapter").exists(), "it ended before it could be killed"
    for line in (whole, killed):
        succeed(subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False))
    one, two = weights(tmp_path / "whole"), weights(tmp_path / "killed")
    assert max((one[name] - two[name]).abs().max().item() for name in one) < 1e-6
    if script == "grpo":
        drawn = [
            sorted(  # they are stored in the order in which they were judged, which is chance
                (c.policy_version, c.task_id, c.index, c.token_ids)
                for c in (r.completion for r in read_rollouts([run]))
            )
            for run in (tmp_path / "whole", tmp_path / "killed")
        ]
        assert drawn[0] == drawn[1]
        start = 1 + adapter_version(quickstart_run / "dpo-1" / "adapter")
        assert {version for version, *_ in drawn[0]} == set(range(start, start + 5))
    finished = subprocess.run(whole, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert finished.returncode == 2
    assert "is finished" in finished.stderr


def test_a_run_directory_of_another_configuration_is_refused(tmp_path: Path, quickstart_run: Path):
    rollouts = ("--rollouts", quickstart_run / "dpo-1" / "rollouts.jsonl")
    line = command("dpo", "--model_name_or_path", quickstart_run / "model", "--output_dir", tmp_path, *rollouts)
    kill_when(line, tmp_path / "run.json")
    second = subprocess.run(
        [*line, "--beta", "0.3"], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert second.returncode == 2
    assert "beta: 0.1 then, 0.3 now" in second.stderr


def test_an_unknown_key_of_a_configuration_ends_the_script_with_exit_code_2(tmp_path: Path):
    (tmp_path / "typo.yaml").write_text((ROOT / "configs" / "tiny" / "dpo.yaml").read_text() + "\nlearning_rat: 1\n")
    command = [
        sys.executable,
        "train/dpo.py",
        "--config",
        str(tmp_path / "typo.yaml"),
        "--output_dir",
        str(tmp_path / "o"),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 2
    assert "unknown key 'learning_rat'; did you mean 'learning_rate'?" in done.stderr
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("script", ["sft", "dpo", "grpo"])
def test_help_is_instant_and_shows_our_fields(script: str):
    code = f"""
import runpy, sys
sys.argv = ['train/{script}.py', '--help']
try:
    runpy.run_path('train/{script}.py', run_name='__main__')
finally:
    assert 'torch' not in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert "--adapter" in done.stdout, done.stderr
    assert "AssertionError" not in done.stderr
