"""Where the seconds of a training process go. Each second belongs to one part, so the parts are the whole."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from accelerate.utils import gather_object

Item = TypeVar("Item")

REST = "update"
"""The part that has what was not measured: forward and backward passes, the optimizer, TRL's own work, logs."""


class Stopwatch:
    """Adds up seconds by part. While a part is measured within another, the outer one stands still. For one thread."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._under_way: list[str] = []
        self._started = self._looked = clock()

    @property
    def part(self) -> str | None:
        """What is measured now."""
        return self._under_way[-1] if self._under_way else None

    @contextmanager
    def measure(self, part: str) -> Iterator[None]:
        """The time of a `with` belongs to `part`."""
        self._look()
        self._under_way.append(part)
        try:
            yield
        finally:
            self._look()
            self._under_way.pop()

    def each(self, part: str, items: Iterable[Item]) -> Iterator[Item]:
        """The same items. The time in which they are made belongs to `part`, that in which they are used does not."""
        iterator = iter(items)
        while True:
            with self.measure(part):
                found = list(_first(iterator))
            if not found:
                return
            yield found[0]

    def go_on_as(self, part: str) -> None:
        """From now on what is measured is `part`, until the `with` of the part that it was before ends."""
        self._look()
        self._under_way[-1] = part

    def lap(self) -> dict[str, float]:
        """The seconds of each part since the last lap, and of `REST`; begins the next one."""
        self._look()
        parts, whole = dict(self._seconds), self._looked - self._started
        self._seconds.clear()
        self._started = self._looked
        return {**parts, REST: whole - sum(parts.values())}

    def _look(self) -> None:
        now = self._clock()
        if self._under_way:
            self._seconds[self._under_way[-1]] += now - self._looked
        self._looked = now


def _first(iterator: Iterator[Item]) -> Iterator[Item]:
    for item in iterator:
        yield item
        return


class TimedTrainer:
    """For a trainer of TRL's, before it in the list of bases: logs the seconds of an optimizer step by part.

    `seconds/<part>` is the mean over the optimizer steps since the last entry and over all processes; `seconds/step`
    is the sum of the parts. What is done before the first step belongs to none. Everything else that is worth
    a part of its own measures itself with `stopwatch`.
    """

    def __init__(self, *args: Any, stopwatch: Stopwatch | None = None, **kwargs: Any) -> None:
        self.stopwatch = stopwatch or Stopwatch()
        self._parts: set[str] = set()
        self._lap_began: int | None = None
        super().__init__(*args, **kwargs)

    def get_batch_samples(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self._lap_began is None:
            self._lap_began = self.state.global_step
            self.stopwatch.lap()
        with self.stopwatch.measure("data"):
            return super().get_batch_samples(*args, **kwargs)  # type: ignore[misc]

    def _save_checkpoint(self: Any, *args: Any, **kwargs: Any) -> None:
        with self.stopwatch.measure("save"):
            super()._save_checkpoint(*args, **kwargs)  # type: ignore[misc]

    def log(self: Any, logs: dict[str, float], start_time: float | None = None) -> None:
        if self.model.training:
            logs.update(self._seconds_of_a_step())
        super().log(logs, start_time)  # type: ignore[misc]

    def _seconds_of_a_step(self: Any) -> dict[str, float]:
        step = self.state.global_step
        if self._lap_began is None or step == self._lap_began:
            return {}
        steps, self._lap_began = step - self._lap_began, step
        laps = gather_object([self.stopwatch.lap()])
        self._parts |= {part for lap in laps for part in lap}  # one that was there once is logged ever after
        seconds = {part: sum(lap.get(part, 0.0) for lap in laps) / len(laps) / steps for part in sorted(self._parts)}
        return {**{f"seconds/{part}": value for part, value in seconds.items()}, "seconds/step": sum(seconds.values())}
