"""Problems that are there twice, or in a held-back set too, are found; others are not."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from rlcode.data.overlap import contamination, duplicates
from rlcode.data.registry import load_problems
from rlcode.types import Problem, TestCase, TestKind

TEXT = "Given the heights of the plants of a garden in a row, tell how many of them a bee that flies at height h meets."
CODE = """\
def meets(heights, h):
    # count
    count = 0
    for one in heights:
        count += one >= h
    return count
"""


def problem(task_id: str, prompt: str, solution: str = "", entry_point: str = "f") -> Problem:
    tests = (TestCase(TestKind.ASSERTS, code=f"assert {entry_point}(1) == 2"),)
    return Problem(task_id, prompt, tests, entry_point=entry_point, reference_solution=solution)


def described(*problems: Problem) -> list[tuple[str, str, str, str]]:
    return [(one.task_id, one.other, one.part, one.how) for one in duplicates(problems)]


@pytest.mark.parametrize(
    ("other", "how"),
    [
        (TEXT, "exact"),
        (TEXT.upper().replace(",", " ,\n").replace(".", ""), "normalised"),
        (TEXT.replace("Given the", "You are given") + " Print that number.", "n-gram"),
    ],
)
def test_a_prompt_that_is_there_again_is_found_at_the_first_depth_that_holds(other: str, how: str) -> None:
    assert described(problem("a", TEXT), problem("b", other)) == [("b", "a", "prompt", how)]


def test_a_word_of_the_task_counts_where_it_is_the_functions_name_too() -> None:
    first, last = problem("a", "Find the first of all.", entry_point="first"), problem("b", "Find the last of all.")
    assert described(first, dataclasses.replace(last, entry_point="last")) == []


def test_short_solutions_say_nothing() -> None:
    assert described(*(problem(name, name, "def f(x):\n    return len(x)") for name in "ab")) == []


def test_other_prompts_and_other_signs_are_no_duplicates() -> None:
    assert described(problem("a", TEXT), problem("b", "Given the heights of the plants, tell the tallest.")) == []
    brackets = [problem("a", "Are all ( and ) in order?"), problem("b", "Are all < and > in order?")]
    assert described(*brackets) == []


def test_tests_in_a_prompt_and_the_name_of_the_function_do_not_count() -> None:
    first = problem("a", f"{TEXT}\nYour code should pass these tests:\n\nassert bee(1) == 2\n", entry_point="bee")
    second = problem("b", f"{TEXT}\nYour code should pass these tests:\n\nassert meet(1) == 2\n", entry_point="meet")
    assert described(first, second) == [("b", "a", "prompt", "exact")]


def test_solutions_are_compared_whatever_their_variables_are_called() -> None:
    renamed = CODE.replace("heights", "rows").replace("count", "n").replace("# n", '"""Count."""').replace("meets", "g")
    assert renamed != CODE
    assert described(problem("a", "x", CODE), problem("b", "y", renamed)) == [("b", "a", "solution", "normalised")]
    longer = CODE.replace("return count", "count = min(count, len(heights))\n    return count")
    assert described(problem("a", "x", CODE), problem("b", "y", longer)) == [("b", "a", "solution", "n-gram")]
    assert described(problem("a", "x", CODE), problem("b", "y", CODE.replace(">=", "<"))) != []
    assert described(problem("a", "x", CODE), problem("b", "y", "def f(x):\n    return sorted(x)[0]")) == []


def test_solutions_that_do_not_parse_are_compared_as_they_are() -> None:
    assert described(problem("a", "x", "print 1 " * 10), problem("b", "y", "print  1 " * 10)) == [
        ("b", "a", "solution", "normalised")
    ]


def test_contamination_looks_at_the_other_set_alone() -> None:
    twice = [problem("a", TEXT), problem("b", TEXT)]
    held_back = [problem("z", TEXT.lower())]
    found = contamination(twice, held_back)
    assert [(one.task_id, one.other, one.how) for one in found] == [("a", "z", "normalised"), ("b", "z", "normalised")]
    assert contamination(twice, []) == []


def test_the_share_says_how_much_of_the_shorter_prompt_is_in_the_longer() -> None:
    (one,) = duplicates([problem("a", TEXT), problem("b", f"In spring a bee flies by. {TEXT} Tell it at once.")])
    assert one.share == 1.0
    assert duplicates([problem("a", TEXT), problem("b", TEXT[:60] + " and of the trees in the park")], 0.9) == []


def test_mbpps_train_split_holds_tasks_of_its_test_split(shared_data: Path) -> None:
    train, test = (load_problems("mbpp", shared_data / "mbpp.jsonl.gz", split) for split in ("train", "test"))
    found = {one.task_id: one for one in contamination(train, test) if one.part == "prompt"}
    assert (found["Mbpp/704"].other, found["Mbpp/704"].how) == ("Mbpp/248", "exact")
    assert found["Mbpp/658"].how == "n-gram"
    assert len(found) == 9
