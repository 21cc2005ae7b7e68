"""What jobs that wait for a verdict cost the host process in memory.

    python -m benchmarks.queued_jobs [--jobs 100000]

The workers answer at once and are no real ones, so that what is measured is the pool. `held`: the caller hands over a
list, which is the caller's own memory; `streamed`: jobs are made as the pool takes them. Each job has a program of its
own of 500 characters. One process for each measurement, since a process seldom gives memory back.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.measuring import InstantWorker, in_new_process, instant_jobs, resident_mb
from rlcode.run_directory import write_json
from sandbox.pool import WorkerPool

KINDS = ("streamed", "held")


def memory_of_queued_jobs(count: int, kind: str) -> float:
    """MiB that the host process grows by, at most, while `count` jobs wait and are judged; in a new process."""
    return in_new_process(_growth_mb, count, kind)


def _growth_mb(count: int, kind: str) -> float:
    with WorkerPool(lambda limits: InstantWorker(), 2, backend="instant") as sandbox:
        list(sandbox.judge(instant_jobs(100)))
        before = resident_mb()
        jobs = list(instant_jobs(count)) if kind == "held" else instant_jobs(count)
        results = sandbox.judge(jobs)
        return max(resident_mb() for number, _ in enumerate(results) if number % 1000 == 0) - before


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
        write_json(arguments.json, {"jobs": arguments.jobs, "grown_mb": figures})


if __name__ == "__main__":
    main()
