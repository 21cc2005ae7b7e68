"""Charts with all that belongs to one: a title, a sentence, the picture, a legend, and the numbers as a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from eval.evaluations import PASSED
from eval.run_report.markup import Html, folded, join, table, tag
from eval.run_report.plots import Curve, Series, Unit, curves, intervals, pairs_of_bars, stacks
from eval.run_report.samples_of import OUTCOMES


def percent(share: float) -> str:
    """`12.3%`."""
    return f"{share:.1%}"


def number(value: float) -> str:
    """Three digits."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _round_percent(share: float) -> str:
    return f"{100 * share:.3g}%"


MOST_UNFOLDED = 4
PERCENT = Unit(percent, _round_percent)
NUMBER = Unit(number, number)
SECONDS = Unit(lambda value: f"{number(value)} s", lambda value: f"{number(value)} s")


def css_of(outcome: str) -> str:
    """The class that has the outcome's colour, the same everywhere on the page."""
    return f"e-{outcome.replace('_', '-')}"


def error_series(shares: Mapping[str, Sequence[float]]) -> list[Series]:
    """A series for each outcome but passes, the most frequent first."""
    order = sorted(shares, key=lambda outcome: (-sum(shares[outcome]), OUTCOMES.index(outcome)))
    return [
        Series(outcome, css_of(outcome), shares[outcome])
        for outcome in order
        if outcome != PASSED and any(shares[outcome])
    ]


def interval_chart(anchor: str, title: str, note: str, series: Sequence[Series], labels: Sequence[str]) -> Html:
    """Shares with their intervals, a line for each series."""
    rows = [[label, *(_cell(one, at) for one in series)] for at, label in enumerate(labels)]
    numbers = table(["", *(one.name for one in series)], rows, title)
    return _figure(anchor, title, note, intervals(series, labels, PERCENT), _legend(series), numbers)


def stacked_chart(
    anchor: str, title: str, note: str, series: Sequence[Series], labels: Sequence[str], unit: Unit = PERCENT
) -> Html:
    """Parts of a whole, a bar for each label."""
    rows = [[label, *(unit.exact(one.values[at] or 0.0) for one in series)] for at, label in enumerate(labels)]
    numbers = table(["", *(one.name for one in series)], rows, title)
    return _figure(anchor, title, note, stacks(series, labels, unit), _legend(series), numbers)


def curve_chart(anchor: str, title: str, note: str, lines: Sequence[Curve], unit: Unit = NUMBER) -> Html:
    """Lines over the steps of a training."""
    steps = sorted({x for line in lines for x, _ in line.points})
    values = [dict(line.points) for line in lines]
    rows = [[f"{step:g}", *(unit.exact(one[step]) if step in one else "" for one in values)] for step in steps]
    numbers = table(["step", *(line.name for line in lines)], rows, title)
    return _figure(anchor, title, note, curves(lines, unit), _legend(lines), numbers)


def compared_chart(
    anchor: str, title: str, note: str, rows: Sequence[tuple[str, str, float, float]], names: tuple[str, str]
) -> Html:
    """Two shares for each row (name, class, share, other share)."""
    numbers = table(["", *names], [[name, percent(one), percent(other)] for name, _, one, other in rows], title)
    legend = tag(
        "ul",
        *(
            tag("li", tag("span", class_=f"swatch s-0{pale}"), name)
            for name, pale in zip(names, ("", " pale"), strict=True)
        ),
        class_="legend",
    )
    return _figure(anchor, title, note, pairs_of_bars(rows, names, PERCENT), legend, numbers)


def charts(found: Iterable[Html]) -> Html:
    """Charts side by side where there is room."""
    return tag("div", *found, class_="charts")


def by_training(parts: Sequence[tuple[str, Sequence[Html]]]) -> Html:
    """What belongs to each training, under its name; where there are many, all but the last are folded."""
    if len(parts) <= MOST_UNFOLDED:
        return join(join([tag("h3", name, class_="stage"), *found]) for name, found in parts)
    return join(
        tag("details", tag("summary", name), *found, open=at == len(parts) - 1, class_="stage")
        for at, (name, found) in enumerate(parts)
    )


def _cell(one: Series, at: int) -> str:
    value = one.values[at]
    if value is None:
        return "–"
    low, high = (ends[at] if ends else None for ends in (one.low, one.high))
    return f"{value:.3f}" + ("" if low is None or high is None else f" [{low:.3f}, {high:.3f}]")


def _legend(series: Sequence[Series] | Sequence[Curve]) -> Html:
    entries = (tag("li", tag("span", class_=f"swatch {one.css}"), one.name) for one in series)
    return tag("ul", *entries, class_="legend")


def _figure(anchor: str, title: str, note: str, picture: Html, legend: Html, numbers: Html) -> Html:
    heading = tag("h3", title, id=f"{anchor}-title")
    caption = tag("figcaption", heading, tag("p", note, class_="note"))
    drawn = tag("div", picture, class_="scroll", role="img", aria_labelledby=f"{anchor}-title")
    return tag("figure", join([caption, drawn, legend, folded("numbers", numbers)]), id=anchor)
