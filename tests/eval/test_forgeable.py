"""`rlcode eval` on tests that a program could forge, and on problems whose libraries the sandbox lacks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from eval.main import main
from rlcode.cli import run
from rlcode.types import EvalReport, from_json
from sandbox.importable import build_command, missing_modules
from sandbox.pool import open_sandbox
from tests.test_data_bigcodebench import ROW, file_of

RIGHT = ROW["complete_prompt"] + ROW["canonical_solution"]
LACKING = {**ROW, "task_id": "BigCodeBench/8", "libs": "['json', 'no_such_library', 'sklearn_of_tomorrow']"}


def arguments(tmp_path: Path, *rows: dict[str, str]) -> list[str]:
    samples = tmp_path / "samples.jsonl"
    samples.write_text("".join(json.dumps({"task_id": row["task_id"], "solution": RIGHT}) + "\n" for row in rows))
    words = ["--benchmark", "bigcodebench", "--benchmark_file", file_of(tmp_path, *rows), "--samples", samples]
    return [*map(str, words), "--output_dir", str(tmp_path / "out"), "--sandbox", "local", "--workers", "1"]


def test_reports_say_that_a_pass_can_be_forged_and_which_tasks_were_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(tmp_path, ROW, LACKING)) == 0
    shown, out = capsys.readouterr(), tmp_path / "out"
    assert "1 of 2 problems are left out, since the local sandbox lacks the libraries that they need" in shown.err
    assert "no_such_library (1), sklearn_of_tomorrow (1)" in shown.err
    assert "rlcode sandbox build --packages sandbox/packages.txt no_such_library sklearn_of_tomorrow" in shown.err
    report = from_json(EvalReport, json.loads((out / "report.json").read_text()))
    assert report.forgeable
    assert report.left_out == {"BigCodeBench/8": "no_such_library, sklearn_of_tomorrow"}
    assert (report.num_tasks, report.num_samples, report.pass_at_k["1"].value) == (1, 1, 1.0)
    for text in (shown.out, (out / "report.md").read_text()):
        assert "can be forged: judged in the candidate's interpreter" in text
        assert "1 tasks are left out" in text
    (row,) = [json.loads(line) for line in (out / "verdicts.jsonl").read_text().splitlines()]
    assert (row["task_id"], row["passed"], row["forgeable"]) == ("BigCodeBench/7", True, True)


def test_where_no_task_can_be_judged_the_command_ends_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("eval.main", arguments(tmp_path, LACKING)) == 2
    assert "no problem can be judged here: 1 of 1 problems are left out" in capsys.readouterr().err
    assert not (tmp_path / "out" / "report.json").exists()


def test_rollouts_to_train_on_are_refused_before_a_model_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--model", "no/such-model", "--benchmark", "bigcodebench", "--benchmark_file", file_of(tmp_path, ROW)]
    assert run("sampling.main", [*map(str, words), "--output_dir", str(tmp_path / "out")]) == 2
    assert "bigcodebench BigCodeBench/7 can't be trained on" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_what_is_missing_is_asked_of_the_sandbox_itself() -> None:
    names = [f"no_such_{number}" for number in range(90)]
    with open_sandbox("local", workers=1) as sandbox:
        assert missing_modules([*names, "json", "email"], sandbox) == set(names)
    assert build_command(["bs4", "numpy"]) == "rlcode sandbox build --packages sandbox/packages.txt beautifulsoup4"
    assert build_command(["sklearn", "numpy"]) == "rlcode sandbox build"
