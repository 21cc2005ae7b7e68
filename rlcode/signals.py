"""What tells one request to stop from two."""

from __future__ import annotations

import signal
import time

ECHO_S = 10.0
"""For so long after the first signal another SIGTERM is taken for the same request."""


def is_echo(number: int, first_at: float) -> bool:
    """Whether signal `number` says only what the first one said, at `first_at` by `time.monotonic`. Batch systems and
    service managers send SIGTERM to every process of a run, and those of them that started others hand it on."""
    return number == signal.SIGTERM and time.monotonic() - first_at < ECHO_S
