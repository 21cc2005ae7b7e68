"""HumanEval (Chen et al. 2021, arXiv 2107.03374): 164 functions to complete, each with a `check(candidate)`.

The rows come from a file in OpenAI's format (`task_id, prompt, entry_point, canonical_solution, test`) or from the
hub's `openai/openai_humaneval`, which has the same columns.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from rlcode.data import hub
from rlcode.data.rows import parse_field, text_field
from rlcode.errors import DataError, InputError
from rlcode.types import Problem, TestCase, TestKind

TABLE = hub.Table("openai/openai_humaneval", "test")
SOURCE = "humaneval"
FIELDS = ("task_id", "prompt", "entry_point", "canonical_solution", "test")


def load(file: Path | None, split: str | None) -> list[Problem]:
    """All 164 problems, from `file` or, without one, from the hub. The only split is `test`.

    Raises:
        DataError: a row that can't be used. InputError: another split.
    """
    if split not in (None, "test"):
        raise InputError(f"humaneval has no split {split!r}; its only one is 'test'")
    return [problem_from_row(row, where) for where, row in hub.rows(file, TABLE)]


def aliases(task_id: str) -> tuple[str, ...]:
    """Other names that a samples file may use for the task: none."""
    return ()


def version(file: Path | None) -> dict[str, Any]:
    """What tells one version of the data from another."""
    return hub.version(file, TABLE)


def problem_from_row(row: dict[str, Any], where: str) -> Problem:
    """One row in the original format as a `Problem`; `where` names it in errors.

    Raises:
        DataError: a field is missing or of a wrong type, the tests are empty, or the prompt is not Python.
    """
    prompt = text_field(row, "prompt", where)
    entry_point = text_field(row, "entry_point", where)
    return Problem(
        task_id=text_field(row, "task_id", where),
        prompt=prompt,
        tests=(TestCase(TestKind.CHECK, code=_test(row, where)),),
        entry_point=entry_point,
        test_setup=_context_of(prompt, entry_point, where),
        reference_solution=prompt + text_field(row, "canonical_solution", where),
        source=SOURCE,
    )


def _test(row: dict[str, Any], where: str) -> str:
    test = row.get("test")
    if not isinstance(test, str) or "def check(" not in test:
        raise DataError(f"{where}: no tests: field 'test' must define check(candidate)")
    if not any(isinstance(node, ast.Assert) for node in ast.walk(parse_field(test, "test", where))):
        raise DataError(f"{where}: no tests: check(candidate) in field 'test' asserts nothing")
    return test


def _context_of(prompt: str, entry_point: str, where: str) -> str:
    """The prompt's imports and its functions other than the entry point: four tests call such a function."""
    kept = [node for node in parse_field(prompt, "prompt", where).body if _is_context(node, entry_point)]
    return "".join(ast.unparse(node) + "\n" for node in kept)


def _is_context(node: ast.stmt, entry_point: str) -> bool:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return node.name != entry_point
    return isinstance(node, ast.Import | ast.ImportFrom | ast.Assign | ast.AnnAssign)
