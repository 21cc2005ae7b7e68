"""`rlcode data import` writes problems that are judged, or nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eval.commands.data import main
from rlcode.cli import run
from rlcode.data.registry import load_problems

Lines = Callable[..., Path]
GOOD = {"q": "Double it.", "t": ["assert f(1) == 2", "assert f(2) == 4"], "s": "def f(x):\n    return 2 * x\n"}
WRONG = {**GOOD, "s": "def f(x):\n    return x\n"}
BARE = {**GOOD, "s": ""}
NO_TESTS = {**GOOD, "t": []}
BAD_TESTS = {**BARE, "t": ["assert f(g(1)) == 2"], "s": ""}
MAP = ["--map", "prompt=q", "tests=t", "reference_solution=s"]


def importing(source: Path, output: Path, *words: object) -> list[str]:
    return ["import", str(source), "--output", str(output), "--sandbox", "local", "--workers", "1", *map(str, words)]


def refused(argv: list[str], output: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Run what must be refused: exit code 2, nothing written. Returns the message."""
    before = set(output.parent.iterdir())
    assert run("eval.commands.data", argv) == 2
    assert set(output.parent.iterdir()) == before
    return capsys.readouterr().err


def test_rows_become_a_file_of_the_projects_own(
    lines: Lines, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "problems.jsonl"
    rows = lines("rows.jsonl", {**GOOD, "e": "f"}, {**BARE, "e": "f"})
    assert main(importing(rows, out, *MAP, "entry_point=e")) == 0
    first, second = load_problems("jsonl", out)
    assert (first.task_id, first.entry_point, first.source) == ("rows/0", "f", "rows")
    assert (first.reference_solution, second.reference_solution) == (GOOD["s"], "")
    assert "2 problems, 1 with a reference solution, are in" in capsys.readouterr().out


def test_all_that_can_not_be_used_is_listed_and_nothing_is_written(
    lines: Lines, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "problems.jsonl"
    rows = lines("rows.jsonl", GOOD, WRONG, NO_TESTS, BAD_TESTS, {"q": "x", "t": 3})
    told = refused(importing(rows, out, *MAP), out, capsys)
    assert "rows/1: its reference solution does not pass: wrong_answer" in told
    assert "line 3: no tests" in told
    assert "line 4: which function do the tests call? They call f, g" in told
    assert "line 5: column 's' is not there" in told
    assert "4 of 5 can't be used, and nothing was written" in told


def test_what_can_not_be_used_is_left_out_where_that_is_asked_for(lines: Lines, tmp_path: Path) -> None:
    out = tmp_path / "problems.jsonl"
    rows = lines("rows.jsonl", NO_TESTS, GOOD, WRONG)
    assert main(importing(rows, out, *MAP, "--skip_unusable", "--source", "mine")) == 0
    assert [problem.task_id for problem in load_problems("jsonl", out)] == ["mine/1"]
    left_out = [json.loads(line) for line in (tmp_path / "problems.jsonl.left_out.jsonl").read_text().splitlines()]
    assert [one["where"].rpartition(", ")[2] for one in left_out] == ["line 1", "mine/2"]


def test_tests_that_can_not_be_run_are_found_without_a_reference_solution(
    lines: Lines, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "problems.jsonl"
    rows = lines("rows.jsonl", {**BAD_TESTS, "e": "f"})
    told = refused(importing(rows, out, *MAP, "entry_point=e"), out, capsys)
    assert "name 'g' is not defined" in told
    assert main(importing(rows, out, *MAP, "entry_point=e", "--sandbox", "none")) == 0


def test_a_column_that_is_not_there_and_a_task_that_is_there_twice_are_told(
    lines: Lines, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "problems.jsonl"
    rows = lines("rows.jsonl", {**GOOD, "id": "a"}, {**GOOD, "id": "a"})
    told = refused(importing(rows, out, "--map", "prompt=question", "tests=t"), out, capsys)
    assert "no column 'question'; the columns are q, t, s, id" in told
    assert "line 2: task 'a' is there twice" in refused(importing(rows, out, *MAP, "task_id=id"), out, capsys)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "name the columns with --map"),
        (["--format", "verl", "--map", "prompt=q"], "--map and --prompt_is_code are for columns"),
        (["--format", "pytest", "--split", "train"], "--name and --split are of data sets"),
        ([*MAP, "--module", "x"], "--module is for --format pytest"),
        (["--format", "verl"], "no column 'data_source'; the columns are q, t, s"),
        (["--format", "open-r1"], "no column 'verification_info'"),
        ([*MAP, "--split", "train"], "has no splits"),
    ],
)
def test_words_that_do_not_fit_together_are_refused(
    lines: Lines, tmp_path: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "problems.jsonl"
    assert message in refused(importing(lines("rows.jsonl", GOOD), out, *words), out, capsys)


def test_a_file_is_not_replaced_unasked(lines: Lines, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows, out = lines("rows.jsonl", GOOD), tmp_path / "problems.jsonl"
    out.write_text("mine")
    assert "is there already" in refused(importing(rows, out, *MAP), out, capsys)
    assert main(importing(rows, out, *MAP, "--overwrite")) == 0


def test_parquet_of_verl_is_imported(tmp_path: Path) -> None:
    from datasets import Dataset

    def row(index: int, **tests: Any) -> dict[str, Any]:
        return {
            "data_source": "apps",
            "prompt": [{"role": "user", "content": "Print the sum."}],
            "ability": "code",
            "reward_model": {"style": "rule", "ground_truth": json.dumps(tests)},
            "extra_info": {"split": "train", "index": index},
        }

    stdin = row(0, inputs=["1 2\n"], outputs=["3\n"])
    calls = row(1, fn_name="add", inputs=[[1, 2]], outputs=[[3]])
    Dataset.from_list([stdin, calls]).to_parquet(tmp_path / "train.parquet")
    out = tmp_path / "problems.jsonl"
    assert main(importing(tmp_path / "train.parquet", out, "--format", "verl")) == 0
    first, second = load_problems("jsonl", out)
    assert (first.task_id, first.tests[0].stdin, first.entry_point) == ("apps/0/train", "1 2\n", "")
    assert (second.entry_point, second.tests[0].arguments, second.tests[0].expected) == ("add", "[1, 2]", "3")


def test_rows_of_open_r1_are_imported_and_their_solutions_judged(
    lines: Lines, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = {"input": "1 2\n", "output": "3\n", "type": "stdin_stdout", "fn_name": None}
    row = {
        "problem_id": "vcp/1",
        "prompt": "Print the sum.",
        "gold_standard_solution": "```python\nprint(sum(map(int, input().split())))\n```",
        "verification_info": {"language": "python", "test_cases": [case]},
    }
    out = tmp_path / "problems.jsonl"
    wrong = {**row, "problem_id": "vcp/2", "gold_standard_solution": "```python\nprint(4)\n```"}
    told = refused(importing(lines("rows.jsonl", row, wrong), out, "--format", "open-r1"), out, capsys)
    assert "vcp/2: its reference solution does not pass: wrong_answer" in told
    assert main(importing(lines("rows.jsonl", row), out, "--format", "open-r1")) == 0


def test_a_folder_of_pytest_files_is_imported_with_the_module_under_test_as_the_reference(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(
        "class Basket:\n    def __init__(self):\n        self.items = []\n    def put(self, x):\n"
        "        self.items.append(x)\n        return len(self.items)\n\ndef add(a, b):\n    return a + b\n"
    )
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_shop.py").write_text(
        "import pytest\nfrom shop import add, Basket\n\n"
        "@pytest.mark.parametrize('a, b, c', [(1, 2, 3), (0, 0, 0)])\n"
        "def test_add(a, b, c):\n    assert add(a, b) == c\n\n"
        "def test_basket():\n    basket = Basket()\n    assert basket.put(1) == 1\n    assert basket.put(1) == 2\n\n"
        "def test_raises():\n    with pytest.raises(TypeError):\n        add(1)\n"
    )
    out = tmp_path / "problems.jsonl"
    assert main(importing(tmp_path / "tests", out, "--format", "pytest", "--skip_unusable")) == 0
    add, basket = load_problems("jsonl", out)
    assert (add.entry_point, len(add.tests), basket.entry_point) == ("add", 2, "Basket")
    (left_out,) = (tmp_path / "problems.jsonl.left_out.jsonl").read_text().splitlines()
    assert json.loads(left_out) == {"where": "test_shop.py::test_raises", "reason": "it uses pytest.raises"}
