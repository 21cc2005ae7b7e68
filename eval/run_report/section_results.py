"""How good the policies were: pass@k over rounds, quizzes, and the pass rate of what training drew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from eval.report_tables import figures_of, part_figures
from eval.run_report.charts import charts, interval_chart, percent
from eval.run_report.counts import Moment, SetCounts, moments_of
from eval.run_report.layout import Role
from eval.run_report.markup import Html, folded, said, section, table
from eval.run_report.plots import Series
from rlcode.data.forgeable import FORGEABLE
from rlcode.errors import DataError
from rlcode.types import EvalReport, Interval, from_json

_INTERVALS = "Bars are 95 % intervals over problems."


def results_section(counts: Sequence[SetCounts]) -> Html:
    """The part of the page."""
    parts = [*_evaluations(counts), *_quizzes(counts), *_training_rates(counts)]
    figures = [found for one in counts for found in _reported(one)]
    return section("results", "Pass rates", charts(parts), *_unevaluated(counts), *figures)


def _evaluations(counts: Sequence[SetCounts]) -> Iterator[Html]:
    sampled = [one for one in counts if one.found.role is Role.EVALUATION]
    if not sampled:
        return
    greedy = {one.found.folder: one for one in counts if one.found.role is Role.GREEDY}
    wholes = [one.whole() for one in sampled]
    ks = sorted({k for whole in wholes for k in whole.ks()})
    series = []
    for at, k in enumerate(ks):
        found = [whole.pass_at(k, _seed(one)) for one, whole in zip(sampled, wholes, strict=True)]
        series.append(_series(f"pass@{k}", f"s-{at}", found))
    if greedy:
        answers = [greedy.get(one.found.folder) for one in sampled]
        found = [None if one is None else one.whole().pass_at(1) for one in answers]
        series.append(_series("greedy", f"s-{len(ks)}", found))
    names = [_short(one.found.name) for one in sampled]
    if all(value is None for one in series for value in one.values):
        yield said("pass@k is withheld: in every evaluation a problem has no scored sample.")
        return
    problems = max(len(whole.results) for whole in wholes)
    note = f"{problems} problems, the unbiased estimate of Chen et al. (2021). {_INTERVALS}"
    yield interval_chart("pass-at-k", "pass@k", note, series, names)


def _quizzes(counts: Sequence[SetCounts]) -> Iterator[Html]:
    found = [one for one in counts if one.found.role is Role.QUIZ]
    if found:
        note = f"Validation problems that were answered while the policy was trained, by policy version. {_INTERVALS}"
        yield _rates("quiz-rate", "pass@1 in quizzes", note, moments_of(found), "pass@1")


def _training_rates(counts: Sequence[SetCounts]) -> Iterator[Html]:
    rollouts = [one for one in counts if one.found.role is Role.ROLLOUTS]
    if rollouts:
        note = f"Share of the samples that passed, by problem. Each round has problems of its own. {_INTERVALS}"
        yield _rates("rollout-rate", "Pass rate of the rollouts", note, moments_of(rollouts))
    groups = [one for one in counts if one.found.role is Role.GROUPS]
    if groups:
        note = f"By policy version; the sampler chooses the problems, so they differ from step to step. {_INTERVALS}"
        yield _rates("group-rate", "Pass rate of GRPO's groups", note, moments_of(groups))


def _rates(anchor: str, title: str, note: str, moments: Sequence[Moment], name: str = "passed") -> Html:
    found = [moment.pass_rate() for moment in moments]
    if not any(found):
        return said(f"{title}: no sample was scored.")
    labels = [_short(moment.name) for moment in moments]
    return interval_chart(anchor, title, note, [_series(name, "s-0", found)], labels)


def _unevaluated(counts: Sequence[SetCounts]) -> Iterator[Html]:
    if not any(one.found.role is Role.EVALUATION for one in counts):
        yield said(
            "No evaluation lies in this directory, so there is no pass@k of held-out problems: rlcode eval measures "
            "it, and rlcode run does so after every round."
        )


def _reported(one: SetCounts) -> Iterator[Html]:
    """The figures of an evaluation's own report, with base tests, difficulties and tags."""
    given = one.found.report
    if not given or one.found.role is Role.GREEDY:
        return
    try:
        report = from_json(EvalReport, given)
    except ValueError as error:
        raise DataError(f"{one.found.folder / 'report.json'} is no report of this rlcode: {error}") from error
    rows = [
        [name, percent(found.value), f"{percent(found.low)} – {percent(found.high)}"]
        for name, found in (*figures_of(report), *part_figures(report))
    ]
    notes = [said(f"pass@{k} is withheld: {reason}.") for k, reason in report.withheld.items()]
    title = f"report.json of {one.found.name}"
    yield folded(title, table(["figure", "value", "95 % interval"], rows, title), *notes)
    if report.forgeable:
        yield said(f"The verdicts of {one.found.name} {FORGEABLE}.")


def _seed(one: SetCounts) -> int:
    """That intervals are drawn with, so that they are those of the evaluation's own report."""
    return int(one.found.report.get("seed", 0))


def _series(name: str, css: str, found: Sequence[Interval | None]) -> Series:
    return Series(
        name,
        css,
        [one.value if one else None for one in found],
        [one.low if one else None for one in found],
        [one.high if one else None for one in found],
    )


def _short(name: str) -> str:
    return name.removesuffix("/validation").removesuffix("/rollouts").removesuffix(" rollouts") or name
