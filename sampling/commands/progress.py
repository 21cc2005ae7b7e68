"""Live progress of a run on stderr: a bar and a line on a terminal, elsewhere a line now and then."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

from sampling.tally import Tally

if TYPE_CHECKING:
    from sandbox.judging import Judging

LINE_EVERY_S = 30.0
WINDOW_S = 60.0
"""Rates are means over this time."""
_REFRESHES_PER_S = 2
_MOST_TYPES = 5


class Rates:
    """Tokens, completions and verdicts per second, over the last minute."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._seen: deque[tuple[float, int, int, int]] = deque()
        self.update()

    def update(self) -> None:
        """Look at the counts."""
        now, tally = time.monotonic(), self._tally
        self._seen.append((now, tally.tokens, tally.drawn, tally.judged))
        while now - self._seen[0][0] > WINDOW_S and len(self._seen) > 2:
            self._seen.popleft()

    def per_s(self) -> tuple[float, float, float]:
        """Tokens, completions, verdicts."""
        first, last = self._seen[0], self._seen[-1]
        seconds = max(last[0] - first[0], 1e-9)
        tokens, drawn, judged = ((now - then) / seconds for then, now in zip(first[1:], last[1:], strict=True))
        return tokens, drawn, judged


class Progress:
    """Shows how a run goes on while it is entered."""

    def __init__(self, tally: Tally, judging: Judging[Any], is_stopping: Callable[[], bool] = lambda: False) -> None:
        self._tally = tally
        self._is_stopping = is_stopping
        self._judging = judging
        self._rates = Rates(tally)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            self._stack.enter_context(self._live())
        else:
            ended = threading.Event()
            thread = threading.Thread(target=self._print_lines, args=(ended,), daemon=True)
            thread.start()
            self._stack.callback(thread.join)
            self._stack.callback(ended.set)
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def line(self) -> str:
        """All figures, in one line."""
        tally = self._tally
        self._rates.update()
        tokens, drawn, judged = self._rates.per_s()
        waiting = self._judging.waiting_for_caller
        parts = [
            f"{tally.rollouts}/{tally.total} judged",
            f"{tokens:.0f} tokens/s, {drawn:.1f} completions/s, {judged:.1f} judged/s",
            f"{_share(tally.passed, tally.scored)} passed{self._errors()}",
            f"{self._judging.in_flight - waiting} to judge, {waiting} to write",
            "stopping; Ctrl-C ends at once" if self._is_stopping() else f"{self._time_left(judged)} left",
        ]
        return " · ".join(parts)

    def _errors(self) -> str:
        most = self._tally.error_types.most_common(_MOST_TYPES)
        return "".join(f", {error_type} {_share(count, self._tally.scored)}" for error_type, count in most)

    def _time_left(self, judged_per_s: float) -> str:
        missing = self._tally.total - self._tally.rollouts
        return str(timedelta(seconds=round(missing / judged_per_s))) if judged_per_s else "?"

    def _print_lines(self, ended: threading.Event) -> None:
        while not ended.wait(LINE_EVERY_S):
            print(self.line(), file=sys.stderr, flush=True)

    def _live(self) -> Any:
        from rich.console import Console, Group
        from rich.live import Live
        from rich.progress_bar import ProgressBar
        from rich.text import Text

        def picture() -> Any:
            bar = ProgressBar(max(self._tally.total, 1), self._tally.rollouts, width=60)
            return Group(bar, Text(self.line(), overflow="fold"))

        return Live(get_renderable=picture, console=Console(stderr=True), refresh_per_second=_REFRESHES_PER_S)


def _share(count: int, of: int) -> str:
    return f"{count / of:.1%}" if of else "–"
