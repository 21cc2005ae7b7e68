"""What the page of a run says, without a browser: the right numbers, a fair part of the samples, and why something is
not there."""

from __future__ import annotations

import base64
import gzip
import hashlib
import itertools
import json
import random
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eval.commands.report import main
from eval.run_report import kept as kept_module
from eval.run_report.build import build_page
from eval.run_report.charts import css_of
from eval.run_report.counts import MOST_MOMENTS, SetCounts, moments_of
from eval.run_report.kept import KeptSamples
from eval.run_report.layout import Role, SampleSet, read_layout
from eval.run_report.logs import MOST_POINTS, TrainingLog
from eval.run_report.markup import escape, tag
from eval.run_report.pairs import MOST_PAIRS, read_draws
from eval.run_report.plots import nice_ticks
from eval.run_report.samples_of import OUTCOMES, samples_of
from rlcode.errors import DataError, InputError
from rlcode.run_directory import write_json, write_json_lines
from rlcode.types import ErrorType
from tests.eval import run_directories as runs

PAGE = Path(kept_module.__file__).parent / "page"


def unpacked(page: str) -> dict[str, Any]:
    (packed,) = re.findall(r'id="packed">([A-Za-z0-9+/=]*)<', page)
    return json.loads(gzip.decompress(base64.b64decode(packed)))


def rows(page: str) -> list[dict[str, Any]]:
    """The samples as the script sees them, with names and texts for numbers."""
    data = unpacked(page)
    lookup = {"set": data["sets"], "outcome": [one["name"] for one in data["outcomes"]]}
    lookup |= {"problem": [one["id"] for one in data["problems"]]}
    lookup |= dict.fromkeys(("program", "completion", "how", "exception", "test", "detail", "stdout"), data["texts"])
    columns = {
        name: [lookup[name][value] for value in values] if name in lookup else values
        for name, values in data["columns"].items()
    }
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


# What lies where.


def test_a_loop_is_walked_through_in_its_order(tmp_path: Path) -> None:
    layout = read_layout(runs.loop(tmp_path))
    assert [(found.name, found.role) for found in layout.sets] == [
        ("start/validation", Role.EVALUATION),
        ("start/validation, greedy", Role.GREEDY),
        ("round-01/rollouts", Role.ROLLOUTS),
        ("round-01/grpo", Role.GROUPS),
        ("round-01/validation", Role.EVALUATION),
        ("round-01/validation, greedy", Role.GREEDY),
    ]
    assert [training.name for training in layout.trainings] == ["round-01/dpo", "round-01/grpo"]


def test_trainings_of_a_round_come_by_the_version_of_what_they_made(tmp_path: Path) -> None:
    runs.loop(tmp_path)
    for name, version in (("dpo", 9), ("grpo", 4)):
        write_json(tmp_path / "round-01" / name / "adapter" / "rlcode_adapter.json", {"policy_version": version})
    assert [training.kind for training in read_layout(tmp_path).trainings] == ["grpo", "dpo"]


def test_a_dpo_run_by_itself_shows_the_rollouts_that_it_names(tmp_path: Path) -> None:
    seen = runs.rollouts(runs.ROUND)
    runs.store(tmp_path / "r1", seen)
    runs.dpo(tmp_path / "dpo", seen, runs.DRAWS, rollouts=[str(tmp_path / "r1"), str(tmp_path / "gone")])
    layout = read_layout(tmp_path / "dpo")
    assert [found.name for found in layout.sets] == ["rollouts of r1"]
    page = build_page(tmp_path / "dpo")
    assert "Named by the run and not found: the rollouts that pairs were drawn from" in page
    assert len(unpacked(page)["pairs"]) == 3


def test_answers_to_a_quiz_are_a_set_by_policy_version(tmp_path: Path) -> None:
    runs.dpo(tmp_path, runs.rollouts(runs.ROUND), runs.DRAWS)
    for version in (1, 2):
        runs.store(tmp_path / "quiz", runs.rollouts({"p/easy": (None, ErrorType.NAME)}, version))
    (quiz,) = read_layout(tmp_path).sets
    assert quiz.role is Role.QUIZ
    assert "pass@1, v1: 50.0% [" in build_page(tmp_path)


