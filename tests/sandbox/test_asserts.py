"""Which asserts of a test count, and that the test means what it meant."""

from __future__ import annotations

import ast
from typing import Any

import pytest

from sandbox.guest.asserts import LEDGER, Ledger, Rewriter, dependent_names, shown
from sandbox.guest.classify import WRONG_ANSWER
from sandbox.guest.plan import plan_for
from sandbox.guest.stops import BadTests


def run(code: str, f: Any, plain_function: str | None = None) -> tuple[Ledger, BaseException | None]:
    """Run rewritten test code around `f`, which stands for the program."""
    tree, sites = ast.parse(code), []
    rewriter = Rewriter(dependent_names([tree], {"f", "candidate"}), sites, plain_function)
    ledger = Ledger(sites, lambda: None)
    space = {LEDGER: ledger, "f": f}
    try:
        exec(compile(rewriter.rewrite(tree), "<test>", "exec"), space)
        if plain_function:
            space[plain_function](f)
    except (ArithmeticError, AssertionError, TypeError) as error:
        ledger.escaped()
        return ledger, error
    return ledger, None


def sites_of(code: str) -> list[str]:
    tree, sites = ast.parse(code), []
    Rewriter(dependent_names([tree], {"f", "candidate"}), sites, "check").rewrite(tree)
    return sites


@pytest.mark.parametrize(
    ("code", "count"),
    [
        ("assert f(1) == 2", 1),
        ("assert True", 0),
        ("x = 3\nassert x == 3", 0),
        ("x = f(1)\nassert x == 2", 1),
        ("x = f(1)\ny = x + 1\nz: int = y\nassert z == 2", 1),
        ("assert (y := f(1)) == 2\nassert y > 0", 2),
        ("r = []\nr.append(f(1))\nassert r == [2]", 1),
        ("r = [0]\nr[0] = f(1)\nassert r == [2]", 1),
        ("for x in f(3):\n    assert x", 1),
        ("for x in [1, 2]:\n    assert x", 0),
        ("def helper(x): return f(x)\nassert helper(1) == 2", 1),
        ("def helper(x): return x\nassert helper(1) == 1", 0),
        ("ok = False\nif f(1): ok = True\nassert ok", 1),
        ("try:\n    f(1)\n    ok = False\nexcept ValueError:\n    ok = True\nassert ok", 1),
        ("try:\n    f(1)\nexcept ValueError as e:\n    assert 'x' in str(e)", 1),
        ("with f(1) as x:\n    assert x", 1),
        ("def check(candidate):\n    assert candidate(1) == 2\n    assert True", 1),
        ("assert all(f(x) == x for x in range(3)), 'message'", 1),
        ("match f(1):\n    case [x, *rest]:\n        assert x\n        assert rest", 2),
        ("match f(1):\n    case {'a': x, **rest}:\n        assert rest\n    case str() as y:\n        assert y", 2),
        ("match 3:\n    case x:\n        assert x", 0),
        ("def same(a, b): assert a == b\nsame(f(1), 2)", 1),
        ("def same(a, b): assert a == b\nsame(1, 1)", 0),
        ("def inner(a): assert a\ndef outer(b): inner(b)\nouter(f(1))", 1),
        ("def same(a, b): assert a == b\nequal = same\nequal(b=2, a=f(1))", 1),
        ("def positive(a): assert a > 0\nlist(map(positive, f(3)))", 1),
        ("def check(candidate):\n    def same(a, b):\n        assert a == b\n    same(candidate(1), 2)", 1),
        ("same = lambda a, b: a == b\nx = same(f(1), 2)\nassert x", 1),
        ("class T:\n    def run(self, a): assert a\nT().run(f(1))", 1),
        ("class T:\n    def __init__(self, a): self.a = a\n    def run(self): assert self.a\nT(f(1)).run()", 1),
        ("def deco(g):\n    g(f(1))\n    return g\n@deco\ndef test(x): assert x", 1),
        ("import heapq\nheap = []\nheapq.heappush(heap, f(1))\nassert heap == [1]", 1),
        ("x = [y for y in f(3)]\nassert x", 1),
        ("assert [y for y in [1, 2]]", 0),
        ("a, *b = f(3)\nassert b", 1),
        ("x = f'{f(1)}'\nassert x == '1'", 1),
        ("for x in [1, 2]:\n    if f(x): break\nassert x == 2", 1),
        ("def g():\n    global x\n    x = f(1)\ng()\nassert x == 1", 1),
        ("try:\n    f(1)\nexcept* ValueError as group:\n    assert group", 1),
        ("import contextlib\nok = True\nwith contextlib.suppress(ValueError):\n    f(1)\n    ok = False\nassert ok", 1),
    ],
)
def test_an_assert_counts_if_it_depends_on_the_program(code: str, count: int) -> None:
    assert len(sites_of(code)) == count


