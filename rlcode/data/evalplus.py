"""What evalplus's data sets have in common (Liu et al. 2023, arXiv 2305.01210): many more inputs for known problems.

A row has a reference solution and two lists of inputs, `base_input` (those of the original tests) and `plus_input`. An
output is right if it is that of the reference solution, within the task's `atol`. A program passes if it is right on
both lists; `passed_base` tells whether it was on the first.

The reference solution is a trusted part of the tests and runs in the judge, beside the program's answers, so expected
outputs are computed where nothing leaves the sandbox, and only as far as a program gets. They are compared as evalplus
0.3.1 does:

- equal values are right; else, with an `atol` (1e-6 where none is given and floats are expected), values of the same
  type and form whose numbers differ by at most atol + 1e-7 of the expected one;
- some tasks have a rule of their own (`RULES`).

Two differences: a program's limits are the project's, for all inputs together, where evalplus gives each input a
multiple of the reference's time; and an answer must be a plain value, as everywhere in this project.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlcode.data import hub
from rlcode.data.rows import parse_field, text_field
from rlcode.errors import DataError
from rlcode.types import PartialLimits, Problem, TestCase, TestKind, Verdict

FIELDS = ("task_id", "prompt", "entry_point", "canonical_solution", "base_input", "plus_input", "atol")
_PLUS = "assert candidate("
"""How the plus tests begin, and no base test does."""
_REFERENCE = "_plus_reference"
"""What the tests call the reference solution."""

Restore = Callable[[list[Any]], list[Any]]
"""Gives the arguments of one call the types that JSON lost."""

SETTINGS = """\
from math import inf, nan


def _plus_close(got, want, atol):
    if isinstance(want, (list, tuple)):
        return (
            isinstance(got, (list, tuple))
            and len(got) == len(want)
            and all(_plus_close(one, other, atol) for one, other in zip(got, want))
        )
    return got == want or abs(got - want) <= atol + 1e-7 * abs(want)


def _plus_has_floats(want):
    if isinstance(want, (list, tuple)):
        return bool(want) and all(isinstance(one, float) for one in want)
    return isinstance(want, float)


def _plus_same(got, want, given, atol):
    if got == want:
        return True
    if atol == 0 and _plus_has_floats(want):
        atol = 1e-6
    return atol != 0 and type(got) is type(want) and _plus_close(got, want, atol)


class _PlusExpected:
    __array_ufunc__ = None

    def __init__(self, want, given):
        self.want, self.given = want, given

    def __eq__(self, got):
        return bool(_plus_rule(got, self.want, self.given, _PLUS_ATOL))

    def __repr__(self):
        return repr(self.want)


def expected(*given):
    return _PlusExpected(_plus_reference(*given), given)
"""
"""Code of the tests: `expected(…)` is equal to what is right for these arguments."""

_POLY = """\
def _plus_rule(got, want, given, atol):
    (xs,) = given
    return abs(sum(factor * got**power for power, factor in enumerate(xs))) <= atol
"""
_SETS = "def _plus_rule(got, want, given, atol):\n    return set(got) == set(want)\n"
_NOT_NONE = """\
def _plus_rule(got, want, given, atol):
    return (got if isinstance(got, bool) else got is not None) == (want is not None)
"""
_ANYTHING = "def _plus_rule(got, want, given, atol):\n    return True\n"
_ZERO_TOO = "def _plus_rule(got, want, given, atol):\n    return _plus_same(got, want, given, atol) or got == 0\n"
_PYRAMID = """\
def _plus_rule(got, want, given, atol):
    base, height = given
    slant = ((base / 2) ** 2 + height**2) ** 0.5
    return _plus_same(got, want, given, atol) or abs(got - round(base**2 + 2 * base * slant)) <= atol
"""
_DIGITS = """\
def _plus_rule(got, want, given, atol):
    one, other = (str(number) for number in given)
    width = max(len(one), len(other))
    pairs = zip(one.zfill(width), other.zfill(width))
    return _plus_same(got, want, given, atol) or got == sum(abs(int(a) - int(b)) for a, b in pairs)
"""
_USUAL = "_plus_rule = _plus_same\n"

RULES = {
    "HumanEval/32": _POLY,
    **dict.fromkeys((f"Mbpp/{number}" for number in (2, 7, 111, 140, 232, 249, 579, 769)), _SETS),
    **dict.fromkeys((f"Mbpp/{number}" for number in (737, 787, 794)), _NOT_NONE),
    "Mbpp/164": _ANYTHING,
    "Mbpp/295": _ZERO_TOO,
    "Mbpp/558": _DIGITS,
    "Mbpp/581": _PYRAMID,
}
"""Tasks that are judged otherwise than by the reference's output alone: a root of the given polynomial, the outputs as
sets, whether there is one at all (a match of a regular expression can't be written down), any output (evalplus takes
the task for broken), zero too, another reading of the task too."""


@dataclass(frozen=True)
class PlusSet:
    """One of evalplus's sets."""

    source: str
    prefix: str
    """Of its task ids."""
    release: hub.Release
    restore: Callable[[str], Restore]
    """Gives the `Restore` of a task."""
    limits: Mapping[str, PartialLimits]
    """Those that tasks need, by task."""


