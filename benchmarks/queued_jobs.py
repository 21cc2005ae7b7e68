"""What jobs that wait for a verdict cost the host process in memory.

    python -m benchmarks.queued_jobs [--jobs 100000]

The workers answer at once and are no real ones, so that what is measured is the pool. `held`: the caller hands over a
list, which is the caller's own memory; `streamed`: jobs are made as the pool takes them. Each job has a program of its
own of 500 characters. One process for each measurement, since a process seldom gives memory back.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rlcode.types import Limits, Problem, Program, TestCase, TestKind
from sandbox.pool import WorkerPool
from sandbox.protocol import Job

PROBLEM = Problem("queued", "", (TestCase(TestKind.ASSERTS, code="assert f() == 1"),), entry_point="f")
KINDS = ("streamed", "held")


class InstantWorker:
    """Passes every program without a look at it."""

    def suits(self, limits: Limits) -> bool:
        return True

    def start(self) -> None:
        pass

    def ask(self, request: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        if "requests" in request:
            return {"answers": [self.answer(one) for one in request["requests"]]}
        return self.answer(request)

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"id": request["id"], "verdict": {"error_type": None, "tests_passed": 1, "tests_total": 1}}

    def kill(self) -> None:
        pass


def resident_mb() -> float:
    """Memory that this process holds, in MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def memory_of_queued_jobs(count: int, kind: str) -> float:
    """MiB that the host process grows by, at most, while `count` jobs wait and are judged; in a new process."""
    with multiprocessing.get_context("spawn").Pool(1) as process:
        return float(process.apply(_growth_mb, (count, kind)))


def _growth_mb(count: int, kind: str) -> float:
    with WorkerPool(lambda limits: InstantWorker(), 2, backend="instant") as sandbox:
        list(sandbox.judge(_jobs(100)))
        before = resident_mb()
        jobs = list(_jobs(count)) if kind == "held" else _jobs(count)
        results = sandbox.judge(jobs)
        return max(resident_mb() for number, _ in enumerate(results) if number % 1000 == 0) - before


def _jobs(count: int) -> Iterator[Job]:
    for number in range(count):
        source = f"def f():\n    return 1  # {number}\n"
        yield Job(PROBLEM, Program(source.ljust(500, "#"), "queued"), Limits())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    figures = {}
    for kind in KINDS:
        figures[kind] = memory_of_queued_jobs(arguments.jobs, kind)
        print(f"{arguments.jobs} jobs {kind}: the host process grows by {figures[kind]:.1f} MiB")
    if arguments.json:
        arguments.json.write_text(json.dumps({"jobs": arguments.jobs, "grown_mb": figures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