def test_the_test_goes_on_after_an_assert_failed_or_raised() -> None:
    ledger, error = run("assert f(0) == 1\nassert f(1) == 1\nassert f('a') == 1\nassert f(3) == 9", lambda x: x * x)
    assert error is None
    assert (ledger.passed, ledger.first_failing_test) == (2, "assert f(0) == 1")
    assert ledger.first_failure is not None
    assert (ledger.first_failure.error_type, ledger.first_failure.detail) == (WRONG_ANSWER, "0 != 1")


def test_an_assert_in_a_loop_passes_if_it_never_failed() -> None:
    code = "def check(candidate):\n  for x in range(5):\n    assert candidate(x) == x\n    assert candidate(x) < 4"
    ledger, _ = run(code, lambda x: x, "check")
    assert ledger.passed == 1


def test_an_assert_that_was_not_reached_is_not_passed() -> None:
    ledger, _ = run("for x in f(1):\n    assert x\nassert f(1) == []", lambda x: [])
    assert (ledger.passed, ledger.first_failing_test) == (1, "assert x")


def test_an_assert_that_does_not_count_must_hold() -> None:
    ledger, error = run("assert f(1) == 1\nassert 1 == 2\nassert f(2) == 2", lambda x: x)
    assert isinstance(error, AssertionError)
    assert ledger.passed == 1


def test_an_assert_under_try_is_for_its_handler() -> None:
    code = "try:\n    assert f(1) == 2, 'why'\nexcept AssertionError as e:\n    message = str(e)\nassert f(1) == 1"
    ledger, error = run(code, lambda x: x)
    assert error is None
    assert ledger.passed == 2


def test_an_assert_in_a_helper_ends_the_statement_that_called_it() -> None:
    code = "def same(a, b):\n    assert f(a) == b\nsame(1, 1)\nsame(2, 3)\nassert f(1) == 1"
    ledger, error = run(code, lambda x: x)
    assert error is None
    assert (ledger.passed, ledger.first_failing_test) == (1, "assert f(a) == b")


def test_an_assert_in_which_the_program_raised_is_not_passed() -> None:
    code = "with open('/dev/null'):\n    assert f('a') + 1 == 2\n    assert f(2) == 4\nassert f(1) == 1"
    ledger, error = run(code, lambda x: x)
    assert error is None
    assert (ledger.passed, ledger.first_failing_test) == (1, "assert f('a') + 1 == 2")


def test_what_a_test_caught_has_no_say_in_what_fails_later() -> None:
    code = "try:\n    assert f('a') + 1 == 2\nexcept TypeError:\n    pass\nassert f(1) == 1\nf('a') + 1"
    ledger, _ = run(code, lambda x: x)
    assert ledger.first_failure is not None
    assert ledger.passed == 2


@pytest.mark.parametrize(
    "code",
    [
        "def same(a, b):\n    assert a == b\nsame(f(1), 1)\nsame(f(2), 9)\nassert f(3) == 3",
        "def same(a, b):\n    if a != b: raise AssertionError\nsame(f(2), 9)\nassert f(1) == 1\nassert f(3) == 3",
        "x = f('a') + 1\nassert f(1) == 1\nassert f(3) == 3",
        "with open('/dev/null'):\n    assert f(2) == 9\nassert f(1) == 1",
        "for x in f(0):\n    assert x\nassert f(1) == 1",
        "def check(candidate):\n    y = candidate(0)[0]\n    assert candidate(1) == 1",
    ],
)
def test_the_test_goes_on_with_the_statement_after_one_that_raised(code: str) -> None:
    ledger, error = run(code, lambda x: x, "check" if "check" in code else None)
    assert error is None
    assert ledger.first_failure is not None
    assert ledger.passed == code.count("assert f(1) == 1") + code.count("assert f(3)") + code.count("candidate(1) ==")


def test_a_loop_that_counts_on_its_statements_ends_with_the_first_that_raises() -> None:
    code = "n = 1\nwhile n < 9:\n    f('a') + 1\n    n += 1\nassert f(1) == 1"
    ledger, error = run(code, lambda x: x)
    assert error is None
    assert ledger.first_failure is not None
    assert ledger.passed == 1


def test_a_context_manager_may_expect_what_an_assert_raises() -> None:
    code = "import contextlib\nwith contextlib.suppress(AssertionError):\n    assert f(1) == 2\nassert f(1) == 1"
    ledger, _ = run(code, lambda x: x)
    assert (ledger.passed, ledger.first_failure) == (2, None)


