"""What the sandbox says of a set of problems: reference solutions and trivial programs against the tests."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from eval.validation.findings import Finding, Kind
from eval.validation.trivial import Trivial, same_answer, trivial_programs
from rlcode.errors import DataError
from rlcode.types import PartialLimits, Problem, Program, Unscored, Verdict
from sandbox.flaky import find_flaky
from sandbox.judging import UnscoredShare
from sandbox.ordered import result_of
from sandbox.protocol import Job, Sandbox

_IN_FLIGHT = 256
_SLOW = 0.5
"""Share of the time limit from which on a busy machine might change the verdict."""
Outcome = Verdict | Unscored | DataError


@dataclass(frozen=True)
class Trial:
    """A program that is held against a problem's tests: its reference solution, or a trivial one."""

    problem: Problem
    program: Program
    trivial: Trivial | None = None


def trials(problems: Iterable[Problem]) -> Iterator[Trial]:
    """All programs that are to be judged."""
    for problem in problems:
        if problem.reference_solution:
            yield Trial(problem, Program(problem.reference_solution, "reference"))
        for trivial in trivial_programs(problem):
            yield Trial(problem, trivial.program, trivial)


def judge_trials(tried: Iterable[Trial], sandbox: Sandbox, limits: PartialLimits) -> Iterator[tuple[Trial, Outcome]]:
    """Each trial with its outcome, in their order. Tests that can't be run are an outcome: a DataError.

    Raises:
        SandboxError: the sandbox can't go on.
    """
    waiting: deque[tuple[Trial, Future[Verdict | Unscored]]] = deque()
    for trial in tried:
        job = Job(trial.problem, trial.program, trial.problem.limits_in(limits))
        waiting.append((trial, sandbox.submit(job)))
        if len(waiting) >= _IN_FLIGHT:
            first, future = waiting.popleft()
            yield first, _outcome(future)
    for trial, future in waiting:
        yield trial, _outcome(future)


def judged_findings(
    problems: Sequence[Problem],
    sandbox: Sandbox,
    limits: PartialLimits,
    *,
    max_unscored_share: float = 0.1,
    seen: Callable[[], None] = lambda: None,
) -> tuple[list[Finding], list[Problem]]:
    """What the sandbox finds, and the problems whose reference solution passed. `seen()` is called for each verdict.

    Raises:
        SandboxError: the sandbox can't go on, or more than the given share could not be judged.
    """
    tried = list(trials(problems))
    share = UnscoredShare(max_unscored_share, len(tried))
    findings: dict[tuple[str, Kind], Finding] = {}
    passed = []
    for trial, outcome in judge_trials(tried, sandbox, limits):
        seen()
        share.count(outcome.reason if isinstance(outcome, Unscored) else None)
        for finding in _findings(trial, outcome):
            findings.setdefault((finding.task_id, finding.kind), finding)
        if trial.trivial is None and isinstance(outcome, Verdict) and outcome.passed:
            passed.append(trial.problem)
    return [*findings.values(), *_told_without_judging(problems)], passed


def flaky_findings(
    problems: Sequence[Problem],
    sandbox: Sandbox,
    limits: PartialLimits,
    runs: int,
    seen: Callable[[], None] = lambda: None,
) -> Iterator[Finding]:
    """Reference solutions whose verdict differs between `runs` runs. The sandbox must have no cache.

    Raises:
        SandboxError: the sandbox can't go on.
    """
    jobs = (Job(p, Program(p.reference_solution, "reference"), p.limits_in(limits)) for p in problems)
    for result in find_flaky(jobs, sandbox, runs):
        seen()
        if result.is_flaky:
            told = ", ".join(f"{outcome} {count}" for outcome, count in result.outcomes.items())
            yield Finding(result.job.problem.task_id, Kind.FLAKY_REFERENCE, f"in {runs} runs: {told}")


def failure(verdict: Verdict) -> str:
    """Why a program did not pass, in a line."""
    said = (str(verdict.error_type or "no test"), verdict.detail, verdict.first_failing_test)
    return ": ".join(part.replace("\n", " ")[:200] for part in said if part)


def _outcome(future: Future[Verdict | Unscored]) -> Outcome:
    try:
        return result_of(future)
    except DataError as error:
        return error


def _findings(trial: Trial, outcome: Outcome) -> Iterator[Finding]:
    task_id = trial.problem.task_id
    if isinstance(outcome, DataError):
        yield Finding(task_id, Kind.BAD_TESTS, str(outcome))
    elif isinstance(outcome, Unscored):
        yield Finding(task_id, Kind.NOT_JUDGED, outcome.reason)
    elif trial.trivial is not None:
        yield from _trivial_findings(task_id, trial.trivial, outcome)
    elif not outcome.passed:
        yield Finding(task_id, Kind.REFERENCE_FAILS, failure(outcome))
    elif outcome.time_s > _SLOW * outcome.limits.time_s:
        yield Finding(task_id, Kind.SLOW_REFERENCE, f"{outcome.time_s:.1f} of {outcome.limits.time_s:g} s")


def _trivial_findings(task_id: str, trivial: Trivial, verdict: Verdict) -> Iterator[Finding]:
    if not verdict.passed:
        return
    if not trivial.is_constant:
        yield Finding(task_id, Kind.TRIVIAL, f"{trivial.name} passes")
    elif verdict.tests_total > 1:  # the answer to a single test is a constant
        yield Finding(task_id, Kind.CONSTANT, f"{trivial.name} passes all {verdict.tests_total} tests")


def _told_without_judging(problems: Iterable[Problem]) -> Iterator[Finding]:
    for problem in problems:
        if not problem.reference_solution:
            yield Finding(problem.task_id, Kind.NO_REFERENCE, "")
        if answer := same_answer(problem):
            yield Finding(problem.task_id, Kind.CONSTANT, f"all {len(problem.tests)} tests expect {answer[:80]!r}")