@pytest.mark.parametrize("name", ["absent", "empty"])
def test_a_directory_without_a_run_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=name):
        build_page(tmp_path / name)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    runs.dpo(tmp_path, runs.rollouts(runs.ROUND), runs.DRAWS)
    (tmp_path / "draws.jsonl").write_text('{"position": 0}\n')
    with pytest.raises(DataError, match=r"draws\.jsonl"):
        build_page(tmp_path)


def test_other_samples_than_verdicts_are_refused(tmp_path: Path) -> None:
    runs.evaluation(tmp_path, runs.START)
    lines = (tmp_path / "samples.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "samples.jsonl").write_text("".join(lines[1:]))
    with pytest.raises(DataError, match="other samples"):
        build_page(tmp_path)


# Numbers.


def test_figures_are_those_of_the_evaluation_itself(tmp_path: Path) -> None:
    """Intervals too: they are drawn with the report's own seed."""
    page = build_page(runs.loop(tmp_path))
    report = json.loads((tmp_path / "start" / "validation" / "report.json").read_text())
    value, low, high = (report["pass_at_k"]["1"][name] for name in ("value", "low", "high"))
    assert f"<td>{value:.3f} [{low:.3f}, {high:.3f}]</td>" in page
    assert f"pass@1, start: {value:.1%} [{low:.1%}, {high:.1%}]" in page


def test_every_sample_counts_once_and_the_unscored_in_no_rate(tmp_path: Path) -> None:
    layout = read_layout(runs.loop(tmp_path))
    (found,) = (one for one in layout.sets if one.name == "round-01/rollouts")
    counts = SetCounts(found)
    for sample in samples_of(found):
        counts.add(sample)
    whole = counts.whole()
    assert whole.outcomes == Counter(passed=2, syntax=2, name=1, type=1, timeout=1, unscored=1)
    assert whole.scored == 7
    assert whole.share("syntax") == 2 / 7
    assert whole.pass_rate().value == pytest.approx((1 / 4 + 1 / 3) / 2)
    assert len(counts.seconds) == 7


def test_pass_at_k_is_withheld_where_a_problem_has_too_few_scored_samples() -> None:
    found = SampleSet("s", Role.EVALUATION, (), Path())
    counts = SetCounts(found)
    for number, ending in enumerate(("passed", "passed", "unscored")):
        counts.add(sample(number, outcome=ending))
    assert counts.whole().pass_at(2).value == 1
    assert counts.whole().pass_at(3) is None


def test_many_policies_share_moments_and_none_is_lost() -> None:
    counts = SetCounts(SampleSet("s", Role.GROUPS, (), Path()))
    for version in range(1000):
        counts.add(sample(0, version=version))
    moments = moments_of([counts])
    assert len(moments) == MOST_MOMENTS
    assert sum(moment.scored for moment in moments) == 1000
    assert moments[0].name == "v0–24"


def test_a_long_log_is_shortened_to_means() -> None:
    log = TrainingLog(None, tuple({"step": float(step), "loss": float(step % 2)} for step in range(1, 10_001)), ())
    points = log.points("loss")
    assert len(points) == MOST_POINTS
    assert all(value == pytest.approx(0.5) for _, value in points)
    assert points[-1][0] == 10_000


def test_seconds_of_a_part_that_never_came_up_are_none() -> None:
    entries = ({"step": 1.0, "seconds/step": 3.0, "seconds/update": 3.0}, {"step": 2.0, "seconds/step": 2.0})
    log = TrainingLog(None, (*entries, {"step": 3.0, "seconds/step": 4.0, "seconds/save": 4.0}), ())
    assert log.seconds(10) == {"save": [(1, 0), (2, 0), (3, 4)], "update": [(1, 3), (2, 0), (3, 0)]}


def test_the_log_of_the_newest_checkpoint_stands_for_a_run_that_is_not_over(tmp_path: Path) -> None:
    runs.training(tmp_path, "sft")
    write_json_lines(tmp_path / "examples.jsonl", [{}])
    (tmp_path / "trainer_state.json").unlink()
    for step in (4, 12):
        write_json(tmp_path / f"checkpoint-{step}" / "trainer_state.json", {"log_history": [{"step": step, "loss": 1}]})
    page = build_page(tmp_path)
    assert "loss, step 12: 1" in page
    assert "loss, step 4: 1" not in page


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (0, 0, [0, 0.2, 0.4, 0.6, 0.8, 1]), (-3, 4, [-4, -2, 0, 2, 4])],
)
def test_an_axis_has_round_numbers_that_hold_all_values(low: float, high: float, ticks: list[float]) -> None:
    assert nice_ticks(low, high) == ticks


