"""What is known of a program so far; in the end, its verdict."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .classify import Failure, printable
from .execution import Execution

_MAX_STDOUT = 2000


@dataclass
class Tally:
    total: int
    """Tests that there are."""
    most_failures: int
    """After so many the program is asked no more."""
    passed: int = 0
    failed: int = 0
    failure: Failure | None = None
    first_failing_test: str | None = None
    time_s: float = 0.0
    memory_mb: float = 0.0
    stdout: str = ""
    leftovers: list[str] = field(default_factory=list)

    @property
    def failures_left(self) -> int:
        """How many more may fail."""
        return self.most_failures - self.failed

    def fail(self, failure: Failure, test: str | None, times: int = 1) -> None:
        """Note a failure, of so many tests; the first one counts."""
        self.failed += times
        if self.failure is None:
            self.failure, self.first_failing_test = failure, test

    def add_end_of(self, execution: Execution) -> None:
        """Note what a process used, wrote and left. Only after `execution.close`, and only once."""
        remains = execution.close()
        self.time_s += execution.consumed_s()
        self.memory_mb = max(self.memory_mb, remains.memory_mb)
        if remains.leftover:
            self.leftovers.append(remains.leftover)
        stdout = execution.stdout[: 4 * _MAX_STDOUT].decode("utf-8", "replace")
        self.stdout = printable(self.stdout + stdout, _MAX_STDOUT)

    def verdict(self) -> dict[str, Any]:
        """The fields of `rlcode.types.Verdict` that a judge knows."""
        failure = self.failure
        return {
            "error_type": failure.error_type if failure else None,
            "tests_passed": self.passed,
            "tests_total": self.total,
            "exception": failure.exception if failure else None,
            "signature": failure.signature if failure else None,
            "line": failure.line if failure else None,
            "first_failing_test": printable(self.first_failing_test) if self.first_failing_test else None,
            "detail": printable(failure.detail) if failure else "",
            "time_s": round(self.time_s, 6),
            "memory_mb": round(self.memory_mb, 3),
            "stdout": self.stdout,
        }
