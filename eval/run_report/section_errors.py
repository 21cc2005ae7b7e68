"""How the policies fail: error types over time, and by problem."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from eval.evaluations import PASSED
from eval.run_report.charts import charts, css_of, error_series, stacked_chart
from eval.run_report.counts import Moment, Results, SetCounts, moments_of, problems_of
from eval.run_report.layout import Role
from eval.run_report.markup import Html, said, section, tag
from eval.run_report.samples_of import OUTCOMES, UNSCORED

MOST_PROBLEMS = 40
_MOST_TYPES = 14
_LEVELS = 10


def errors_section(counts: Sequence[SetCounts], numbers: Mapping[str, int]) -> Html:
    """The part of the page; `numbers` are those of the problems in the browser."""
    return section("errors", "Errors", charts(_over_time(counts)), _by_problem(problems_of(counts), numbers))


def _over_time(counts: Sequence[SetCounts]) -> Iterator[Html]:
    titles = {
        Role.EVALUATION: "Error types in evaluations",
        Role.ROLLOUTS: "Error types in rollouts",
        Role.GROUPS: "Error types in GRPO's groups",
        Role.QUIZ: "Error types in quizzes",
    }
    for role, title in titles.items():
        found = [one for one in counts if one.found.role is role]
        if found:
            yield _stacked(f"errors-{role.name.lower()}", title, moments_of(found))


def _stacked(anchor: str, title: str, moments: Sequence[Moment]) -> Html:
    seen = {outcome for moment in moments for outcome in moment.outcomes} - {PASSED, UNSCORED}
    if not seen:
        return said(f"{title}: no scored sample failed.")
    shares = {outcome: [moment.share(outcome) for moment in moments] for outcome in seen}
    note = "Share of the scored samples that failed in each way; what is missing to 100 % passed."
    return stacked_chart(anchor, title, note, error_series(shares), [moment.name for moment in moments])


def _by_problem(results: Results, numbers: Mapping[str, int]) -> Html:
    """A map of problems and error types; each cell leads to its samples."""
    failing = {task_id: _failures(counts) for task_id, counts in results.items()}
    worst = sorted(failing, key=lambda task_id: (-_failed_share(results[task_id]), task_id))
    worst = [task_id for task_id in worst if failing[task_id]][:MOST_PROBLEMS]
    if not worst:
        return said("No problem has a scored sample that failed.")
    total: Counter[str] = sum((failing[task_id] for task_id in worst), Counter())
    types = [outcome for outcome, _ in sorted(total.items(), key=lambda item: (-item[1], OUTCOMES.index(item[0])))]
    shown = types[:_MOST_TYPES]
    left_out = f" {len(types) - len(shown)} rarer types are left out." if len(types) > len(shown) else ""
    some = (
        f"The {len(worst)} problems that fail most, of {len(results)}" if len(worst) < len(results) else "All problems"
    )
    note = (
        f"{some}: percent of the scored samples of all stages, by error type.{left_out} A number leads to its samples."
    )
    head = tag("tr", tag("th", "problem", scope="col"), *(_head(outcome) for outcome in shown))
    rows = [
        tag(
            "tr",
            tag("th", task_id, scope="row", title=task_id),
            *(_cell(task_id, outcome, results, numbers) for outcome in shown),
        )
        for task_id in worst
    ]
    body = tag("table", tag("thead", head), tag("tbody", *rows), class_="heat")
    heading = tag("h3", "Error types by problem", id="heat-title")
    scroll = tag("div", body, class_="scroll tall", tabindex="0", role="region", aria_labelledby="heat-title")
    return tag("figure", tag("figcaption", heading, tag("p", note, class_="note")), scroll, id="heat")


def _head(outcome: str) -> Html:
    return tag("th", tag("span", class_=f"swatch {css_of(outcome)}"), tag("span", outcome, class_="type"), scope="col")


def _cell(task_id: str, outcome: str, results: Results, numbers: Mapping[str, int]) -> Html:
    counts = results[task_id]
    share = counts[outcome] / max(1, counts.total() - counts[UNSCORED])
    if not counts[outcome]:
        return tag("td")
    level = max(1, round(share * _LEVELS))
    title = f"{task_id}, {outcome}: {counts[outcome]} of {counts.total() - counts[UNSCORED]} samples"
    link = tag(
        "a",
        f"{100 * share:.0f}" if share >= 0.005 else "<1",
        href="#browse",
        data_problem=numbers.get(task_id),
        data_outcome=outcome,
        title=title,
        aria_label=title,
    )
    return tag("td", link, class_=f"{css_of(outcome)} h-{level}")


def _failures(counts: Counter[str]) -> Counter[str]:
    return Counter({outcome: n for outcome, n in counts.items() if outcome not in (PASSED, UNSCORED)})


def _failed_share(counts: Counter[str]) -> float:
    return _failures(counts).total() / max(1, counts.total() - counts[UNSCORED])
