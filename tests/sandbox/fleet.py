"""Workers that are made up, to show what a pool does with good and bad ones."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from rlcode.errors import SandboxError
from rlcode.types import Limits, Problem, Program, TestCase, TestKind
from sandbox.pool import WorkerPool
from sandbox.protocol import Job
from sandbox.worker import WorkerLost

Behaviour = Callable[["FakeWorker", str], dict[str, Any]]

PASSED = {"error_type": None, "tests_passed": 1, "tests_total": 1}
WRONG = {"error_type": "wrong_answer", "tests_passed": 0, "tests_total": 1}


class Fleet:
    """Makes fake workers and remembers them. `behave(worker, source)` gives the answer to one program, without its id;
    the control program passes unless `control` says otherwise. `remember` the requests."""

    def __init__(
        self,
        behave: Behaviour | None = None,
        *,
        control: Behaviour | None = None,
        dead_starts: int = 0,
        remember: bool = True,
    ):
        self.remember = remember
        self.behave = behave or passing
        self.control = control or passing
        self.dead_starts = dead_starts
        self.made: list[FakeWorker] = []

    def __call__(self, limits: Limits) -> FakeWorker:
        self.made.append(FakeWorker(self, len(self.made), limits))
        return self.made[-1]

    @property
    def alive(self) -> list[FakeWorker]:
        return [worker for worker in self.made if worker.started and not worker.killed.is_set()]


class FakeWorker:
    def __init__(self, fleet: Fleet, number: int, limits: Limits) -> None:
        self.fleet = fleet
        self.number = number
        self.made_for = limits
        self.started = False
        self.killed = threading.Event()
        self.requests: list[dict[str, Any]] = []
        self.together: list[int] = []
        """How many requests came in each frame that held several."""

    def suits(self, limits: Limits) -> bool:
        return limits.disk_mb == self.made_for.disk_mb

    def start(self) -> None:
        if self.number < self.fleet.dead_starts:
            raise SandboxError(f"start {self.number} fails")
        self.started = True

    def ask(self, request: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        if self.killed.is_set():
            raise WorkerLost("it was killed before")
        if "requests" in request:
            self.together.append(len(request["requests"]))
            return {"answers": [self.ask(one, timeout_s) for one in request["requests"]]}
        if self.fleet.remember:
            self.requests.append(request)
        is_control = request["problem"]["entry_point"] == "control"
        answer = (self.fleet.control if is_control else self.fleet.behave)(self, request["source"])
        return {"id": request["id"], "anomaly": None, **answer}

    def kill(self) -> None:
        self.killed.set()


def passing(worker: FakeWorker, source: str) -> dict[str, Any]:
    return {"verdict": PASSED}


def wrong(worker: FakeWorker, source: str) -> dict[str, Any]:
    return {"verdict": WRONG}


def lost(worker: FakeWorker, source: str) -> dict[str, Any]:
    raise WorkerLost("it is gone")


def eventually(condition: Callable[[], bool], seconds: float = 30.0) -> bool:
    """Whether something comes about in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return condition()


def job(source: str | None = "x = 1", how: str = "fence", task_id: str = "t/1", limits: Limits | None = None) -> Job:
    """A job whose test a fake worker does not look at."""
    tests = (TestCase(TestKind.CHECK, code="def check(candidate):\n    assert candidate() == 1\n"),)
    problem = Problem(task_id=task_id, prompt="", tests=tests, entry_point="f")
    return Job(problem, Program(source, how), limits or Limits())


def pool(fleet: Fleet, workers: int = 1, **options: Any) -> WorkerPool:
    return WorkerPool(fleet, workers, backend="fake", image_digest="sha256:1", backoff_s=0.0001, **options)
