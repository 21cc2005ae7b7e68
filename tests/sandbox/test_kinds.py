"""Every kind of test that data sets have: calls, printed output under each comparison, checkers; on both backends."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from rlcode.data.registry import load_problems
from rlcode.errors import DataError
from rlcode.limits import LIMIT_OPTIONS
from rlcode.types import (
    LIMIT_BOUNDS,
    Comparison,
    ErrorType,
    Limits,
    PartialLimits,
    Problem,
    Program,
    TestCase,
    TestKind,
    Verdict,
)
from sandbox.guest.comparison import COMPARISONS, difference, same_value
from sandbox.guest.plan import plan_for
from sandbox.guest.stops import BadTests
from sandbox.keeper import request_for
from sandbox.protocol import Job, Sandbox
from tests.sandbox.programs import SHORT, asserts, check, judge, stdio

E = ErrorType


def call(arguments: list[Any], expected: Any) -> TestCase:
    """A case of a call test."""
    return TestCase(TestKind.CALL, arguments=json.dumps(arguments), expected=json.dumps(expected))


def calls(*cases: tuple[list[Any], Any], entry_point: str = "f", **fields: Any) -> Problem:
    """A problem with pairs of arguments and expected value."""
    return Problem("calls", "", tuple(call(*case) for case in cases), entry_point=entry_point, **fields)


def printing(given: str, expected: str, comparison: str = "lines", **fields: Any) -> Problem:
    """A problem with one stdin test."""
    return replace(stdio((given, expected)), comparison=Comparison(comparison), **fields)


@dataclass(frozen=True)
class Golden:
    """A program and what it must get."""

    problem: Problem
    source: str
    error_type: ErrorType | None = None
    passed: int | None = None
    """Tests passed; None for all of them, or with an error for none."""


DOUBLE = calls(([2], 4), ([0], 0), ([-3], -6))
NESTED = calls(([], [[1, [2, 3]], {"a": [4]}]))
FLOAT = calls(([], 0.3), comparison=Comparison.FLOATS)
STATEFUL = "class Solution:\n    def __init__(self): self.seen = []\n"
CALLS: dict[str, Golden] = {
    "right": Golden(DOUBLE, "def f(x): return 2 * x"),
    "right as a method": Golden(DOUBLE, "class Solution:\n    def f(self, x): return 2 * x"),
    "right as a static method": Golden(DOUBLE, "class Solution:\n    @staticmethod\n    def f(x): return 2 * x"),
    "right as an inherited method": Golden(
        DOUBLE, "class A:\n    def f(self, x): return 2 * x\nclass Solution(A): pass"
    ),
    "a function wins over a method": Golden(
        DOUBLE, "def f(x): return 2 * x\nclass Solution:\n    def f(self, x): return 0"
    ),
    "right and printing": Golden(DOUBLE, "def f(x):\n    print('noise', x)\n    return 2 * x"),
    "a new object for each case": Golden(
        DOUBLE,
        STATEFUL
        + "    def f(self, x):\n        self.seen.append(x)\n        return 2 * x if len(self.seen) == 1 else 0",
    ),
    "state of the class stays": Golden(
        DOUBLE,
        "class Solution:\n    seen = []\n    def f(self, x):\n        self.seen.append(x)\n"
        "        return 2 * x if len(self.seen) == 1 else 7",
        E.WRONG_ANSWER,
        1,
    ),
    "a case fails, the next pass": Golden(DOUBLE, "def f(x): return 2 * x if x != 2 else 5", E.WRONG_ANSWER, 2),
    "an exception in one case": Golden(DOUBLE, "def f(x): return 2 * x if x else 1 // x", E.ZERO_DIVISION, 2),
    "an exception in a constructor": Golden(
        DOUBLE, "class Solution:\n    def __init__(self): self.x = y\n    def f(self, x): return 2 * x", E.NAME
    ),
    "wrong arity": Golden(DOUBLE, "def f(x, y): return 2 * x", E.TYPE),
    "not callable": Golden(DOUBLE, "f = 4", E.TYPE),
    "neither function nor class": Golden(DOUBLE, "def g(x): return 2 * x", E.MISSING_ENTRY_POINT),
    "a class without the method": Golden(
        DOUBLE, "class Solution:\n    def g(self, x): return 2 * x", E.MISSING_ENTRY_POINT
    ),
    "another class": Golden(DOUBLE, "class Solver:\n    def f(self, x): return 2 * x", E.MISSING_ENTRY_POINT),
    "exit in the middle": Golden(
        DOUBLE, "import sys\ndef f(x):\n    if x == 0: sys.exit(0)\n    return 2 * x", E.NO_RESULT, 1
    ),
    "a loop in the middle": Golden(DOUBLE, "def f(x):\n    while x == 0: pass\n    return 2 * x", E.TIMEOUT, 1),
    "a loop at load": Golden(DOUBLE, "while True: pass", E.TIMEOUT),
    "memory in the last case": Golden(
        DOUBLE, "def f(x): return 2 * x if x >= 0 else len(' ' * (1 << 30))", E.MEMORY, 2
    ),
    "too much output": Golden(DOUBLE, "def f(x):\n    print('x' * 100000)\n    return 2 * x", E.OUTPUT),
    "reads stdin": Golden(DOUBLE, "def f(x): return int(input())", E.STDIN),
    "syntax": Golden(DOUBLE, "def f(x) return 2 * x", E.SYNTAX),
    "None": Golden(DOUBLE, "def f(x): print(2 * x)", E.WRONG_ANSWER),
    "right as text": Golden(DOUBLE, "def f(x): return str(2 * x)", E.WRONG_ANSWER),
    "right as float": Golden(DOUBLE, "def f(x): return 2.0 * x"),
    "True for 1": Golden(calls(([], 1)), "def f(): return True"),
    "1 for true": Golden(calls(([], True)), "def f(): return 1"),
    "a text for true": Golden(calls(([], True)), "def f(): return 'true'", E.WRONG_ANSWER),
    "null": Golden(calls(([], None)), "def f(): pass"),
    "nested tuples": Golden(NESTED, "def f(): return ((1, (2, 3)), {'a': (4,)})"),
    "nested lists": Golden(NESTED, "def f(): return [[1, [2, 3]], {'a': [4]}]"),
    "a list in place of its only item": Golden(calls(([], [3])), "def f(): return 3", E.WRONG_ANSWER),
    "one item too many": Golden(calls(([], [1, 2])), "def f(): return [1, 2, 3]", E.WRONG_ANSWER),
    "a set for a list": Golden(calls(([], [1])), "def f(): return {1}", E.WRONG_ANSWER),
    "a range for a list": Golden(calls(([], [0, 1])), "def f(): return range(2)", E.WRONG_ANSWER),
    "a generator for a list": Golden(calls(([], [0, 1])), "def f(): yield from (0, 1)", E.WRONG_ANSWER),
    "an object that is equal to all": Golden(
        DOUBLE, "class A:\n    def __eq__(self, other): return True\ndef f(x): return A()", E.WRONG_ANSWER
    ),
    "a list that is equal to all": Golden(
        NESTED, "class A(list):\n    def __eq__(self, other): return True\ndef f(): return A()", E.WRONG_ANSWER
    ),
    "whole numbers as keys": Golden(calls(([], {"1": "a", "-2": "b"})), "def f(): return {-2: 'b', 1: 'a'}"),
    "a key twice, as number and as text": Golden(
        calls(([], {"1": "a"})), "def f(): return {1: 'a', '1': 'a'}", E.WRONG_ANSWER
    ),
    "True as a key": Golden(calls(([], {"1": "a"})), "def f(): return {True: 'a'}", E.WRONG_ANSWER),
    "a missing key": Golden(calls(([], {"a": None})), "def f(): return {'b': None}", E.WRONG_ANSWER),
    "big whole numbers": Golden(calls(([10**300], 10**600)), "def f(x): return x * x"),
    "a big whole number, one off": Golden(calls(([10**300], 10**600)), "def f(x): return x * x + 1", E.WRONG_ANSWER),
    "floats must be equal": Golden(calls(([], 0.3)), "def f(): return 0.1 + 0.2", E.WRONG_ANSWER),
    "floats within the tolerance": Golden(FLOAT, "def f(): return 0.1 + 0.2"),
    "a float beyond the tolerance": Golden(FLOAT, "def f(): return 0.30001", E.WRONG_ANSWER),
    "NaN is not close": Golden(FLOAT, "def f(): return float('nan')", E.WRONG_ANSWER),
    "infinity is not close": Golden(FLOAT, "def f(): return float('inf')", E.WRONG_ANSWER),
    "a signalling Decimal": Golden(
        FLOAT, "from decimal import Decimal\ndef f(): return Decimal('sNaN')", E.WRONG_ANSWER
    ),
    "too big for a float": Golden(FLOAT, "def f(): return 10 ** 400", E.WRONG_ANSWER),
    "Decimal": Golden(calls(([], 2)), "from decimal import Decimal\ndef f(): return Decimal('2.0')"),
    "arguments are copies": Golden(
        calls(([[3, 1, 2]], [1, 2, 3]), ([[3, 1, 2]], [1, 2, 3])), "def f(a):\n    a.sort()\n    return a"
    ),
    "writes into its argument and returns nothing": Golden(
        calls(([[2, 1]], [1, 2])), "def f(a): a.sort()", E.WRONG_ANSWER
    ),
    "many kinds of arguments": Golden(
        calls(([1, "é\ud83d", [None, True], {"k": [1.5]}], ["é\ud83d", None, 1.5])),
        "def f(a, b, c, d): return (b, c[0], d['k'][0])",
    ),
    "answers twice on the link": Golden(
        DOUBLE, "import os\ndef f(x):\n    os.write(3, b'\\0\\0\\0\\x09[1,\"v\",4]' * 2)\n    return 0", E.FORBIDDEN, 1
    ),
}

TWO = "3.0 1e2\n-0.5\n"
PRINTED: dict[str, Golden] = {
    "lines: blanks at ends": Golden(printing("", "a\nb\n"), "print('a \\t\\nb   \\n\\n')"),
    "lines: missing final newline": Golden(printing("", "a\nb\n"), "print('a\\nb', end='')"),
    "lines: CRLF": Golden(printing("", "a\nb\n"), "print('a\\r\\nb\\r')"),
    "lines: CRLF expected": Golden(printing("", "a\r\nb\r\n"), "print('a\\nb')"),
    "lines: blanks at starts": Golden(printing("", "a"), "print(' a')", E.WRONG_ANSWER),
    "lines: blank line between": Golden(printing("", "a\nb"), "print('a\\n\\nb')", E.WRONG_ANSWER),
    "lines: nothing printed": Golden(printing("", "a"), "pass", E.WRONG_ANSWER),
    "lines: nothing expected": Golden(printing("", ""), "pass"),
    "lines: newlines only": Golden(printing("", ""), "print('\\n\\n')"),
    "lines: other float format": Golden(printing("", "0.5"), "print('0.50')", E.WRONG_ANSWER),
    "tokens: any blanks": Golden(printing("", "1 2\n3", "tokens"), "print('\\n 1\\t2\\n\\n\\n3')"),
    "tokens: joined": Golden(printing("", "1 2", "tokens"), "print('12')", E.WRONG_ANSWER),
    "tokens: one too many": Golden(printing("", "1 2", "tokens"), "print('1 2 3')", E.WRONG_ANSWER),
    "tokens: other float format": Golden(printing("", "0.5", "tokens"), "print('0.50')", E.WRONG_ANSWER),
    "floats: other formats": Golden(printing("", TWO, "floats"), "print(3, 100.00000001, '-.5')"),
    "floats: beyond": Golden(printing("", TWO, "floats"), "print(3.01, 100, -0.5)", E.WRONG_ANSWER),
    "floats: a wider tolerance": Golden(printing("", TWO, "floats", tolerance=0.01), "print(3.01, 100.9, -0.495)"),
    "floats: words stay words": Golden(printing("", "yes 1", "floats"), "print('yes', 1.0)"),
    "floats: a word for a number": Golden(printing("", "yes 1", "floats"), "print('yes one')", E.WRONG_ANSWER),
    "floats: a number for a word": Golden(printing("", "nan", "floats"), "print(0)", E.WRONG_ANSWER),
    "floats: nan": Golden(printing("", "1", "floats"), "print('nan')", E.WRONG_ANSWER),
    "floats: nan where it is expected": Golden(printing("", "nan", "floats"), "print(float('nan'))"),
    "floats: inf": Golden(printing("", "1", "floats"), "print('inf')", E.WRONG_ANSWER),
    "floats: 1e400": Golden(printing("", "1e308", "floats"), "print('1e400')", E.WRONG_ANSWER),
    "floats: 1e400 for 1e500": Golden(printing("", "1e500", "floats"), "print('1e400')", E.WRONG_ANSWER),
    "floats: a huge exponent": Golden(printing("", "1", "floats"), "print('1e999999999999999')", E.WRONG_ANSWER),
    "floats: underscores": Golden(printing("", "10", "floats"), "print('1_0')", E.WRONG_ANSWER),
    "floats: other digits": Golden(printing("", "1", "floats"), "print('\\u0661')", E.WRONG_ANSWER),
    "exact: right": Golden(printing("", "a \n", "exact"), "print('a ')"),
    "exact: missing final newline": Golden(printing("", "a\n", "exact"), "print('a', end='')", E.WRONG_ANSWER),
    "exact: missing blank": Golden(printing("", "a \n", "exact"), "print('a')", E.WRONG_ANSWER),
    "exact: CRLF": Golden(printing("", "a\n", "exact"), "print('a\\r')", E.WRONG_ANSWER),
    "NUL": Golden(printing("", "a\0b"), "print('a\\0b')"),
    "NUL too many": Golden(printing("", "ab"), "print('a\\0b')", E.WRONG_ANSWER),
    "invalid UTF-8": Golden(printing("", "a\ufffd"), "import os\nos.write(1, b'a\\xff')", E.WRONG_ANSWER),
    "a replacement character": Golden(printing("", "a\ufffd"), "print('a\\ufffd')"),
    "reads past the end": Golden(printing("1\n", "1"), "input()\ninput()", E.STDIN),
    "reads nothing": Golden(printing("", ""), "input()", E.STDIN),
    "sys.stdin.buffer": Golden(
        printing("1 2\n", "3"), "import sys\nprint(sum(map(int, sys.stdin.buffer.read().split())))"
    ),
    "os.read": Golden(printing("1 2\n", "3"), "import os\nprint(sum(map(int, os.read(0, 1 << 20).split())))"),
    "open(0)": Golden(printing("1\n2\n", "3"), "print(sum(map(int, open(0))))"),
    "a loop over sys.stdin": Golden(printing("1\n2", "3"), "import sys\nprint(sum(int(line) for line in sys.stdin))"),
    "input with a prompt": Golden(printing("7\n", "7"), "print(input('? '))", E.WRONG_ANSWER),
    "input with an empty prompt": Golden(printing("7\n", "7"), "print(input(''))"),
    "stdin with CRLF": Golden(printing("7\r\n8\r\n", "15"), "print(int(input()) + int(input()))"),
}


@pytest.mark.parametrize("table", [CALLS, PRINTED], ids=["calls", "printed"])
def test_programs_get_their_verdicts(lone: Sandbox, table: dict[str, Golden]) -> None:
    jobs = [Job(golden.problem, Program(golden.source, "test"), SHORT) for golden in table.values()]
    wrong = {}
    for (name, golden), verdict in zip(table.items(), lone.judge(jobs), strict=True):
        assert isinstance(verdict, Verdict), (name, verdict)
        total = len(golden.problem.tests)
        passed = golden.passed if golden.passed is not None else total if golden.error_type is None else 0
        if golden.error_type is E.OUTPUT:  # told at the end, when the cases were seen
            passed = verdict.tests_passed
        expected = (golden.error_type, passed, total, golden.error_type is None)
        if (verdict.error_type, verdict.tests_passed, verdict.tests_total, verdict.passed) != expected:
            wrong[name] = (expected, verdict)
    assert not wrong


def test_a_failing_call_is_shown_with_what_was_expected_and_got(lone: Sandbox) -> None:
    wrong, raising = judge(lone, DOUBLE, "def f(x): return 2 * x or 'no'", "def f(x): return [4][x - 2]")
    assert (wrong.first_failing_test, wrong.detail) == ("call 2: f(0)", "'no' != 0")
    assert (raising.first_failing_test, raising.exception, raising.line) == ("call 2: f(0)", "IndexError", 1)


def test_a_long_line_is_shown_where_it_differs(lone: Sandbox) -> None:
    (verdict,) = judge(lone, printing("", "x" * 5000 + "right"), "print('x' * 5000 + 'wrong')")
    assert verdict.detail == f"line 1: … '{'x' * 20}wrong' != … '{'x' * 20}right'"


def test_the_first_token_that_differs_is_shown(lone: Sandbox) -> None:
    (verdict,) = judge(lone, printing("", "1 2 3", "floats"), "print(1, 2.5)")
    assert verdict.detail == "token 2: '2.5' != '2'"
    (verdict,) = judge(lone, printing("", "1 2 3", "tokens"), "print(1, 2)")
    assert verdict.detail == "token 3: no token != '3'"


def test_asserts_calls_and_stdin_tests_count_together(lone: Sandbox) -> None:
    tests = (*asserts("assert f(1) == 2").tests, call([2], 4), *stdio(("", "7"), ("", "8")).tests)
    problem = Problem("mixed", "", tests, entry_point="f")
    right, half = judge(
        lone, problem, "def f(x): return 2 * x\nprint(7)", "def f(x): return 3 if x == 2 else 2\nprint(8)"
    )
    assert (right.error_type, right.tests_passed, right.tests_total) == (E.WRONG_ANSWER, 3, 4)
    assert right.first_failing_test == "stdin case 2: ''"
    assert (half.first_failing_test, half.tests_passed) == ("call 1: f(2)", 2)


METHODS = "import unittest\nclass Cases(unittest.TestCase):\n" + "".join(
    f"    def test_{n}(self): self.assertEqual(f({n}), {2 * n})\n" for n in range(6)
)
FAILING = {
    "asserts": asserts(*(f"assert f({n}) == {2 * n}" for n in range(6))),
    "check": check("\n".join(f"assert candidate({n}) == {2 * n}" for n in range(6))),
    "calls": calls(*(([n], 2 * n) for n in range(6))),
    "stdio": stdio(*((f"{n}\n", f"{2 * n}") for n in range(6))),
    "unittest": Problem("unit", "", (TestCase(TestKind.UNITTEST, code=METHODS),), entry_point="f"),
}
WRONG_FROM_2_LOOPS_AT_4 = """
def f(x):
    while x == 4:
        pass
    return 2 * x if x < 2 else None
