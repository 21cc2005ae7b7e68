"""The candidate's side of unittest classes, which run in the program's own interpreter and may patch what they like.

As all of the candidate this shares an interpreter with hostile code: a program that is after a pass can make any of it
say so. What is done here keeps out claims that come cheap: the outcome of each test goes to the judge over the link, in
answer to a question that was given a number by chance, and what was not told is no pass.

    judge → candidate     [number]                 how did the next test end? and after all of them: how did the end?
    candidate → judge     [number, "passed"], [number, "skipped"], [number, "missing"]
                          [number, "x", phase, line, class, built-in bases, message]

`unittest` is loaded after the fork: no other program needs it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any, Protocol

from . import program
from .classify import COMPILE, RUN, TEST

MODULE = "__test__"
"""What program and tests are a module of, as in BigCodeBench's own code."""
_PASSED, _SKIPPED, _MISSING = ["passed"], ["skipped"], ["missing"]
_UNDONE: list[Any] = ["x", TEST, None, "RuntimeError", ["RuntimeError", "Exception"], "unittest did not run the test"]
_UNEXPECTED: list[Any] = ["x", TEST, None, "AssertionError", ["AssertionError"], "it was expected to fail, and passed"]


class Link(Protocol):
    """Of the candidate's link what is needed here."""

    def send(self, head: list[Any]) -> None: ...

    def read(self) -> list[Any]: ...

    def described(self, error: BaseException) -> list[Any]: ...


def run(link: Link, source: str, entry_point: str, setup: str, code: str, classes: list[Any]) -> None:
    """Load setup, program and tests into one module, and run the tests.

    `classes` are the names of the test classes, each with those of its tests.
    """
    import unittest

    tests, failed = _load(link, setup, source, code, entry_point, classes)
    if failed is not None:
        _tell(link, failed)
        return
    recorder = Recorder(link, tests, entry_point)
    unittest.TestSuite(tests).run(recorder)  # type: ignore[arg-type]
    recorder.end()


def _load(
    link: Link, setup: str, source: str, code: str, entry_point: str, classes: list[Any]
) -> tuple[list[Any], list[Any] | None]:
    """Run setup, program and the tests' code; the tests, and what to tell where any of that did not work."""
    space = program.new_module(MODULE).__dict__
    space.update(sys=sys, os=os, environ=os.environ)  # BigCodeBench's tests have them without an import
    phase = COMPILE
    try:
        compiled = program.compiled(source)
        phase = TEST
        exec(compile(setup, "<test_setup>", "exec", dont_inherit=True), space)
        space.pop(entry_point, None)  # a stub
        phase = RUN
        exec(compiled, space)
        program.flush()
        if entry_point not in space:
            return [], _MISSING
        phase = TEST
        exec(compile(code, "<tests>", "exec", dont_inherit=True), space)
        return [space[name](test) for name, tests in classes for test in tests], None
    except SystemExit as error:
        program.finish(program.exit_code(error))
    except BaseException as error:
        is_own = phase == TEST and _is_programs_own(error, entry_point)
        return [], _outcome_of(link, error, RUN if is_own else phase)


