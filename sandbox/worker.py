"""What a worker is: one judge somewhere, spoken to in frames. The pool knows its backends only by this."""

from __future__ import annotations

from typing import Any, Protocol

from rlcode.errors import SandboxError


class WorkerLost(SandboxError):  # noqa: N818
    """The worker died, did not answer in time, or answered what no judge says; it must be replaced."""


class Worker(Protocol):
    """One judge, in a container or beside the host. Asked by one thread at a time."""

    def start(self) -> None:
        """Start and wait, with a bound, for the ready frame.

        Raises:
            SandboxError: it did not come up.
        """
        ...

    def ask(self, request: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """Send one frame and return the one that answers it.

        Raises:
            WorkerLost: the worker died, or gave no answer within `timeout_s` seconds.
        """
        ...

    def kill(self) -> None:
        """End the worker and leave nothing behind. Can be called twice and from any thread; never raises."""
        ...
