"""LiveCodeBench, APPS and CodeContests, on rows of their published formats: no real file of theirs is at hand."""

from __future__ import annotations

import base64
import json
import os
import pickle
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rlcode.data import apps, codecontests, hub, livecodebench
from rlcode.data.registry import data_version, load_problems
from rlcode.errors import DataError, InputError
from rlcode.prompts import PromptFormat, PromptStyle, build_prompt
from rlcode.run_directory import write_json_lines
from rlcode.types import PartialLimits, Problem, Program, TestKind, Verdict
from sandbox.pool import open_sandbox
from sandbox.protocol import Job, Sandbox


def packed(value: Any) -> str:
    """As LiveCodeBench keeps its private tests."""
    return base64.b64encode(zlib.compress(pickle.dumps(value))).decode()


def cases(*pairs: tuple[str, str], kind: str = "stdin") -> str:
    return json.dumps([{"input": given, "output": wanted, "testtype": kind} for given, wanted in pairs])


LIVE: dict[str, Any] = {
    "question_title": "Double",
    "question_content": "Double the number.",
    "platform": "atcoder",
    "question_id": "abc301_a",
    "contest_id": "abc301",
    "contest_date": "2024-08-01T00:00:00",
    "starter_code": "",
    "difficulty": "easy",
    "public_test_cases": cases(("1\n", "2\n")),
    "private_test_cases": packed(cases(("2\n", "4\n"), ("3\n", "6\n"))),
    "metadata": "{}",
}
LIVE_CALL: dict[str, Any] = {
    **LIVE,
    "platform": "leetcode",
    "question_id": "3000",
    "contest_date": "2025-01-31T12:00:00",
    "starter_code": "class Solution:\n    def pad(self, xs: List[int], n: int) -> List[int]:\n        ",
    "difficulty": "hard",
    "public_test_cases": cases(("[1, 2]\n3", "[1, 2, 0]"), kind="functional"),
    "private_test_cases": cases(("[]\n1", "[0]"), kind="functional"),
    "metadata": json.dumps({"func_name": "pad"}),
}
APPS_STDIO: dict[str, Any] = {
    "id": 7,
    "question": "Add the numbers.",
    "solutions": json.dumps(["print(sum(map(int, input().split())))", "other"]),
    "input_output": json.dumps({"inputs": ["1 2\n", ["3", "4"]], "outputs": ["3\n", ["3"]]}),
    "difficulty": "introductory",
    "url": "https://example.org",
    "starter_code": "",
}
APPS_CALL: dict[str, Any] = {
    **APPS_STDIO,
    "id": 8,
    "solutions": json.dumps(["class Solution:\n    def pair(self, x):\n        return (x, {x: 1})"]),
    "input_output": json.dumps({"fn_name": "pair", "inputs": [[1], [2]], "outputs": [[[1, {"1": 1}]], [2, {"2": 1}]]}),
    "difficulty": "competition",
    "starter_code": "class Solution:\n    def pair(self, x):\n",
}
CONTEST: dict[str, Any] = {
    "name": "1_A. Theatre",
    "description": "Print half of n.",
    "public_tests": {"input": ["1\n"], "output": ["0.5\n"]},
    "private_tests": {"input": [], "output": []},
    "generated_tests": {"input": ["3\n"], "output": ["1.5\n"]},
    "source": 2,
    "difficulty": 7,
    "solutions": {"language": [2, 3], "solution": ["int main() {}", "print(int(input()) / 2)"]},
    "cf_tags": ["math", "geometry"],
    "time_limit": {"seconds": 7, "nanos": 500_000_000},
}


def file_of(tmp_path: Path, *rows: dict[str, Any]) -> Path:
    path = tmp_path / "rows.jsonl"
    write_json_lines(path, rows)
    return path


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with open_sandbox("auto") as sandbox:
        yield sandbox


def passed(sandbox: Sandbox, problem: Problem, *sources: str) -> list[bool]:
    jobs = [Job(problem, Program(source, "test"), problem.limits_in(PartialLimits())) for source in sources]
    return [isinstance(result, Verdict) and result.passed for result in sandbox.judge(jobs)]


