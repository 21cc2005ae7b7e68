"""Pictures as SVG, drawn here; colours come from the page's style sheet by class. Lengths are units of the picture,
which is `WIDTH` wide whatever the window."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from eval.run_report.markup import Html, join, tag

WIDTH = 480
_LEFT, _RIGHT, _TOP, _HEIGHT = 46, 8, 12, 190
_CHARACTER = 6.6
"""Width of a character of a label."""
_LONGEST_LABEL = 20
"""In characters; what is longer is cut."""
_SHORT_LABEL = 50
"""Up to this width some labels are left away where not all have room, wider ones slant."""


class Unit(NamedTuple):
    """How a value is written, and how at an axis."""

    exact: Callable[[float], str]
    round: Callable[[float], str]


@dataclass(frozen=True)
class Series:
    """Values in the order of the chart's labels, None where there is none; `low` and `high` are their intervals."""

    name: str
    css: str
    values: Sequence[float | None]
    low: Sequence[float | None] = ()
    high: Sequence[float | None] = ()


@dataclass(frozen=True)
class Curve:
    """Points (x, y) of a line."""

    name: str
    css: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class _Scale:
    """Vertical places of values."""

    ticks: Sequence[float]

    def y(self, value: float) -> float:
        low, high = self.ticks[0], self.ticks[-1]
        return round(_TOP + _HEIGHT * (1 - (value - low) / (high - low)), 2)


def intervals(series: Sequence[Series], labels: Sequence[str], unit: Unit) -> Html:
    """A line with points for each series, each point with its interval as a bar."""
    places, foot, bottom = _places(labels)
    ends = [value for one in series for value in (*one.values, *one.low, *one.high) if value is not None]
    scale = _scale(0.0, max(ends, default=1.0), most=1.0 if max(ends, default=1.0) <= 1 else math.inf)
    shift = min(7.0, (places[1] - places[0]) / (2 * len(series) + 2)) if len(places) > 1 else 7.0
    drawn = []
    for number, one in enumerate(series):
        moved = [place + shift * (number - (len(series) - 1) / 2) for place in places]
        drawn.append(tag("g", *_line_with_bars(one, moved, labels, scale, unit), class_=f"line {one.css}"))
    return _picture(bottom, _grid(scale, unit), join(drawn), foot)


def _line_with_bars(
    one: Series, places: Sequence[float], labels: Sequence[str], scale: _Scale, unit: Unit
) -> Iterator[Html]:
    known = [(place, value) for place, value in zip(places, one.values, strict=True) if value is not None]
    yield tag("polyline", points=" ".join(f"{x:.1f},{scale.y(value)}" for x, value in known))
    for at, (x, value) in enumerate(zip(places, one.values, strict=True)):
        if value is None:
            continue
        said = f"{one.name}, {labels[at]}: {unit.exact(value)}"
        low, high = (ends[at] if ends else None for ends in (one.low, one.high))
        if low is not None and high is not None:
            said += f" [{unit.exact(low)}, {unit.exact(high)}]"
            top, bottom = scale.y(high), scale.y(low)
            yield tag("path", class_="bar", d=f"M{x:.1f} {top}V{bottom}M{x - 4:.1f} {top}h8M{x - 4:.1f} {bottom}h8")
        yield tag("circle", tag("title", said), cx=round(x, 1), cy=scale.y(value), r=4.5)


def stacks(series: Sequence[Series], labels: Sequence[str], unit: Unit) -> Html:
    """For each label a bar in which the values stand on each other."""
    places, foot, bottom = _places(labels)
    heights = [sum(one.values[at] or 0 for one in series) for at in range(len(labels))]
    scale = _scale(0.0, max(heights, default=0.0))
    wide = min(56.0, 0.74 * (WIDTH - _LEFT - _RIGHT) / max(1, len(labels)))
    drawn = []
    for at, place in enumerate(places):
        base = 0.0
        for one in series:
            value = one.values[at] or 0.0
            if value > 0:
                top, low = scale.y(base + value), scale.y(base)
                named = tag("title", f"{one.name}, {labels[at]}: {unit.exact(value)}")
                x, height = round(place - wide / 2, 1), round(low - top, 2)
                drawn.append(tag("rect", named, class_=one.css, x=x, y=top, width=round(wide, 1), height=height))
            base += value
    return _picture(bottom, _grid(scale, unit), tag("g", *drawn, class_="stack"), foot)


