"""The results of the comparison of samplers as a file: one measured cell a line, appended as it is finished."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from rlcode.run_directory import read_json_lines
from rlcode.tiny.tasks import Split
from rlcode.types import from_json, to_json


@dataclass(frozen=True)
class Budget:
    """What a run may use: rounds, and in each one problems, completions of each problem, and pairs to train on."""

    rounds: int
    problems: int
    samples: int
    pairs: int


NO_TRAINING = "base"
"""In the place of an arm, and of an objective: the base model is measured as it is."""


@dataclass(frozen=True)
class Cell:
    """What is to be measured. Equal cells give equal results, so one that was measured is not measured again."""

    bed: str
    phase: str
    objective: str
    arm: str
    draw: int
    """Another number draws other pairs by the same rule."""
    seed: int
    budget: Budget
    learning_rate: float
    nll_weight: float

    @property
    def split(self) -> Split:
        """Settings are tuned on validation problems, everything else is held out from that."""
        return "validation" if self.phase == "tune" else "held_out"


@dataclass(frozen=True)
class Round:
    """What one round saw and trained on. Rates are shares of all scored completions, `drawn` shares of the pairs."""

    passed: float
    error_rates: dict[str, float]
    drawn: dict[str, float]
    parts: dict[str, float]
    distinct_pairs: int
    trained_tokens: int
    generated_tokens: int


@dataclass(frozen=True)
class Result:
    """What a cell came to, all of it of the policy after the last round."""

    pass_at_1: float
    pass_at_10: float
    greedy: float
    error_rates: dict[str, float]
    greedy_error_rates: dict[str, float]
    unscored: int
    pairs: int
    distinct_pairs: int
    """Added up over the rounds."""
    trained_tokens: int
    """Of both sides of all pairs, without prompts."""
    generated_tokens: int
    """For rollouts and quizzes, without the evaluation."""
    quiz_samples: int
    rounds: tuple[Round, ...]
    wall_s: float
    cpu_s: float
    """Of this process; the sandbox's processes are not in it."""


class Measured(NamedTuple):
    cell: Cell
    result: Result


def read_results(path: Path) -> list[Measured]:
    """Every measured cell, the first line of each that is there twice; a torn last line is left out."""
    found: dict[Cell, Result] = {}
    for row in read_json_lines(path):
        cell = from_json(Cell, row["cell"])
        found.setdefault(cell, from_json(Result, row["result"]))
    return [Measured(cell, result) for cell, result in found.items()]


def append_result(path: Path, measured: Measured) -> None:
    """Add one line, which is on the disk when this returns."""
    _end_last_line(path)
    line = json.dumps({"cell": to_json(measured.cell), "result": _rounded(to_json(measured.result))}) + "\n"
    with open(path, "a", encoding="utf-8") as file:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def _rounded(value: Any) -> Any:
    """With six decimals, which is more than any figure has."""
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, list) else value


def _end_last_line(path: Path) -> None:
    """Cut off what a kill left of a line, so that the next one begins at its own start."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+b") as file:
        content_end = file.seek(0, os.SEEK_END)
        while content_end > 0:
            file.seek(content_end - 1)
            if file.read(1) == b"\n":
                break
            content_end -= 1
        file.truncate(content_end)