def test_a_comparison_is_made_as_written() -> None:
    class Odd:
        def __eq__(self, other: object) -> bool:
            return True

        def __ne__(self, other: object) -> bool:
            return True

        __hash__ = None  # type: ignore[assignment]

    ledger, _ = run("assert f(1) == 5\nassert not f(1) != 5", lambda x: Odd())
    assert ledger.passed == 1


def test_values_are_shown_within_bounds() -> None:
    assert shown([1, "a"]) == "[1, 'a']"
    assert len(shown("x" * 10**6)) <= 200
    assert shown(list(range(1000))) == "a list of 1000 items"
    assert shown(10**5000) == "a int"


def problem(*codes: str, kind: str = "asserts", entry_point: str = "f", setup: str = "") -> dict[str, Any]:
    tests = [{"kind": kind, "code": code, "stdin": "", "expected_stdout": ""} for code in codes]
    return {"entry_point": entry_point, "declares": [], "test_setup": setup, "tests": tests}


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (problem(), "no tests"),
        (problem("assert True"), "depends on f"),
        (problem("assert f(1) = 2"), "test 1 does not compile"),
        (problem("assert f(1) == 2\0"), "test 1 does not compile"),
        (problem("assert f(1)", setup="1 +"), "the test_setup does not compile"),
        (problem("assert f(1)", entry_point=""), "no entry_point"),
        (problem("assert f(1)", kind="check"), "does not define check"),
        (problem("def check(): assert f(1)", kind="check"), "does not define check"),
        (problem("return f(1)\nassert f(1)"), "does not compile"),
        (problem("assert f(1)", kind="doctest"), "unknown kind"),
        (problem("f(1)"), "depends on f"),
        (problem("assert eval(f(1)) == 2"), "would do with a program's answer"),
        (problem("x = f(1)\nexec(x)\nassert True"), "would do with a program's answer"),
        (problem("assert list(map(eval, f(1))) == [2]"), "would do with a program's answer"),
        (problem("import pickle\nassert pickle.loads(f(1)) == 2"), "would do with a program's answer"),
        (problem("import os\nassert os.system(f(1)) == 0"), "would do with a program's answer"),
        (problem("import builtins\nassert getattr(builtins, 'ev' + 'al')(f(1)) == 2"), "would do with a program's"),
        (problem("def run(x):\n    return eval(x)\nassert run(f(1)) == 2"), "would do with a program's answer"),
        (problem("assert open(f(1)).read() == ''"), "would do with a program's answer"),
    ],
)
def test_tests_that_can_not_be_run_are_named(bad: dict[str, Any], says: str) -> None:
    with pytest.raises(BadTests, match=says):
        plan_for(bad)


@pytest.mark.parametrize(
    "code",
    [
        "import numpy as np\nnp.testing.assert_allclose(f(1), 2.0)",
        "try:\n    f(-1)\n    assert False\nexcept ValueError:\n    pass",
        "if f(1) != 2:\n    raise ValueError",
    ],
)
def test_a_test_that_can_fail_without_an_assert_of_its_own_counts_for_one(code: str) -> None:
    plan = plan_for(problem(code, "assert f(2) == 3"))
    assert plan.functions is not None
    assert plan.functions.sites == [code, "assert f(2) == 3"]


@pytest.mark.parametrize(
    "code",
    [
        "assert f(1) == 1 or missing",
        "assert f(1) == 1, missing",
        "assert 0 < f(1) < missing",
        "assert [missing for x in f(1)] == []",
        "if not f(1): assert missing",
        "while not f(1): missing\nassert f(1)",
        "try: known\nexcept NameError: known = 1\nassert f(1) == known",
        "match f(1):\n    case [first, *rest]: pass\nassert first != rest",
        "from math import *\nassert f(1) == sqrt(1)",
        "exec('x = 1')\nassert f(1) == x",
        "if f(1): raise ValueError\nassert missing",
        "g = lambda: missing\nassert f(1)",
        "def g(): return missing\nassert f(1)",
    ],
)
def test_a_name_that_is_not_looked_up_in_any_case_is_left_to_the_run(code: str) -> None:
    assert plan_for(problem(code)).size


def test_a_test_may_run_its_own_text_as_code() -> None:
    plan = plan_for(problem("for text in ['1+1']:\n    assert f(text) == eval(text)"))
    assert plan.functions is not None
    assert plan.functions.may_make_code


def test_modules_that_nothing_defines_are_found() -> None:
    code = "assert math.isclose(f(1), string)\nfor random in [1]: pass\nimport json as re\nassert re"
    plan = plan_for(problem(code, setup="import string"))
    assert plan.functions is not None
    assert plan.functions.modules == ["math"]