def curves(lines: Sequence[Curve], unit: Unit) -> Html:
    """Lines over steps."""
    xs = [x for line in lines for x, _ in line.points]
    ys = [y for line in lines for _, y in line.points]
    scale = _scale(min(0.0, *ys), max(ys))
    first, last = min(xs), max(xs)
    inner = WIDTH - _LEFT - _RIGHT - 12

    def place(x: float) -> float:
        return round(_LEFT + 6 + inner * ((x - first) / (last - first) if last > first else 0.5), 1)

    drawn = [tag("g", *_curve(line, place, scale, unit), class_=f"line {line.css}") for line in lines]
    ticks = [tick for tick in nice_ticks(first, last) if first <= tick <= last]
    names = [_label(place(tick), _TOP + _HEIGHT + 18, f"{tick:g}") for tick in ticks]
    axis = _label(WIDTH - _RIGHT, _TOP + _HEIGHT + 36, "step", anchor="end")
    return _picture(_TOP + _HEIGHT + 42, _grid(scale, unit), join(drawn), join([*names, axis]))


def _curve(line: Curve, place: Callable[[float], float], scale: _Scale, unit: Unit) -> Iterator[Html]:
    yield tag("polyline", points=" ".join(f"{place(x)},{scale.y(y)}" for x, y in line.points))
    radius = 3.5 if len(line.points) <= 25 else 1.5
    for x, y in line.points:
        yield tag(
            "circle", tag("title", f"{line.name}, step {x:g}: {unit.exact(y)}"), cx=place(x), cy=scale.y(y), r=radius
        )


def pairs_of_bars(rows: Sequence[tuple[str, str, float, float]], names: tuple[str, str], unit: Unit) -> Html:
    """Lying bars: for each row (label, class, value, other value) two, the other one pale."""
    left, high, gap = 112, 10, 28
    most = max((max(row[2:]) for row in rows), default=1.0) or 1.0
    inner = WIDTH - left - 56
    drawn = []
    for number, (label, css, *values) in enumerate(rows):
        top = _TOP + gap * number
        drawn.append(_label(left - 8, top + high + 4, label, anchor="end"))
        for at, value in enumerate(values):
            y, width = top + at * (high + 1), round(inner * value / most, 1)
            named = tag("title", f"{label}, {names[at]}: {unit.exact(value)}")
            pale = " pale" if at else ""
            drawn.append(tag("rect", named, class_=css + pale, x=left, y=y, width=max(width, 0.8), height=high))
            drawn.append(_label(left + width + 6, y + high - 1.5, unit.exact(value), anchor="start", css="small"))
    return _picture(_TOP + gap * len(rows), join(drawn))


def nice_ticks(low: float, high: float) -> list[float]:
    """About five round values, from one at or below `low` to one at or above `high`."""
    if high <= low:
        high = low + (abs(low) or 1.0)
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def _scale(low: float, high: float, most: float = math.inf) -> _Scale:
    ticks = [tick for tick in nice_ticks(low, high) if tick <= most + 1e-9]
    return _Scale(ticks if len(ticks) > 1 else [low, low + 1])


def _grid(scale: _Scale, unit: Unit) -> Html:
    parts = []
    for tick in scale.ticks:
        y = scale.y(tick)
        parts.append(tag("line", x1=_LEFT, x2=WIDTH - _RIGHT, y1=y, y2=y))
        parts.append(_label(_LEFT - 8, y + 4, unit.round(tick), anchor="end"))
    return tag("g", *parts, class_="grid")


def _places(labels: Sequence[str]) -> tuple[list[float], Html, float]:
    """Where the labels stand, the labels, and the height down to their end. Long ones slant, and where there are too
    many some are left away."""
    step = (WIDTH - _LEFT - _RIGHT) / max(1, len(labels))
    places = [_LEFT + step * (at + 0.5) for at in range(len(labels))]
    short = [label if len(label) <= _LONGEST_LABEL else label[: _LONGEST_LABEL - 1] + "…" for label in labels]
    longest = max(map(len, short), default=0) * _CHARACTER
    base = _TOP + _HEIGHT + 18
    labelled = list(zip(places, short, strict=True))
    every = math.ceil((longest + 5) / step)
    if every == 1 or longest <= _SHORT_LABEL:
        return places, join(_label(x, base, text) for x, text in labelled[::every]), base + 8
    shown = labelled[:: math.ceil(17 / step)]
    slanted = join(
        tag("text", text, transform=f"translate({x:.1f} {base - 4}) rotate(-32)", text_anchor="end")
        for x, text in shown
    )
    return places, slanted, base + longest * 0.53 + 6


def _label(x: float, y: float, text: str, anchor: str = "middle", css: str | None = None) -> Html:
    return tag("text", text, x=round(x, 1), y=round(y, 1), text_anchor=anchor, class_=css)


def _picture(height: float, *parts: Html) -> Html:
    return tag("svg", *parts, viewBox=f"0 0 {WIDTH} {math.ceil(height)}", class_="plot", aria_hidden="true")
