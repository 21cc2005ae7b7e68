"""The benchmarks can be started as their README says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
    "name",
    [
        "eval",
        "sandbox",
        "queued_jobs",
        "rollouts",
        "engines",
        "groups",
        "pool",
        "samplers",
        "training",
        "gains",
        "export",
        "merging",
    ],
)
def test_each_benchmark_says_how_it_is_used(name: str) -> None:
    command = [sys.executable, "-m", f"benchmarks.{name}", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "--json" in done.stdout
