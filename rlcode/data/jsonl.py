"""The project's own problem files: one `rlcode.types.Problem` a line as `to_json` writes it, plain or gzipped."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from rlcode.data.lines import read_json_lines
from rlcode.errors import DataError, InputError
from rlcode.run_directory import write_atomically
from rlcode.types import Problem, TestKind, from_json, to_json


def load(file: Path | None, split: str | None) -> list[Problem]:
    """The problems of `file`.

    Raises:
        DataError: a row that is no problem, or has no tests. InputError: no file, or a split was asked for.
    """
    if file is None:
        raise InputError("the benchmark 'jsonl' needs a file of problems; name it")
    if split is not None:
        raise InputError(f"a jsonl file has no splits; leave {split!r} away or write a file for each split")
    return [_problem(row, f"{file}, line {number}") for number, row in read_json_lines(file)]


def save(problems: Iterable[Problem], file: Path) -> None:
    """Write `problems` to `file`, one a line, whole or not at all."""
    write_atomically(file, "".join(json.dumps(to_json(problem)) + "\n" for problem in problems))


def aliases(task_id: str) -> tuple[str, ...]:
    """Other names that a samples file may use for the task: none."""
    return ()


def _problem(row: dict[str, object], where: str) -> Problem:
    try:
        problem = from_json(Problem, row)
    except ValueError as error:
        raise DataError(f"{where}: {error}") from error
    if not problem.tests:
        raise DataError(f"{where}: no tests: problem {problem.task_id!r} can't be judged")
    if not problem.entry_point and any(test.kind is not TestKind.STDIO for test in problem.tests):
        raise DataError(f"{where}: problem {problem.task_id!r} has tests that call a function, and no entry_point")
    return problem
