"""`rlcode compare` says what two evaluations allow to be said, and refuses what can't be compared."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from eval.commands.compare import main
from eval.comparison import Comparison, compare
from eval.evaluations import read_evaluation
from eval.main import main as evaluate
from rlcode.cli import run
from rlcode.errors import DataError

if TYPE_CHECKING:
    from tests.eval.conftest import ScriptedSandbox

Outcomes = Mapping[str, Sequence[str | None]]
Write = Callable[..., Path]
DATA = {"file": "a.jsonl", "split": "test", "version": "1", "limits": {"time_s": None}}


def verdict_rows(outcomes: Outcomes) -> list[dict[str, Any]]:
    """Rows of `verdicts.jsonl`; an outcome is `passed`, an error type, or None where a sample was not scored."""
    return [
        {
            "task_id": task,
            "index": index,
            "passed": None if outcome is None else outcome == "passed",
            "error_type": None if outcome in (None, "passed") else outcome,
        }
        for task, some in outcomes.items()
        for index, outcome in enumerate(some)
    ]


@pytest.fixture
def evaluation(tmp_path: Path) -> Write:
    """Write what `rlcode eval` would have left, and return its directory."""

    def write(name: str, outcomes: Outcomes, *, ks: Sequence[int] = (1,), **changes: Any) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        rows = verdict_rows(outcomes)
        (folder / "verdicts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        report = {
            "benchmark": changes.get("benchmark", "humaneval"),
            "pass_at_k": {str(k): {} for k in ks},
            "data": {**DATA, **changes.get("data", {})},
            "policy": {"temperature": 0.8, **changes.get("policy", {})},
            "backend": changes.get("backend", "docker"),
            "forgeable": changes.get("forgeable", False),
        }
        (folder / "report.json").write_text(json.dumps(report))
        return folder

    return write


def greedy(passed: Sequence[bool]) -> Outcomes:
    return {f"T/{number}": ["passed" if one else "name"] for number, one in enumerate(passed)}


def compared(*folders: Path, **options: Any) -> list[Comparison]:
    return compare([read_evaluation(folder) for folder in folders], **options)


def test_a_clear_gain_is_told_with_its_interval_and_the_problems_that_were_won(
    evaluation: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    before = evaluation("base", greedy([True] * 50 + [False] * 50))
    after = evaluation("dpo", greedy([True] * 48 + [False] * 2 + [True] * 20 + [False] * 30))
    (comparison,) = compared(before, after)
    (figure,) = comparison.figures
    assert (figure.name, figure.baseline, figure.other) == ("pass@1", 0.5, pytest.approx(0.68))
    assert figure.difference.p == pytest.approx(2 * (1 + 22 + 231) / 2**22)
    assert [problem.task_id for problem in comparison.lost] == ["T/48", "T/49"]
    assert [problem.task_id for problem in comparison.won] == [f"T/{number}" for number in range(50, 70)]
    assert main([str(before), str(after)]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert f"{after} is better by 18.0 points [8.9, 26.4]" in told
    assert "20 problems won" in told
    assert "2 problems lost" in told
    main([str(after), str(before)])
    assert f"{before} is worse by 18.0 points [8.9, 26.4]" in " ".join(capsys.readouterr().out.split())


def test_a_difference_that_chance_explains_is_none_and_the_sample_that_it_would_need_is_named(
    evaluation: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    before = evaluation("base", greedy([True] * 50 + [False] * 50))
    after = evaluation("dpo", greedy([True] * 47 + [False] * 3 + [True] * 5 + [False] * 45))
    assert main([str(before), str(after), "--points", "2"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "no difference can be seen at this sample size, +2.0 points" in told
    assert "about 1,5" in told
    assert "more problems would be needed to see 2 points" in told
    assert main([str(before), str(after), "--points", "20"]) == 0
    assert "one of 20 points would have been seen four times in five" in " ".join(capsys.readouterr().out.split())


def test_an_evaluation_against_itself_says_that_all_came_out_alike(
    evaluation: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    one = evaluation("base", greedy([True, False, True]))
    main([str(one), str(one)])
    assert "all 3 problems came out alike" in " ".join(capsys.readouterr().out.split())


def test_sampled_problems_are_listed_the_most_extreme_first(evaluation: Write) -> None:
    before = evaluation("a", {"x": ["passed", "type"], "y": ["type", "type"], "z": ["passed", "passed"]}, ks=(1, 2))
    after = evaluation("b", {"x": ["passed", "passed"], "y": ["passed", "passed"], "z": ["type", "name"]}, ks=(1, 2))
    (comparison,) = compared(before, after)
    assert [(problem.task_id, problem.baseline, problem.other) for problem in comparison.won] == [
        ("y", 0.0, 1.0),
        ("x", 0.5, 1.0),
    ]
    assert [problem.task_id for problem in comparison.lost] == ["z"]
    assert [(f.name, f.baseline, f.other) for f in comparison.figures] == [
        ("pass@1", 0.5, pytest.approx(2 / 3)),
        ("pass@2", pytest.approx(2 / 3), pytest.approx(2 / 3)),
    ]


def test_greedy_answers_are_compared_beside_the_samples_where_both_have_them(evaluation: Write) -> None:
    folders = []
    for name, passed in (("a", [False] * 8 + [True] * 2), ("b", [True] * 10)):
        folder = evaluation(name, {f"T/{n}": ["passed", "type"] for n in range(10)})
        rows = verdict_rows(greedy(passed))
        (folder / "greedy_verdicts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        folders.append(folder)
    (comparison,) = compared(*folders)
    by_name = {figure.name: figure for figure in comparison.figures}
    assert (by_name["greedy"].baseline, by_name["greedy"].other) == (0.2, 1.0)
    assert by_name["greedy"].difference.p == pytest.approx(2 / 2**8)
    assert by_name["pass@1"].difference.num_different == 0
    (folders[1] / "greedy_verdicts.jsonl").unlink()
    assert [figure.name for figure in compared(*folders)[0].figures] == ["pass@1"]


def test_error_types_that_went_away_and_came_are_told(evaluation: Write, capsys: pytest.CaptureFixture[str]) -> None:
    before = evaluation("a", {f"T/{n}": ["syntax", "wrong_answer"] for n in range(40)})
    after = evaluation("b", {f"T/{n}": ["timeout", "wrong_answer"] for n in range(40)})
    (comparison,) = compared(before, after)
    by_name = {figure.name: figure for figure in comparison.error_types}
    assert by_name["syntax"].difference.value == -0.5
    assert by_name["timeout"].is_seen
    assert by_name["wrong_answer"].difference.num_different == 0
    main([str(before), str(after)])
    lines = capsys.readouterr().out.splitlines()
    assert any("syntax" in line and "went away" in line for line in lines)
    assert any("timeout" in line and "came" in line for line in lines)


def test_two_halves_of_one_run_show_no_difference_in_words(evaluation: Write) -> None:
    rng = np.random.default_rng(0)
    rates = rng.beta(0.5, 0.5, 100)
    draws = [["passed" if hit else "type" for hit in rng.random(20) < rate] for rate in rates]
    first = evaluation("first", {f"T/{n}": some[:10] for n, some in enumerate(draws)})
    second = evaluation("second", {f"T/{n}": some[10:] for n, some in enumerate(draws)})
    (comparison,) = compared(first, second)
    assert not any(figure.is_seen for figure in [*comparison.figures, *comparison.error_types])


def test_several_are_held_against_the_first_and_corrected_for_their_number(evaluation: Write) -> None:
    base = evaluation("base", greedy([False] * 100))
    others = [evaluation(name, greedy([True] * gain + [False] * (100 - gain))) for name, gain in (("x", 6), ("y", 20))]
    alone = compared(base, others[0])[0].figures[0]
    x, y = compared(base, *others)
    assert {one.baseline for one in (x, y)} == {str(base)}
    assert alone.is_seen
    assert x.figures[0].p_holm == pytest.approx(alone.p_holm)  # the larger p of two stays
    assert y.figures[0].p_holm == pytest.approx(2 * y.figures[0].difference.p)


def test_unscored_samples_count_for_nothing_and_withhold_a_k_that_they_leave_no_room_for(evaluation: Write) -> None:
    before = evaluation("a", {"x": ["passed", None], "y": ["type", "type"]}, ks=(1, 2))
    after = evaluation("b", {"x": ["passed", "passed"], "y": ["passed", "type"]}, ks=(1, 2))
    (comparison,) = compared(before, after)
    assert [(figure.name, figure.baseline) for figure in comparison.figures] == [("pass@1", 0.5)]
    assert "x: fewer than 2 scored samples" in comparison.withheld["pass@2"]
    (comparison,) = compared(before, after, common=True)
    assert [(figure.name, figure.difference.n) for figure in comparison.figures] == [("pass@1", 2), ("pass@2", 1)]
    assert any("pass@2 without x" in note for note in comparison.notes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"benchmark": "mbpp"}, "benchmark: 'humaneval' and 'mbpp'"),
        ({"data": {"version": "2"}}, "version: '1' and '2'"),
        ({"data": {"limits": {"time_s": 20.0}}}, "limits.time_s: None and 20.0"),
        ({"policy": {"temperature": 0.2}}, r"temperature: 0.8 and 0.2.*--ignore temperature"),
        ({"ks": (10,)}, "no k in common"),
    ],
)
def test_what_can_not_be_compared_is_refused_and_told(
    evaluation: Write, changes: dict[str, Any], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before, after = evaluation("a", greedy([True, False])), evaluation("b", greedy([True, True]), **changes)
    assert run("eval.commands.compare", [str(before), str(after)]) == 2
    message = capsys.readouterr().err
    assert re.search(words, message), message


def test_a_setting_may_differ_where_that_is_what_is_compared(evaluation: Write) -> None:
    before = evaluation("a", greedy([True, False]))
    after = evaluation("b", greedy([True, True]), policy={"temperature": 0.2}, backend="local")
    (comparison,) = compared(before, after, ignore=["temperature"])
    assert "temperature differs, as allowed" in comparison.notes
    assert any("backend differs" in note for note in comparison.notes)
    with pytest.raises(Exception, match="no setting 'temprature'; these reports have benchmark"):
        compared(before, after, ignore=["temprature"])


def test_how_the_problems_were_put_is_told_where_it_differs_and_stopped_tests_are_no_setting(evaluation: Write) -> None:
    stops = {"limits": {"time_s": None, "failures": 1}}
    before = evaluation("a", greedy([True, False]), policy={"prompt_style": "chat", "system_prompt": None}, data=stops)
    after = evaluation("b", greedy([True, True]), policy={"prompt_style": "chat", "system_prompt": "Be brief."})
    (comparison,) = compared(before, after)
    assert comparison.notes == [f"system_prompt differs: {before} None, {after} 'Be brief.'"]


def test_the_file_of_the_benchmark_may_lie_elsewhere(evaluation: Write) -> None:
    before = evaluation("a", greedy([True]))
    assert compared(before, evaluation("b", greedy([True]), data={"file": "/elsewhere/a.jsonl"}))


def test_other_problems_are_refused_or_with_common_left_out_and_told(
    evaluation: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    before, after = evaluation("a", greedy([True, False, True])), evaluation("b", greedy([True, True]))
    assert run("eval.commands.compare", [str(before), str(after)]) == 2
    assert f"only {before} has T/2; --common compares on the others" in capsys.readouterr().err
    (comparison,) = compared(before, after, common=True)
    assert comparison.figures[0].difference.n == 2
    assert any("compared on the 2 problems that all have" in note for note in comparison.notes)
    other = evaluation("c", {"U/0": ["passed"]})
    with pytest.raises(Exception, match="no problem in common"):
        compared(before, other, common=True)


def test_a_sample_that_is_there_twice_and_a_file_of_another_format_are_named(tmp_path: Path) -> None:
    file = tmp_path / "verdicts.jsonl"
    row = {"task_id": "x", "index": 0, "passed": True}
    file.write_text(json.dumps(row) + "\n" + json.dumps(row) + "\n")
    with pytest.raises(DataError, match="line 2: sample 0 of 'x' is there twice"):
        read_evaluation(file)
    file.write_text(json.dumps({"task_id": "x", "completion": "pass"}) + "\n")
    with pytest.raises(DataError, match="line 1: a verdict has"):
        read_evaluation(tmp_path)
    assert run("eval.commands.compare", [str(tmp_path / "nowhere"), str(file)]) == 2


@pytest.mark.parametrize("text", ["[]", "{", '{"pass_at_k": 1}', '{"pass_at_k": {"one": {}}}'])
def test_a_report_of_another_format_is_told(evaluation: Write, text: str) -> None:
    folder = evaluation("a", greedy([True]))
    (folder / "report.json").write_text(text)
    with pytest.raises(DataError, match=r"report\.json (is no report|can't be read)"):
        read_evaluation(folder)


def test_one_evaluation_alone_is_refused(evaluation: Write, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("eval.commands.compare", [str(evaluation("a", greedy([True])))]) == 2
    assert "needs two evaluations or more" in capsys.readouterr().err


def test_verdicts_without_a_report_are_compared_and_that_is_told(evaluation: Write, tmp_path: Path) -> None:
    before = evaluation("a", greedy([True, False]))
    lone = tmp_path / "lone.jsonl"
    lone.write_text((before / "verdicts.jsonl").read_text())
    (comparison,) = compared(before, lone)
    assert any("does not say its benchmark" in note for note in comparison.notes)


def test_the_comparison_is_written_as_json_and_as_markdown(evaluation: Write, tmp_path: Path) -> None:
    before, after = evaluation("a", greedy([True] * 9 + [False])), evaluation("b", greedy([True] * 8 + [False] * 2))
    as_json, as_text = tmp_path / "out" / "c.json", tmp_path / "out" / "c.md"
    assert main([str(before), str(after), "--json", str(as_json), "--markdown", str(as_text)]) == 0
    (row,) = json.loads(as_json.read_text())["comparisons"]
    assert row["lost"] == [{"task_id": "T/8", "baseline": 1.0, "other": 0.0}]
    assert row["figures"][0]["difference"]["p"] == 1.0
    assert "no difference can be seen" in row["verdicts"]["pass@1"]
    text = as_text.read_text()
    assert "| pass@1 | 90.0% | 80.0% | -10.0 |" in text
    assert "- T/8  100% → 0%" in text


def test_what_rlcode_eval_wrote_is_compared(
    benchmark_file: Path, tmp_path: Path, sandbox: ScriptedSandbox, lines: Callable[..., Path]
) -> None:
    texts = {"a": ["pass", "1", "1"], "b": ["pass", "'pass'", "1"]}
    for name, answers in texts.items():
        rows = [{"task_id": f"T/{n}", "completion": f"    return {answer}"} for n, answer in enumerate(answers)]
        samples = lines(f"{name}.jsonl", *rows)
        argv = ["--benchmark", "humaneval", "--benchmark_file", str(benchmark_file), "--samples", str(samples)]
        assert evaluate([*argv, "--output_dir", str(tmp_path / name)]) == 0
    (comparison,) = compared(tmp_path / "a", tmp_path / "b")
    assert [problem.task_id for problem in comparison.won] == ["T/1"]
    assert comparison.notes == []


def test_what_can_be_forged_is_said_beside_the_comparison(evaluation: Write) -> None:
    before, after = (evaluation(name, greedy([True, False]), forgeable=True) for name in ("base", "dpo"))
    (comparison,) = compared(before, after)
    assert f"{after} can be forged: judged in the candidate's interpreter" in comparison.notes


def add_base(folder: Path, passed: Mapping[str, Sequence[bool | None]], file: str = "verdicts.jsonl") -> None:
    """What the plus sets have beside: whether the base tests passed."""
    rows = [json.loads(line) for line in (folder / file).read_text().splitlines()]
    rows = [{**row, "passed_base": passed[row["task_id"]][row["index"]]} for row in rows]
    (folder / file).write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_of_plus_sets_the_base_tests_are_compared_too(evaluation: Write) -> None:
    tasks = [f"T/{number}" for number in range(40)]
    before = evaluation("base", {task: ["wrong_answer", "wrong_answer"] for task in tasks}, ks=(1, 2))
    after = evaluation("dpo", {task: ["wrong_answer", None] for task in tasks}, ks=(1, 2))
    add_base(before, {task: [True, False] for task in tasks})
    add_base(after, {task: [True, None] for task in tasks})
    (comparison,) = compared(before, after)
    figures = {figure.name: (figure.baseline, figure.other, figure.is_seen) for figure in comparison.figures}
    assert figures == {"pass@1": (0.0, 0.0, False), "pass@1 base": (0.5, 1.0, True)}
    assert comparison.withheld.keys() == {"pass@2"}


def test_base_tests_that_one_side_does_not_know_are_not_compared(evaluation: Write) -> None:
    before, after = (evaluation(name, greedy([True, False])) for name in ("base", "dpo"))
    add_base(before, {"T/0": [True], "T/1": [True]})
    (comparison,) = compared(before, after)
    assert [figure.name for figure in comparison.figures] == ["pass@1"]


def test_greedy_answers_are_compared_by_their_base_tests_too(evaluation: Write) -> None:
    folders = [evaluation(name, greedy([False] * 9)) for name in ("base", "dpo")]
    for folder, passed in zip(folders, (False, True), strict=True):
        (folder / "greedy_verdicts.jsonl").write_text((folder / "verdicts.jsonl").read_text())
        add_base(folder, {f"T/{number}": [passed] for number in range(9)}, "greedy_verdicts.jsonl")
    (comparison,) = compared(*folders)
    figures = {figure.name: (figure.baseline, figure.other) for figure in comparison.figures}
    assert figures == {"pass@1": (0, 0), "greedy": (0, 0), "greedy base": (0, 1)}
