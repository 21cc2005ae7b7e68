"""MBPP as the authors of AP2O-Coder (arXiv 2510.02393) rewrote it: the head of a function with a docstring, and a
`check(candidate)`. Some problems can't be solved as they stand: their tests call what nothing defines, and
`rlcode validate` names them. There are no reference solutions.

The rows come from a file with a row for each task (`split, task_id, prompt, test, entry_point`); it is not on the hub.
`train` has MBPP's ten few-shot examples too.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from rlcode.data import hub, mbpp
from rlcode.data.lines import read_json_rows
from rlcode.data.rows import parse_field, text_field, unix_newlines
from rlcode.errors import DataError, InputError
from rlcode.types import Problem, TestCase, TestKind

SOURCE = "mbpp_ap2o"
FIELDS = ("split", "task_id", "prompt", "test", "entry_point")
SPLITS = ("train", "validation", "test")


def load(file: Path | None, split: str | None) -> list[Problem]:
    """The problems of `split`, or all of `file`.

    Raises:
        DataError: a row that can't be used. InputError: no file, or an unknown split.
    """
    if split is not None and split not in SPLITS:
        raise InputError(f"{SOURCE} has no split {split!r}; known: {', '.join(SPLITS)}")
    if file is None:
        raise InputError(f"{SOURCE} is not on the hub; name its file with --benchmark_file")
    rows = read_json_rows(file)
    problems = [problem_from_row(row, where) for where, row in rows if split in (None, row.get("split"))]
    if not problems:
        raise InputError(f"{file} has no task of the split {split!r}")
    return problems


def aliases(task_id: str) -> tuple[str, ...]:
    """Other names that a samples file may use for the task: MBPP's own."""
    return mbpp.aliases(task_id)


def version(file: Path | None) -> dict[str, Any]:
    """What tells one version of the data from another."""
    return hub.version(file, None)


def problem_from_row(row: dict[str, Any], where: str) -> Problem:
    """One row as a `Problem`; `where` names it in errors.

    Raises:
        DataError: a field is missing or of a wrong type, or code does not parse.
    """
    prompt = unix_newlines(text_field(row, "prompt", where))
    test = unix_newlines(text_field(row, "test", where))
    if "def check(" not in test:
        raise DataError(f"{where}: no tests: field 'test' must define check(candidate)")
    parse_field(test, "test", where)
    entry_point = text_field(row, "entry_point", where).strip()
    defined = _functions_of(parse_field(prompt, "prompt", where))
    return Problem(
        task_id=f"{mbpp.PREFIX}{text_field(row, 'task_id', where)}",
        prompt=prompt,
        tests=(TestCase(TestKind.CHECK, code=test),),
        entry_point=entry_point if entry_point in defined or not defined else defined[-1],
        source=SOURCE,
    )


def _functions_of(prompt: ast.Module) -> list[str]:
    """What the prompt begins: 702 and 966 name something else as their entry point, which the tests don't call."""
    return [node.name for node in prompt.body if isinstance(node, ast.FunctionDef)]
