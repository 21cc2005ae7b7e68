from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eval.samples import Sample, SamplesFile, sample_row, tasks_without_samples
from rlcode.data.registry import load_problems
from rlcode.errors import DataError
from rlcode.types import Problem, Program

Lines = Callable[..., Path]


@pytest.fixture
def problems(benchmark_file: Path) -> list[Problem]:
    return load_problems("humaneval", benchmark_file)


def test_samples_keep_their_order_and_are_counted_within_their_task(lines: Lines, problems: list[Problem]) -> None:
    path = lines(
        "samples.jsonl",
        {"task_id": "T/1", "completion": "a"},
        {"task_id": "T/0", "completion": "b"},
        {"task_id": "T/1", "completion": "a"},
    )
    assert list(SamplesFile(path, problems, "humaneval")) == [
        Sample("T/1", 0, "a"),
        Sample("T/0", 0, "b"),
        Sample("T/1", 1, "a"),
    ]


def test_a_solution_wins_over_a_completion_and_other_fields_are_ignored(lines: Lines, problems: list[Problem]) -> None:
    row = {"task_id": "T/0", "completion": 3, "solution": "def f0(): ...", "prompt": "another", "result": "passed"}
    path = lines("samples.jsonl", row)
    assert list(SamplesFile(path, problems, "humaneval")) == [Sample("T/0", 0, "def f0(): ...", True)]


def test_a_null_field_counts_as_absent(lines: Lines, problems: list[Problem]) -> None:
    row = {"task_id": "T/0", "completion": "", "solution": None}
    assert list(SamplesFile(lines("samples.jsonl", row), problems, "humaneval")) == [Sample("T/0", 0, "")]


def test_a_gzipped_file_is_read(tmp_path: Path, problems: list[Problem]) -> None:
    path = tmp_path / "samples.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps({"task_id": "T/0", "completion": "é"}).encode()))
    assert list(SamplesFile(path, problems, "humaneval")) == [Sample("T/0", 0, "é")]


