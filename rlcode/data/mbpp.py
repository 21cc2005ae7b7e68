"""MBPP (Austin et al. 2021, arXiv 2108.07732): 974 small tasks in words, each with three asserts.

The rows come from a file in the original format (`task_id, text, code, test_list, test_setup_code`) or from the hub's
`google-research-datasets/mbpp`, configuration `full`, which has the same columns. The splits are ranges of `task_id`:

    prompt 1–10 (few-shot examples), test 11–510, validation 511–600, train 601–974
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rlcode.data import hub
from rlcode.data.rows import parse_field, text_field, unix_newlines
from rlcode.errors import DataError, InputError
from rlcode.types import PartialLimits, Problem, TestCase, TestKind

HUB_NAME = "google-research-datasets/mbpp"
SOURCE = "mbpp"
FIELDS = ("task_id", "text", "code", "test_list", "test_setup_code")
SPLITS = {
    "prompt": range(1, 11),
    "test": range(11, 511),
    "validation": range(511, 601),
    "train": range(601, 975),
}
LIMITS = {123: PartialLimits(time_s=20.0)}
"""By number. The reference solution of 123 takes 3.6 s on a slow core, which is near the usual limit."""
PREFIX = "Mbpp/"
"""Task ids are evalplus's: `Mbpp/601`."""


def load(file: Path | None, split: str | None) -> list[Problem]:
    """The problems of `split`; without one, all of `file` or the hub's `test`.

    Raises:
        DataError: a row that can't be used. InputError: an unknown split, or one that the file has no task of.
    """
    return problems_of(file, split, "full", problem_from_row)


def problems_of(
    file: Path | None, split: str | None, config: str, from_row: Callable[[dict[str, Any], str], Problem]
) -> list[Problem]:
    """The problems of `split`, as `from_row` makes them; `config` is what the hub calls this form of MBPP.

    Raises:
        DataError: a row that can't be used. InputError: an unknown split, or one that the file has no task of.
    """
    if split is not None and split not in SPLITS:
        raise InputError(f"mbpp has no split {split!r}; known: {', '.join(SPLITS)}")
    rows = hub.rows(file, table(config, split or "test"))
    wanted = SPLITS[split] if file is not None and split is not None else None
    problems = [from_row(row, where) for where, row in rows if wanted is None or _number(row, where) in wanted]
    if not problems:
        raise InputError(f"{file} has no task of the split {split!r} (task_id {_span(SPLITS[str(split)])})")
    return problems


def table(config: str, split: str) -> hub.Table:
    """Where the hub has a split of one of MBPP's forms."""
    return hub.Table(HUB_NAME, split, config)


def version(file: Path | None) -> dict[str, Any]:
    """What tells one version of the data from another."""
    return hub.version(file, table("full", "test"))


def aliases(task_id: str) -> tuple[str, ...]:
    """Other names that a samples file may use for the task: `601` and `MBPP/601` for `Mbpp/601`."""
    number = task_id.removeprefix(PREFIX)
    return (number, f"MBPP/{number}")


def _span(split: range) -> str:
    return f"{split.start} to {split.stop - 1}"


def problem_from_row(row: dict[str, Any], where: str, *, source: str = SOURCE) -> Problem:
    """One row in the original format as a `Problem`; `where` names it in errors.

    The asserts become one test each. `entry_point` is the function of the reference code that they call, `declares`
    the other names of the reference code that they or their setup use (`Pair` of 601, `Node` of 367 and 927).

    Raises:
        DataError: a field is missing or of a wrong type, there are no tests, code does not parse, or the tests call
            nothing that the reference code defines.
    """
    number = _number(row, where)
    tests = _tests(row, where)
    code = unix_newlines(text_field(row, "code", where))
    setup = unix_newlines(text_field(row, "test_setup_code", where, required=False))
    reference, used = parse_field(code, "code", where), parse_field("\n".join(tests), "test_list", where)
    entry_point = _entry_point(reference, used, where)
    names = _names(used) | _names(parse_field(setup, "test_setup_code", where))
    return Problem(
        task_id=f"{PREFIX}{number}",
        prompt=_prompt(text_field(row, "text", where), setup, tests),
        tests=tuple(TestCase(TestKind.ASSERTS, code=test) for test in tests),
        entry_point=entry_point,
        declares=tuple(sorted((_defined(reference) & names) - {entry_point})),
        prompt_is_code=False,
        test_setup=_imports(reference, names) + setup,
        reference_solution=code,
        source=source,
        limits=LIMITS.get(number),
    )


def _number(row: dict[str, Any], where: str) -> int:
    number = row.get("task_id")
    if not isinstance(number, int) or isinstance(number, bool):
        raise DataError(f"{where}: field 'task_id' must be a whole number, got {number!r}")
    return number


def _tests(row: dict[str, Any], where: str) -> list[str]:
    tests = row.get("test_list")
    if not tests:
        raise DataError(f"{where}: no tests: field 'test_list' is {'empty' if 'test_list' in row else 'missing'}")
    if not isinstance(tests, list) or not all(isinstance(test, str) for test in tests):
        raise DataError(f"{where}: field 'test_list' must be a list of strings")
    return [unix_newlines(test) for test in tests]


def _prompt(text: str, setup: str, tests: list[str]) -> str:
    """The task in words and its tests, in the paper's form; the setup too, where the tests build on it."""
    shown = [setup, *tests] if setup else tests
    return f"{unix_newlines(text)}\nYour code should pass these tests:\n\n" + "\n".join(shown) + "\n"


def _entry_point(reference: ast.Module, tests: ast.Module, where: str) -> str:
    functions = {n.name for n in reference.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)}
    for node in ast.walk(tests):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in functions:
            return node.func.id
    raise DataError(f"{where}: the tests call no function that the reference code defines")


def _names(tree: ast.Module) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def _defined(tree: ast.Module) -> set[str]:
    """Names of the functions, classes and variables at the top level."""
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names.update(n.id for target in node.targets for n in ast.walk(target) if isinstance(n, ast.Name))
    return names


def _imports(reference: ast.Module, names: set[str]) -> str:
    """The reference code's imports of what the tests use: 596's tests name `sys` and do not import it."""
    lines = [
        ast.unparse(node)
        for node in reference.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        and names & {alias.asname or alias.name for alias in node.names}
    ]
    return "".join(line + "\n" for line in lines)
