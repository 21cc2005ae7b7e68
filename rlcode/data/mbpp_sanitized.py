"""The sanitized MBPP (Austin et al. 2021, arXiv 2108.07732): 427 of its tasks, read again and mended by hand.

The rows come from a file in the original format, a JSON list of objects or one object a line (`task_id, prompt, code,
test_imports, test_list`), or from the hub's `google-research-datasets/mbpp`, configuration `sanitized`. The splits are
the ranges of `task_id` of MBPP; the prompt and everything else is as in `rlcode.data.mbpp`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlcode.data import hub, mbpp
from rlcode.data.rows import text_field
from rlcode.errors import DataError
from rlcode.types import Problem

SOURCE = "mbpp_sanitized"
FIELDS = ("task_id", "prompt", "code", "test_imports", "test_list")


SPLITS = mbpp.SPLITS


def load(file: Path | None, split: str | None) -> list[Problem]:
    """The problems of `split`; without one, all of `file` or the hub's `test`.

    Raises:
        DataError: a row that can't be used. InputError: an unknown split, or one that the file has no task of.
    """
    return mbpp.problems_of(file, split, "sanitized", problem_from_row)


def aliases(task_id: str) -> tuple[str, ...]:
    """Other names that a samples file may use for the task: those of MBPP."""
    return mbpp.aliases(task_id)


def version(file: Path | None) -> dict[str, Any]:
    """What tells one version of the data from another."""
    return hub.version(file, mbpp.table("sanitized", "test"))


def problem_from_row(row: dict[str, Any], where: str) -> Problem:
    """One row in the original format as a `Problem`: MBPP's, with other names for two fields.

    Raises:
        DataError: as for MBPP.
    """
    imports = row.get("test_imports") or []
    if not isinstance(imports, list) or not all(isinstance(line, str) for line in imports):
        raise DataError(f"{where}: field 'test_imports' must be a list of strings")
    setup = "".join(line + "\n" for line in imports)
    text = text_field(row, "prompt", where)
    return mbpp.problem_from_row({**row, "text": text, "test_setup_code": setup}, where, source=SOURCE)
