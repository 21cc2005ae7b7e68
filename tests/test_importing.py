"""Rows of other people's data sets become problems, in the formats that they publish; the rows here are made for it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from rlcode.data.importing import open_r1, verl
from rlcode.data.importing.columns import check_columns, parse_mapping, problem_from_columns
from rlcode.data.importing.pytest_folder import LeftOut, read_pytest_folder
from rlcode.data.importing.sources import read_rows
from rlcode.data.importing.test_values import read_tests
from rlcode.errors import ConfigError, DataError, InputError
from rlcode.types import Problem, TestCase, TestKind

PAIRS = {"inputs": ["1 2\n", "3 4\n"], "outputs": ["3\n", "7\n"]}
STDIO = (
    TestCase(TestKind.STDIO, stdin="1 2\n", expected_stdout="3\n"),
    TestCase(TestKind.STDIO, stdin="3 4\n", expected_stdout="7\n"),
)
CALLS = (
    TestCase(TestKind.CALL, arguments="[1, 2]", expected="3"),
    TestCase(TestKind.CALL, arguments="[3, 4]", expected="7"),
)


@pytest.mark.parametrize(
    ("value", "tests"),
    [
        ("assert add(1, 2) == 3", (TestCase(TestKind.ASSERTS, code="assert add(1, 2) == 3"),)),
        (
            ["assert add(1, 2) == 3", "assert add(3, 4) == 7"],
            tuple(TestCase(TestKind.ASSERTS, code=f"assert add({x}) == {y}") for x, y in (("1, 2", 3), ("3, 4", 7))),
        ),
        (
            "def check(candidate):\n    assert 1\n",
            (TestCase(TestKind.CHECK, code="def check(candidate):\n    assert 1\n"),),
        ),
        (PAIRS, STDIO),
        (json.dumps(PAIRS), STDIO),
        (json.dumps(json.dumps(PAIRS)), STDIO),
        ({"fn_name": "add", "inputs": [[1, 2], [3, 4]], "outputs": [[3], [7]]}, CALLS),
        ({"fn_name": "add", "inputs": ["[1, 2]", "[3, 4]"], "outputs": ["3", "7"]}, CALLS),
        ([{"input": "1 2\n", "output": "3\n"}, {"input": "3 4\n", "output": "7\n", "type": "stdin_stdout"}], STDIO),
        (
            [
                {"input": [1, 2], "output": 3, "type": "function_call", "fn_name": "add"},
                {"input": "[3, 4]", "output": "7", "type": "function_call", "fn_name": "add"},
            ],
            CALLS,
        ),
        ([{"input": "1\n2", "output": "3", "testtype": "functional"}], CALLS[:1]),
        ([{"kind": "call", "arguments": "[1, 2]", "expected": "3", "code": None}], CALLS[:1]),
    ],
)
def test_tests_are_read_in_the_forms_of_the_common_data_sets(value: Any, tests: tuple[TestCase, ...]) -> None:
    assert read_tests(value, "row 1").cases == tests


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "no tests: NoneType"),
        ("", "no tests"),
        ("42", "no tests: str"),
        ("def test(): pass", "no tests: str"),
        (["assert f(1)", "f(2)"], "no tests: list"),
        ([], "no tests"),
        ({"input": ["1"]}, "an object with input"),
        ({"inputs": ["1"], "outputs": []}, "lists of one length"),
        ([{"input": "1", "output": "1", "type": "quiz"}], "of the type 'quiz'"),
        ([{"stdin": "1"}], "neither `kind` nor"),
        ([{"kind": "quiz"}], "must be one of asserts"),
        ({"fn_name": "f", "inputs": ["1"], "outputs": ["1"]}, "arguments of a call must be a list"),
        ({"fn_name": "f", "inputs": ["x"], "outputs": ["1"]}, "must be JSON"),
        ({"inputs": [1], "outputs": [2]}, "must be texts, got int"),
        ([{"fn_name": "f", "input": [], "output": 1}, {"fn_name": "g", "input": [], "output": 1}], "several functions"),
    ],
)
def test_what_is_no_test_is_told(value: Any, words: str) -> None:
    with pytest.raises(DataError, match=f"^row 1: .*{words}"):
        read_tests(value, "row 1")


def mapped(row: dict[str, Any], *words: str, prompt_is_code: bool = False) -> Problem:
    mapping = parse_mapping(words)
    check_columns(mapping, row)
    return problem_from_columns(row, mapping, 7, "mine", "row 8", prompt_is_code=prompt_is_code)


def test_columns_become_fields_by_the_mapping() -> None:
    row = {
        "id": 3,
        "question": "Add two numbers.\r\n",
        "unit": {"tests": ["assert add(1, 2) == 3"]},
        "answer": "Sure:\n```python\ndef add(a, b):\n    return a + b\n```\nDone.",
    }
    words = ["task_id=id", "prompt=question", "tests=unit.tests", "reference_solution=answer"]
    assert mapped(row, *words) == Problem(
        "3",
        "Add two numbers.\n",
        (TestCase(TestKind.ASSERTS, code="assert add(1, 2) == 3"),),
        entry_point="add",
        prompt_is_code=False,
        reference_solution="def add(a, b):\n    return a + b\n",
        source="mine",
    )
    assert mapped(row, "prompt=question", "tests=unit.tests").task_id == "mine/7"


def test_inputs_and_outputs_may_be_columns_of_their_own_and_the_prompt_a_chat() -> None:
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Add."}]
    row = {"messages": chat, "in": PAIRS["inputs"], "out": PAIRS["outputs"]}
    problem = mapped(row, "prompt=messages", "inputs=in", "outputs=out")
    assert (problem.prompt, problem.tests, problem.entry_point) == ("Add.", STDIO, "")
    chat.append({"role": "assistant", "content": "3"})
    with pytest.raises(DataError, match="no answer in it"):
        mapped(row, "prompt=messages", "inputs=in", "outputs=out")


def test_a_solution_that_continues_the_prompt_gets_it_in_front() -> None:
    row = {"p": "def add(a, b):\n", "t": ["assert add(1, 2) == 3"], "s": "    return a + b\n", "e": "add"}
    words = ["prompt=p", "tests=t", "reference_solution=s", "entry_point=e"]
    assert mapped(row, *words, prompt_is_code=True).reference_solution == "def add(a, b):\n    return a + b\n"
    row["s"] = "def add(a, b):\n    return b + a\n"
    assert mapped(row, *words, prompt_is_code=True).reference_solution == row["s"]


def test_the_entry_point_is_what_the_reference_defines_and_the_asserts_call() -> None:
    solution = "class Pair:\n    pass\ndef helper(x):\n    return x\ndef top(p):\n    return helper(p)\n"
    row = {"p": "x", "t": ["assert len(top(Pair())) == sorted([1])"], "s": solution}
    problem = mapped(row, "prompt=p", "tests=t", "reference_solution=s")
    assert (problem.entry_point, problem.declares) == ("top", ("Pair",))
    with pytest.raises(DataError, match="row 8: which function do the tests call\\? They call Pair, top"):
        mapped(row, "prompt=p", "tests=t")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["prompt"], "takes FIELD=COLUMN, got 'prompt'"),
        (["question=prompt", "tests=t"], "no field 'question'; known: task_id, prompt"),
        (["prompt=p", "prompt=q", "tests=t"], "names the field 'prompt' twice"),
        (["prompt=p"], "must say which columns are `prompt` and `tests`"),
        (["prompt=p", "inputs=i"], "must say which columns"),
    ],
)
def test_a_mapping_that_can_not_be_is_refused(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_mapping(words)


def test_a_column_that_is_not_there_is_answered_with_those_that_are() -> None:
    with pytest.raises(DataError, match="--map tests=unit: no column 'unit'; the columns are question, unit_tests"):
        mapped({"question": "x", "unit_tests": "y"}, "prompt=question", "tests=unit")
    with pytest.raises(DataError, match=r"row 8: column 'a\.b' is not there"):
        mapped({"question": "x", "a": {"c": 1}}, "prompt=question", "tests=a.b")


VERL_ROW = {
    "data_source": "taco",
    "prompt": [{"role": "system", "content": "You are …"}, {"role": "user", "content": "Add two numbers."}],
    "ability": "code",
    "reward_model": {"style": "rule", "ground_truth": json.dumps(PAIRS)},
    "extra_info": {"split": "train", "index": 41},
}


def test_a_row_of_verl_becomes_a_problem() -> None:
    problem = verl.problem_from_row(VERL_ROW, 0, "row 1")
    assert (problem.task_id, problem.prompt, problem.tests) == ("taco/41/train", "Add two numbers.", STDIO)
    assert (problem.source, problem.prompt_is_code) == ("taco", False)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"reward_model": {"style": "rule", "ground_truth": "72"}}, "no tests"),
        ({"reward_model": {"style": "model"}}, "no `ground_truth`"),
        ({"prompt": "Add."}, "prompt must be a list of messages, got str"),
        ({"prompt": [{"role": "user", "content": "a"}] * 2}, "has 2 user messages"),
    ],
)
def test_a_row_of_verl_that_is_no_problem_is_told(change: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=f"^row 1: .*{words}"):
        verl.problem_from_row({**VERL_ROW, **change}, 0, "row 1")


OPEN_R1_ROW = {
    "problem_id": "vcp/12",
    "source": "apps",
    "prompt": "Add two numbers.",
    "gold_standard_solution": "```python\nprint(sum(map(int, input().split())))\n```",
    "verification_info": {
        "language": "python",
        "test_cases": [
            {"fn_name": None, "input": "1 2\n", "output": "3\n", "type": "stdin_stdout"},
            {"fn_name": None, "input": "3 4\n", "output": "7\n", "type": "stdin_stdout"},
        ],
    },
}


def test_a_row_of_open_r1_becomes_a_problem_also_from_json_text() -> None:
    problem = open_r1.problem_from_row(OPEN_R1_ROW, 0, "row 1")
    assert (problem.task_id, problem.prompt, problem.tests, problem.source) == (
        "vcp/12",
        "Add two numbers.",
        STDIO,
        "apps",
    )
    assert problem.reference_solution == "print(sum(map(int, input().split())))\n"
    text = {**OPEN_R1_ROW, "verification_info": json.dumps(OPEN_R1_ROW["verification_info"])}
    assert open_r1.problem_from_row(text, 0, "row 1") == problem


@pytest.mark.parametrize(
    ("info", "words"),
    [
        ({"language": "cpp", "test_cases": []}, "the language is 'cpp'; only Python"),
        ({"language": "python", "test_cases": []}, "no tests"),
        ({"language": "python"}, "no tests"),
        ("{", "is no JSON"),
        ([1], "must be an object"),
    ],
)
def test_a_row_of_open_r1_that_is_no_problem_is_told(info: Any, words: str) -> None:
    with pytest.raises(DataError, match=f"^row 1: .*{words}"):
        open_r1.problem_from_row({**OPEN_R1_ROW, "verification_info": info}, 0, "row 1")


ROWS = [{"question": "a", "n": 1}, {"question": "b", "n": 2}]


@pytest.mark.parametrize(
    "name", ["rows.jsonl", "rows.json", "rows.json.gz", "rows.parquet", "rows.csv", "saved", "split"]
)
def test_rows_are_read_from_every_kind_of_place(tmp_path: Path, name: str) -> None:
    from datasets import Dataset, DatasetDict

    path, data = tmp_path / name, Dataset.from_list(ROWS)
    writers = {
        "rows.jsonl": lambda: path.write_text("".join(json.dumps(row) + "\n" for row in ROWS)),
        "rows.json": lambda: path.write_text(json.dumps(ROWS)),
        "rows.parquet": lambda: data.to_parquet(path),
        "rows.json.gz": lambda: path.write_bytes(gzip.compress(json.dumps(data.to_list()).encode())),
        "rows.csv": lambda: data.to_csv(path),
        "saved": lambda: data.save_to_disk(path),
        "split": lambda: DatasetDict(train=data, test=data.select([0])).save_to_disk(path),
    }
    writers[name]()
    rows = [row for _, row in read_rows(str(path))]
    assert [row["question"] for row in rows] == ["a", "b"]
    if name == "split":
        assert len(list(read_rows(str(path), split="test"))) == 1
        with pytest.raises(InputError, match="no split 'dev'; it has train, test"):
            list(read_rows(str(path), split="dev"))


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.parquet", "no", "no parquet file"),
        ("a.json", "[1]", "row 1: expected a JSON object, got int"),
        ("a.json", "[{]", "not valid JSON"),
        ("a.jsonl", "{\n", "line 1: not valid JSON"),
        ("a.csv", "", "has no rows"),
        ("a.csv", "x\n\udcff\n", "no CSV file"),
    ],
)
def test_a_file_of_another_format_is_told(tmp_path: Path, name: str, text: str, words: str) -> None:
    path = tmp_path / name
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError, match=words):
        list(read_rows(str(path)))


def test_a_file_has_no_splits_and_a_folder_without_data_is_told(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text("{}\n")
    with pytest.raises(InputError, match="has no splits"):
        read_rows(str(file), split="train")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="can't be loaded"):
        list(read_rows(str(tmp_path / "empty")))


SHOP = "def add(a, b):\n    return a + b\n\n\nclass Basket:\n    def put(self, x):\n        return x\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "tests").mkdir()
    return tmp_path / "tests"


def converted(folder: Path, code: str, *modules: str) -> tuple[list[Problem], dict[str, str]]:
    (folder / "test_it.py").write_text(code)
    problems, left_out = read_pytest_folder(folder, modules)
    return problems, {one.where.removeprefix("test_it.py::"): one.reason for one in left_out}


def test_test_functions_become_asserts_on_what_they_import(folder: Path) -> None:
    code = '''"""Keep a shop."""
import math

import pytest
from shop import add as plus

RATE = 2


@pytest.mark.parametrize(("a", "b"), [(1, 2), (3, -3)], ids=["x", "y"])
@pytest.mark.parametrize("c", [0])
def test_add(a, b, c):
    """It adds."""
    assert plus(a, b) == a + b + c


class TestRate:
    def test_rate(self):
        assert math.isclose(plus(RATE, 0), 2)
'''
    (problem,), left_out = converted(folder, code)
    assert left_out == {}
    assert (problem.task_id, problem.entry_point, problem.declares) == ("test_it::add", "add", ())
    assert problem.test_setup == "import math\nRATE = 2\n"
    assert problem.reference_solution == SHOP
    assert problem.prompt.startswith("Keep a shop.\nYour code should pass these tests:\n\nimport math\nRATE = 2\n")
    first, second, third = (test.code for test in problem.tests)
    assert first.splitlines()[-1] == "assert add(a, b) == a + b + c"
    assert {"a = 1", "b = 2", "c = 0"} <= set(first.splitlines())
    assert {"a = 3", "b = -3", "c = 0"} <= set(second.splitlines())
    assert third == "assert math.isclose(add(RATE, 0), 2)\n"


def test_functions_that_are_tested_apart_are_problems_of_their_own(folder: Path) -> None:
    code = """
