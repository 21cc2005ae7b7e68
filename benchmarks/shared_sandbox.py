"""Several processes that judge at the same time: a sandbox for each with its share of the cores, against one that the
first process serves to the others.

The reference programs of HumanEval are dealt out over two processes, once evenly, and once with nine tenths of them to
the first, as it is where groups are uneven. What counts is the time until the last process is done, the start of the
sandboxes apart. Both ways take turns; a round's ratio compares neighbours in time.

Run: python -m benchmarks.shared_sandbox --data FOLDER [--backend docker] [--rounds 7] [--json FILE]
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack
from multiprocessing.synchronize import Barrier
from pathlib import Path

from benchmarks.measuring import InstantWorker, instant_jobs
from rlcode.data.registry import load_problems
from rlcode.run_directory import write_json
from rlcode.types import Limits, Program
from sandbox.pool import WorkerPool, open_sandbox, usable_cores
from sandbox.protocol import Job, Sandbox
from sandbox.service import SandboxClient, SandboxService

SHARES = {"evenly": 0.5, "unevenly": 0.9}
"""Of the jobs, for the first of two processes."""
PASSES = 5
INSTANT_JOBS = 5_000
"""By which the CPU time of a job is measured."""


def jobs_from(data: Path) -> list[Job]:
    problems = load_problems("humaneval", data / "HumanEval.jsonl.gz")
    programs = (Program(problem.prompt + problem.reference_solution, "reference") for problem in problems)
    return PASSES * [Job(problem, program, Limits()) for problem, program in zip(problems, programs, strict=True)]


def seconds(jobs: Sequence[Job], share: float, backend: str, *, shared: bool) -> float:
    """The time that two processes need for `jobs`, of which the first has a `share`."""
    context = multiprocessing.get_context("spawn")
    ready, done = context.Barrier(3), context.Barrier(3)
    addresses = context.SimpleQueue() if shared else None
    border = round(share * len(jobs))
    parts = [jobs[:border], jobs[border:]]
    processes = [
        context.Process(target=_judge, args=(number, part, backend, addresses, ready, done))
        for number, part in enumerate(parts)
    ]
    for process in processes:
        process.start()
    ready.wait(120)
    begun = time.monotonic()
    done.wait(600)
    taken = time.monotonic() - begun
    for process in processes:
        process.join()
    return taken


def _judge(number: int, jobs: Sequence[Job], backend: str, addresses, ready: Barrier, done: Barrier) -> None:
    with ExitStack() as stack:
        if addresses is None:
            sandbox = stack.enter_context(open_sandbox(backend, max(1, usable_cores() // 2)))
        elif number == 0:
            sandbox = stack.enter_context(open_sandbox(backend))
            addresses.put(stack.enter_context(SandboxService(sandbox)).address)
        else:
            sandbox = stack.enter_context(SandboxClient(addresses.get()))
        list(sandbox.judge(jobs[: 4 * sandbox.workers]))  # starts the workers
        ready.wait(120)
        verdicts = list(sandbox.judge(jobs))
        done.wait(600)
        assert sum(verdict.passed for verdict in verdicts) == len(jobs)


def cpu_of_a_job() -> tuple[float, float]:
    """CPU microseconds for a job that workers answer at once: of the pool alone, and with service and client."""

    def of(sandbox: Sandbox) -> float:
        begun = time.process_time()
        list(sandbox.judge(instant_jobs(INSTANT_JOBS)))
        return (time.process_time() - begun) / INSTANT_JOBS * 1e6

    with (
        WorkerPool(lambda limits: InstantWorker(), 2, backend="instant") as pool,
        SandboxService(pool) as service,
        SandboxClient(service.address) as client,
    ):
        return of(pool), of(client)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with HumanEval.jsonl.gz")
    parser.add_argument("--backend", default="docker", choices=["docker", "local"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    jobs, figures = jobs_from(arguments.data), {}
    alone, served = cpu_of_a_job()
    print(f"the host pays {alone:.0f} us of CPU for a job, {served:.0f} us for one that comes from a client")
    for name, share in SHARES.items():
        rows = []
        for _ in range(arguments.rounds):
            rows.append([seconds(jobs, share, arguments.backend, shared=shared) for shared in (False, True)])
            print(f"{name}: {rows[-1][0]:.2f} s with one each, {rows[-1][1]:.2f} s with one for both", flush=True)
        ratios = sorted(apart / together for apart, together in rows)
        print(
            f"{name}: one for both is {statistics.median(ratios):.2f} times as fast ({ratios[0]:.2f}-{ratios[-1]:.2f})"
        )
        figures[name] = {"seconds": rows, "ratio": statistics.median(ratios)}
    if arguments.json:
        write_json(arguments.json, {"jobs": len(jobs), **figures})


if __name__ == "__main__":
    main()
