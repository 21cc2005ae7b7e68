"""The project's own problem files: one `rlcode.types.Problem` a line, as an object of its fields, plain or gzipped.

    {"task_id": "two-sum", "prompt": "Find …", "prompt_is_code": false, "entry_point": "twoSum",
     "tests": [{"kind": "call", "arguments": "[[2, 7], 9]", "expected": "[0, 1]"}], "limits": {"time_s": 2.0}}

A field that is left away has its default; only `task_id`, `prompt` and `tests` have none.

`task_id`             name of the problem, once in a file
`prompt`              head of a program (`prompt_is_code`, the default) or, with `prompt_is_code: false`, words
`entry_point`         name of the function that the tests call; empty for stdin tests
`tests`               one or more, of one kind or mixed; each counts on its own
    `kind`            `asserts`, `check`, `call`, `stdio`, or `unittest` for evaluation alone
    `code`            asserts: statements that call the entry point; check: code that defines `check(candidate)`;
                      unittest: `unittest.TestCase` classes, which run in the program's module
    `arguments`       call: JSON text of the list of positional arguments
    `expected`        call: JSON text of the value to be returned
    `stdin`           stdio: what the program may read
    `expected_stdout` stdio: what it must print
`test_setup`          trusted code that runs before asserts and checks, never in the program's interpreter; before the
                      program, in its module, with unittest
`declares`            further names that the tests use and the program must define (classes, mostly)
`comparison`          stdio and call: one of `lines` (the default), `tokens`, `floats`, `exact`; see `Comparison`
`tolerance`           how far numbers may differ with `floats`, absolute or relative (1e-6)
`checker`             stdio and call: trusted code that decides instead; see `rlcode.types.Problem.checker`
`limits`              what the programs may consume: any of the fields of `rlcode.types.Limits`
`reference_solution`  a whole program that passes
`source`              name of the data set
`difficulty`          as the data set names it: reports give figures for each
`tags`                a list of words; reports give figures for each
`prompt_asks`         the prompt says by itself how to answer: nothing is added to it
`imports`             modules beside the standard library that a program needs; `rlcode eval` leaves the problem out
                      where the sandbox lacks one
`base_tests`          so many of the tests, from the first, are those of a set that this one extends; all others are of
                      the kind `check`, and each of their asserts begins with `assert candidate(`
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rlcode.data import hub
from rlcode.data.lines import read_json_lines
from rlcode.data.rows import parse_field
from rlcode.errors import DataError, InputError
from rlcode.run_directory import write_atomically
from rlcode.types import Problem, TestCase, TestKind, from_json, to_json

FIELDS = ("task_id", "prompt", "tests")


def load(file: Path | None, split: str | None) -> list[Problem]:
    """The problems of `file`.

    Raises:
        DataError: a row that is no problem, or can't be judged. InputError: no file, or a split was asked for.
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


def version(file: Path | None) -> dict[str, Any]:
    """What tells one version of the data from another."""
    return hub.version(file, None)


def _problem(row: dict[str, object], where: str) -> Problem:
    try:
        problem = from_json(Problem, row)
    except ValueError as error:
        raise DataError(f"{where}: {error}") from error
    check(problem, where)
    return problem


def check(problem: Problem, where: str) -> None:
    """Refuse a problem that can't be judged.

    Raises:
        DataError: that is so; `where` names it.
    """
    if not problem.tests:
        raise DataError(f"{where}: no tests: problem {problem.task_id!r} can't be judged")
    if not problem.entry_point and any(test.kind is not TestKind.STDIO for test in problem.tests):
        raise DataError(f"{where}: problem {problem.task_id!r} has tests that call a function, and no entry_point")
    if not 0 <= problem.base_tests <= len(problem.tests):
        raise DataError(f"{where}: base_tests must be from 0 to the number of tests, got {problem.base_tests}")
    for number, test in enumerate(problem.tests, start=1):
        if test.kind is TestKind.CALL:
            _check_call(test, f"{where}: test {number}", needs_expected=not problem.checker)
    _check_rule(problem, where)


def _check_call(test: TestCase, where: str, *, needs_expected: bool) -> None:
    if not isinstance(_from_json(test.arguments, f"{where}: arguments"), list):
        raise DataError(
            f'{where}: arguments must be the JSON text of a list, like "[1, [2]]"; got {test.arguments!r:.80}'
        )
    if test.expected or needs_expected:
        _from_json(test.expected, f"{where}: expected")


def _check_rule(problem: Problem, where: str) -> None:
    if not 0 <= problem.tolerance < math.inf:
        raise DataError(f"{where}: tolerance must be 0 or more and finite, got {problem.tolerance}")
    if not problem.checker:
        return
    parse_field(problem.checker, "checker", where)
    if not any(test.kind in (TestKind.CALL, TestKind.STDIO) for test in problem.tests):
        raise DataError(f"{where}: a checker is for tests of the kinds stdio and call, and there is none")


def _from_json(text: str, where: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} must be JSON text: {error}; got {text!r:.80}") from error