# Samples and pairs.


def sample(index: int, task_id: str = "p", version: int = 0, outcome: str = "passed", program: str = "") -> Any:
    return kept_module.JudgedSample(task_id, index, version, outcome, program, "", "")


def test_each_sample_is_there_with_its_verdict(tmp_path: Path) -> None:
    found = rows(build_page(runs.loop(tmp_path)))
    assert len(found) == 8 + 2 + 8 + 6 + 8 + 2
    (lost,) = (row for row in found if row["set"] == "round-01/rollouts" and row["outcome"] == "unscored")
    assert lost["detail"] == f"lost {runs.HOSTILE}"
    (timeout,) = (row for row in found if row["outcome"] == "timeout")
    assert timeout["problem"] == f"p/{runs.HOSTILE}"
    assert timeout["program"].endswith(f"# timeout {runs.HOSTILE}")
    assert timeout["completion"] == "", "it is a part of the program"
    assert (timeout["test"], timeout["detail"]) == (f"assert {runs.HOSTILE}", f"Error: {runs.HOSTILE}")
    assert (timeout["line"], timeout["passed"], timeout["total"], timeout["ms"]) == (2, 1, 3, 20)


def test_pairs_join_the_samples_that_were_drawn(tmp_path: Path) -> None:
    page = build_page(runs.loop(tmp_path))
    found, pairs = rows(page), unpacked(page)["pairs"]
    drawn = {
        (found[chosen]["problem"], found[chosen]["index"], found[rejected]["index"], times, training)
        for chosen, rejected, times, training in pairs
    }
    name = "round-01/dpo"
    assert drawn == {("p/easy", 0, 1, 2, name), ("p/easy", 0, 3, 1, name), (f"p/{runs.HOSTILE}", 0, 1, 1, name)}
    assert {found[at]["set"] for pair in pairs for at in pair[:2]} == {"round-01/rollouts"}


def keep(samples: list[Any], always: Any = (), most_bytes: int = 20_000) -> KeptSamples:
    kept = KeptSamples(always, most_bytes)
    for one in samples:
        kept.add(0, one)
    return kept


def many(count: int) -> list[Any]:
    """Samples of three problems, of which one in ten fails, with texts of their own."""
    return [
        sample(index, f"p{index % 3}", outcome="passed" if index % 10 else "name", program=f"{index:04}" * 20)
        for index in range(count)
    ]


def test_too_many_samples_are_thinned_alike_for_each_problem_and_ending() -> None:
    kept = keep(many(3_000))
    cells = Counter((one.sample.task_id, one.sample.outcome) for one in kept.in_order())
    assert kept.cap is not None
    assert set(cells.values()) == {kept.cap}, "rare endings are shown as often as frequent ones"
    assert len(cells) == 6


def test_what_is_kept_does_not_depend_on_the_order_of_verdicts() -> None:
    samples = many(3_000)
    shuffled = random.Random(0).sample(samples, len(samples))
    assert keep(samples).in_order() == keep(shuffled).in_order()


def test_sides_of_pairs_are_kept_whatever_else_goes() -> None:
    always = {("p0", 0, 0), ("p1", 0, 1999)}
    kept = {(one.sample.task_id, one.sample.version, one.sample.index) for one in keep(many(3_000), always).in_order()}
    assert always <= kept


def test_with_very_many_problems_some_are_left_out_and_memory_stays_bounded() -> None:
    samples = [sample(0, f"p{number}", program=f"{number:05}" * 20) for number in range(5_000)]
    kept = keep(samples)
    shown = kept.in_order()
    assert kept.one_in > 1
    assert 0 < sum(len(one.sample.program) + kept_module._ROW_BYTES for one in shown) <= 20_000


def test_a_long_text_is_cut_and_says_so() -> None:
    (one,) = keep([sample(0, program="x" * 100_000)], most_bytes=1 << 20).in_order()
    assert len(one.sample.program) < 7_000
    assert "94,000 more characters" in one.sample.program


def test_a_page_that_shows_a_part_says_so(tmp_path: Path) -> None:
    endings = dict.fromkeys(("p/easy", "p/hard"), (None, ErrorType.NAME) * 150)
    runs.store(tmp_path, runs.rollouts(endings))
    page = build_page(tmp_path, most_bytes=20_000)
    (shown,) = re.findall(r"([\d,]+) of 600 samples are here: at most \d+ of each problem", page)
    assert int(shown) == len(rows(page)) < 600
    assert ">600</dd>" in page, "figures count all of them"


