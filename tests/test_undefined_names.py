"""Names that nothing defines are found, and what Python or the judge defines is not taken for one."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlcode.data.registry import load_problems
from rlcode.data.undefined_names import MAX_CHARACTERS, undefined_in_prompt, undefined_in_tests
from rlcode.types import Problem, TestCase, TestKind

# What AP2O's study of its own data names: items that call what neither prompt, test nor entry point defines.
KNOWN = {
    "train": {6, 601, 630, 645, 671, 735, 797, 896, 905, 912, 926, 927, 949, 962},
    "validation": {512, 520, 541, 545, 580, 592},
    "test": {18, 30, 45, 70, 148, 151, 152, 164, 323, 338, 348, 364, 367, 485, 486, 501},
}
ALSO = {"train": set(), "validation": set(), "test": {181, 466}}
"""`common_prefix` and `find_peak`, where the prompt begins `common_prefix_util` and `find_peak_util`."""


def asserting(code: str, setup: str = "", declares: tuple[str, ...] = ()) -> Problem:
    tests = (TestCase(TestKind.ASSERTS, code=code),)
    return Problem("t", "p", tests, entry_point="f", test_setup=setup, declares=declares)


@pytest.mark.parametrize(
    ("code", "undefined"),
    [
        ("assert f(1) == 2", []),
        ("assert f(1) == g(2)", ["g"]),
        ("g = 3\nassert f(1) == g", []),
        ("assert f(sys.maxsize)", []),  # the judge imports what a test forgot of the standard library
        ("assert f(Pair(1, 2))", ["Pair"]),
        ("assert all(f(x) for x in range(3))", []),
        ("assert [y for x in f(1)] == [y]", ["y"]),
        ("assert f(lambda a, *b, c=None, **d: (a, b, c, d))", []),
        ("def helper(n):\n    inner = n\n    return inner\nassert f(helper(1)) == inner", ["inner"]),
        ("try:\n    f(1)\nexcept ValueError as error:\n    assert str(error)", []),
        ("import heapq as h\nassert h.merge(f(1))", []),
        ("from math import *\nassert f(sqrt(4))", []),  # who knows what it defines
        ("exec('g = 1')\nassert f(g)", []),
        ("class A:\n    x = 1\n    y = x\nassert f(A.y)", []),
        ("def set_it():\n    global made\n    made = 1\nset_it()\nassert f(made)", []),
        ("match f(1):\n    case [first, *rest]:\n        assert first, rest", []),
        ("assert (n := f(1)) and n", []),
        ("assert f(__name__)", []),
    ],
)
def test_tests_are_read_with_pythons_own_scopes(code: str, undefined: list[str]) -> None:
    assert undefined_in_tests(asserting(code)) == undefined


def test_setup_and_what_the_program_must_bring_define_names() -> None:
    assert undefined_in_tests(asserting("assert f(Pair(root))", setup="root = 1\n", declares=("Pair",))) == []
    assert undefined_in_tests(asserting("assert f(1)", setup="root = Node(1)\n")) == ["Node"]


def test_a_check_knows_its_candidate_and_the_entry_point() -> None:
    code = "def check(candidate):\n    assert candidate(1) == f(2) == g(3)\n"
    assert undefined_in_tests(Problem("t", "p", (TestCase(TestKind.CHECK, code=code),), entry_point="f")) == ["g"]


def test_stdin_tests_have_no_names() -> None:
    assert undefined_in_tests(Problem("t", "p", (TestCase(TestKind.STDIO, stdin="x", expected_stdout="y"),))) == []


@pytest.mark.parametrize(
    ("prompt", "undefined"),
    [
        ("def f(xs: List[int]) -> int:\n    ''' x '''\n", ["List"]),
        ("from typing import List\ndef f(xs: List[int]) -> int:\n    ''' x '''\n", []),
        ("from __future__ import annotations\ndef f(xs: List[int]):\n    ''' x '''\n", []),
        ("def f(xs=DEFAULT):\n    ''' x '''\n", ["DEFAULT"]),
        ("def f(xs):\n    return later(xs)\n", []),  # the model may write it behind
        ("def f(xs):\n    if xs", []),
    ],
)
def test_a_head_of_a_program_must_load(prompt: str, undefined: list[str]) -> None:
    tests = (TestCase(TestKind.ASSERTS, code="assert f([])"),)
    assert undefined_in_prompt(Problem("t", prompt, tests, entry_point="f")) == undefined
    assert undefined_in_prompt(Problem("t", prompt, tests, entry_point="f", prompt_is_code=False)) == []


@pytest.mark.parametrize("code", ["assert f(", "x = " + "(" * 5000, "assert f(1)\n" + "#" * MAX_CHARACTERS])
def test_what_can_not_be_parsed_is_told_and_no_more(code: str) -> None:
    with pytest.raises(ValueError, match=r"not Python|characters"):
        undefined_in_tests(asserting(code))


@pytest.mark.parametrize("split", sorted(KNOWN))
def test_the_known_unsatisfiable_items_of_ap2os_mbpp_are_found(shared_data: Path, split: str) -> None:
    problems = load_problems("mbpp_ap2o", shared_data / "mbpp_ap2o.jsonl.gz", split)
    assert len(problems) == {"train": 384, "validation": 90, "test": 500}[split]
    found = {int(problem.task_id.removeprefix("Mbpp/")) for problem in problems if undefined_in_tests(problem)}
    assert found == KNOWN[split] | ALSO[split]
    assert not any(undefined_in_prompt(problem) for problem in problems)


def test_the_true_mbpp_and_humaneval_use_no_name_that_nothing_defines(shared_data: Path) -> None:
    for name, file in (("mbpp", "mbpp.jsonl.gz"), ("humaneval", "HumanEval.jsonl.gz")):
        problems = load_problems(name, shared_data / file)
        assert [p.task_id for p in problems if undefined_in_tests(p) or undefined_in_prompt(p)] == []