@pytest.mark.parametrize("name", ["Mbpp/601", "MBPP/601", "601", 601])
def test_mbpp_tasks_answer_to_all_their_names(lines: Lines, shared_data: Path, name: str | int) -> None:
    problems = load_problems("mbpp", shared_data / "mbpp.jsonl.gz")
    path = lines("samples.jsonl", {"task_id": name, "solution": "x"})
    assert list(SamplesFile(path, problems, "mbpp")) == [Sample("Mbpp/601", 0, "x", True)]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"completion": "a"}, "field 'task_id' is missing"),
        ({"task_id": ["T/0"], "completion": "a"}, "field 'task_id' must be a string, got list"),
        ({"task_id": True, "completion": "a"}, "field 'task_id' must be a string, got bool"),
        ({"task_id": "T/9", "completion": "a"}, "unknown task 'T/9'; the benchmark has 3 tasks such as 'T/0'"),
        ({"task_id": "T/0"}, "neither 'completion' nor 'solution'"),
        ({"task_id": "T/0", "completion": None}, "neither 'completion' nor 'solution'"),
        ({"task_id": "T/0", "completion": ["a"]}, "field 'completion' must be a string, got list"),
        ({"task_id": "T/0", "completion": "a", "solution": 1}, "field 'solution' must be a string, got int"),
        (["T/0", "a"], "expected a JSON object, got list"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(lines: Lines, problems: list[Problem], row: Any, words: str) -> None:
    path = lines("samples.jsonl", {"task_id": "T/0", "completion": "fine"}, row)
    with pytest.raises(DataError, match=f"{path}, line 2: {words}"):
        list(SamplesFile(path, problems, "humaneval"))


def test_tasks_without_samples_are_named_in_the_order_of_the_benchmark(problems: list[Problem]) -> None:
    assert tasks_without_samples({"T/1"}, problems) == ("T/0", "T/2")


def test_samples_come_back_from_their_rows_as_the_programs_that_were_judged(
    lines: Lines, problems: list[Problem]
) -> None:
    rows = [
        sample_row(Sample("T/0", 0, "a\ud800"), Program("def a\ud800", "continuation")),
        sample_row(Sample("T/0", 1, "no program"), Program(None, "no code")),
    ]
    assert [row["completion"] for row in rows] == ["a\ud800", "no program"]
    assert list(SamplesFile(lines("samples.jsonl", *rows), problems, "humaneval")) == [
        Sample("T/0", 0, "def a\ud800", is_solution=True),
        Sample("T/0", 1, "no program"),
    ]


def test_samples_of_lm_evaluation_harness_are_completions_of_the_first_filter(
    lines: Lines, problems: list[Problem]
) -> None:
    doc = {"task_id": "T/1", "prompt": "def f1(x):"}
    path = lines(
        "samples_humaneval_2025.jsonl",
        {"doc_id": 1, "doc": doc, "resps": [["a", "b"]], "filtered_resps": [["def a", "def b"]], "filter": "first"},
        {"doc_id": 1, "doc": doc, "resps": [["a", "b"]], "filtered_resps": [["def b"]], "filter": "second"},
        {"doc_id": 0, "doc": {"task_id": "T/0"}, "filtered_resps": ["def c"], "filter": "first"},
    )
    assert list(SamplesFile(path, problems, "humaneval")) == [
        Sample("T/1", 0, "a"),
        Sample("T/1", 1, "b"),
        Sample("T/0", 0, "def c", True),
    ]


def test_generations_of_bigcode_are_the_programs_of_each_task_in_order(tmp_path: Path, problems: list[Problem]) -> None:
    path = tmp_path / "generations.json"
    path.write_text(json.dumps([["a", "b"], ["c"]], indent=1), encoding="utf-8")
    assert list(SamplesFile(path, problems, "humaneval")) == [
        Sample("T/0", 0, "a", True),
        Sample("T/0", 1, "b", True),
        Sample("T/1", 0, "c", True),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[], [], [], []]", "has generations for 4 tasks, the benchmark has 3"),
        ('["a"]', "list 1: generations must be a list of strings"),
        ("[[1]]", "list 1: generations must be a list of strings"),
        ("[[]", "not valid JSON"),
        ("[[], []]", "holds no sample"),
        ('{"doc": 1}', "line 1: field 'doc' must be an object, got int"),
        ('{"doc": {"id": 1}}', "line 1: 'doc': field 'task_id' is missing"),
        ('{"doc": {"task_id": "T/0"}}', "line 1: neither 'resps' nor 'filtered_resps'"),
        ('{"doc": {"task_id": "T/0"}, "resps": [[0]]}', "line 1: resps must be a list of strings"),
    ],
)
def test_what_other_tools_never_write_is_named(tmp_path: Path, problems: list[Problem], text: str, words: str) -> None:
    path = tmp_path / "generations.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=words):
        list(SamplesFile(path, problems, "humaneval"))


def test_an_index_that_is_given_counts_and_twice_in_one_task_is_refused(lines: Lines, problems: list[Problem]) -> None:
    rows = [{"task_id": "T/0", "index": index, "completion": "a"} for index in (5, 2)]
    other = {"task_id": "T/1", "index": 5, "completion": "a"}
    assert [s.index for s in SamplesFile(lines("a.jsonl", *rows, other), problems, "humaneval")] == [5, 2, 5]
    with pytest.raises(DataError, match="line 3: index 5 of T/0 is there twice"):
        list(SamplesFile(lines("b.jsonl", *rows, rows[0]), problems, "humaneval"))
    with pytest.raises(DataError, match="line 1: field 'index' must be a whole number from 0, got -1"):
        list(SamplesFile(lines("c.jsonl", {**rows[0], "index": -1}), problems, "humaneval"))
