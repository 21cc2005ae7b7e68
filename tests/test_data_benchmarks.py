from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rlcode.data import humaneval, jsonl, mbpp
from rlcode.data.registry import load_problems, task_names, training_problems_from
from rlcode.errors import DataError, InputError
from rlcode.run_directory import write_json_lines
from rlcode.types import Comparison, PartialLimits, Problem, TestCase, TestKind

HUMANEVAL_ROW = {
    "task_id": "HumanEval/x",
    "prompt": 'import math\n\ndef double(x):\n    return 2 * x\n\ndef four(x):\n    """ Four times x. """\n',
    "entry_point": "four",
    "canonical_solution": "    return double(double(x))\n",
    "test": "def check(candidate):\n    assert candidate(double(1)) == 8\n",
}
MBPP_ROW: dict[str, Any] = {
    "task_id": 7,
    "text": "Write a function to add.",
    "code": "import sys\r\nimport os\r\nclass Box: pass\r\nLIMIT = 3\r\ndef add(a, b):\r\n  return a + b",
    "test_setup_code": "box = Box()\r\n",
    "test_list": ["assert set([add(1, 2)]) == {3}", "assert add(1,\r\n 1) < sys.maxsize"],
    "challenge_test_list": [],
}


def by_id(problems: list[Problem]) -> dict[str, Problem]:
    return {problem.task_id: problem for problem in problems}


def file_of(tmp_path: Path, *rows: dict[str, Any]) -> Path:
    path = tmp_path / "rows.jsonl"
    write_json_lines(path, rows)
    return path


def test_humaneval_has_164_problems_with_one_check_each(shared_data: Path) -> None:
    problems = load_problems("humaneval", shared_data / "HumanEval.jsonl.gz")
    assert len(problems) == 164
    assert {len(p.tests) for p in problems} == {1}
    assert {p.tests[0].kind for p in problems} == {TestKind.CHECK}
    assert all(p.prompt_is_code and p.reference_solution.startswith(p.prompt) for p in problems)


def test_the_helper_functions_of_four_humaneval_prompts_are_in_the_test_setup(shared_data: Path) -> None:
    problems = load_problems("humaneval", shared_data / "HumanEval.jsonl.gz")
    helpers = {
        p.task_id: line.split("(")[0].removeprefix("def ")
        for p in problems
        for line in p.test_setup.splitlines()
        if line.startswith("def ")
    }
    assert helpers == {
        "HumanEval/10": "is_palindrome",
        "HumanEval/32": "poly",
        "HumanEval/38": "encode_cyclic",
        "HumanEval/50": "encode_shift",
    }
    assert "import math" in by_id(problems)["HumanEval/32"].test_setup


