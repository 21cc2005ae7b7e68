"""Files of task ids that are not to be used: one a line. Blank lines, and lines that begin with `#`, say nothing.

`rlcode validate` writes one; `exclude` in the configuration of whatever loads problems reads it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from rlcode.errors import DataError
from rlcode.run_directory import write_atomically
from rlcode.types import Problem

logger = logging.getLogger(__name__)


def read_excluded(file: Path) -> frozenset[str]:
    """The task ids in `file`.

    Raises:
        DataError: it can't be read.
    """
    try:
        lines = file.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}, the problems to exclude, can't be read: {error}") from error
    lines = [line.strip() for line in lines]
    return frozenset(_read_id(line, file) for line in lines if line and not line.startswith("#"))


def write_excluded(file: Path, task_ids: Iterable[str], about: str) -> None:
    """Write `task_ids` in their order, under one line that says what they are."""
    write_atomically(file, "".join([f"# {about}\n", *(f"{_as_line(task_id)}\n" for task_id in task_ids)]))


def without_excluded(
    problems: Sequence[Problem], file: Path, names_of: Callable[[str], Iterable[str]]
) -> list[Problem]:
    """The problems that `file` does not name; `names_of(task_id)` are all names of a task.

    Ids that are not among the problems are no mistake: they may be of another split.

    Raises:
        DataError: the file can't be read, or no problem is left.
    """
    excluded = read_excluded(file)
    left = [problem for problem in problems if excluded.isdisjoint(names_of(problem.task_id))]
    if not left:
        raise DataError(f"{file} excludes all {len(problems)} problems; check that it belongs to this benchmark")
    logger.info("%s excludes %d of %d problems", file, len(problems) - len(left), len(problems))
    return left


def _read_id(line: str, file: Path) -> str:
    if not line.startswith('"'):
        return line
    try:
        return str(json.loads(line))
    except ValueError as error:
        raise DataError(f"{file}: {line!r:.80} begins as a JSON string and is none: {error}") from error


def _as_line(task_id: str) -> str:
    """The id, as a JSON string where a line could not hold it."""
    is_plain = task_id == task_id.strip() and task_id.isprintable() and task_id and task_id[0] not in '#"'
    return task_id if is_plain else json.dumps(task_id)