def test_shown_pairs_are_of_all_error_types(tmp_path: Path) -> None:
    frequent = [runs.draw(at, "p", 0, at, ErrorType.SYNTAX) for at in range(1, 3 * MOST_PAIRS)]
    runs.dpo(tmp_path, [], [*frequent, runs.draw(9_999, "p", 0, 0, ErrorType.KEY)])
    (training,) = read_layout(tmp_path).trainings
    draws = read_draws(training, MOST_PAIRS)
    assert draws is not None
    assert len(draws.pairs) == MOST_PAIRS
    assert Counter(pair.error_type for pair in draws.pairs)["key"] == 1
    assert draws.types["syntax"] == 3 * MOST_PAIRS - 1


# What is not there.


def test_what_is_absent_is_said_and_no_chart_is_empty(tmp_path: Path) -> None:
    runs.store(tmp_path, runs.rollouts({"p/easy": (None, None)}))
    page = build_page(tmp_path)
    for sentence in (
        "No evaluation lies in this directory",
        "no scored sample failed",
        "No problem has a scored sample that failed",
        "No pairs were drawn and no groups",
        "No training ran in this directory",
        "No alarm was told",
        "No gap between shown and held-back tests is recorded",
        "How long programs waited for a worker is logged by GRPO alone",
        "No drawn pair can be shown",
        "The prompts are not in this directory",
        "There is no run.json",
    ):
        assert sentence in page, sentence
    for figure in re.findall(r"<figure.*?</figure>", page, re.DOTALL):
        assert "<circle" in figure or "<rect" in figure, figure[:200]


def test_what_judged_is_named_for_rollouts_and_evaluations_alike(tmp_path: Path) -> None:
    page = build_page(runs.loop(tmp_path))
    table = re.findall(r"What judging took.*?</table>", page, re.DOTALL)[0]
    assert table.count("<td>local</td>") == 2
    assert table.count("<td>scripted sha256:0</td>") == 4


def test_verdicts_that_can_be_forged_are_named(tmp_path: Path) -> None:
    runs.evaluation(tmp_path, runs.START)
    report = json.loads((tmp_path / "report.json").read_text())
    assert "can be forged" not in build_page(tmp_path)
    write_json(tmp_path / "report.json", {**report, "forgeable": True})
    assert "The verdicts of evaluation can be forged" in build_page(tmp_path)


def test_samples_that_could_not_be_scored_make_no_chart(tmp_path: Path) -> None:
    runs.store(tmp_path, runs.rollouts({"p/easy": ("gone", "gone")}))
    page = build_page(tmp_path)
    assert "No sample was scored" in page
    assert "<td>gone</td><td>2</td>" in page


def test_an_evaluation_of_a_samples_file_has_verdicts_without_programs(tmp_path: Path) -> None:
    runs.evaluation(tmp_path, runs.START, with_samples=False)
    page = build_page(tmp_path)
    assert "Programs are not kept, or no more to be had, of: evaluation · evaluation, greedy." in page
    assert '<th scope="row">policy.samples</th><td>elsewhere.jsonl</td>' in page
    assert len(rows(page)) == 10


def test_programs_of_a_samples_file_are_shown_while_it_is_what_was_judged(tmp_path: Path) -> None:
    samples, folder = tmp_path / "samples.jsonl", tmp_path / "eval"
    one, other = {"task_id": "p/easy", "solution": "def f(x): ..."}, {"task_id": "p/hard", "completion": "return x"}
    write_json_lines(samples, [*[one] * 4, *[other] * 4])
    digest = hashlib.sha256(samples.read_bytes()).hexdigest()
    policy = {"samples": str(samples), "sha256": digest}
    runs.evaluation(folder, runs.START, with_samples=False, policy=policy)
    found = [row for row in rows(build_page(folder)) if row["set"] == "evaluation"]
    assert {(row["problem"], row["program"], row["completion"]) for row in found} == {
        ("p/easy", "def f(x): ...", ""),
        ("p/hard", "", "return x"),
    }
    samples.write_text(samples.read_text().replace("return x", "return 0"))
    page = build_page(folder)
    assert "no more to be had, of: evaluation" in page
    assert {row["program"] + row["completion"] for row in rows(page)} == {""}


