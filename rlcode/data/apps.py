"""APPS (Hendrycks et al. 2021, arXiv 2105.09938): 10,000 problems of three difficulties, tested by stdin or by calls.

The rows come from a file in the format of the hub's `codeparrot/apps` (`id, question, solutions, input_output,
difficulty, starter_code`; `solutions` and `input_output` are JSON texts), or from that data set, which keeps a script,
so its raw files `train.jsonl` and `test.jsonl` are read. Rows without tests (some of `train`) are left out with a
warning, and so are those whose tests hold numbers of more than 4,300 digits, which the judge does not read.

Printed answers are compared by tokens, numbers within 1e-5 of the expected one, which is what the paper's grader comes
to in most cases (it also tries lines, sets of lines and rounding). What a call returns may be the expected value or, as
there, the first item of an expected list. The limit is the grader's: 4 s for each case.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rlcode.data import hub
from rlcode.data.rows import LongNumber, json_field, text_field
from rlcode.errors import DataError, InputError
from rlcode.types import Comparison, PartialLimits, Problem, TestCase, TestKind

HUB_NAME = "codeparrot/apps"
SPLITS = ("train", "test")
SOURCE = "apps"
FIELDS = ("question", "solutions", "input_output", "difficulty", "starter_code")
CASE_S = 4.0
_MOST_CALLS_S = 60.0
_CHECKER = """\
def plain(value):
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    return value


def check(given, value, expected):
    value = plain(value)
    return bool(value == expected or (isinstance(expected, list) and expected and value == expected[0]))
"""


def load(file: Path | None, split: str | None) -> list[Problem]:
    """The problems of `file`, which has no splits, or the hub's `split` (`test` without one).

    Raises:
        DataError: a row that can't be used. InputError: an unknown split, or one of a file.
    """
    if split is not None and (split not in SPLITS or file is not None):
        raise InputError(f"apps has the splits {', '.join(SPLITS)}, on the hub only; {split!r} is none of them here")
    found = hub.rows(file, raw_files(split))
    return list(hub.with_tests((problem_from_row(row, where) for where, row in found), SOURCE))


def aliases(task_id: str) -> tuple[str, ...]:
    """Other names that a samples file may use for the task: its number, and `apps/NUMBER`."""
    number = task_id.rpartition("/")[2]
    return (number, f"apps/{number}")


def version(file: Path | None) -> dict[str, Any]:
    """What tells one version of the data from another."""
    return hub.version(file, raw_files(None))


def raw_files(split: str | None) -> hub.RawFiles:
    """The file of a split."""
    return hub.RawFiles(HUB_NAME, (f"{split or 'test'}.jsonl",))


def problem_from_row(row: dict[str, Any], where: str) -> Problem | None:
    """One row in the original format as a `Problem`, or None where it has no tests that can be judged; `where` names it
    in errors.

    Raises:
        DataError: a field is missing or of a wrong type, or the tests can't be read.
    """
    try:
        cases = json_field(row, "input_output", where) if row.get("input_output") else {}
    except LongNumber:
        return None
    if not cases or not cases.get("inputs"):
        return None
    entry_point = cases.get("fn_name") or ""
    tests = tuple(_tests(cases, bool(entry_point), where))
    starter = text_field(row, "starter_code", where, required=False)
    return Problem(
        task_id=f"APPS/{_number(row, where)}",
        prompt=_prompt(text_field(row, "question", where), starter, bool(entry_point)),
        tests=tests,
        entry_point=entry_point,
        prompt_is_code=False,
        prompt_asks=True,
        reference_solution=_solution(row, where),
        source=SOURCE,
        limits=PartialLimits(time_s=min(CASE_S * len(tests), _MOST_CALLS_S) if entry_point else CASE_S),
        comparison=Comparison.FLOATS,
        tolerance=1e-5,
        checker=_CHECKER if entry_point else "",
        difficulty=text_field(row, "difficulty", where, required=False),
    )


def _number(row: dict[str, Any], where: str) -> int:
    number = row.get("id", row.get("problem_id"))
    if not isinstance(number, int) or isinstance(number, bool):
        raise DataError(f"{where}: field 'id' must be a whole number, got {number!r}")
    return number


def _prompt(question: str, starter: str, is_call: bool) -> str:
    """The paper's, appendix A: question, starter code, which of the two formats, and where the answer begins."""
    form = "Use Call-Based format" if is_call else "Use Standard Input format"
    return f"\nQUESTION:\n{question}\n{starter}\n{form}\n\nANSWER:\n"


def _solution(row: dict[str, Any], where: str) -> str:
    solutions = json_field(row, "solutions", where) if row.get("solutions") else []
    return str(solutions[0]) if solutions else ""


def _tests(cases: dict[str, Any], is_call: bool, where: str) -> list[TestCase]:
    inputs, outputs = cases.get("inputs"), cases.get("outputs")
    if not isinstance(inputs, list) or not isinstance(outputs, list) or len(inputs) != len(outputs):
        raise DataError(f"{where}: 'inputs' and 'outputs' in field 'input_output' must be lists of one length")
    make = _call if is_call else _stdio
    return [make(given, wanted, where) for given, wanted in zip(inputs, outputs, strict=True)]


def _call(given: Any, wanted: Any, where: str) -> TestCase:
    if not isinstance(given, list):
        raise DataError(f"{where}: the inputs of a call must be the list of its arguments, got {given!r:.80}")
    return TestCase(TestKind.CALL, arguments=json.dumps(given), expected=json.dumps(wanted))


def _stdio(given: Any, wanted: Any, where: str) -> TestCase:
    return TestCase(TestKind.STDIO, stdin=_lines(given, where), expected_stdout=_lines(wanted, where))


def _lines(text: Any, where: str) -> str:
    """A text, which may be given as the list of its lines."""
    if isinstance(text, list):
        return "\n".join(map(str, text))
    if not isinstance(text, str):
        raise DataError(f"{where}: an input or output must be a text or a list of lines, got {type(text).__name__}")
    return text
