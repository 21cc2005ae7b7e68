"""What was trained on: the pairs that DPO drew against the failures that were frequent, and GRPO's groups."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from eval.run_report.charts import by_training, charts, compared_chart, css_of, error_series, percent, stacked_chart
from eval.run_report.counts import MOST_MOMENTS, SetCounts, binned
from eval.run_report.layout import Role
from eval.run_report.markup import Html, folded, said, section, table
from eval.run_report.pairs import Draws
from eval.run_report.plots import Series

_KINDS: tuple[tuple[str, str, Callable[[float], bool]], ...] = (
    ("mixed", "s-6", lambda share: 0 < share < 1),
    ("all fail", "s-3", lambda share: share == 0),
    ("all pass", "s-2", lambda share: share == 1),
)


def sampler_section(draws: Sequence[Draws], counts: Sequence[SetCounts]) -> Html:
    """The part of the page."""
    groups = [one for one in counts if one.found.role is Role.GROUPS]
    if not draws and not groups:
        why = "No pairs were drawn and no groups: only DPO and GRPO have a sampler, and neither ran in this directory."
        return section("sampler", "What the sampler drew", said(why))
    pairs = [(one.training.name, [charts(_pairs(number, one)), _parts(one)]) for number, one in enumerate(draws)]
    return section("sampler", "What the sampler drew", by_training(pairs), charts(_groups(groups)))


def _pairs(number: int, draws: Draws) -> Iterator[Html]:
    name, count = draws.training.name, draws.count
    if not count:
        yield said(f"{name}: no pair was trained on yet.")
        return
    drawn = {outcome: times / count for outcome, times in draws.types.items()}
    both = sorted({*drawn, *draws.frequent}, key=lambda one: (-max(drawn.get(one, 0), draws.frequent.get(one, 0)), one))
    rows = [(one, css_of(one), drawn.get(one, 0.0), draws.frequent.get(one, 0.0)) for one in both]
    note = (
        f"{count:,} draws, {draws.num_pairs:,} different pairs, by the error type of the rejected side; beside it the "
        "failures that the error notebook counts most now. A problem without a pass has no pair, so they may differ."
    )
    if draws.frequent:
        yield compared_chart(f"drawn-{number}", f"Drawn and frequent, {name}", note, rows, ("drawn", "among failures"))
    else:
        yield said(f"{name} has no notebook.json yet, so there is nothing to hold its draws against.")
    pieces = draws.pieces()
    shares = {one: [piece[one] / piece.total() for _, piece in pieces] for one in draws.types}
    title = f"Draws in the course of {name}"
    labels = [label for label, _ in pieces]
    yield stacked_chart(f"draws-{number}", title, "Share of the draws by optimizer step.", error_series(shares), labels)


def _parts(draws: Draws) -> Html:
    if not draws.count:
        return Html("")
    rows = [[part, f"{times:,}", percent(times / draws.count)] for part, times in draws.parts.most_common()]
    title = f"Parts of the strategy, {draws.training.name}"
    return folded(title, table(["part", "draws", "share"], rows, title))


def _groups(counts: Sequence[SetCounts]) -> Iterator[Html]:
    if not counts:
        return
    pieces = [piece for one in counts for piece in _pieces(one, max(1, MOST_MOMENTS // len(counts)))]
    if not any(shares for _, shares in pieces):
        yield said("Groups drawn: no problem has two scored completions of one policy, so there is no group.")
        return
    series = [
        Series(name, css, [sum(map(test, shares)) / max(1, len(shares)) for _, shares in pieces])
        for name, css, test in _KINDS
    ]
    note = (
        "All completions of a problem by one policy are a group here, dropped ones among them. Those that all pass or "
        "all fail have zero variance and teach nothing."
    )
    yield stacked_chart("groups", "GRPO's groups", note, series, [label for label, _ in pieces])


def _pieces(one: SetCounts, most: int) -> Iterator[tuple[str, list[float]]]:
    """The shares of passes of groups, those of some policies that follow each other together."""
    shares = one.groups()
    for versions in binned(sorted(shares), most):
        yield f"v{versions[0]}", [share for version in versions for share in shares[version]]
