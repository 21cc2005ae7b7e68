"""evalplus's sets: rows of their format become problems."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rlcode.data import humanevalplus, mbppplus
from rlcode.data.registry import load_problems, task_names
from rlcode.errors import DataError, InputError
from rlcode.run_directory import write_json_lines
from rlcode.types import Problem, TestKind

ROW: dict[str, Any] = {
    "task_id": "Mbpp/75",
    "prompt": '"""\nWrite a function.\nassert f([(1, 2)], 1) == 2\n"""\n',
    "entry_point": "f",
    "canonical_solution": "\ndef f(pairs, n):\n    return f(pairs[1:], n - 1) if n else 2\n",
    "base_input": [[[[1, 2], [3, 4]], 1]],
    "plus_input": [[[], 0], [[[5, 6]], 1]],
    "atol": 0,
}


def file_of(tmp_path: Path, *rows: dict[str, Any]) -> Path:
    path = tmp_path / "rows.jsonl"
    write_json_lines(path, rows)
    return path


def one(tmp_path: Path, **change: Any) -> Problem:
    (problem,) = mbppplus.load(file_of(tmp_path, {**ROW, **change}), None)
    return problem


def test_base_tests_come_first_one_each_and_plus_tests_are_one_check(tmp_path: Path) -> None:
    problem = one(tmp_path)
    assert problem.base_tests == 1
    assert [test.kind for test in problem.tests] == [TestKind.ASSERTS, TestKind.CHECK]
    assert problem.tests[0].code == "assert f([(1, 2), (3, 4)], 1) == expected([(1, 2), (3, 4)], 1)"
    assert problem.tests[1].code.splitlines() == [
        "def check(candidate):",
        "    assert candidate([], 0) == expected([], 0)",
        "    assert candidate([(5, 6)], 1) == expected([(5, 6)], 1)",
    ]
    assert problem.reference_solution == ROW["prompt"] + ROW["canonical_solution"]


def test_the_reference_bears_a_name_that_no_program_has(tmp_path: Path) -> None:
    setup = one(tmp_path).test_setup
    assert "def _plus_reference(pairs, n):" in setup
    assert "return _plus_reference(pairs[1:], n - 1)" in setup
    assert "def f(" not in setup


@pytest.mark.parametrize(
    ("task", "arguments", "restored"),
    [
        (2, [[1], [2]], "(1,), (2,)"),
        (63, [[[1], [2]]], "[(1,), (2,)]"),
        (75, [[[1]], 5], "[(1,)], 5"),
        (106, [[1], [2]], "[1], (2,)"),
        (115, [[[1], [], {}]], "[{1}, {}, {}]"),
        (124, ["1", "2j"], "1.0, 2j"),
        (250, [[1], 2], "(1,), 2"),
        (252, ["1+2j"], "(1+2j)"),
        (259, [[[1], [2]], [[3]]], "((1,), (2,)), ((3,),)"),
        (278, [[1, [2, [3]]]], "(1, (2, [3]))"),
        (580, [[1, [2, [3]]]], "(1, (2, (3,)))"),
        (722, [{"a": [1]}, 2, [3]], "{'a': (1,)}, 2, [3]"),
        (3, [[1], 2], "[1], 2"),
    ],
)
def test_types_that_json_lost_are_restored_task_by_task(
    tmp_path: Path, task: int, arguments: list[Any], restored: str
) -> None:
    problem = one(tmp_path, task_id=f"Mbpp/{task}", base_input=[arguments], plus_input=[arguments])
    assert problem.tests[0].code == f"assert f({restored}) == expected({restored})"


def test_the_file_of_mbppplus_is_read_whole(shared_data: Path) -> None:
    problems = load_problems("mbppplus", shared_data / "MbppPlus-v0.1.0.jsonl.gz")
    assert len(problems) == 399
    assert sum(problem.base_tests for problem in problems) == 1236
    assert [problem.task_id for problem in problems if len(problem.tests) == problem.base_tests] == ["Mbpp/793"]
    assert task_names("mbppplus", "Mbpp/2") == ("Mbpp/2", "2", "MBPP/2")


def test_a_row_of_humanevalplus_keeps_its_inputs_as_they_are(tmp_path: Path) -> None:
    row = {**ROW, "task_id": "HumanEval/75", "prompt": "def f(pairs, n):\n", "canonical_solution": "    return 2\n"}
    (problem,) = humanevalplus.load(file_of(tmp_path, row), "test")
    assert problem.tests[0].code == "assert f([[1, 2], [3, 4]], 1) == expected([[1, 2], [3, 4]], 1)"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"base_input": []}, "no tests: field 'base_input' is empty"),
        ({"plus_input": "[]"}, "field 'plus_input' must be a list of lists of arguments"),
        ({"base_input": [[1, 2]]}, "an input in 'base_input' is not of the form that the task has"),
        ({"atol": "0"}, "field 'atol' must be a number from 0, got '0'"),
        ({"canonical_solution": "def f(:"}, "field 'canonical_solution' is not Python"),
        ({"entry_point": None}, "field 'entry_point' must be a string"),
        ({"task_id": "HumanEval/75"}, "task 'HumanEval/75' is none of mbppplus, whose tasks are Mbpp/…"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=f"line 2: {words}"):
        mbppplus.load(file_of(tmp_path, ROW, {**ROW, **change}), None)


def test_the_plus_sets_have_one_split() -> None:
    for module in (humanevalplus, mbppplus):
        with pytest.raises(InputError, match="its only one is 'test'"):
            module.load(None, "train")


def test_a_file_of_another_benchmark_is_named_as_such(shared_data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no file of mbpp: its rows have the fields of humanevalplus or mbppplus"):
        load_problems("mbpp", shared_data / "MbppPlus-v0.1.0.jsonl.gz")
    with pytest.raises(
        DataError, match="is no file of humaneval: its rows have the fields of mbpp; use --benchmark mbpp"
    ):
        load_problems("humaneval", shared_data / "mbpp.jsonl.gz")
    with pytest.raises(DataError, match="task 'Mbpp/75' is none of humanevalplus"):
        load_problems("humanevalplus", file_of(tmp_path, ROW))