import shop

def test_add():
    assert shop.add(1, 2) == 3

def test_basket():
    assert shop.Basket().put(1) == 1
"""
    problems, _ = converted(folder, code)
    assert [(problem.task_id, problem.entry_point) for problem in problems] == [
        ("test_it::add", "add"),
        ("test_it::Basket", "Basket"),
    ]
    together = (
        "from shop import *\n".replace("*", "add, Basket")
        + "def test_both():\n    assert Basket().put(add(1, 2)) == add(0, 3)\n"
    )
    (problem,), _ = converted(folder, together)
    assert (problem.entry_point, problem.declares) == ("Basket", ("add",))
    assert problem.prompt.startswith("Write `Basket`, `add`.\n")


@pytest.mark.parametrize(
    ("test", "reason"),
    [
        ("def test_it(tmp_path):\n    assert add(1, 2)", "it takes the fixture tmp_path"),
        ("def test_it():\n    with pytest.raises(TypeError):\n        assert add(1)", "it uses pytest.raises"),
        ("def test_it():\n    assert add(1, 2) == pytest.approx(3)", "it uses pytest.approx"),
        ("@pytest.mark.skip\ndef test_it():\n    assert add(1, 2)", "it is decorated with pytest.mark.skip"),
        ("@pytest.mark.parametrize('a', make())\ndef test_it(a):\n    assert add(a, 2)", "its parameters are no list"),
        (
            "@pytest.mark.parametrize('a,b', [(1,)])\ndef test_it(a, b):\n    assert add(a, b)",
            "a set of its parameters",
        ),
        ("async def test_it():\n    assert add(1, 2)", "it awaits"),
        ("def test_it():\n    add(1, 2)", "it asserts nothing"),
        ("def test_it():\n    assert 1 + 1", "it calls nothing of a module under test"),
        ("def test_it():\n    assert add(1, 2)\n    return 3", "it returns from within"),
        ("def test_it():\n    add = 3\n    assert add", "it gives 'add', which is under test, another value"),
        ("class TestIt:\n    def test_it(self):\n        assert add(self.x, 1)", "it uses attributes of its class"),
    ],
)
def test_what_can_not_be_said_as_asserts_is_left_out_with_the_reason(folder: Path, test: str, reason: str) -> None:
    problems, left_out = converted(folder, f"import pytest\nfrom shop import add\n{test}\n")
    assert problems == []
    assert reason in next(iter(left_out.values()))


def test_a_helper_that_was_not_taken_over_is_told(folder: Path) -> None:
    code = (
        "import pytest\nfrom shop import add\nLIMIT = pytest.approx(3)\ndef test_it():\n    assert add(1, 2) == LIMIT\n"
    )
    problems, left_out = converted(folder, code)
    assert (problems, left_out) == ([], {"test_it::add": "it uses LIMIT, which was not taken over"})


def test_other_packages_are_left_out_and_a_module_elsewhere_is_named(folder: Path) -> None:
    problems, left_out = converted(folder, "from numpy import add\ndef test_it():\n    assert add(1, 2) == 3\n")
    assert problems == []
    assert "neither of the standard library nor found beside the tests" in left_out["test_it.py"]
    (problem,), left_out = converted(
        folder, "from theirs import add\ndef test_it():\n    assert add(1, 2) == 3\n", "theirs"
    )
    assert (problem.entry_point, problem.reference_solution, left_out) == ("add", "", {})


def test_files_that_are_no_tests_are_told(folder: Path) -> None:
    with pytest.raises(InputError, match="has no test files"):
        read_pytest_folder(folder)
    with pytest.raises(InputError, match="no folder"):
        read_pytest_folder(folder / "nowhere")
    (folder / "test_broken.py").write_text("def test_(:")
    (folder / "test_empty.py").write_text("x = 1\n")
    _, left_out = read_pytest_folder(folder)
    assert left_out[0].where == "test_broken.py"
    assert left_out[1] == LeftOut("test_empty.py", "it has no test functions")