def test_livecodebench_is_judged_by_public_and_private_tests(sandbox: Sandbox, tmp_path: Path) -> None:
    stdin, call = load_problems("livecodebench", file_of(tmp_path, LIVE, LIVE_CALL))
    assert [(p.task_id, p.entry_point, len(p.tests), p.difficulty, p.tags) for p in (stdin, call)] == [
        ("abc301_a", "", 3, "easy", ("atcoder",)),
        ("3000", "pad", 2, "hard", ("leetcode",)),
    ]
    assert (stdin.limits, call.limits) == (PartialLimits(time_s=6.0), PartialLimits(time_s=12.0))
    double = "print({})"
    assert passed(sandbox, stdin, *(double.format(how) for how in ("int(input()) * 2", "float(input()) * 2", "2"))) == [
        True,
        True,
        False,
    ]
    method = "class Solution:\n    def pad(self, xs, n):\n        return {}"
    assert passed(sandbox, call, *(method.format(how) for how in ("(xs + [0] * n)[:n]", "xs + [0]", "xs"))) == [
        True,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("split", "found"),
    [
        (None, ["abc301_a", "3000"]),
        ("2024-08-01..2024-08-01", ["abc301_a"]),
        ("2024-08-02..", ["3000"]),
        ("..2025-01-30", ["abc301_a"]),
        ("..", ["abc301_a", "3000"]),
    ],
)
def test_livecodebench_has_windows_of_dates(tmp_path: Path, split: str | None, found: list[str]) -> None:
    problems = load_problems("livecodebench", file_of(tmp_path, LIVE, LIVE_CALL), split)
    assert [problem.task_id for problem in problems] == found


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ("v9", "has no split 'v9'; name a release"),
        ("test", "has no split 'test'; name a release"),
        ("2024-13-01..", "'2024-13-01' in the split is no date"),
        ("2026-01-01..", "has no problem of the dates 2026-01-01 to"),
        ("v2:2024-01-01..", "a file has no releases; leave 'v2' away"),
    ],
)
def test_another_split_of_livecodebench_is_refused(tmp_path: Path, split: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        load_problems("livecodebench", file_of(tmp_path, LIVE), split)


def test_a_release_of_livecodebench_is_the_files_of_all_before_it() -> None:
    assert livecodebench.raw_files("v3").files == ("test.jsonl", "test2.jsonl", "test3.jsonl")
    assert len(livecodebench.raw_files(None).files) == 6


class Attack:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("/tmp/livecodebench-was-here",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (packed(Attack()), "it asks for posix.mkdir, which no text needs"),
        (packed({"input": "1"}), "it holds a dict, no text"),
        (packed("[1]"), "must be a list of objects"),
        (packed("{"), "is not JSON text"),
        ("!!", "can't be unpacked"),
        (base64.b64encode(b"plain").decode(), "can't be unpacked"),
        (base64.b64encode(zlib.compress(b"junk")).decode(), "can't be unpacked"),
    ],
)
def test_private_tests_that_are_no_packed_text_are_refused_unread(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(DataError, match=f"line 1: .*{words}"):
        load_problems("livecodebench", file_of(tmp_path, {**LIVE, "private_test_cases": text}))
    assert not Path("/tmp/livecodebench-was-here").exists()


def test_private_tests_that_would_fill_the_memory_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(livecodebench, "MOST_BYTES", 1000)
    with pytest.raises(DataError, match="it is larger than 1,000 bytes"):
        load_problems("livecodebench", file_of(tmp_path, {**LIVE, "private_test_cases": packed(" " * 100_000)}))


def test_apps_is_judged_by_stdin_and_by_calls(sandbox: Sandbox, tmp_path: Path) -> None:
    stdin, call = load_problems("apps", file_of(tmp_path, APPS_STDIO, APPS_CALL))
    assert (stdin.task_id, stdin.difficulty, call.difficulty) == ("APPS/7", "introductory", "competition")
    assert stdin.tests[1].stdin == "3\n4"
    assert {test.kind for test in call.tests} == {TestKind.CALL}
    assert passed(sandbox, stdin, stdin.reference_solution, "print(input().split()[0])") == [True, False]
    both = "import sys\nxs = sys.stdin.read().split()\nprint({})"
    assert passed(sandbox, stdin, both.format("int(xs[0]) + 2 * (xs[0] == '1')"), both.format("3.000001")) == [
        True,
        True,
    ]
    wrong = "class Solution:\n    def pair(self, x):\n        return [x, {x: 2}]"
    assert passed(sandbox, call, call.reference_solution, wrong) == [True, False]


def test_apps_rows_without_tests_are_left_out_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    empty = [{**APPS_STDIO, "id": 9, "input_output": text} for text in ("", "{}", json.dumps({"inputs": []}))]
    assert [p.task_id for p in load_problems("apps", file_of(tmp_path, APPS_STDIO, *empty[:1]))] == ["APPS/7"]
    assert len(load_problems("apps", file_of(tmp_path, *empty, APPS_STDIO))) == 1
    assert "3 problems of apps come without tests that can be judged and are left out" in caplog.text


def test_an_apps_row_with_a_number_that_python_does_not_read_is_left_out(tmp_path: Path) -> None:
    huge = {**APPS_CALL, "id": 9, "input_output": '{"fn_name": "f", "inputs": [[%s]], "outputs": [1]}' % ("9" * 9131)}
    assert [p.task_id for p in load_problems("apps", file_of(tmp_path, huge, APPS_STDIO))] == ["APPS/7"]


def test_codecontests_is_judged_by_all_its_tests(sandbox: Sandbox, tmp_path: Path) -> None:
    (problem,) = load_problems("codecontests", file_of(tmp_path, CONTEST))
    assert (problem.difficulty, problem.tags) == ("a", ("codeforces", "math", "geometry"))
    assert problem.limits == PartialLimits(time_s=7.5)
    assert problem.reference_solution == "print(int(input()) / 2)"
    near = "print(int(input()) / 2 + 1e-6)"
    assert passed(sandbox, problem, problem.reference_solution, near, "print(0.5)") == [True, True, False]


@pytest.mark.parametrize(
    ("benchmark", "row", "words"),
    [
        ("livecodebench", {**LIVE, "contest_date": "soon"}, "field 'contest_date' is no date"),
        ("livecodebench", {**LIVE, "metadata": "{"}, "field 'metadata' is not JSON text"),
        ("livecodebench", {**LIVE_CALL, "public_test_cases": cases(("(1,)", "1"))}, "are not JSON text"),
        ("apps", {**APPS_STDIO, "id": "x"}, "field 'id' must be a whole number"),
        ("apps", {**APPS_STDIO, "input_output": '{"inputs": ["1"], "outputs": []}'}, "lists of one length"),
        (
            "apps",
            {**APPS_CALL, "input_output": '{"fn_name": "f", "inputs": [1], "outputs": [1]}'},
            "list of its arguments",
        ),
        (
            "codecontests",
            {**CONTEST, "public_tests": {"input": ["1"], "output": []}},
            "'public_tests' must be an object",
        ),
        ("codecontests", {**CONTEST, "name": None}, "field 'name' must be a string"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(tmp_path: Path, benchmark: str, row: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=f"line 1: .*{words}"):
        load_problems(benchmark, file_of(tmp_path, row))


def test_prompts_are_those_of_the_papers_with_nothing_added(tmp_path: Path) -> None:
    (live,) = load_problems("livecodebench", file_of(tmp_path, LIVE_CALL))
    chat = build_prompt(live, PromptFormat(PromptStyle.CHAT))
    assert chat[0]["content"] == live.prompt
    assert live.prompt.startswith("### Question:\nDouble the number.\n\n### Format: You will use the following starter")
    (problem,) = load_problems("apps", file_of(tmp_path, APPS_STDIO))
    assert build_prompt(problem, PromptFormat(PromptStyle.COMPLETION)) == (
        "\nQUESTION:\nAdd the numbers.\n\nUse Standard Input format\n\nANSWER:\n"
    )


def test_a_file_is_known_by_its_hash_and_the_hub_by_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert data_version("apps", file_of(tmp_path, APPS_STDIO)).keys() == {"sha256"}
    monkeypatch.setattr(hub, "revision", lambda name: "0123abc")
    assert data_version("codecontests", None) == {"hub": "deepmind/code_contests", "revision": "0123abc"}
    assert "v0.2.0" in data_version("mbppplus", None)["url"]


def test_sources_and_difficulties_are_named_in_the_order_of_the_data_set() -> None:
    assert codecontests.SOURCES[2] == "codeforces"
    assert codecontests.DIFFICULTIES[7] == "a"
    assert apps.raw_files("train").files == ("train.jsonl",)
