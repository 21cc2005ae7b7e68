"""What `rlcode eval` left behind, read again: the outcome of each sample, and the settings that it was made with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlcode.data.lines import read_json_lines
from rlcode.errors import DataError, InputError
from rlcode.run_directory import flat_keys

PASSED = "passed"
FAILED = "failed"
"""A sample that neither passed nor has an error type: no test was there, or those are the base tests alone."""
VERDICTS, GREEDY, REPORT = "verdicts.jsonl", "greedy_verdicts.jsonl", "report.json"
_SAMPLING = ("temperature", "top_p", "top_k", "max_completion_length")
_MAY_DIFFER = ("file", "exclude", "limits.failures")
"""Entries of a report's `data` that name files, since the same data may lie elsewhere; and after how many failed tests
a program was asked no more, since one is enough for what is compared."""

Outcomes = dict[str, list[str]]
"""By task: `passed` or the error type of each sample that was scored."""


@dataclass(frozen=True)
class Evaluation:
    """One evaluation, by the name that the user gave it."""

    name: str
    outcomes: Outcomes
    greedy: Outcomes
    """Of the greedy answers, one for each task that was scored; empty where none were asked for."""
    report: Mapping[str, Any] = field(default_factory=dict)
    """`report.json`; empty where there is none."""
    base: Outcomes = field(default_factory=dict)
    """Of a plus set: the same samples by their base tests alone, `passed` or `failed`. Empty for other benchmarks."""
    greedy_base: Outcomes = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, Any]:
        """What must be the same for two evaluations to be compared, by name: the benchmark and its version, the limits,
        the sampling. What is not known is not there."""
        settings = {"benchmark": self.report["benchmark"]} if "benchmark" in self.report else {}
        data = {k: value for k, value in flat_keys(self.report.get("data", {})).items() if k not in _MAY_DIFFER}
        policy = self.report.get("policy", {})
        sampling = {key: policy[key] for key in _SAMPLING if key in policy}
        return {**settings, **data, **sampling}

    @property
    def ks(self) -> list[int]:
        """The ks whose pass@k the report gives."""
        return sorted(map(int, self.report.get("pass_at_k", {})))


def read_evaluation(path: Path) -> Evaluation:
    """The evaluation at `path`: the directory that `rlcode eval` wrote, or its `report.json` or `verdicts.jsonl`.

    Raises:
        InputError: nothing of that kind is there. DataError: a file that can't be used, named with its line.
    """
    folder = path if path.is_dir() else path.parent
    verdicts = folder / VERDICTS if path.is_dir() or path.name == REPORT else path
    if not path.exists() or not verdicts.exists():
        raise InputError(f"{path} is no evaluation: there is no {verdicts}; name what `rlcode eval` wrote")
    belongs = verdicts.name == VERDICTS
    greedy, report = folder / GREEDY, folder / REPORT
    outcomes, base = _outcomes(verdicts)
    greedy_outcomes, greedy_base = _outcomes(greedy) if belongs and greedy.exists() else ({}, {})
    return Evaluation(
        str(path),
        outcomes,
        greedy_outcomes,
        _report(report) if belongs and report.exists() else {},
        base,
        greedy_base,
    )


def _outcomes(file: Path) -> tuple[Outcomes, Outcomes]:
    """By all tests, and where the rows have that, by the base tests."""
    outcomes: Outcomes = {}
    base: Outcomes = {}
    seen: set[tuple[str, int]] = set()
    for number, row in read_json_lines(file):
        where = f"{file}, line {number}"
        task_id, index, outcome = _outcome(row, where)
        if (task_id, index) in seen:
            raise DataError(f"{where}: sample {index} of {task_id!r} is there twice; keep one of them")
        seen.add((task_id, index))
        scored = outcomes.setdefault(task_id, [])
        if outcome is None:
            continue
        scored.append(outcome)
        if isinstance(passed_base := row.get("passed_base"), bool):
            base.setdefault(task_id, []).append(PASSED if passed_base else FAILED)
    return outcomes, base


def _outcome(row: dict[str, Any], where: str) -> tuple[str, int, str | None]:
    """Task, index and outcome; an unscored sample has none."""
    task_id, index, passed = row.get("task_id"), row.get("index"), row.get("passed")
    if not isinstance(task_id, str) or not isinstance(index, int) or isinstance(index, bool):
        raise DataError(f"{where}: a verdict has a string `task_id` and a whole number `index`")
    if "passed" not in row or not isinstance(passed, bool | None):
        raise DataError(f"{where}: `passed` must be true, false or (not scored) null")
    if passed is None:
        return task_id, index, None
    return task_id, index, PASSED if passed else str(row.get("error_type") or FAILED)


def _report(file: Path) -> dict[str, Any]:
    try:
        report = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{file} can't be read: {error}") from error
    given = report.get("pass_at_k", {}) if isinstance(report, dict) else None
    if not isinstance(given, dict) or not all(k.isdecimal() for k in given):
        raise DataError(f"{file} is no report of `rlcode eval`")
    return report
