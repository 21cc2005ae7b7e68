"""Whether a program's answer is right: by a comparison with the expected one, or by the problem's own checker."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import CodeType
from typing import Any, NoReturn

from .asserts import FAULTS_OF_TESTS, failure_from, shown
from .bounds import GUARD
from .classify import FORBIDDEN, TIMEOUT, WRONG_ANSWER, Failure
from .comparison import FLOATS, difference, is_plain, same_value
from .plan import CallCase, Rule
from .stops import BadTests, SandboxBroken, TestTimeUp

Check = Callable[[Any, Any, Any], Any]
Copies = Callable[[], tuple[Any, Any]]
"""Gives what the program was given and what is expected, which a checker may change."""
LATE = Failure(TIMEOUT, "the tests did not get done with the program's answers")


class Answers:
    """Judges the answers of one program: a checker keeps nothing from the program before. Whoever asks sets a bound on
    the time."""

    def __init__(self, rule: Rule) -> None:
        """Raises BadTests if the checker can't be loaded."""
        self._rule = rule
        self._check = _load(rule.checker) if rule.checker else None

    def failure_of_text(self, given: str, printed: str, expected: str) -> Failure | None:
        """What is wrong with a printed text; None if nothing is.

        Raises:
            BadTests: the checker is at fault.
        """
        if self._check is not None:
            return _asked(self._check, lambda: (given, expected), printed)
        return difference(printed, expected, self._rule.comparison, self._rule.tolerance)

    def failure_of_value(self, case: CallCase, value: Any) -> Failure | None:
        """What is wrong with a returned value; None if nothing is.

        Raises:
            BadTests: the checker is at fault.
        """
        if self._check is not None and is_plain(value):
            return _asked(self._check, case.copies, value)
        tolerance = self._rule.tolerance if self._rule.comparison == FLOATS else None
        if self._check is None and same_value(value, case.expected, tolerance):
            return None
        return Failure(WRONG_ANSWER, f"{shown(value)} != {shown(case.expected)}")


def _asked(check: Check, copies: Copies, got: Any) -> Failure | None:
    """What the checker has against an answer.

    Raises:
        BadTests: it is at fault itself.
    """
    given, expected = copies()
    seen = shown(got)  # before the checker can change it
    refused: list[str] = []

    def refuse(reason: str) -> NoReturn:
        refused.append(reason)
        raise PermissionError(reason)

    try:
        with GUARD.watching(refuse, may_make_code=False):
            answer = check(given, got, expected)
    except (BadTests, SandboxBroken, TestTimeUp):
        raise
    except BaseException as error:  # a checker may stumble over anything
        if not refused:
            return failure_from(error, lambda error: _can_judge(check, copies, refuse))
    if refused:  # the checker may have swallowed it
        return Failure(FORBIDDEN, f"the checker was stopped over the answer: {refused[0]}")
    return None if answer is True else Failure(WRONG_ANSWER, f"the checker says {shown(answer)} to {seen}")


def _can_judge(check: Check, copies: Copies, refuse: Any) -> bool:
    """Whether the checker has all that it names when it is asked about the expected answer."""
    given, expected = copies()
    try:
        with GUARD.watching(refuse, may_make_code=False):
            check(given, expected, expected)
    except FAULTS_OF_TESTS:
        return False
    except (Exception, SystemExit):  # there may be no expected answer
        return True
    return True


def _load(code: CodeType) -> Check:
    space: dict[str, Any] = {"__name__": "checker"}
    try:
        exec(code, space)
        check = space["check"]
        inspect.signature(check).bind(None, None, None)
    except KeyError:
        raise BadTests("the checker does not define check(given, printed, expected)") from None
    except (Exception, SystemExit) as error:
        raise BadTests(f"the checker can't be loaded: {type(error).__name__}: {error}") from error
    return check
