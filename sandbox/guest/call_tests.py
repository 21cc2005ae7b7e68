"""Tests that call the program with arguments and look at what it returns.

All cases of a program run in one process. The arguments are copies, so nothing that the program does to them has a
say in a comparison.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .answers import LATE, Answers
from .asserts import failure_from, shown
from .bounds import bounded_time
from .classify import MISSING_ENTRY_POINT, NO_RESULT, TIMEOUT, Failure
from .execution import WAITS, Execution
from .fork_client import ForkServer, Limits
from .plan import CallCase, CallTests, Rule
from .remote import Link
from .stops import CandidateGone, TestTimeUp
from .tally import Tally

_CLASS = "Solution"
"""LeetCode's programs are methods of it."""

Function = Callable[[tuple[Any, ...]], Any]
"""Takes the arguments of a case."""


def judge_calls(server: ForkServer, tests: CallTests, rule: Rule, source: str, limits: Limits, tally: Tally) -> None:
    """Call the program once for each case, and add what came of it to `tally`.

    Raises:
        BadTests: the tests are at fault.
        SandboxBroken: the sandbox is.
    """
    answers = Answers(rule)
    execution = Execution(server, limits, stdin=b"")
    link = Link(execution)
    cases = Tally(len(tests.cases), tally.failures_left)
    try:
        with bounded_time(limits.time_s, WAITS):
            _load_and_call(link, tests, answers, source, cases)
    except TestTimeUp:
        cases.fail(LATE, None)
    finally:
        execution.close()
        link.forget()
    failure = execution.cause_of(cases.failure)
    if failure is not None:
        tally.fail(failure, cases.first_failing_test, max(cases.failed, 1))
    tally.passed += cases.passed
    tally.add_end_of(execution)


def _load_and_call(link: Link, tests: CallTests, answers: Answers, source: str, cases: Tally) -> None:
    """Note each case in `cases`, until the program can't be asked any more."""
    try:
        function = _entry_point(link, source, tests.entry_point)
    except CandidateGone:
        cases.fail(_end_of(link), _name(tests, 0))
        return
    except Exception as error:  # the program's own
        cases.fail(failure_from(error), _name(tests, 0))
        return
    if function is None:
        missing = f"neither the program nor its class {_CLASS} defines {tests.entry_point}"
        cases.fail(Failure(MISSING_ENTRY_POINT, missing), _name(tests, 0))
        return
    for number, case in enumerate(tests.cases):
        failure = _judge_case(link, function, case, answers)
        if failure is None:
            cases.passed += 1
            continue
        cases.fail(failure, _name(tests, number))
        if link.failure is not None or failure.error_type == TIMEOUT or cases.failures_left <= 0:
            return


def _entry_point(link: Link, source: str, name: str) -> Function | None:
    """The program's function or, where it has none of that name, the method of its class; None where that has none.

    Raises:
        Exception: as the program raised it.
        CandidateGone: it did not come to its end, or has neither function nor class.
    """
    found = link.load_any(source, [name, _CLASS])
    if name in found:
        return lambda arguments: link.ask("call", found[name], arguments)
    try:
        link.ask("getattr", found[_CLASS], (name,))
    except AttributeError:
        return None

    def call_method(arguments: tuple[Any, ...]) -> Any:
        instance = link.ask("call", found[_CLASS])
        return link.ask("call", link.ask("getattr", instance, (name,)), arguments)

    return call_method


def _judge_case(link: Link, function: Function, case: CallCase, answers: Answers) -> Failure | None:
    try:
        value = function(tuple(case.arguments))
    except CandidateGone:
        return _end_of(link)
    except Exception as error:  # the program's own
        return failure_from(error)
    try:
        return answers.failure_of_value(case, value)
    except TestTimeUp:
        return LATE
    except Exception as error:  # of numbers that can't be compared, say
        return failure_from(error)


def _end_of(link: Link) -> Failure:
    return link.failure or Failure(NO_RESULT, "the program is gone")


def _name(tests: CallTests, number: int) -> str:
    arguments = ", ".join(shown(argument) for argument in tests.cases[number].arguments)
    return f"call {number + 1}: {tests.entry_point}({arguments})"
