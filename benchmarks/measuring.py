"""What the measurements share: memory, a process of their own, a sandbox that costs nothing, medians with ranges."""

from __future__ import annotations

import multiprocessing
import os
import statistics
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from rlcode.types import Limits, Problem, Program, TestCase, TestKind
from sandbox.protocol import Job

PROBLEM = Problem("instant", "", (TestCase(TestKind.ASSERTS, code="assert f() == 1"),), entry_point="f")


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


def instant_jobs(count: int) -> Iterator[Job]:
    """Each with a program of its own of 500 characters."""
    for number in range(count):
        source = f"def f():\n    return 1  # {number}\n"
        yield Job(PROBLEM, Program(source.ljust(500, "#"), "instant"), Limits())


def resident_mb() -> float:
    """Memory that this process holds, in MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def in_new_process(measure: Callable[..., Any], *arguments: Any) -> Any:
    """A process seldom gives memory back, and keeps the threads that a library made."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(measure, *arguments).result()


def spread(values: Sequence[float], digits: int = 3) -> str:
    """Median and range."""
    return f"{statistics.median(values):.{digits}f} [{min(values):.{digits}f}–{max(values):.{digits}f}]"