def test_the_entry_point_itself_is_not_in_the_test_setup() -> None:
    problem = humaneval.problem_from_row(HUMANEVAL_ROW, "row 1")
    assert problem.test_setup == "import math\ndef double(x):\n    return 2 * x\n"
    assert problem.reference_solution.endswith('x. """\n    return double(double(x))\n')


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"test": ""}, "no tests"),
        ({"test": None}, "no tests"),
        ({"test": "def check(candidate):\n    pass\n"}, "no tests: check.* asserts nothing"),
        ({"test": "def check(candidate:"}, "field 'test' is not Python"),
        ({"prompt": "def f(:"}, "field 'prompt' is not Python"),
        ({"prompt": 3}, "field 'prompt' must be a string, got int"),
    ],
)
def test_a_humaneval_row_that_cannot_be_used_is_named(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    path = file_of(tmp_path, HUMANEVAL_ROW, {**HUMANEVAL_ROW, "task_id": "HumanEval/y", **change})
    with pytest.raises(DataError, match=f"line 2: .*{words}"):
        load_problems("humaneval", path)


def test_mbpp_has_974_problems_and_the_usual_splits(shared_data: Path) -> None:
    path = shared_data / "mbpp.jsonl.gz"
    assert len(load_problems("mbpp", path)) == 974
    sizes = {split: len(load_problems("mbpp", path, split)) for split in mbpp.SPLITS}
    assert sizes == {"prompt": 10, "test": 500, "validation": 90, "train": 374}


def test_three_mbpp_problems_declare_a_class_and_one_needs_an_import_of_the_reference(shared_data: Path) -> None:
    problems = load_problems("mbpp", shared_data / "mbpp.jsonl.gz")
    assert {p.task_id: p.declares for p in problems if p.declares} == {
        "Mbpp/367": ("Node",),
        "Mbpp/601": ("Pair",),
        "Mbpp/927": ("Node",),
    }
    assert by_id(problems)["Mbpp/601"].entry_point == "max_chain_length"
    assert by_id(problems)["Mbpp/596"].test_setup == "import sys\n"


def test_an_mbpp_row_becomes_a_problem() -> None:
    problem = mbpp.problem_from_row(MBPP_ROW, "row 1")
    assert (problem.task_id, problem.entry_point, problem.declares) == ("Mbpp/7", "add", ("Box",))
    assert problem.test_setup == "import sys\nbox = Box()\n"
    assert [test.code for test in problem.tests] == [
        "assert set([add(1, 2)]) == {3}",
        "assert add(1,\n 1) < sys.maxsize",
    ]
    assert "\r" not in problem.reference_solution
    assert not problem.prompt_is_code
    assert problem.prompt == (
        "Write a function to add.\nYour code should pass these tests:\n\n"
        "box = Box()\n\nassert set([add(1, 2)]) == {3}\nassert add(1,\n 1) < sys.maxsize\n"
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"test_list": []}, "no tests: field 'test_list' is empty"),
        ({"test_list": "assert add(1, 2)"}, "must be a list of strings"),
        ({"test_list": ["assert other(1)"]}, "call no function that the reference code defines"),
        ({"test_list": ["assert add("]}, "field 'test_list' is not Python"),
        ({"code": "def add(:"}, "field 'code' is not Python"),
        ({"task_id": "7"}, "field 'task_id' must be a whole number, got '7'"),
        ({"text": None}, "field 'text' must be a string"),
    ],
)
def test_an_mbpp_row_that_cannot_be_used_is_named(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    path = file_of(tmp_path, MBPP_ROW, {**MBPP_ROW, "task_id": 8, **change})
    with pytest.raises(DataError, match=f"line 2: .*{words}"):
        load_problems("mbpp", path)


def test_an_mbpp_row_without_the_field_of_tests_is_named(tmp_path: Path) -> None:
    row = {key: value for key, value in MBPP_ROW.items() if key != "test_list"}
    with pytest.raises(DataError, match="line 1: no tests: field 'test_list' is missing"):
        load_problems("mbpp", file_of(tmp_path, row))


def test_the_projects_own_problems_come_back_as_they_were_written(tmp_path: Path) -> None:
    problems = [
        humaneval.problem_from_row(HUMANEVAL_ROW, "row"),
        mbpp.problem_from_row(MBPP_ROW, "row"),
        Problem(
            "sum", "Add é.", (TestCase(TestKind.STDIO, stdin="1 2\n", expected_stdout="3\n"),), prompt_is_code=False
        ),
        Problem(
            "pair",
            "Any pair.",
            (TestCase(TestKind.CALL, arguments="[[1, 2], 3]", expected="[0, 1]"),),
            entry_point="pair",
            limits=PartialLimits(time_s=2.0),
            comparison=Comparison.FLOATS,
            tolerance=0.01,
            checker="def check(arguments, value, expected):\n    return True\n",
        ),
    ]
    jsonl.save(problems, tmp_path / "own.jsonl")
    assert load_problems("jsonl", tmp_path / "own.jsonl") == problems


def own(test: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A row of the project's own with one test."""
    return {"task_id": "a", "prompt": "p", "entry_point": "f", "tests": [test], **fields}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"task_id": "a", "prompt": "p", "tests": []}, "no tests"),
        ({"task_id": "a", "prompt": "p", "tests": [{"kind": "asserts", "code": "assert f()"}]}, "and no entry_point"),
        ({"task_id": "a", "prompt": "p", "tests": [{"kind": "quiz"}]}, "must be one of asserts, check, stdio, call"),
        ({"task_id": "a", "prompt": "p", "tests": [], "hint": 1}, "unknown field 'hint'"),
        ({"task_id": "a", "tests": []}, "field 'prompt' of Problem is missing"),
        (own({"kind": "call", "arguments": "1", "expected": "1"}), "test 1: arguments must be the JSON text of a list"),
        (own({"kind": "call", "arguments": "(1,)", "expected": "1"}), "test 1: arguments must be JSON text"),
        (own({"kind": "call", "arguments": "[1]"}), "test 1: expected must be JSON text"),
        (own({"kind": "call", "arguments": [1], "expected": "1"}), "TestCase.arguments must be str, got list"),
        (own({"kind": "stdio"}, comparison="close"), "must be one of lines, tokens, floats, exact, got 'close'"),
        (own({"kind": "stdio"}, tolerance=-1), "tolerance must be 0 or more and finite, got -1"),
        (own({"kind": "stdio"}, checker="def check("), "field 'checker' is not Python"),
        (own({"kind": "asserts", "code": "assert f()"}, checker="pass"), "a checker is for tests of the kinds stdio"),
        (own({"kind": "stdio"}, limits={"time_s": 0}), "limits.time_s must be from 0.05 to 3,600, got 0"),
        (own({"kind": "stdio"}, limits={"seconds": 1}), "unknown field 'seconds' for PartialLimits"),
    ],
)
def test_a_row_of_the_projects_own_that_cannot_be_used_is_named(
    tmp_path: Path, row: dict[str, Any], words: str
) -> None:
    with pytest.raises(DataError, match=f"line 1: .*{words}"):
        load_problems("jsonl", file_of(tmp_path, row))