def test_samples_of_tasks_that_were_left_out_are_passed_over(tmp_path: Path) -> None:
    samples, folder = tmp_path / "samples.jsonl", tmp_path / "eval"
    kept = [*[{"task_id": "p/easy", "solution": "one"}] * 4, *[{"task_id": "p/hard", "solution": "two"}] * 4]
    write_json_lines(samples, [{"task_id": "p/left_out", "solution": "three"}, *kept])
    digest = hashlib.sha256(samples.read_bytes()).hexdigest()
    policy = {"samples": str(samples), "sha256": digest}
    runs.evaluation(folder, runs.START, with_samples=False, policy=policy)
    found = [row for row in rows(build_page(folder)) if row["set"] == "evaluation"]
    assert {(row["problem"], row["program"]) for row in found} == {("p/easy", "one"), ("p/hard", "two")}


def test_a_training_without_a_log_says_why(tmp_path: Path) -> None:
    runs.store(tmp_path, runs.rollouts({"p/easy": (None, ErrorType.KEY)}, 1), "-rank0")
    assert "grpo has no log: neither it nor a checkpoint" in build_page(tmp_path)


# Nothing of a model's gets out.


def test_text_becomes_markup_nowhere() -> None:
    made = tag("p", "<b>", class_='"><script>', title=None)
    assert made == '<p class="&quot;&gt;&lt;script&gt;">&lt;b&gt;</p>'
    assert escape("\x1b[2J\ud800") == "�[2J?"


def test_a_hostile_run_leaves_no_tag_of_its_own_in_the_page(tmp_path: Path) -> None:
    page = build_page(runs.loop(tmp_path))
    assert "<img" not in page
    assert "<svg onload" not in page
    assert page.count("</script>") == 2
    assert page.count("</style>") == 1
    assert "\x1b" not in page


def test_the_page_asks_the_network_for_nothing(tmp_path: Path) -> None:
    page = build_page(runs.loop(tmp_path))
    assert "default-src 'none'" in page
    assert not re.findall(r"<(?:link|iframe|object|base)\b", page)
    assert not re.findall(r'(?:src|href)="(?!#)', page.replace('src="x"', ""))


def test_every_outcome_has_a_colour_of_its_own() -> None:
    text = (PAGE / "colours.css").read_text()
    light = text[: text.index("@media")]
    colours = {outcome: re.findall(rf"--{css_of(outcome)[2:]}: (#\w+);", light) for outcome in OUTCOMES}
    assert all(len(found) == 1 for found in colours.values()), colours
    assert len({found[0] for found in colours.values()}) == len(OUTCOMES)
    assert all(f".{css_of(outcome)} {{" in text for outcome in OUTCOMES)


VISION = {
    "normal": np.eye(3),
    "protan": np.array([[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]),
    "deutan": np.array([[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]),
    "tritan": np.array([[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]]),
}
"""What is seen of linear RGB, at full severity (Machado et al., 2009)."""
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def lab(colour: str, vision: np.ndarray) -> np.ndarray:
    """`#rrggbb` in CIELAB, as it is seen."""
    rgb = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = TO_XYZ @ np.clip(vision @ linear, 0, 1) / np.array([0.9505, 1, 1.089])
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_frequent_error_types_can_be_told_apart_by_colour_blind_eyes(scheme: str, vision: str) -> None:
    frequent = (
        "wrong_answer",
        "syntax",
        "type",
        "attribute",
        "name",
        "index",
        "value",
        "key",
        "timeout",
        "indentation",
    )
    light, _, dark = (PAGE / "colours.css").read_text().partition("@media")
    text = light if scheme == "light" else dark
    seen = [
        lab(re.findall(rf"--{css_of(outcome)[2:]}: (#\w+);", text)[0], VISION[vision])
        for outcome in (*frequent, "import", "zero_division", "recursion")
    ]
    assert min(np.linalg.norm(one - other) for one, other in itertools.combinations(seen, 2)) > 14


# The command.


def test_the_command_writes_into_the_run_or_where_it_is_told(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    runs.store(tmp_path / "run", runs.rollouts(runs.ROUND))
    assert main([str(tmp_path / "run")]) == 0
    assert main([str(tmp_path / "run"), "--output", str(tmp_path / "there.html")]) == 0
    assert (tmp_path / "run" / "report.html").read_bytes() == (tmp_path / "there.html").read_bytes()
    assert str(tmp_path / "there.html") in capsys.readouterr().out
