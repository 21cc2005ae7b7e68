"""Which tests are held back from the reward, and what the gap between the two parts is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.held_back import HeldBackCheck, held_back_metrics, split_problems, split_tests
from rlcode.errors import ConfigError
from rlcode.types import Problem, TestCase, TestKind


def asserts(*codes: str, setup: str = "", task_id: str = "t") -> Problem:
    tests = tuple(TestCase(TestKind.ASSERTS, code=code) for code in codes)
    return Problem(task_id, "def f(x):\n", tests, "f", test_setup=setup)


def stdin(count: int, task_id: str = "t") -> Problem:
    tests = tuple(TestCase(TestKind.STDIO, stdin=str(n), expected_stdout=str(n)) for n in range(count))
    return Problem(task_id, "Print it.", tests, prompt_is_code=False)


MANY = [stdin(6, f"t{n}") for n in range(40)]


@given(st.integers(0, 30), st.floats(0, 0.999), st.integers(0, 5), st.text(max_size=5))
def test_both_parts_are_the_whole_and_neither_is_empty(count: int, share: float, seed: int, task_id: str):
    problem = stdin(count, task_id)
    split = split_tests(problem, share, seed)
    if count < 2 or share == 0:
        assert (split.shown, split.held_back) == (problem, None)
        return
    assert split.held_back is not None
    assert split.shown.tests
    assert split.held_back.tests
    assert abs(len(split.held_back.tests) - share * count) <= 1
    assert sorted(split.shown.tests + split.held_back.tests, key=problem.tests.index) == list(problem.tests)
    for part in (split.shown, split.held_back):
        assert list(part.tests) == sorted(part.tests, key=problem.tests.index)
        assert replace(part, tests=problem.tests) == problem


def test_the_same_seed_holds_back_the_same_tests_whatever_else_is_split():
    assert split_problems(MANY, 0.5, seed=1) == [split_tests(p, 0.5, 1) for p in reversed(MANY)][::-1]
    assert split_problems(MANY, 0.5, seed=1) != split_problems(MANY, 0.5, seed=2)


def test_problems_differ_in_which_of_their_tests_are_held_back():
    held_back = [split.held_back for split in split_problems(MANY, 0.2, seed=0) if split.held_back]
    assert {test.stdin for problem in held_back for test in problem.tests} == set("012345")


def test_asserts_are_parted_also_those_of_one_block():
    split = split_tests(asserts("assert f(1) == 1", "assert f(2) == [\n    2,\n]; assert f(3) == 3"), 0.4, seed=0)
    assert split.held_back is not None
    codes = {test.code for test in split.shown.tests + split.held_back.tests}
    assert codes == {"assert f(1) == 1", "assert f(2) == [\n    2,\n]", "assert f(3) == 3"}


def test_calls_are_parted_and_imports_in_a_set_up_are_no_hindrance():
    calls = tuple(TestCase(TestKind.CALL, arguments=f"[{n}]", expected=str(n)) for n in range(2))
    assert split_tests(Problem("t", "p", calls, "f"), 0.1, 0).held_back is not None
    setup = "import math\ndef near(a, b):\n    return abs(a - b) < 1e-6\n"
    assert split_tests(asserts("assert near(f(1), 1)", "assert near(f(2), 2)", setup=setup), 0.1, 0).held_back


@pytest.mark.parametrize(
    "problem",
    [
        Problem("t", "p", (TestCase(TestKind.CHECK, code="def check(c):\n    assert c(1)\n    assert c(2)\n"),), "f"),
        asserts("assert f(1) == 1"),
        asserts("x = f(1)\nassert x == 1\nassert x < 2"),
        asserts("x = f(1)", "assert x == 1", "assert f(2) == 2"),
        asserts("assert (x := f(1)) == 1", "assert x + f(1) == 2"),
        asserts("assert f(box) == 1", "assert f(box) == 2", setup="box = []"),
        asserts("assert True", "assert f(2) == 2"),  # the first counts for nothing
        asserts("assert callable(f)", "assert f(2) == 2"),
        asserts("assert f(1 == 1", "assert f(2) == 2"),
        replace(stdin(2), tests=(*stdin(1).tests, *asserts("assert f(1)").tests), entry_point="f"),
    ],
)
def test_tests_that_may_need_each_other_are_left_whole(problem: Problem):
    split = split_tests(problem, 0.5, seed=0)
    assert (split.shown, split.held_back) == (problem, None)


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_a_share_that_can_not_be_is_refused(share: float):
    with pytest.raises(ConfigError, match="held_back_tests must be from 0 to below 1"):
        split_tests(stdin(3), share, 0)


def test_where_no_problem_can_be_split_that_is_an_error():
    with pytest.raises(ConfigError, match="no problem has two tests that stand alone"):
        split_problems([stdin(1)], 0.5, 0)
    assert split_problems([stdin(1)], 0.0, 0)[0].held_back is None


BOTH, HACKED, FAILED = HeldBackCheck(True, True), HeldBackCheck(True, False), HeldBackCheck(False, False)
UNSCORED = HeldBackCheck(True, None, "lost")


def test_the_gap_is_the_share_that_passes_what_is_shown_and_fails_what_is_held_back():
    metrics = held_back_metrics([BOTH, BOTH, BOTH, HACKED, FAILED, FAILED, FAILED, FAILED])
    assert metrics == {"held_back/pass_rate_shown": 0.5, "held_back/pass_rate_all": 0.375, "held_back/gap": 0.125}
    assert held_back_metrics([FAILED])["held_back/pass_rate_all"] == 0.0


def test_checks_that_were_lost_move_no_pass_rate():
    assert held_back_metrics([BOTH, HACKED, FAILED, FAILED] * 2) == held_back_metrics(
        [BOTH, HACKED, FAILED, FAILED, UNSCORED, UNSCORED, FAILED, FAILED]
    )
    assert held_back_metrics([UNSCORED]) == held_back_metrics([]) == {}
