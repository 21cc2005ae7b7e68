"""Why the judging of a program comes to an early end.

What must get past the `except Exception` of a test is no `Exception`.
"""

from __future__ import annotations

from .classify import Failure


class SandboxBroken(BaseException):
    """The sandbox itself failed; the judge must end, so that the host replaces it."""


class BadTests(BaseException):
    """The tests of the problem can't be run, whatever the program does; the message says why."""


class CandidateGone(BaseException):
    """The program can't be asked any more; the `Link` knows why."""


class EnoughFailures(BaseException):
    """So many tests failed that the others need not be run."""


class TestTimeUp(BaseException):
    """The test code itself took too long over the program's answers."""

    __test__ = False  # not a pytest class


class Stopped(Exception):  # noqa: N818
    """A process of a program can't be spoken to any more."""

    def __init__(self, failure: Failure, *, finished: bool = False) -> None:
        """`finished`: it ended by itself, with code 0."""
        super().__init__(failure.detail)
        self.failure = failure
        self.finished = finished
