"""CodeContests (Li et al. 2022, arXiv 2203.07814): contest problems with public, private and generated tests.

The rows come from the hub's `deepmind/code_contests`, splits `train`, `valid` and `test`, or from a file with its rows
as JSON lines (`name, description, public_tests, private_tests, generated_tests, solutions, difficulty, source,
cf_tags, time_limit`). Rows without tests are left out with a warning.

All three kinds of tests count, as in the paper. Printed answers are compared by tokens, numbers within 1e-5 of the
expected one. The limit is the problem's own, but at least 5 s: it was set for compiled programs. The paper's metric is
n@k with filtering; what is reported here is pass@k, its n@k with n = k.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rlcode.data import hub
from rlcode.data.rows import text_field
from rlcode.errors import DataError, InputError
from rlcode.types import Comparison, Limits, PartialLimits, Problem, TestCase, TestKind

HUB_NAME = "deepmind/code_contests"
SPLITS = ("train", "valid", "test")
SOURCE = "codecontests"
FIELDS = ("name", "description", "public_tests", "private_tests", "generated_tests")
PYTHON3 = 3
"""Among the languages of solutions."""
SOURCES = ("", "codechef", "codeforces", "hackerearth", "codejam", "atcoder", "aizu")
DIFFICULTIES = ("", "easy", "medium", "hard", "harder", "hardest", "external", *"abcdefghijklmnopqrstuv")


def load(file: Path | None, split: str | None) -> list[Problem]:
    """The problems of `file`, which has no splits, or the hub's `split` (`test` without one).

    Raises:
        DataError: a row that can't be used. InputError: an unknown split, or one of a file.
    """
    if split is not None and (split not in SPLITS or file is not None):
        raise InputError(
            f"codecontests has the splits {', '.join(SPLITS)}, on the hub only; {split!r} is none of them here"
        )
    found = hub.rows(file, hub.Table(HUB_NAME, split or "test"))
    return list(hub.with_tests((problem_from_row(row, where) for where, row in found), SOURCE))


def aliases(task_id: str) -> tuple[str, ...]:
    """Other names that a samples file may use for the task: none."""
    return ()


def version(file: Path | None) -> dict[str, Any]:
    """What tells one version of the data from another."""
    return hub.version(file, hub.Table(HUB_NAME, "test"))


def problem_from_row(row: dict[str, Any], where: str) -> Problem | None:
    """One row as a `Problem`, or None where it has no tests; `where` names it in errors.

    Raises:
        DataError: a field is missing or of a wrong type.
    """
    kinds = ("public_tests", "private_tests", "generated_tests")
    tests = tuple(test for kind in kinds for test in _tests(row.get(kind) or {}, f"{where}: field {kind!r}"))
    if not tests:
        return None
    return Problem(
        task_id=text_field(row, "name", where),
        prompt=text_field(row, "description", where),
        tests=tests,
        prompt_is_code=False,
        reference_solution=_solution(row, where),
        source=SOURCE,
        limits=PartialLimits(time_s=max(Limits.time_s, _seconds(row.get("time_limit")))),
        comparison=Comparison.FLOATS,
        tolerance=1e-5,
        difficulty=_name_in(DIFFICULTIES, row.get("difficulty")),
        tags=tuple(filter(None, [_name_in(SOURCES, row.get("source")), *(row.get("cf_tags") or ())])),
    )


def _tests(tests: Any, where: str) -> Iterator[TestCase]:
    given, wanted = (tests.get(name) or [] for name in ("input", "output")) if isinstance(tests, dict) else (None, None)
    if not isinstance(given, list) or not isinstance(wanted, list) or len(given) != len(wanted):
        raise DataError(f"{where} must be an object with the lists 'input' and 'output' of one length")
    for stdin, expected in zip(given, wanted, strict=True):
        yield TestCase(TestKind.STDIO, stdin=str(stdin), expected_stdout=str(expected))


def _solution(row: dict[str, Any], where: str) -> str:
    """The first in Python 3, or nothing."""
    solutions = row.get("solutions") or {}
    languages, texts = solutions.get("language") or [], solutions.get("solution") or []
    if len(languages) != len(texts):
        raise DataError(f"{where}: field 'solutions' must hold as many languages as solutions")
    pairs = zip(languages, texts, strict=True)
    return next((str(text) for language, text in pairs if language in (PYTHON3, "PYTHON3")), "")


def _seconds(time_limit: Any) -> float:
    """Of a duration as an object of seconds and nanoseconds; 0 where there is none."""
    if not isinstance(time_limit, dict):
        return 0.0
    return float(time_limit.get("seconds") or 0) + float(time_limit.get("nanos") or 0) / 1e9


def _name_in(names: tuple[str, ...], value: Any) -> str:
    """The name of a class label: the hub gives its number, other copies the name."""
    if isinstance(value, str):
        return value.lower()
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else ""