def test_the_same_task_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'HumanEval/x' is there twice"):
        load_problems("humaneval", file_of(tmp_path, HUMANEVAL_ROW, HUMANEVAL_ROW))


def test_an_unknown_benchmark_or_split_is_refused_with_the_known_ones(shared_data: Path) -> None:
    with pytest.raises(InputError, match="unknown benchmark 'humanevil'; known: humaneval, humanevalplus, mbpp, "):
        load_problems("humanevil")
    with pytest.raises(InputError, match="mbpp has no split 'dev'; known: prompt, test, validation, train"):
        load_problems("mbpp", shared_data / "mbpp.jsonl.gz", "dev")
    with pytest.raises(InputError, match="humaneval has no split 'train'"):
        load_problems("humaneval", shared_data / "HumanEval.jsonl.gz", "train")
    with pytest.raises(InputError, match="needs a file"):
        load_problems("jsonl")


def test_a_file_without_a_task_of_the_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no task of the split 'train' \(task_id 601 to 974\)"):
        load_problems("mbpp", file_of(tmp_path, MBPP_ROW), "train")


def test_mbpp_tasks_answer_to_three_names_and_humaneval_tasks_to_one() -> None:
    assert task_names("mbpp", "Mbpp/601") == ("Mbpp/601", "601", "MBPP/601")
    assert task_names("humaneval", "HumanEval/0") == ("HumanEval/0",)


@pytest.mark.parametrize("benchmark", ["mbpp", "mbpp_sanitized", "apps", "codecontests"])
def test_training_names_the_split_where_test_problems_would_be_among_them(benchmark: str) -> None:
    args = SimpleNamespace(quiz_benchmark=benchmark, quiz_benchmark_file=None, quiz_split=None, quiz_exclude=None)
    with pytest.raises(InputError, match=rf"without a split {benchmark} has its test problems.*--quiz_split train, "):
        training_problems_from(args, "quiz_")


def test_a_file_of_mbpp_has_its_test_problems_too(shared_data: Path) -> None:
    args = SimpleNamespace(benchmark="mbpp", benchmark_file=str(shared_data / "mbpp.jsonl.gz"), exclude=None)
    with pytest.raises(InputError, match="--split train"):
        training_problems_from(SimpleNamespace(**vars(args), split=None))
    assert len(training_problems_from(SimpleNamespace(**vars(args), split="train"))) == 374