class Recorder:
    """What unittest tells how each of `tests` went; has the parts of `unittest.TestResult` that suites and tests use.

    Where unittest does not start a test, since its class could not be set up, it has the outcome of that.
    """

    failfast = shouldStop = _moduleSetUpFailed = False  # noqa: N815  unittest's own names

    def __init__(self, link: Link, tests: Sequence[Any], entry_point: str) -> None:
        self._link = link
        self._entry_point = entry_point
        self._tests = tests  # kept: their ids are their names here
        self._places = {id(test): place for place, test in enumerate(tests)}
        self._process = os.getpid()
        self._told = 0
        self._question: list[Any] | None = None
        self._outcome: list[Any] | None = None
        self._apart: list[Any] = _UNDONE
        self._failed_apart: list[Any] | None = None

    def end(self) -> None:
        """Tell what became of the tests that were not started, and of what ran after the last one."""
        self._tell_up_to(len(self._tests))
        _tell(self._link, self._failed_apart or _PASSED)

    def startTest(self, test: Any) -> None:  # noqa: N802
        self._tell_up_to(self._places[id(test)])
        self._question, self._outcome = self._link.read(), None

    def stopTest(self, test: Any) -> None:  # noqa: N802
        raised = sys.exc_info()[1]  # what unittest lets pass: KeyboardInterrupt
        self._end_children()
        outcome = self._outcome or (_UNDONE if raised is None else self._failure(raised))
        program.flush()
        self._link.send([*(self._question or []), *outcome])
        self._question = None
        self._told += 1

    def addSuccess(self, test: Any) -> None:  # noqa: N802
        self._note(_PASSED)

    def addError(self, test: Any, raised: Any) -> None:  # noqa: N802
        self._note(self._failure(raised[1]))

    addFailure = addError  # noqa: N815

    def addSubTest(self, test: Any, subtest: Any, raised: Any) -> None:  # noqa: N802
        if raised is not None:
            self.addError(test, raised)

    def addSkip(self, test: Any, reason: str) -> None:  # noqa: N802
        """A decorator may skip a test and so may a test itself, but not the program."""
        raised = sys.exc_info()[1]
        if raised is not None and program.FILE_NAME in _files_of(raised):
            self._note(self._failure(raised))
        elif raised is not None or _is_marked(test):
            self._note(_SKIPPED)

    def addExpectedFailure(self, test: Any, raised: Any) -> None:  # noqa: N802
        self._note(_PASSED)

    def addUnexpectedSuccess(self, test: Any) -> None:  # noqa: N802
        self._note(_UNEXPECTED)

    def addDuration(self, test: Any, seconds: float) -> None:  # noqa: N802
        """Time is the judge's to measure."""

    def _note(self, outcome: list[Any]) -> None:
        """Of the test that runs, the first failure counts; else it is of what classes and modules do around theirs."""
        failed = outcome[0] == "x"
        if self._question is None:
            self._apart = outcome
            self._failed_apart = self._failed_apart or (outcome if failed else None)
        elif self._outcome is None or (failed and self._outcome == _SKIPPED):
            self._outcome = outcome

    def _failure(self, error: BaseException) -> list[Any]:
        """The program's own, or the test's over what the program did."""
        return _outcome_of(self._link, error, RUN if _is_programs_own(error, self._entry_point) else TEST)

    def _tell_up_to(self, place: int) -> None:
        self._end_children()
        while self._told < place:
            _tell(self._link, self._apart)
            self._told += 1

    def _end_children(self) -> None:
        """Of a process that the program forked and that came back here, its parent is to give the answer."""
        if os.getpid() != self._process:
            os._exit(0)


def _tell(link: Link, outcome: list[Any]) -> None:
    """Answer the next question."""
    link.send([*link.read(), *outcome])


def _outcome_of(link: Link, error: BaseException, phase: str) -> list[Any]:
    return ["x", phase, *link.described(error)]


def _is_programs_own(error: BaseException, entry_point: str) -> bool:
    """An assertion that failed is the program's where it stands there; anything else, where it was raised from there on
    or in the attempt to call it."""
    files = _files_of(error)
    if isinstance(error, AssertionError):
        return files[-1:] == [program.FILE_NAME]
    is_misfit = isinstance(error, TypeError) and str(error).startswith(f"{entry_point}() ")
    return is_misfit or isinstance(error, SystemExit) or program.FILE_NAME in files


def _files_of(error: BaseException) -> list[str]:
    """The files of the frames that an exception went through, where it was raised last."""
    files, trace = [], error.__traceback__
    while trace is not None:
        files.append(trace.tb_frame.f_code.co_filename)
        trace = trace.tb_next
    return files


def _is_marked(test: Any) -> bool:
    """Whether a decorator says that the test, or its class, is to be skipped."""
    method = getattr(test, getattr(test, "_testMethodName", ""), None)
    return any(getattr(one, "__unittest_skip__", False) for one in (type(test), method))
