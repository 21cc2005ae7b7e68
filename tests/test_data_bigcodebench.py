"""BigCodeBench, on rows of its published format that are made here: no real file is at hand."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from rewards.correctness import CorrectnessReward
from rlcode.data import bigcodebench, hub
from rlcode.data.registry import data_version, load_problems, training_problems_from
from rlcode.errors import DataError, InputError
from rlcode.prompts import PromptFormat, PromptStyle, build_prompt
from rlcode.reference_answers import reference_answer
from rlcode.run_directory import write_json_lines
from rlcode.types import ErrorType, PartialLimits, Problem, Program, TestKind, Verdict
from sampling.pool import PoolOptions, build_pair_pool
from sandbox.pool import open_sandbox
from sandbox.protocol import Job
from tests.sampling.judged import rollout

HEAD = "import json\nimport os\n\nINDENT = 2\ndef task_func(path):\n"
TEST = """\
import unittest
from unittest.mock import patch, mock_open
class TestCases(unittest.TestCase):
    def setUp(self):
        with open("in.json", "w") as file:
            json.dump({"b": 1}, file)
    def tearDown(self):
        os.remove("in.json")
    def test_file(self):
        self.assertEqual(task_func("in.json"), '{\\n  "b": 1\\n}')
    @patch("os.path.exists", return_value=False)
    def test_no_file(self, exists):
        with self.assertRaises(FileNotFoundError):
            task_func("in.json")
