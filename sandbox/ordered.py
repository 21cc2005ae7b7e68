"""Results to come, handed over in the order of their jobs: what every sandbox does with a stream of jobs."""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future
from typing import TypeVar

from rlcode.errors import SandboxError
from rlcode.types import Unscored, Verdict
from sandbox.protocol import Job

Result = Verdict | Unscored
T = TypeVar("T")

MOST_PENDING = 1024
"""Results of one caller that may wait behind a slow one."""


def judge_in_order(
    jobs: Iterable[Job], submit: Callable[[Job], Future[Result]], most_unfinished: int
) -> Iterator[Result]:
    """What `submit` promises for each job, in the order of the jobs; at most `most_unfinished` are under way.

    Raises:
        SandboxError: the sandbox was closed meanwhile, or what a result raises.
    """
    stream, window = iter(jobs), _Window(most_unfinished)
    try:
        while True:
            while window.has_room() and (job := next(stream, None)) is not None:
                window.add(submit(job))
            if not window.pending:
                return
            if window.pending[0].done():
                yield result_of(window.pending.popleft())
            else:
                window.wait()
    finally:
        for future in window.pending:
            future.cancel()


def settle(future: Future[Result], result: Result | BaseException) -> None:
    """Give a future its result, unless it has one, or nobody waits for it any more."""
    if future.done() or not future.set_running_or_notify_cancel():
        return
    if isinstance(result, BaseException):
        future.set_exception(result)
    else:
        future.set_result(result)


class _Window:
    """The jobs of one caller that were taken and not yet yielded: bounded in what runs and in what waits."""

    def __init__(self, most_unfinished: int) -> None:
        self.pending: deque[Future[Result]] = deque()
        self._most_unfinished = most_unfinished
        self._unfinished = 0
        self._finished: queue.SimpleQueue[Future[Result]] = queue.SimpleQueue()

    def has_room(self) -> bool:
        while not self._finished.empty():
            self.wait()
        return self._unfinished < self._most_unfinished and len(self.pending) < MOST_PENDING

    def add(self, future: Future[Result]) -> None:
        self.pending.append(future)
        self._unfinished += 1
        future.add_done_callback(self._finished.put)

    def wait(self) -> None:
        """Until one more job is finished."""
        self._finished.get()
        self._unfinished -= 1


def result_of(future: Future[T]) -> T:
    """What became of it.

    Raises:
        SandboxError: the sandbox was closed meanwhile, or what the future raises.
    """
    try:
        return future.result()
    except CancelledError:
        raise SandboxError("the sandbox was closed") from None
