"""Keeps one worker alive and tells whose fault a loss was: the program's or the sandbox's.

Every fresh worker must judge a known-good program before it judges anything else, so that a sandbox which is
broken in a way that fails every program is never mistaken for bad programs.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rlcode.errors import DataError, SandboxError
from rlcode.types import ErrorType, Limits, Problem, Program, TestCase, TestKind, Unscored, Verdict, from_json
from sandbox.guest import wire
from sandbox.protocol import Job
from sandbox.spare import Spare
from sandbox.worker import Worker, WorkerLost

log = logging.getLogger(__name__)

START_TRIES = 12
"""Starts in a row that may fail; with the pauses between them about a minute, so that an engine may restart."""
LONGEST_PAUSE_S = 10.0
CONTROL_TRIES = 3
OUTSIDE_LOSSES = 20
"""Workers in a row that may be killed from outside with the same program before it is given up, unscored."""
MOST_AT_ONCE = 8
"""Programs that are handed to a worker in one message; each message costs the engine and this process a tenth of what
a program does."""
SOON_S = 0.05
"""Seconds on the clock for one program, within which it is soon done."""
RECYCLE_AFTER = 5000
"""Programs that one worker judges before a fresh one takes over; a start costs 0.3 s, so about 1 % here."""

CONTROL = Job(
    Problem(
        task_id="control",
        prompt="",
        tests=(TestCase(TestKind.CHECK, code="def check(candidate):\n    assert candidate(20) == 41\n"),),
        entry_point="control",
    ),
    Program("def control(n):\n    return 2 * n + 1\n", how="control"),
    Limits(),
)


class ControlError(SandboxError):
    """Fresh workers came up but did not judge the known-good program right."""


@dataclass(frozen=True)
class Judgement:
    """What became of a job; a DataError where the problem's tests can't be judged at all. `is_clean`: the first worker
    that was asked gave the verdict and was fit to go on."""

    result: Verdict | Unscored | DataError
    is_clean: bool = False


@dataclass(frozen=True)
class _Answer:
    """What a worker says of a job, and what of its program could not be cleared away."""

    result: Verdict | DataError
    anomaly: str = ""


class Keeper:
    """One place in a pool. `judge` is for one thread at a time; `stop` may come from any."""

    def __init__(
        self,
        make_worker: Callable[[Limits], Worker],
        *,
        backend: str,
        image_digest: str = "",
        spare: Spare | None = None,
        recycle_after: int = RECYCLE_AFTER,
        backoff_s: float = 0.25,
    ) -> None:
        """`spare` is shared by the keepers of a pool; without one, a worker is started only when it is needed."""
        self._make_worker = make_worker
        self._backend = backend
        self._image_digest = image_digest
        self._spare = spare
        self._recycle_after = recycle_after
        self._backoff_s = backoff_s
        self._worker: Worker | None = None
        self._judged = 0
        self._at_once = 1
        self._renewals = 0
        self._ids = itertools.count(1)
        self._stopped = threading.Event()

    @property
    def at_once(self) -> int:
        """How many jobs to hand to `judge`: the more, the more programs before were soon done. One that is slow is to
        hold up few others."""
        return self._at_once

    def judge(self, jobs: Sequence[Job]) -> list[Judgement]:
        """Judge the first of some jobs that have the same limits, and those after it that are soon done, through the
        loss of a worker or two. Gives what became of these, in order.

        Raises:
            ConfigError: no worker can have what the limits ask for.
            SandboxError: no worker can be started, or `stop` was called.
        """
        started = time.monotonic()
        judgements = self._judge_some(jobs)
        soon = time.monotonic() - started < SOON_S * len(judgements)
        self._at_once = min(2 * self._at_once, MOST_AT_ONCE) if soon else 1
        return judgements

    def _judge_some(self, jobs: Sequence[Job]) -> list[Judgement]:
        if len(jobs) > 1:
            try:
                worker = self._fitting(jobs[0].limits)
                return self._use(worker, jobs[: max(self._recycle_after - self._judged, 1)])
            except wire.TooLong as error:
                log.info("judging %d programs one by one: %s", len(jobs), error)
            except (ControlError, WorkerLost) as error:
                log.warning("judging %d programs one by one: %s", len(jobs), error)
                self._drop()
        return [self._judge_one(job) for job in jobs]

    def _judge_one(self, job: Job) -> Judgement:
        try:
            return self._use(self._fitting(job.limits), [job])[0]
        except ControlError as failure:
            return Judgement(Unscored(str(failure)))
        except WorkerLost as lost:
            return Judgement(self._judge_alone(job, lost))

    def suits(self, limits: Limits) -> bool:
        """Whether the worker that is here, if there is one, can judge programs with these limits."""
        worker = self._worker
        return worker is not None and worker.suits(limits)

    @property
    def is_vacant(self) -> bool:
        """Whether there is no worker here now."""
        return self._worker is None

    def stop(self) -> None:
        """Kill the worker; what `judge` has under way ends with a SandboxError."""
        self._stopped.set()
        self._drop()

    def _judge_alone(self, job: Job, lost: WorkerLost) -> Verdict | Unscored | DataError:
        """Judge the program that a worker was lost with, as the first of a worker that was just proven.

        Two losses that nothing else explains are the program's doing. Those from outside are nobody's.
        """
        unexplained = outside = 0
        while True:
            log.warning("a %s worker was lost while judging %s: %s", self._backend, job.problem.task_id, lost)
            unexplained, outside = unexplained + (not lost.from_outside), outside + lost.from_outside
            if unexplained == 2:
                self._drop()
                return took_its_worker_down(job, self._backend, self._image_digest, lost)
            if outside == OUTSIDE_LOSSES:
                self._drop()
                return Unscored(
                    f"{outside} workers were lost, through no fault of the program, the last one so: {lost}"
                )
            try:
                return self._use(self._renew(job.limits), [job])[0].result
            except ControlError as failure:
                return Unscored(str(failure))
            except WorkerLost as again:
                lost = again

    def _fitting(self, limits: Limits) -> Worker:
        """The worker that is here, or a fresh one where there is none or it was made for other limits."""
        worker = self._worker
        return worker if worker is not None and worker.suits(limits) else self._renew(limits)

    def _renew(self, limits: Limits) -> Worker:
        """A fresh worker, in the place of the one that was, that judged the control program right."""
        failures: list[str] = []
        for _ in range(OUTSIDE_LOSSES):
            worker = self._start(limits)
            try:
                failure = self._control_failure(worker)
            except WorkerLost as lost:
                if lost.from_outside:
                    continue
                failure = str(lost)
            if not failure:
                self._prepare_next(limits)
                return worker
            failures.append(failure)
            if len(failures) == CONTROL_TRIES:
                break
        self._drop()
        last = failures[-1] if failures else "each was killed from outside"
        raise ControlError(f"fresh workers failed the known-good control program again and again, at last so: {last}")

    def _prepare_next(self, limits: Limits) -> None:
        """A place that needed another worker once, because of hostile programs perhaps, is likely to again."""
        self._renewals += 1
        if self._spare is not None and self._renewals > 1:
            self._spare.prepare(limits)

    def _control_failure(self, worker: Worker) -> str:
        """Why the control program did not pass; empty when it did.

        Raises:
            WorkerLost: the worker was lost with it.
        """
        (answer,) = self._ask(worker, [CONTROL])
        if isinstance(answer.result, DataError):
            return str(answer.result)
        if not answer.result.passed:
            return f"{answer.result.error_type}, {answer.result.detail}"
        return answer.anomaly

    def _start(self, limits: Limits) -> Worker:
        """Start a worker; failures are retried after ever longer pauses."""
        self._drop()
        for attempt in itertools.count(1):
            if self._stopped.is_set():
                raise SandboxError("the sandbox was closed")
            ready = None if self._spare is None else self._spare.take(limits)
            worker = ready or self._make_worker(limits)
            self._worker, self._judged = worker, 0
            try:
                if not ready:
                    worker.start()
                return worker
            except SandboxError as error:
                self._drop()
                if attempt == START_TRIES:
                    raise SandboxError(
                        f"no {self._backend} worker could be started in {attempt} tries: {error}"
                    ) from error
                log.warning("a %s worker did not start (try %d): %s", self._backend, attempt, error)
            self._stopped.wait(min(self._backoff_s * 2 ** (attempt - 1), LONGEST_PAUSE_S))
        raise AssertionError("unreachable")

    def _drop(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.kill()

    def _use(self, worker: Worker, jobs: Sequence[Job]) -> list[Judgement]:
        """Have programs judged, and give the worker up if that left it dirty or worn; see `_ask`."""
        answers = self._ask(worker, jobs)
        before, self._judged = self._judged, self._judged + len(answers)
        anomaly = "; ".join(answer.anomaly for answer in answers if answer.anomaly)
        if anomaly:
            last = jobs[len(answers) - 1].problem.task_id
            log.info("replacing a %s worker after %s: %s", self._backend, last, anomaly)
        if self._spare is not None and before < self._recycle_after * 9 // 10 <= self._judged:
            self._spare.prepare(jobs[0].limits)
        if anomaly or self._judged >= self._recycle_after:
            self._drop()
        return [Judgement(answer.result, is_clean=not answer.anomaly) for answer in answers]

    def _ask(self, worker: Worker, jobs: Sequence[Job]) -> list[_Answer]:
        """What a worker says of the first of some jobs, at least one.

        Raises:
            WorkerLost: it says what no judge says, or nothing.
            wire.TooLong: several jobs do not fit a frame.
        """
        requests = [request_for(next(self._ids), job) for job in jobs]
        try:
            answers = self._exchange(worker, requests, jobs)
        except WorkerLost:
            self._require_open()  # to close is what killed the worker
            raise
        self._require_open()
        if not 0 < len(answers) <= len(jobs):
            raise WorkerLost(f"{len(answers)} answers to {len(jobs)} requests")
        return [self._read(*parts) for parts in zip(answers, requests, jobs, strict=False)]

    def _require_open(self) -> None:
        if self._stopped.is_set():
            raise SandboxError("the sandbox was closed") from None

    def _exchange(self, worker: Worker, requests: list[dict[str, Any]], jobs: Sequence[Job]) -> list[dict[str, Any]]:
        seconds = max(map(watchdog_s, jobs))  # once a program took long, no other is begun
        if len(requests) > 1:
            answers = worker.ask({"requests": requests}, seconds).get("answers")
            if not isinstance(answers, list):
                raise WorkerLost("several requests, and no list of answers")
            return answers
        try:
            return [worker.ask(requests[0], seconds)]
        except wire.TooLong as error:
            return [{"id": requests[0]["id"], "error": f"its tests and the program take {error}"}]

    def _read(self, answer: dict[str, Any], request: dict[str, Any], job: Job) -> _Answer:
        if answer.get("id") != request["id"]:
            raise WorkerLost(f"the answer to request {request['id']} says it is for {answer.get('id')!r}")
        if "error" in answer:
            return _Answer(DataError(f"the tests of {job.problem.task_id} can't be judged: {answer['error']}"))
        verdict = read_verdict(answer, job, self._backend, self._image_digest)
        return _Answer(verdict, answer.get("anomaly") or "")


def watchdog_s(job: Job) -> float:
    """Seconds after which a worker that did not answer is given up.

    The program's limit counts what it consumed, case by case, so on a busy machine a good answer can take many
    times that; only a worker that hangs may meet this bound.
    """
    return 10 * job.limits.time_s * max(1, len(job.problem.tests)) + 60


def request_for(number: int, job: Job) -> dict[str, Any]:
    """The frame that asks a judge about a job."""
    problem, limits = job.problem, job.limits
    return {
        "id": number,
        "source": job.program.source,
        "problem": {
            "entry_point": problem.entry_point,
            "declares": list(problem.declares),
            "test_setup": problem.test_setup,
            "tests": [{name: value for name, value in vars(test).items() if value} for test in problem.tests],
            "comparison": problem.comparison,
            "tolerance": problem.tolerance,
            "checker": problem.checker,
        },
        "limits": vars(limits),
    }


def read_verdict(answer: dict[str, Any], job: Job, backend: str, image_digest: str) -> Verdict:
    """The verdict in a judge's answer.

    Raises:
        WorkerLost: it is no verdict; whoever wrote that can't be trusted further.
    """
    try:
        where = {"backend": backend, "image_digest": image_digest, "limits": job.limits}
        return from_json(Verdict, {**answer["verdict"], **where, "forgeable": job.problem.forgeable})
    except (KeyError, TypeError, ValueError) as error:
        raise WorkerLost(f"the answer is no verdict: {error!r}") from error


def took_its_worker_down(job: Job, backend: str, image_digest: str, lost: WorkerLost) -> Verdict:
    """The verdict on a program that ended two workers while a known-good one did no harm."""
    return Verdict(
        ErrorType.FORBIDDEN,
        tests_passed=0,
        tests_total=0,
        detail=f"the program took its worker down twice: {lost}"[:500],
        backend=backend,
        image_digest=image_digest,
        limits=job.limits,
        forgeable=job.problem.forgeable,
    )