if __name__ == "__main__":
    print(f(int(input())))
"""


@pytest.mark.parametrize("kind", FAILING)
@pytest.mark.parametrize(("failures", "asked"), [(1, 3), (2, 4), (3, 5)])
def test_after_so_many_failures_a_program_is_asked_no_more(lone: Sandbox, kind: str, failures: int, asked: int) -> None:
    limits = replace(SHORT, failures=failures)
    (verdict,) = judge(lone, FAILING[kind], WRONG_FROM_2_LOOPS_AT_4, limits=limits)
    assert (verdict.error_type, verdict.tests_passed) == (E.WRONG_ANSWER, 2)
    assert (verdict.time_s < 0.5 * SHORT.time_s) == (asked < 5), "the program loops in the fifth test"


# Checkers.

ANY_DIVISOR = """
def check(given, printed, expected):
    n, d = int(given), int(printed)
    return 1 < d < n and n % d == 0
"""
ANY_PAIR = """
def check(arguments, value, expected):
    items, target = arguments
    i, j = value
    return type(i) is int and type(j) is int and 0 <= i < j < len(items) and items[i] + items[j] == target
"""
DIVISOR = printing("12", "2", checker=ANY_DIVISOR)
PAIR = calls(([[1, 2, 3, 4], 5], [0, 3]), ([[5, 5], 10], [0, 1]), checker=ANY_PAIR)
CHECKED: dict[str, Golden] = {
    "another right text": Golden(DIVISOR, "print(6)"),
    "the expected text": Golden(DIVISOR, "print(2)"),
    "a wrong text": Golden(DIVISOR, "print(5)", E.WRONG_ANSWER),
    "no text": Golden(DIVISOR, "pass", E.WRONG_ANSWER),
    "prose": Golden(DIVISOR, "print('True')", E.WRONG_ANSWER),
    "right, then an exception": Golden(DIVISOR, "print(6)\n1 / 0", E.ZERO_DIVISION),
    "another right value": Golden(
        PAIR, "def f(a, t): return [(i, j) for j in range(len(a)) for i in range(j) if a[i] + a[j] == t][0]"
    ),
    "a wrong value": Golden(PAIR, "def f(a, t): return (0, 1)", E.WRONG_ANSWER, 1),
    "a value that the checker stumbles over": Golden(PAIR, "def f(a, t): return None", E.WRONG_ANSWER),
    "an object": Golden(
        PAIR, "class A:\n    def __iter__(self): return iter((1, 2))\ndef f(a, t): return A()", E.WRONG_ANSWER
    ),
    "a generator": Golden(PAIR, "def f(a, t): yield from (1, 2)", E.WRONG_ANSWER),
    "objects in a list": Golden(
        PAIR,
        "class A(int):\n    def __add__(self, other): return 5\nclass B:\n    __radd__ = A.__add__\n"
        "def f(a, t): return [A(1), B()]",
        E.WRONG_ANSWER,
    ),
    "changing the arguments": Golden(PAIR, "def f(a, t):\n    a[:] = [t, 0]\n    return (0, 1)", E.WRONG_ANSWER, 1),
    "a check of its own": Golden(
        PAIR, "def check(*arguments): return True\ndef f(a, t): return (0, 0)", E.WRONG_ANSWER
    ),
}


def test_a_checker_takes_every_right_answer_and_no_other(lone: Sandbox) -> None:
    test_programs_get_their_verdicts(lone, CHECKED)


@pytest.mark.parametrize("answer", ["1", "'yes'", "[True]", "None", "type('T', (), {})()"])
def test_only_true_counts(lone: Sandbox, answer: str) -> None:
    problem = printing("", "", checker=f"def check(given, printed, expected): return {answer}")
    (verdict,) = judge(lone, problem, "pass")
    assert verdict.error_type is E.WRONG_ANSWER
    assert "the checker says" in verdict.detail


def test_an_answer_can_not_make_a_checker_act_even_if_it_swallows_that(lone: Sandbox) -> None:
    checker = (
        "import os\ndef check(given, printed, expected):\n    try:\n        os.stat(printed) and open(printed, 'a')\n"
        "    except Exception:\n        pass\n    return True"
    )
    harmless, hostile = judge(
        lone, printing("", "", checker=checker), "print('no such file')", "print(end='/dev/null')"
    )
    assert harmless.passed
    assert (hostile.error_type, hostile.tests_passed) == (E.FORBIDDEN, 0)
    assert "the checker was stopped over the answer" in hostile.detail


def test_a_checker_keeps_nothing_from_one_program_to_the_next(lone: Sandbox) -> None:
    checker = "seen = []\ndef check(given, printed, expected):\n    seen.append(printed)\n    return len(seen) == 1"
    verdicts = judge(lone, printing("", "", checker=checker), "print(1)", "print(2)")
    assert all(verdict.passed for verdict in verdicts)


@pytest.mark.parametrize("lone", ["local"], indirect=True)  # it costs the judge all of its time
def test_a_checker_that_does_not_get_done_with_an_answer_times_out(lone: Sandbox) -> None:
    checker = "def check(arguments, value, expected):\n    while value == 'x': pass\n    return True"
    problem = calls((["y"], 0), (["x"], 0), (["y"], 0), checker=checker)
    late, right = judge(lone, problem, "def f(x): return x", "def f(x): return 0", limits=Limits(time_s=0.5))
    assert (late.error_type, late.tests_passed) == (E.TIMEOUT, 1)
    assert late.detail == "the tests did not get done with the program's answers"
    assert late.first_failing_test == "call 2: f('x')"
    assert right.passed


@pytest.mark.parametrize(
    ("checker", "message"),
    [
        ("def check(given, printed, expected)", "the checker does not compile"),
        ("def verify(given, printed, expected): return True", "the checker does not define check"),
        ("def check(printed): return True", "the checker can't be loaded: TypeError"),
        ("import no_such_module", "the checker can't be loaded: ModuleNotFoundError"),
        ("raise SystemExit", "the checker can't be loaded: SystemExit"),
        ("def check(given, printed, expected): return no_such_name", "no_such_name"),
    ],
)
def test_a_checker_that_can_not_work_is_the_problems_fault(lone: Sandbox, checker: str, message: str) -> None:
    job = Job(printing("", "", checker=checker), Program("pass", "test"), SHORT)
    with pytest.raises(DataError, match=message):
        list(lone.judge([job]))


def test_a_fault_of_a_checker_that_only_odd_answers_lead_to_is_a_wrong_answer(lone: Sandbox) -> None:
    checker = "def check(given, got, expected):\n    return got == expected or no_such_name"
    for problem, right, odd in (
        (printing("", "1", checker=checker), "print(1, end='')", "print(2)"),
        (calls(([1], 1), checker=checker), "def f(x): return x", "def f(x): return 2"),
    ):
        good, bad = judge(lone, problem, right, odd)
        assert good.passed
        assert bad.error_type is E.WRONG_ANSWER
        assert bad.detail == "NameError in the test: name 'no_such_name' is not defined"


# The page for users.

PAGE = (Path(__file__).parents[2] / "docs/problems.md").read_text(encoding="utf-8")


def test_the_examples_of_the_page_are_judged_right(lone: Sandbox, tmp_path: Path) -> None:
    rows = re.findall(r"```json\n(.+)\n```", PAGE)
    (tmp_path / "rows.jsonl").write_text("\n".join(rows), encoding="utf-8")
    problems = load_problems("jsonl", tmp_path / "rows.jsonl")
    verdicts = [judge(lone, problem, problem.reference_solution, "pass") for problem in problems]
    assert [(right.passed, empty.passed) for right, empty in verdicts] == [(True, False)] * len(rows)


def test_the_page_names_every_limit_with_its_option_default_and_bounds() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| ([\d,]+).* \| (\S+) … (\S+) \|$", PAGE, re.M)
    expected = [
        (name, option, f"{getattr(Limits(), name):,.7g}", f"{LIMIT_BOUNDS[name][0]:g}", f"{LIMIT_BOUNDS[name][1]:,}")
        for option, name in LIMIT_OPTIONS.items()
    ]
    assert rows == expected


# Tests that can't be judged, without a sandbox.


def plan(problem: Problem) -> Any:
    return plan_for(request_for(1, Job(problem, Program("", "test"), Limits()))["problem"])


@pytest.mark.parametrize(
    ("test", "message"),
    [
        (TestCase(TestKind.CALL, arguments="[1", expected="1"), "test 1: arguments can't be read as JSON"),
        (TestCase(TestKind.CALL, arguments="{}", expected="1"), "test 1: arguments must be the JSON text of a list"),
        (TestCase(TestKind.CALL, arguments="[]", expected=""), "test 1: expected can't be read as JSON"),
        (TestCase(TestKind.CALL, arguments="[]", expected="NaN"), "NaN is equal to nothing"),
        (TestCase(TestKind.CALL, arguments="[" * 200 + "]" * 200, expected="1"), "nested more than"),
    ],
)
def test_a_case_that_can_not_be_judged_is_the_problems_fault(test: TestCase, message: str) -> None:
    with pytest.raises(BadTests, match=message):
        plan(Problem("t", "", (test,), entry_point="f"))


def test_rules_that_can_not_be_are_the_problems_fault() -> None:
    with pytest.raises(BadTests, match="no entry_point"):
        plan(calls(([], 1), entry_point=""))
    with pytest.raises(BadTests, match="it is for the kinds 'stdio' and 'call'"):
        plan(replace(asserts("assert f(1)"), checker=ANY_PAIR))
    with pytest.raises(BadTests, match="the tolerance must be 0 or more and finite"):
        plan(printing("", "", "floats", tolerance=float("nan")))


@pytest.mark.parametrize("name", ["eval", "exec", "compile", "__import__"])
def test_a_checker_that_would_run_an_answer_is_refused(name: str) -> None:
    checker = f"def check(given, printed, expected):\n    return {name}(printed) == {name}(expected)"
    with pytest.raises(BadTests, match=rf"the checker uses {name}; read an answer with"):
        plan(printing("", "", checker=checker))


def test_problems_with_large_tests_are_not_all_kept() -> None:
    problems = [printing("x" * (1 << 20), str(number)) for number in range(32)]
    first = plan(problems[0])
    assert plan(problems[0]) is first
    for problem in problems[1:]:
        plan(problem)
    assert plan(problems[0]) is not first


# Comparisons, without a sandbox.


def test_the_guest_and_the_host_know_the_same_comparisons() -> None:
    assert {str(comparison) for comparison in Comparison} == COMPARISONS


def test_long_output_is_compared_in_linear_time() -> None:
    size = 1 << 18
    for text in ("1" * size, "x" * size, "1 " * size, "\n" * size, " " * size + "x", "1." + "1" * size + "x"):
        for comparison in COMPARISONS:
            assert difference(text, text, comparison, 1e-6) is None
            assert (difference(text + "y", text, comparison, 1e-6)) is not None


def test_a_value_is_equal_to_itself_however_it_is_nested() -> None:
    value = {"a": [[1, 2.5, None, True], {"b": "c"}], "": []}
    assert same_value(value, json.loads(json.dumps(value)))
    assert not same_value({**value, "": [0]}, value)


def test_an_own_limit_of_a_problem_holds_for_its_programs(lone: Sandbox) -> None:
    problem = replace(printing("", "1"), limits=PartialLimits(time_s=0.2))
    program = Program("import time\ntime.sleep(0.5)\nprint(1)", "test")
    results = lone.judge(
        [Job(problem, program, problem.limits_in(run)) for run in (PartialLimits(), PartialLimits(time_s=2.0))]
    )
    slow, enough = results
    assert isinstance(slow, Verdict)
    assert isinstance(enough, Verdict)
    assert (slow.error_type, slow.limits.time_s) == (E.TIMEOUT, 0.2)
    assert enough.passed


def test_failures_of_all_kinds_count_together(lone: Sandbox) -> None:
    tests = (*asserts("assert f(1) == 2").tests, call([2], 4), *stdio(("", "7"), ("", "7")).tests)
    problem = Problem("mixed", "", tests, entry_point="f")
    for failures, passed in ((1, 0), (2, 0), (3, 2)):
        (verdict,) = judge(lone, problem, "def f(x): pass\nprint(7)", limits=replace(SHORT, failures=failures))
        assert (verdict.error_type, verdict.tests_passed, verdict.tests_total) == (E.WRONG_ANSWER, passed, 4)
