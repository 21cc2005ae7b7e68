"""The data doctor finds what spoils a problem, and leaves sound ones alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from eval.commands.validate import main, with_references
from eval.validation.findings import Finding, Kind, counts, in_order, spoilt
from eval.validation.judging import flaky_findings, judged_findings
from eval.validation.trivial import same_answer, trivial_programs
from rlcode.cli import run
from rlcode.data import jsonl
from rlcode.data.exclusion import read_excluded
from rlcode.data.registry import load_problems
from rlcode.errors import SandboxError
from rlcode.types import ErrorType, PartialLimits, Problem, TestCase, TestKind, Unscored, Verdict
from sandbox.pool import open_sandbox
from sandbox.protocol import Job
from tests.eval.conftest import ScriptedSandbox

RIGHT = "def f(x):\n    return 2 * x\n"
COIN = "import os\ndef f(x):\n    return 2 * x + os.urandom(1)[0] % 2\n"


def asserting(task_id: str, *tests: str, solution: str = RIGHT, **fields: Any) -> Problem:
    cases = tuple(TestCase(TestKind.ASSERTS, code=test) for test in tests)
    prompt = fields.pop("prompt", f"def f(x):\n    '''{task_id}'''\n")
    return Problem(task_id, prompt, cases, entry_point="f", reference_solution=solution, **fields)


def stdio(task_id: str, *pairs: tuple[str, str], solution: str = "", **fields: Any) -> Problem:
    cases = tuple(TestCase(TestKind.STDIO, stdin=given, expected_stdout=wanted) for given, wanted in pairs)
    return Problem(task_id, task_id, cases, prompt_is_code=False, reference_solution=solution, **fields)


SOUND = asserting("sound", "assert f(1) == 2", "assert f(3) == 6")
PROBLEMS = [
    SOUND,
    asserting("fails", "assert f(1) == 3"),
    asserting("undefined", "assert f(Pair(1)) == 2"),
    asserting("bad tests", "x = 1 / 0\nassert f(x) == 2"),
    asserting("any object", "assert f(1) is not None", "assert f(2) != 3"),
    asserting("truthy", "assert f(1)", "assert f(2)"),
    asserting("none", "assert f(1) is None", solution="def f(x):\n    pass\n"),
    asserting("always true", "assert f(1) == True", "assert f(2) == True", solution="def f(x):\n    return x > 0\n"),
    asserting("no reference", "assert f(1) == 2", "assert f(2) == 4", solution=""),
    stdio("silent", ("1\n", ""), solution="print(end='')"),
    stdio("echo", ("1\n", "1\n"), ("2\n", "2\n"), solution="print(input())"),
    stdio("says yes", ("1\n", "YES\n"), ("2\n", "YES\n"), solution="print('YES')"),
    stdio("unchecked", ("1\n", ""), checker="def check(given, printed, expected):\n    return True\n"),
]


@pytest.fixture
def problems_file(tmp_path: Path) -> Path:
    jsonl.save(PROBLEMS, tmp_path / "problems.jsonl")
    return tmp_path / "problems.jsonl"


def validate(file: Path, output: Path, *words: object) -> int:
    base = ["--benchmark", "jsonl", "--benchmark_file", file, "--output_dir", output, "--sandbox", "local"]
    return main([*map(str, base), *map(str, words)])


def kinds_of(output: Path) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for row in json.loads((output / "report.json").read_text())["findings"]:
        found.setdefault(row["task_id"], set()).add(row["kind"])
    return found


def test_each_fault_is_found_under_its_name_and_sound_problems_are_left_alone(
    problems_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert validate(problems_file, out, "--runs", 2, "--cache", tmp_path / "cache.db") == 1
    assert kinds_of(out) == {
        "fails": {"reference_fails"},
        "undefined": {"undefined_name"},
        "bad tests": {"bad_tests"},
        "any object": {"trivial", "constant"},
        "truthy": {"constant"},
        "none": {"trivial"},
        "always true": {"constant"},
        "no reference": {"no_reference"},
        "silent": {"trivial"},
        "says yes": {"constant"},
        "unchecked": {"trivial", "no_reference"},
    }
    excluded = load_problems("jsonl", problems_file, exclude=out / "exclude.txt")
    assert [p.task_id for p in excluded] == ["sound", "truthy", "always true", "no reference", "echo", "says yes"]
    told = " ".join(capsys.readouterr().out.split())
    assert "7 of 13 problems should not be trained on" in told
    assert validate(problems_file, tmp_path / "again", "--exclude", out / "exclude.txt", "--runs", 1) == 0
    assert read_excluded(tmp_path / "again" / "exclude.txt") == read_excluded(out / "exclude.txt")


def test_a_flaky_reference_is_found_by_running_it_again() -> None:
    problems = [SOUND, asserting("coin", "assert f(1) in (2, 3)", "assert f(1) == 2", solution=COIN)]
    with open_sandbox("local", workers=1) as sandbox:
        (finding,) = flaky_findings(problems, sandbox, PartialLimits(), 20)
    assert (finding.task_id, finding.kind) == ("coin", Kind.FLAKY_REFERENCE)
    assert "in 20 runs: " in finding.detail


class Slow(ScriptedSandbox):
    """Everything passes that is no trivial program, after 0.4 s."""

    def _outcome(self, job: Job) -> Verdict:
        passes = job.program.how == "reference"
        return Verdict(None if passes else ErrorType.WRONG_ANSWER, int(passes), 1, time_s=0.4, limits=job.limits)


def test_a_slow_reference_is_told_and_the_problems_own_limit_counts() -> None:
    problems = [
        asserting("slow", "assert f(1) == 2", limits=PartialLimits(time_s=0.6)),
        asserting("has time", "assert f(1) == 2", limits=PartialLimits(time_s=20.0)),
    ]
    findings, passed = judged_findings(problems, Slow(), PartialLimits())
    assert [(one.task_id, one.kind, one.detail) for one in findings] == [("slow", Kind.SLOW_REFERENCE, "0.4 of 0.6 s")]
    assert [problem.task_id for problem in passed] == ["slow", "has time"]


def test_what_the_sandbox_can_not_judge_is_told_and_too_much_of_it_stops_the_command() -> None:
    class Broken(ScriptedSandbox):
        def _outcome(self, job: Job) -> Unscored:
            return Unscored("the engine is gone")

    findings, passed = judged_findings([SOUND], Broken(), PartialLimits(), max_unscored_share=1.0)
    assert ([(one.kind, one.detail) for one in findings], passed) == ([(Kind.NOT_JUDGED, "the engine is gone")], [])
    with pytest.raises(SandboxError, match="could not be judged"):
        judged_findings([SOUND], Broken(), PartialLimits(), max_unscored_share=0.1)


def test_static_runs_nothing(problems_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("a sandbox was opened")

    monkeypatch.setattr("sandbox.pool.open_sandbox", refuse)
    assert validate(problems_file, tmp_path / "out", "--static") == 1
    assert kinds_of(tmp_path / "out") == {"undefined": {"undefined_name"}}


def test_duplicates_and_what_is_in_a_held_back_set_are_found(tmp_path: Path) -> None:
    text = "Tell how many of the plants in a row are taller than the one before them."
    ours = [asserting("a", "assert f(1) == 2", prompt=text), asserting("b", "assert f(2) == 4", prompt=text.upper())]
    theirs = [asserting("z", "assert f(0) == 0", prompt=text)]
    jsonl.save(ours, tmp_path / "ours.jsonl")
    jsonl.save(theirs, tmp_path / "theirs.jsonl")
    held_back = f"jsonl={tmp_path / 'theirs.jsonl'}"
    assert validate(tmp_path / "ours.jsonl", tmp_path / "out", "--static", "--against", held_back) == 1
    assert kinds_of(tmp_path / "out") == {"a": {"contaminated"}, "b": {"contaminated", "duplicate"}}
    assert validate(tmp_path / "ours.jsonl", tmp_path / "alone", "--static") == 1
    assert kinds_of(tmp_path / "alone") == {"b": {"duplicate"}}


def test_ap2os_items_are_found_and_mbpps_solutions_pass_the_others(shared_data: Path, tmp_path: Path) -> None:
    data = ["--benchmark_file", shared_data / "mbpp_ap2o.jsonl.gz", "--split", "validation"]
    words = ["--references", f"mbpp={shared_data / 'mbpp.jsonl.gz'}", "--runs", 1, "--sandbox", "local"]
    assert main(list(map(str, ["--benchmark", "mbpp_ap2o", *data, *words, "--output_dir", tmp_path / "out"]))) == 1
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["counts"] == {"undefined_name": 6}
    ids = (tmp_path / "out" / "exclude.txt").read_text().splitlines()
    assert ids[0] == "# 6 of 90 problems of mbpp_ap2o that should not be trained on"
    assert ids[1:] == [f"Mbpp/{number}" for number in (512, 520, 541, 545, 580, 592)]


def test_references_are_taken_for_the_problems_that_have_none() -> None:
    bare = asserting("Mbpp/7", "assert f(1) == 2", solution="")
    kept = asserting("Mbpp/8", "assert f(1) == 2", solution="own")
    others = [asserting("7", "assert f(1) == 2"), asserting("MBPP/8", "assert f(1) == 2")]
    assert [p.reference_solution for p in with_references([bare, kept], "mbpp", others)] == [RIGHT, "own"]


def test_trivial_programs_bring_what_the_tests_declare() -> None:
    problem = Problem("t", "p", (), entry_point="f", declares=("Pair",))
    assert all("class Pair:" in one.program.source for one in trivial_programs(problem) if one.program.source)
    assert [one.name for one in trivial_programs(stdio("s", ("1", "1")))] == ["the empty program"]


def test_one_answer_to_all_tests_is_seen_where_tests_say_what_they_expect() -> None:
    assert same_answer(stdio("s", ("1", "YES\n"), ("2", "YES"))) == "YES"
    assert same_answer(stdio("s", ("1", "YES"), ("2", "NO"))) == ""
    assert same_answer(stdio("s", ("1", "YES"))) == ""
    assert same_answer(SOUND) == ""


def test_findings_come_in_the_order_of_the_problems_and_are_counted_once() -> None:
    findings = [
        Finding("fails", Kind.SIMILAR, "b"),
        Finding("fails", Kind.SIMILAR, "a"),
        Finding("sound", Kind.TRIVIAL, ""),
        Finding("fails", Kind.FLAKY_REFERENCE, ""),
    ]
    ordered = in_order(findings, PROBLEMS)
    assert [(one.task_id, one.detail) for one in ordered] == [
        ("sound", ""),
        ("fails", ""),
        ("fails", "a"),
        ("fails", "b"),
    ]
    assert counts(ordered) == {Kind.FLAKY_REFERENCE: 1, Kind.TRIVIAL: 1, Kind.SIMILAR: 1}
    assert spoilt(ordered) == ["sound", "fails"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--runs", "0"], "--runs must be 1 or more"),
        (["--least_share", "0"], "--least_share must be above 0"),
        (["--against", "nowhere"], "unknown benchmark 'nowhere'"),
        (["--against", "jsonl=a", "jsonl=b"], "--against names jsonl twice"),
        (["--exclude", "nowhere.txt"], "can't be read"),
    ],
)
def test_what_can_not_be_used_is_refused_before_anything_is_judged(
    problems_file: Path, tmp_path: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    base = ["--benchmark", "jsonl", "--benchmark_file", str(problems_file), "--output_dir", str(tmp_path / "out")]
    assert run("eval.commands.validate", [*base, *words]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_report_is_not_replaced_unasked(problems_file: Path, tmp_path: Path) -> None:
    validate(problems_file, tmp_path / "out", "--static")
    with pytest.raises(Exception, match="holds a report already"):
        validate(problems_file, tmp_path / "out", "--static")
    assert validate(problems_file, tmp_path / "out", "--static", "--overwrite") == 1
