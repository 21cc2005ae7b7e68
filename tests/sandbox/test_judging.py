"""Answers are judged beside whatever writes them; when too much can't be judged, a run stops."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from rlcode.errors import ExtractionError, SandboxError
from rlcode.extraction_worker import Extractor
from rlcode.types import Answer, PartialLimits, Problem, Program, TestCase, TestKind, Unscored, Verdict
from sandbox.judging import MOST_IN_FLIGHT, Judged, Judging, Submission, UnscoredShare, judge_answers
from sandbox.protocol import Job


def test_a_share_may_be_unscored_and_not_one_more() -> None:
    share = UnscoredShare(0.1, 30, "mend it")
    for reason in [None, "lost", "lost", None, "lost"]:
        share.count(reason)
    assert share.unscored == 3
    with pytest.raises(
        SandboxError, match=r"4 of 30 samples could not be judged.*because: the engine is gone; mend it"
    ):
        share.count("the engine is gone")


def test_a_share_of_nothing_stops_at_the_first() -> None:
    with pytest.raises(SandboxError):
        UnscoredShare(0.0, 1000).count("lost")


PROBLEM = Problem("t", "", (TestCase(TestKind.ASSERTS, code="assert f() == 1"),), entry_point="f")


@dataclass
class Scripted:
    """A sandbox that does with each program what a function says."""

    act: Callable[[str], Verdict | Unscored]
    workers: int = 2
    backend: str = "scripted"
    image_digest: str = ""

    def __post_init__(self) -> None:
        self.threads = ThreadPoolExecutor(2 * self.workers)

    def submit(self, job: Job) -> Future[Verdict | Unscored]:
        return self.threads.submit(self.act, job.program.source or "")

    def judge(self, jobs: Iterable[Job]) -> Iterator[Verdict | Unscored]:
        return (future.result() for future in [self.submit(job) for job in jobs])

    def close(self) -> None: ...

    def __enter__(self) -> Scripted:
        return self

    def __exit__(self, *exc: object) -> None: ...


@pytest.fixture(scope="module")
def extractor() -> Iterator[Extractor]:
    with Extractor() as extractor:
        yield extractor


def answers(count: int) -> Iterator[tuple[int, Answer]]:
    for number in range(count):
        yield number, Answer(f"```python\ndef f():\n    return {number}\n```", PROBLEM)


def judge(
    given: Iterable[tuple[int, Answer | Submission]], act: Callable[[str], Verdict | Unscored], extractor: Extractor
) -> Iterator[Judged[int]]:
    return judge_answers(given, sandbox=Scripted(act), extractor=extractor, limits=PartialLimits())


def passes(source: str) -> Verdict:
    return Verdict(None, 1, 1, stdout=source)


def test_each_answer_comes_back_with_its_own_verdict(extractor: Extractor) -> None:
    judged = list(judge(answers(200), passes, extractor))
    assert sorted(one.item for one in judged) == list(range(200))
    for one in judged:
        assert isinstance(one.outcome, Verdict)
        assert f"return {one.item}" in one.outcome.stdout
        assert one.program.source == one.outcome.stdout


def test_a_solution_is_judged_as_it_is(extractor: Extractor) -> None:
    (judged,) = judge([(7, Submission(Program("not code at all", "solution"), PROBLEM))], passes, extractor)
    assert judged.program == Program("not code at all", "solution")


def test_a_slow_program_holds_up_no_other(extractor: Extractor) -> None:
    release = threading.Event()

    def first_waits(source: str) -> Verdict:
        assert "return 0" not in source or release.wait(60)
        return passes(source)

    order = []
    for one in judge(answers(3 * MOST_IN_FLIGHT), first_waits, extractor):
        order.append(one.item)
        if len(order) == 3 * MOST_IN_FLIGHT - 1:
            release.set()
    assert order[-1] == 0


def test_an_answer_is_judged_while_the_next_one_is_being_written(extractor: Extractor) -> None:
    judged = threading.Event()

    def tells(source: str) -> Verdict:
        judged.set()
        return passes(source)

    def written() -> Iterator[tuple[int, Answer]]:
        for item in answers(2):
            yield item
            assert judged.wait(60), "the answer waits for others to fill a batch"

    assert len(list(judge(written(), tells, extractor))) == 2


def test_no_more_answers_are_taken_than_may_be_in_flight(extractor: Extractor) -> None:
    release = threading.Event()
    taken = 0

    def written() -> Iterator[tuple[int, Answer]]:
        nonlocal taken
        for item in answers(MOST_IN_FLIGHT + 50):
            taken += 1
            if taken == MOST_IN_FLIGHT:
                threading.Timer(0.3, release.set).start()
            assert taken <= MOST_IN_FLIGHT or release.is_set()
            yield item

    def waits(source: str) -> Verdict:
        assert release.wait(60)
        return passes(source)

    assert len(list(judge(written(), waits, extractor))) == MOST_IN_FLIGHT + 50


class OwnError(Exception):
    pass


def test_an_error_of_either_side_reaches_the_caller_as_it_is(extractor: Extractor) -> None:
    def breaks(source: str) -> Verdict:
        raise SandboxError("the engine is gone")

    def endless() -> Iterator[tuple[int, Answer]]:
        for number in itertools.count():
            yield number, Answer("x = 1", PROBLEM)

    def fails() -> Iterator[tuple[int, Answer]]:
        yield from answers(3)
        raise OwnError

    with pytest.raises(SandboxError, match="the engine is gone"):
        list(judge(endless(), breaks, extractor))
    with pytest.raises(OwnError):
        list(judge(fails(), passes, extractor))


def test_an_extractor_that_does_not_start_reaches_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Extractor()
    monkeypatch.setattr(broken, "_command", ["/bin/false"])
    with pytest.raises(ExtractionError):
        list(judge(answers(5), passes, broken))


def test_at_the_deadline_what_is_not_judged_is_given_up(extractor: Extractor) -> None:
    release = threading.Event()

    def some_wait(source: str) -> Verdict:
        assert "return 1" not in source or release.wait(60)
        return passes(source)

    scripted = Scripted(some_wait, workers=8)
    with Judging[int](sandbox=scripted, extractor=extractor, limits=PartialLimits()) as judging:
        started = time.monotonic()
        judged = [one.item for one in judging.judge(answers(10), lambda: started + 1.5)]
        assert sorted(judged) == [0, *range(2, 10)]
        assert judging.in_flight == 1
        release.set()