"""
ROW: dict[str, Any] = {
    "task_id": "BigCodeBench/7",
    "complete_prompt": HEAD + '    """\n    Read a JSON file and return its text, indented.\n    """\n',
    "instruct_prompt": "Read a JSON file and return its text.\nYou should write self-contained code starting with:\n"
    f"```\n{HEAD}```",
    "canonical_solution": "    if not os.path.exists(path):\n        raise FileNotFoundError(path)\n"
    "    with open(path) as file:\n        return json.dumps(json.load(file), indent=INDENT)",
    "code_prompt": HEAD,
    "test": TEST,
    "entry_point": "task_func",
    "doc_struct": json.dumps({"description": ["Read a JSON file"], "notes": []}),
    "libs": "['json', 'os']",
}


def file_of(folder: Path, *rows: dict[str, Any]) -> Path:
    path = folder / "bigcodebench.jsonl"
    write_json_lines(path, rows)
    return path


def load(folder: Path, split: str | None = None, **change: Any) -> Problem:
    (problem,) = load_problems("bigcodebench", file_of(folder, {**ROW, **change}), split)
    return problem


def test_a_row_becomes_a_problem_with_unittest_classes_and_the_grader_s_time(tmp_path: Path) -> None:
    problem = load(tmp_path)
    assert (problem.task_id, problem.entry_point) == ("BigCodeBench/7", "task_func")
    assert [test.kind for test in problem.tests] == [TestKind.UNITTEST]
    assert problem.forgeable
    assert problem.limits_in(PartialLimits()).time_s == 240
    assert problem.limits_in(PartialLimits(time_s=5)).time_s == 5


def test_complete_and_instruct_are_two_prompts_of_the_same_tests(tmp_path: Path) -> None:
    complete, instruct = load(tmp_path), load(tmp_path, "instruct")
    assert build_prompt(complete, PromptFormat(PromptStyle.COMPLETION)) == ROW["complete_prompt"]
    (message,) = build_prompt(instruct, PromptFormat(PromptStyle.CHAT))
    assert isinstance(message, dict)
    assert message["content"].startswith("Please provide a self-contained Python script that solves the following")
    assert message["content"].endswith(ROW["instruct_prompt"] + "\n")
    assert complete.tests == instruct.tests


def test_reference_solutions_pass_and_what_chat_models_leave_away_is_added_when_calibrated(tmp_path: Path) -> None:
    calibrated, raw, instruct = load(tmp_path), load(tmp_path, "uncalibrated"), load(tmp_path, "instruct:calibrated")
    body = "def task_func(path):\n" + ROW["canonical_solution"]
    wrong = HEAD + "    return open(path).read()"
    tries = [
        (calibrated, calibrated.reference_solution),
        (raw, raw.reference_solution),
        (instruct, instruct.reference_solution),
        (calibrated, body),
        (raw, body),
        (calibrated, wrong),
        (calibrated, HEAD.replace("task_func", "other") + "    pass"),
    ]
    with open_sandbox("local", workers=1) as sandbox:
        jobs = [Job(one, Program(source, "test"), one.limits_in(PartialLimits(time_s=2))) for one, source in tries]
        verdicts = [verdict for verdict in sandbox.judge(jobs) if isinstance(verdict, Verdict)]
    assert [v.error_type for v in verdicts] == [
        None,
        None,
        None,
        None,
        ErrorType.NAME,
        ErrorType.WRONG_ANSWER,
        ErrorType.MISSING_ENTRY_POINT,
    ]
    assert all(verdict.forgeable for verdict in verdicts)
    answer = reference_answer(calibrated, PromptFormat(PromptStyle.COMPLETION))
    assert answer == ROW["canonical_solution"]


@pytest.mark.parametrize(
    ("libs", "test", "expected"),
    [
        ("['pandas', 'os', 'sklearn.svm']", TEST, ("pandas", "sklearn")),
        (["numpy"], TEST, ("numpy",)),
        ("[]", "import numpy.testing as t\n" + TEST, ("numpy",)),
        ("[]", TEST.replace("    def tearDown", "    from PIL import Image\n    def tearDown"), ("PIL",)),
    ],
)
def test_the_libraries_are_those_of_solution_and_tests(
    tmp_path: Path, libs: Any, test: str, expected: tuple[str, ...]
) -> None:
    assert load(tmp_path, libs=libs, test=test).imports == expected


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("hard", "bigcodebench has no split 'hard'; with colons between them, name one of each: complete, instruct; "),
        ("complete:instruct", "has no split 'complete:instruct'"),
        ("v0.1.4", "a file has no versions; leave 'v0.1.4' away"),
    ],
)
def test_a_split_that_says_nothing_is_refused(tmp_path: Path, split: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load(tmp_path, split)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"libs": "pandas"}, "field 'libs' is not the text of a list"),
        ({"libs": "{'a': 1}"}, "field 'libs' must be a list of names"),
        ({"test": "class TestCases(:"}, "field 'test' is not Python"),
        ({"entry_point": None}, "field 'entry_point' must be a string"),
    ],
)
def test_a_row_that_can_t_be_used_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=rf"line 1.*{message}"):
        load(tmp_path, **change)


def test_rows_without_tests_are_left_out_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    empty = {**ROW, "task_id": "BigCodeBench/8", "test": "import unittest\nclass TestCases(unittest.TestCase): pass\n"}
    assert len(load_problems("bigcodebench", file_of(tmp_path, ROW, empty))) == 1
    assert "1 problems of bigcodebench come without tests" in caplog.text


def test_the_hub_is_asked_for_the_version_and_hard_is_a_data_set_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[hub.Source] = []

    def rows(file: Path | None, source: hub.Source) -> hub.Rows:
        asked.append(source)
        return iter([("row 1", ROW)])

    monkeypatch.setattr(hub, "rows", rows)
    monkeypatch.setattr(hub, "revision", lambda name: "0123abc")
    load_problems("bigcodebench")
    load_problems("bigcodebench_hard", split="instruct:v0.1.2")
    assert asked == [
        hub.Table("bigcode/bigcodebench", "v0.1.4"),
        hub.Table("bigcode/bigcodebench-hard", "v0.1.2"),
    ]
    assert data_version("bigcodebench_hard", None) == {"hub": "bigcode/bigcodebench-hard", "revision": "0123abc"}
    assert set(bigcodebench.FIELDS) <= ROW.keys()


FORGED = rollout("BigCodeBench/7", 0, None)


def test_nothing_is_trained_on_what_can_be_forged(tmp_path: Path) -> None:
    problem = load(tmp_path)
    args = Namespace(benchmark="bigcodebench", benchmark_file=file_of(tmp_path, ROW), split=None, exclude=None)
    with pytest.raises(DataError, match=r"BigCodeBench/7 can't be trained on: .* serves `rlcode eval` alone"):
        training_problems_from(args)
    with pytest.raises(DataError, match="can't be trained on"):
        CorrectnessReward([problem])
    verdict = Verdict(None, 1, 1, forgeable=True)
    with pytest.raises(DataError, match="can't be trained on"):
        CorrectnessReward()(["p"], ["a"], verdict=[verdict])
    forged = [type(FORGED)(FORGED.completion, FORGED.program, verdict), rollout("BigCodeBench/7", 1, ErrorType.NAME)]
    with pytest.raises(DataError, match=r"a verdict on BigCodeBench/7 can't be trained on"):
        build_pair_pool(forged, PoolOptions())
