"""Rows as open-r1's code rewards read them: `prompt` (or `problem`), `verification_info` with `language` and
`test_cases`, and, in its data sets, `gold_standard_solution` and `problem_id`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rlcode.data.importing.columns import make_problem
from rlcode.errors import DataError
from rlcode.types import Problem

COLUMNS = ("verification_info",)
_PYTHON = {"python", "python3", "py"}
_PROMPTS = ("prompt", "problem", "description")


def problem_from_row(row: Mapping[str, Any], number: int, where: str) -> Problem:
    """One row as a problem. Its task id is its `problem_id`, or else the number of the row.

    Raises:
        DataError: it can't be used; another language than Python, say.
    """
    info = _info(row["verification_info"], where)
    language = str(info.get("language", "python")).lower()
    if language not in _PYTHON:
        raise DataError(f"{where}: the language is {language!r}; only Python is judged")
    prompt = next((row[name] for name in _PROMPTS if isinstance(row.get(name), str)), None)
    if prompt is None:
        raise DataError(f"{where}: none of {', '.join(_PROMPTS)} is a text")
    texts = {"prompt": prompt, "reference_solution": str(row.get("gold_standard_solution") or "")}
    task_id = str(row.get("problem_id") or f"open-r1/{number}")
    return make_problem(info.get("test_cases"), task_id, str(row.get("source") or "open-r1"), where, texts)


def _info(value: Any, where: str) -> Mapping[str, Any]:
    try:
        info = json.loads(value) if isinstance(value, str) else value
    except ValueError as error:
        raise DataError(f"{where}: verification_info is no JSON: {error}") from error
    if not isinstance(info, Mapping):
        raise DataError(f"{where}: verification_info must be an object, got {type(info).__name__}")
    return info
