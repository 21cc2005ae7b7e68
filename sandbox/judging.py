"""From what a model wrote to a verdict: extract the program and judge it, beside whatever writes the next one."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar

from rlcode.errors import SandboxError
from rlcode.extraction_worker import Extractor
from rlcode.types import Answer, PartialLimits, Problem, Program, Unscored, Verdict
from sandbox.ordered import result_of
from sandbox.protocol import Job, Sandbox

MOST_IN_FLIGHT = 1024
"""Answers of one caller that are taken and not yet handed back: a few blocks of an engine, so that neither side waits
for the other's bursts."""
_BATCH = 32
_LOOK_S = 0.2

Item = TypeVar("Item")
"""Whatever the caller wants to find again beside the result."""


class UnscoredShare:
    """Counts what could not be judged, and stops a run in which that is more than a share of the whole."""

    def __init__(self, most: float, total: int, advice: str = "mend the sandbox, or raise max_unscored_share") -> None:
        """`most` is between 0 and 1; `total` is how many results there will be; `advice` ends the message."""
        self.unscored = 0
        self._most = most
        self._total = total
        self._advice = advice

    def count(self, reason: str | None) -> None:
        """Take note of a result: why it could not be judged, or None where it was.

        Raises:
            SandboxError: now it is too much.
        """
        if reason is None:
            return
        self.unscored += 1
        if self.unscored > self._most * self._total:
            raise SandboxError(
                f"{self.unscored} of {self._total} samples could not be judged, the last one because: {reason}; "
                f"{self._advice}"
            )


@dataclass(frozen=True)
class Submission:
    """A program that is judged as it is, with nothing to extract."""

    program: Program
    problem: Problem


@dataclass(frozen=True)
class Judged(Generic[Item]):
    """An answer's item, the program in it, and what the sandbox said."""

    item: Item
    program: Program
    outcome: Verdict | Unscored


class Judging(Generic[Item]):
    """Extraction and sandbox in threads beside the caller's, which goes on to write answers meanwhile.

    `judge` is the whole of it for most callers. The number of answers in flight is bounded as one, from the moment
    that an answer is taken until its result is handed back: so no queue can be full while another one waits for it.
    """

    def __init__(self, *, sandbox: Sandbox, extractor: Extractor, limits: PartialLimits) -> None:
        """`limits` are what the run sets. Sandbox and extractor stay the caller's to close."""
        self.in_flight = 0
        """Answers that were taken and not handed back."""
        self._sandbox = sandbox
        self._extractor = extractor
        self._limits = limits
        self._answers: queue.SimpleQueue[tuple[Item, Answer | Submission]] = queue.SimpleQueue()
        self._finished: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._is_extracting = self._is_closed = False
        self._extracting = ThreadPoolExecutor(1, thread_name_prefix="extraction")
        self._with_sandbox: dict[Future[Verdict | Unscored], tuple[Item, Program]] = {}

    def judge(
        self,
        answers: Iterable[tuple[Item, Answer | Submission]],
        deadline: Callable[[], float | None] = lambda: None,
    ) -> Iterator[Judged[Item]]:
        """Yield each answer with its outcome, in the order in which they are judged.

        `answers` is read in the caller's thread. Once it has ended, results are waited for until `deadline`, a time of
        `time.monotonic` (None: for all of them).

        Raises:
            SandboxError: the sandbox can't go on.
            ExtractionError: the worker that extracts programs can't be started.
            DataError: the tests of a problem can't be run.
        """
        for item, answer in answers:
            self._put(item, answer)
            while not self._finished.empty() or self.in_flight >= MOST_IN_FLIGHT:
                judged = self._take(deadline)
                if judged is None:
                    return
                yield judged
        while self.in_flight and (last := self._take(deadline)) is not None:
            yield last

    @property
    def waiting_for_caller(self) -> int:
        """Results that are there and were not taken."""
        return self._finished.qsize()

    def close(self) -> None:
        """Give up what is in flight. What the sandbox has under way ends by itself, or when the sandbox is closed."""
        self._is_closed = True
        self._extracting.shutdown(wait=True, cancel_futures=True)
        for future in list(self._with_sandbox):
            future.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _put(self, item: Item, answer: Answer | Submission) -> None:
        self.in_flight += 1
        self._answers.put((item, answer))
        with self._lock:
            if self._is_extracting:
                return
            self._is_extracting = True
        self._extracting.submit(self._extract).add_done_callback(self._pass_failure_on)

    def _take(self, deadline: Callable[[], float | None]) -> Judged[Item] | None:
        """The next result; None when the deadline passed before."""
        while True:
            until = deadline()
            left = _LOOK_S if until is None else min(_LOOK_S, until - time.monotonic())
            try:
                done = self._finished.get(timeout=max(0.0, left))
            except queue.Empty:
                if left <= 0:
                    return None
                continue
            self.in_flight -= 1
            outcome = result_of(done)
            return Judged(*self._with_sandbox.pop(done), outcome)

    def _extract(self) -> None:
        """Extract what is waiting, without a wait for more, until nothing is."""
        while batch := self._next_batch():
            self._extract_batch(batch)

    def _next_batch(self) -> list[tuple[Item, Answer | Submission]]:
        with self._lock:
            batch = [] if self._is_closed else list(_ready(self._answers))
            self._is_extracting = bool(batch)
            return batch

    def _extract_batch(self, batch: list[tuple[Item, Answer | Submission]]) -> None:
        found = self._extractor.extract_many(answer for _, answer in batch if isinstance(answer, Answer))
        for item, answer in batch:
            program = answer.program if isinstance(answer, Submission) else next(found)
            job = Job(answer.problem, program, answer.problem.limits_in(self._limits))
            future = self._sandbox.submit(job)
            self._with_sandbox[future] = item, program
            future.add_done_callback(self._finished.put)

    def _pass_failure_on(self, extraction: Future[None]) -> None:
        if not extraction.cancelled() and extraction.exception() is not None:
            self._finished.put(extraction)  # to ask for its result raises what went wrong


def _ready(waiting: queue.SimpleQueue[Item]) -> Iterator[Item]:
    try:
        for _ in range(_BATCH):
            yield waiting.get_nowait()
    except queue.Empty:
        return


def judge_answers(
    answers: Iterable[tuple[Item, Answer | Submission]],
    *,
    sandbox: Sandbox,
    extractor: Extractor,
    limits: PartialLimits,
) -> Iterator[Judged[Item]]:
    """Extract the programs of `answers` and judge them; see `Judging.judge`."""
    with Judging[Item](sandbox=sandbox, extractor=extractor, limits=limits) as judging:
        yield from judging.judge(answers)


def extract_programs(
    answers: Iterable[tuple[Item, Answer]], extractor: Extractor
) -> Iterator[tuple[Item, Program, Problem]]:
    """The program of each answer, in order. `answers` is read in batches."""
    waiting: deque[tuple[Item, Problem]] = deque()

    def remembered() -> Iterator[Answer]:
        for item, answer in answers:
            waiting.append((item, answer.problem))
            yield answer

    for program in extractor.extract_many(remembered()):
        item, problem = waiting.popleft()
        yield item, program, problem
