from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eval.samples import Sample, read_samples, sample_rows, tasks_without_samples
from rlcode.data.registry import load_problems
from rlcode.errors import DataError
from rlcode.types import Problem

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
    assert read_samples(path, problems, "humaneval") == [
        Sample("T/1", 0, "a"),
        Sample("T/0", 0, "b"),
        Sample("T/1", 1, "a"),
    ]


def test_a_solution_wins_over_a_completion_and_other_fields_are_ignored(lines: Lines, problems: list[Problem]) -> None:
    row = {"task_id": "T/0", "completion": 3, "solution": "def f0(): ...", "prompt": "another", "result": "passed"}
    assert read_samples(lines("samples.jsonl", row), problems, "humaneval") == [Sample("T/0", 0, "def f0(): ...", True)]


def test_a_null_field_counts_as_absent(lines: Lines, problems: list[Problem]) -> None:
    row = {"task_id": "T/0", "completion": "", "solution": None}
    assert read_samples(lines("samples.jsonl", row), problems, "humaneval") == [Sample("T/0", 0, "")]


def test_a_gzipped_file_is_read(tmp_path: Path, problems: list[Problem]) -> None:
    path = tmp_path / "samples.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps({"task_id": "T/0", "completion": "é"}).encode()))
    assert read_samples(path, problems, "humaneval") == [Sample("T/0", 0, "é")]


@pytest.mark.parametrize("name", ["Mbpp/601", "MBPP/601", "601", 601])
def test_mbpp_tasks_answer_to_all_their_names(lines: Lines, shared_data: Path, name: str | int) -> None:
    problems = load_problems("mbpp", shared_data / "mbpp.jsonl.gz")
    path = lines("samples.jsonl", {"task_id": name, "solution": "x"})
    assert read_samples(path, problems, "mbpp") == [Sample("Mbpp/601", 0, "x", True)]


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
        read_samples(path, problems, "humaneval")


def test_tasks_without_samples_are_named_in_the_order_of_the_benchmark(problems: list[Problem]) -> None:
    assert tasks_without_samples([Sample("T/1", 0, "a")], problems) == ("T/0", "T/2")


def test_samples_come_back_from_their_rows(lines: Lines, problems: list[Problem]) -> None:
    samples = [Sample("T/0", 0, "a\ud800"), Sample("T/0", 1, "b", True), Sample("T/2", 0, "")]
    assert read_samples(lines("samples.jsonl", *sample_rows(samples)), problems, "humaneval") == samples
