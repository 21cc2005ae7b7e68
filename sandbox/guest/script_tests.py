"""Tests that give a program stdin and compare what it prints. The expected output never leaves the judge."""

from __future__ import annotations

from .answers import LATE, Answers
from .asserts import failure_from, shown
from .bounds import bounded_time
from .classify import FORBIDDEN, MEMORY, OUTPUT, TIMEOUT, Failure
from .execution import WAITS, Execution
from .fork_client import ForkServer, Limits
from .plan import Rule, StdioTest
from .remote import Link
from .stops import CandidateGone, TestTimeUp
from .tally import Tally

_POINTLESS_AFTER = {"syntax", "indentation", TIMEOUT, MEMORY, OUTPUT, FORBIDDEN}
"""After these the other cases would cost much or come to the same."""


def judge_scripts(
    server: ForkServer, tests: list[StdioTest], rule: Rule, source: str, limits: Limits, tally: Tally
) -> None:
    """Run the program once for each test, each time in a process of its own, and add what came of it to `tally`.

    Raises:
        BadTests: the tests are at fault.
        SandboxBroken: the sandbox is.
    """
    answers = Answers(rule)
    for number, test in enumerate(tests, start=1):
        failure = _judge_case(server, test, answers, source, limits, tally)
        if failure is None:
            tally.passed += 1
            continue
        tally.fail(failure, f"stdin case {number}: {shown(test.stdin.decode('utf-8', 'replace'))}")
        if failure.error_type in _POINTLESS_AFTER or tally.failures_left <= 0:
            return


def _judge_case(
    server: ForkServer, test: StdioTest, answers: Answers, source: str, limits: Limits, tally: Tally
) -> Failure | None:
    execution = Execution(server, limits, test.stdin)
    try:
        failure = _run_to_end(execution, source)
    finally:
        execution.close()
    failure = execution.cause_of(failure)
    tally.add_end_of(execution)
    return failure or _failure_of(execution.stdout, test, answers, limits)


def _failure_of(printed: bytes, test: StdioTest, answers: Answers, limits: Limits) -> Failure | None:
    text = printed.decode("utf-8", "surrogateescape")  # bytes that are not UTF-8 become what no expected text holds
    try:
        with bounded_time(limits.time_s, WAITS):
            return answers.failure_of_text(test.stdin.decode(), text, test.expected)
    except TestTimeUp:
        return LATE


def _run_to_end(execution: Execution, source: str) -> Failure | None:
    """What went wrong while the program ran; None if it ended with code 0 and no exception."""
    link = Link(execution)
    try:
        link.run_script(source)
    except CandidateGone:
        return None if link.finished else link.failure
    except Exception as error:  # the program's own
        execution.wait_for_exit()
        return failure_from(error)
    return Failure(FORBIDDEN, "the program answered a question that nobody asked")