def problems_of(file: Path | None, plus_set: PlusSet) -> list[Problem]:
    """The problems of a plus set.

    Raises:
        DataError: a row that can't be used.
    """
    return [problem_from_row(row, where, plus_set) for where, row in hub.rows(file, plus_set.release)]


def problem_from_row(row: dict[str, Any], where: str, plus_set: PlusSet) -> Problem:
    """One row in evalplus's format as a `Problem`; `where` names it in errors.

    Raises:
        DataError: a field is missing or of a wrong type, there are no inputs, code does not parse, or it is a task of
            another set, whose inputs would get wrong types.
    """
    task_id, prompt = text_field(row, "task_id", where), text_field(row, "prompt", where)
    if not task_id.startswith(plus_set.prefix):
        raise DataError(f"{where}: task {task_id!r} is none of {plus_set.source}, whose tasks are {plus_set.prefix}…")
    entry_point = text_field(row, "entry_point", where)
    solution = prompt + text_field(row, "canonical_solution", where)
    base, plus = (_calls(row, name, plus_set.restore(task_id), where) for name in ("base_input", "plus_input"))
    setup = [_reference(solution, entry_point, where), SETTINGS, RULES.get(task_id, _USUAL)]
    return Problem(
        task_id=task_id,
        prompt=prompt,
        tests=(*_base_tests(entry_point, base), *_plus_tests(plus)),
        entry_point=entry_point,
        test_setup="\n".join([*setup, f"_PLUS_ATOL = {_atol(row, where)!r}\n"]),
        reference_solution=solution,
        source=plus_set.source,
        limits=plus_set.limits.get(task_id),
        base_tests=len(base),
    )


def passed_base(problem: Problem, verdict: Verdict) -> bool | None:
    """Whether a program passed the base tests of a problem of a plus set; None for any other problem.

    The base tests come first, so a program whose first failing test is a plus test has passed them.
    """
    if not problem.base_tests:
        return None
    return verdict.passed or (verdict.first_failing_test or "").startswith(_PLUS)


def _calls(row: dict[str, Any], name: str, restore: Restore, where: str) -> list[str]:
    """The arguments of each call as Python text, in which infinity and NaN are the names `inf` and `nan`."""
    inputs = row.get(name)
    if inputs == {} and name == "plus_input":  # Mbpp/793 of v0.1.0 has none
        return []
    if not isinstance(inputs, list) or not all(isinstance(one, list) for one in inputs):
        raise DataError(f"{where}: field {name!r} must be a list of lists of arguments; is it a file of evalplus?")
    if not inputs and name == "base_input":
        raise DataError(f"{where}: no tests: field 'base_input' is empty")
    try:
        return [", ".join(map(repr, restore(one))) for one in inputs]
    except (TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{where}: an input in {name!r} is not of the form that the task has: {error}") from error


def _base_tests(entry_point: str, calls: Iterable[str]) -> list[TestCase]:
    return [TestCase(TestKind.ASSERTS, code=f"assert {entry_point}({call}) == expected({call})") for call in calls]


def _plus_tests(calls: list[str]) -> list[TestCase]:
    if not calls:
        return []
    lines = "".join(f"    {_PLUS}{call}) == expected({call})\n" for call in calls)
    return [TestCase(TestKind.CHECK, code=f"def check(candidate):\n{lines}")]


def _atol(row: dict[str, Any], where: str) -> float:
    atol = row.get("atol", 0)
    if isinstance(atol, bool) or not isinstance(atol, int | float) or not 0 <= atol < math.inf:
        raise DataError(f"{where}: field 'atol' must be a number from 0, got {atol!r}")
    return atol


def _reference(solution: str, entry_point: str, where: str) -> str:
    """The reference solution under a name that no program has: the program's own function has the entry point's."""
    tree = _Renamed(entry_point).visit(parse_field(solution, "canonical_solution", where))
    return ast.unparse(tree) + "\n"


class _Renamed(ast.NodeTransformer):
    """Gives a name that of the reference wherever it stands for a value."""

    def __init__(self, name: str) -> None:
        self._name = name

    def visit_Name(self, node: ast.Name) -> ast.Name:
        node.id = _REFERENCE if node.id == self._name else node.id
        return node

    def visit_arg(self, node: ast.arg) -> ast.arg:
        self.generic_visit(node)
        node.arg = _REFERENCE if node.arg == self._name else node.arg
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        self.generic_visit(node)
        node.name = _REFERENCE if node.name == self._name else node.name
        return node
