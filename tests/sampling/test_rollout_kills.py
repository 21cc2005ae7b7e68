"""`rlcode rollout` that is killed again and again, and started again by the same command, loses and doubles nothing.

RLCODE_ROLLOUT_KILLS=20 kills more often than the few times of every test run.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from rlcode.run_directory import write_json_lines
from rlcode.tiny.tasks import make_problems
from rlcode.types import Rollout, to_json
from sampling.store import read_rollouts
from tests.sandbox.fleet import eventually

KILLS = int(os.environ.get("RLCODE_ROLLOUT_KILLS", "3"))
ROOT = Path(__file__).resolve().parents[2]
BLOCK = 8
PROBLEMS = 9 * (KILLS + 1)
SAMPLES = 11
"""Of each problem; blocks and problems do not end at the same sample."""


def start(model: Path, problems: Path, run: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "rlcode.cli", "rollout", "--model", model, "--benchmark_file", problems]
    command += ["--output_dir", run, "--sandbox", "local", "--engine_batch_size", BLOCK]
    command += ["--num_generations", SAMPLES, "--max_completion_length", 24, "--time_limit", 2]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_WAIT_POLICY": "passive"}
    return subprocess.Popen(
        list(map(str, command)), env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )


def size_of(run: Path) -> int:
    return sum(path.stat().st_size for path in run.glob("rollouts-*.jsonl"))


def kill_at_random(process: subprocess.Popen[bytes], run: Path, chance: random.Random) -> bool:
    """Kill it somewhere on its way to the first new rollout, or while it writes them; whether it was still there."""
    before = size_of(run)
    if chance.random() < 0.8:
        assert eventually(lambda: process.poll() is not None or size_of(run) > before, 300)
        time.sleep(chance.uniform(0, 0.4))
    else:
        time.sleep(chance.uniform(0, 10))
    process.send_signal(signal.SIGKILL)
    return process.wait(60) == -signal.SIGKILL


def by_key(run: Path) -> dict[tuple[str, int], Rollout]:
    """The rollouts by sample, without what a verdict says of the machine; each must be there once."""
    found = {}
    for one in read_rollouts([run]):
        assert one.verdict is not None
        key = (one.completion.task_id, one.completion.index)
        assert key not in found
        found[key] = replace(one, verdict=replace(one.verdict, time_s=0.0, memory_mb=0.0))
    return found


def test_a_run_that_was_killed_many_times_equals_an_undisturbed_one(tmp_path: Path, random_model: Path) -> None:
    problems = tmp_path / "problems.jsonl"
    write_json_lines(problems, map(to_json, make_problems("train", PROBLEMS, 0)))
    assert start(random_model, problems, tmp_path / "whole").wait(600) == 0
    chance, killed, sizes = random.Random(0), 0, []
    for _ in range(KILLS):
        killed += kill_at_random(start(random_model, problems, tmp_path / "killed"), tmp_path / "killed", chance)
        sizes.append(size_of(tmp_path / "killed"))
    assert start(random_model, problems, tmp_path / "killed").wait(600) == 0

    whole = by_key(tmp_path / "whole")
    assert len(whole) == PROBLEMS * SAMPLES
    assert by_key(tmp_path / "killed") == whole
    assert killed == KILLS, f"{KILLS - killed} kills came too late"
    assert sizes[-1] < size_of(tmp_path / "killed")
    print(f"{killed} kills, with {len(set(sizes))} different sizes of the store; {len(whole)} rollouts")
