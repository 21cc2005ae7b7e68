"""What a trainer logged, shortened to what a chart can show; and the alarms that it told."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from eval.run_report.counts import binned
from eval.run_report.layout import Training
from rlcode.errors import DataError
from rlcode.run_directory import read_json_lines

MOST_POINTS = 200
_STATE = "trainer_state.json"
_SECONDS = "seconds/"


@dataclass(frozen=True)
class TrainingLog:
    """The log of a training: for each entry the step and the metrics."""

    training: Training
    entries: tuple[dict[str, float], ...]
    alarms: tuple[dict[str, Any], ...]

    def names(self) -> list[str]:
        """Of all metrics."""
        return sorted({name for entry in self.entries for name in entry} - {"step"})

    def points(self, name: str, most: int = MOST_POINTS) -> list[tuple[float, float]]:
        """(step, value) of a metric; where there are more than `most`, means of some that follow each other."""
        found = [(entry["step"], entry[name]) for entry in self.entries if name in entry]
        pieces = ([found[at] for at in piece] for piece in binned(range(len(found)), most))
        return [(piece[-1][0], fmean(value for _, value in piece)) for piece in pieces]

    def seconds(self, most: int) -> dict[str, list[tuple[float, float]]]:
        """The same of the seconds of a step for each part of it, the longest part first; an entry that lacks a part
        spent nothing in it."""
        timed = [entry for entry in self.entries if f"{_SECONDS}step" in entry]
        names = {name for entry in timed for name in entry if name.startswith(_SECONDS)} - {f"{_SECONDS}step"}
        filled = [{"step": entry["step"], **{name: entry.get(name, 0.0) for name in names}} for entry in timed]
        log = TrainingLog(self.training, tuple(filled), ())
        parts = {name.removeprefix(_SECONDS): log.points(name, most) for name in names}
        return dict(sorted(parts.items(), key=lambda part: -sum(value for _, value in part[1])))


def read_log(training: Training) -> TrainingLog:
    """The log of a training; without entries where it kept none.

    Raises:
        DataError: a file can't be used.
    """
    path = _state_of(training.folder)
    entries = _entries(path) if path else ()
    alarms = training.folder / "alarms.jsonl"
    try:
        return TrainingLog(training, tuple(entries), tuple(map(dict, read_json_lines(alarms))))
    except ValueError as error:
        raise DataError(f"{alarms} can't be read: {error}; move it away to have a report without it") from error


def _state_of(folder: Path) -> Path | None:
    """Of the whole run, else of its newest checkpoint."""
    if (folder / _STATE).exists():
        return folder / _STATE
    checkpoints = [path for path in folder.glob(f"checkpoint-*/{_STATE}") if _step(path.parent) is not None]
    return max(checkpoints, key=lambda path: _step(path.parent) or 0, default=None)


def _step(checkpoint: Path) -> int | None:
    number = checkpoint.name.rpartition("-")[2]
    return int(number) if number.isdecimal() else None


def _entries(path: Path) -> Sequence[dict[str, float]]:
    try:
        history: Iterable[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["log_history"]
        return [_numbers(entry) for entry in history if "step" in entry]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} has no log: {error!r}; move it away to have a report without it") from error


def _numbers(entry: dict[str, Any]) -> dict[str, float]:
    return {
        name: float(value)
        for name, value in entry.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }
