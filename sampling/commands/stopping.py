"""Ctrl-C and SIGTERM during a run: the first ends the drawing, the second everything."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Any, Self, TypeVar

from rlcode.signals import is_echo

GRACE_S = 5.0
"""How long what is in flight may take to be judged and stored once a stop was asked for."""

Item = TypeVar("Item")


class _DrawingStopped(BaseException):  # nothing on the way may take it for an error of its own
    pass


class Stopping:
    """Takes SIGINT and SIGTERM while it is entered. The engine is interrupted wherever it is; what was drawn is judged
    and stored for `GRACE_S` more. A second signal that is no echo of the first ends the process as Ctrl-C does."""

    def __init__(self) -> None:
        self.signal: int | None = None
        """The signal that asked for the stop."""
        self._since = 0.0
        self._is_drawing = False
        self._before: dict[int, Any] = {}

    @property
    def exit_code(self) -> int:
        """128 and the signal, as shells have it; 0 where none came."""
        return 0 if self.signal is None else 128 + self.signal

    def deadline(self) -> float | None:
        """When to stop waiting for results, by `time.monotonic`; None while nobody asked."""
        return None if self.signal is None else self._since + GRACE_S

    def until_asked(self, items: Iterable[Item]) -> Iterator[Item]:
        """Hand `items` on; a stop interrupts the making of the next one."""
        making = iter(items)
        try:
            while self.signal is None:
                self._is_drawing = True
                item = next(making)
                self._is_drawing = False
                yield item
        except (StopIteration, _DrawingStopped):
            return
        finally:
            self._is_drawing = False

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._take) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _take(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            if is_echo(number, self._since):
                return
            self.__exit__()
            raise KeyboardInterrupt
        self.signal, self._since = number, time.monotonic()
        if self._is_drawing:
            self._is_drawing = False
            raise _DrawingStopped
