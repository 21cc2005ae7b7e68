"""unittest classes: tests that patch modules and look into the program's objects, so they run in its interpreter.

Here alone a program can forge a pass, so the host marks each such verdict. What the judge still holds: which tests
there are, the limits, and that each test was asked for and told to have passed.
"""

from __future__ import annotations

import os
from typing import Any, NoReturn

from .bounds import bounded_time
from .classify import (
    COMPILE,
    FORBIDDEN,
    MISSING_ENTRY_POINT,
    NO_RESULT,
    RUN,
    TEST,
    TIMEOUT,
    Failure,
    of_exception,
)
from .codec import CannotCross, Codec, Malformed
from .execution import WAITS, Execution
from .fork_client import ForkServer, Limits
from .stops import Stopped, TestTimeUp
from .tally import Tally
from .unittest_plan import UnittestTests

_PASSED, _SKIPPED, _MISSING, _RAISED = "passed", "skipped", "missing", "x"
_END = "after the last test"
_NUMBER_BYTES = 7
_MAX_TEXT, _MAX_BASES = 1000, 100


def judge_unittests(server: ForkServer, tests: UnittestTests, source: str, limits: Limits, tally: Tally) -> None:
    """Run program and tests in one process, ask how each test ended, and add what came of it to `tally`.

    A skipped test counts for nothing; where all are, there is no result.

    Raises:
        SandboxBroken: the sandbox is.
    """
    execution = Execution(server, limits, stdin=b"")
    methods = Tally(len(tests.names), tally.failures_left)
    try:
        with bounded_time(limits.time_s, WAITS):
            _ask_for_all(_Process(execution, tests.entry_point), tests, source, methods)
    except TestTimeUp:
        methods.fail(Failure(TIMEOUT, "what the program sent took too long to read"), None)
    finally:
        execution.close()
    if not methods.total:
        methods.fail(Failure(NO_RESULT, "all tests were skipped"), None)
    failure = execution.cause_of(methods.failure)
    if failure is not None:
        tally.fail(failure, methods.first_failing_test, max(methods.failed, 1))
    tally.total += methods.total - len(tests.names)
    tally.passed += methods.passed
    tally.add_end_of(execution)


def _ask_for_all(process: _Process, tests: UnittestTests, source: str, methods: Tally) -> None:
    """Note how each test ended, until the program can't be asked any more."""
    name = tests.names[0]
    try:
        process.start(source, tests)
        for name in tests.names:
            outcome = process.next_outcome()
            if isinstance(outcome, Failure):
                methods.fail(outcome, name)
                if methods.failures_left <= 0:
                    return
            elif outcome == _SKIPPED:
                methods.total -= 1
            else:
                methods.passed += 1
        name = _END
        outcome = process.next_outcome()
        if isinstance(outcome, Failure):
            methods.fail(outcome, name)
    except Stopped as stopped:
        methods.fail(stopped.failure, name)


class _Process:
    """The process of program and tests."""

    def __init__(self, execution: Execution, entry_point: str) -> None:
        self._execution = execution
        self._entry_point = entry_point
        self._codec = Codec(_refuse, _refuse)

    def start(self, source: str, tests: UnittestTests) -> None:
        """Raises Stopped: the program did not read in time."""
        rest = [tests.entry_point, tests.setup, tests.code, [[name, methods] for name, methods in tests.classes]]
        self._execution.send(self._codec.dumps(["unittest", source, rest]))

    def next_outcome(self) -> Failure | str:
        """How the next test ended: its failure, `passed` or `skipped`.

        The number of the question is unknown before it is asked, so no answer can lie ready.

        Raises:
            Stopped: the program ended, its time is up, or it sent what is no message.
        """
        number = int.from_bytes(os.urandom(_NUMBER_BYTES), "big")
        self._execution.send(self._codec.dumps([number]))
        try:
            return self._read(self._codec.loads(self._execution.receive()), number)
        except Malformed as error:
            raise Stopped(Failure(FORBIDDEN, f"the program sent what is no answer: {error}")) from None

    def _read(self, reply: list[Any], number: int) -> Failure | str:
        if len(reply) < 2 or type(reply[0]) is not int or reply[0] != number or type(reply[1]) is not str:
            raise Malformed("not the answer to the question")
        kind, body = reply[1], reply[2:]
        if kind in (_PASSED, _SKIPPED) and not body:
            return kind
        if kind == _MISSING and not body:
            return Failure(MISSING_ENTRY_POINT, f"the program does not define {self._entry_point}")
        if kind == _RAISED and len(body) == 5:
            return _failure(*body)
        raise Malformed("an answer of no known kind")


def _failure(phase: Any, line: Any, name: Any, bases: Any, message: Any) -> Failure:
    """What the exception that a message describes makes of the test.

    Raises:
        Malformed: the message is not in form.
    """
    texts = [phase, name, message, *bases] if type(bases) is list else [None]
    if not all(type(text) is str and len(text) <= _MAX_TEXT for text in texts) or len(bases) > _MAX_BASES:
        raise Malformed("an exception that is none")
    if phase not in (COMPILE, RUN, TEST) or not (line is None or (type(line) is int and 0 <= line < 1 << 31)):
        raise Malformed("an exception without phase and line")
    if "SystemExit" in bases:
        return Failure(NO_RESULT, f"the program asked for its end, SystemExit: {message}", line=line)
    return of_exception(name, bases, message, line, phase)


def _refuse(*parts: Any) -> NoReturn:
    raise CannotCross("no object travels here")
