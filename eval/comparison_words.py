"""A comparison in words and tables: on the terminal, as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from eval.comparison import ChangedProblem, Comparison, Figure
from eval.problem_differences import problems_to_see

_HEADINGS = ("", "baseline", "other", "difference", "95 % interval", "p")


def verdict(other: str, figure: Figure, points: float) -> str:
    """What the figure says, in a sentence. `points` is the difference that one would like to see, as a share."""
    difference = figure.difference
    if figure.is_seen:
        is_better = difference.value > 0
        ends = (difference.low, difference.high) if is_better else (-difference.high, -difference.low)
        interval = f"[{ends[0] * 100:.1f}, {ends[1] * 100:.1f}]"
        word = "better" if is_better else "worse"
        return f"{figure.name}: {other} is {word} by {abs(difference.value) * 100:.1f} points {interval}"
    if not difference.num_different:
        return f"{figure.name}: all {difference.n} problems came out alike"
    wished = f"{points * 100:g} points"
    more = problems_to_see(points, difference) - difference.n
    if more > 0:
        advice = f"about {more:,} more problems would be needed to see {wished}"
    else:
        advice = f"one of {wished} would have been seen four times in five"
    return f"{figure.name}: no difference can be seen at this sample size, {_signed(difference.value)} points " + (
        f"{_interval(figure)}; {advice}"
    )


def _interval(figure: Figure) -> str:
    return f"[{_signed(figure.difference.low)}, {_signed(figure.difference.high)}]"


def _signed(share: float) -> str:
    return f"{share * 100:+.1f}"


def _p(value: float) -> str:
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def as_json(comparison: Comparison, points: float) -> dict[str, Any]:
    """A JSON-ready comparison, with the verdict on each figure in words."""
    said = {figure.name: verdict(comparison.other, figure, points) for figure in comparison.figures}
    return {**asdict(comparison), "verdicts": said}


def figure_row(figure: Figure) -> tuple[str, ...]:
    return (
        figure.name,
        f"{figure.baseline:.1%}",
        f"{figure.other:.1%}",
        _signed(figure.difference.value),
        _interval(figure),
        _p(figure.p_holm),
    )


def _type_row(figure: Figure) -> tuple[str, ...]:
    """With a word for what became of the type, where chance alone does not explain it."""
    word = ""
    if figure.is_seen:
        word = "more" if figure.difference.value > 0 else "fewer"
        word = "went away" if not figure.other else "came" if not figure.baseline else word
    return (*figure_row(figure), word)


def problem_lines(problems: Sequence[ChangedProblem], most: int) -> list[str]:
    """The first `most` problems with the share of passed samples before and after."""
    lines = [f"{problem.task_id}  {problem.baseline:.0%} → {problem.other:.0%}" for problem in problems[:most]]
    return [*lines, f"… and {len(problems) - most} more"] if len(problems) > most else lines


def _test_of(figure: Figure) -> str:
    return "McNemar's exact test" if figure.difference.is_binary else "sign flips of problems"


def notes(comparison: Comparison) -> Iterator[str]:
    yield from (f"{name} is withheld: {reason}" for name, reason in comparison.withheld.items())
    yield from comparison.notes


def print_comparison(comparison: Comparison, points: float, most: int) -> None:
    """On stdout, for people."""
    from rich.console import Console

    console = Console(highlight=False)

    def say(text: str, style: str | None = None) -> None:
        console.print(text, markup=False, style=style)

    say(f"{comparison.other} against {comparison.baseline}", "bold")
    if comparison.figures:
        console.print(_rich_table([figure_row(figure) for figure in comparison.figures], _HEADINGS))
    for figure in comparison.figures:
        say(f"{verdict(comparison.other, figure, points)} ({_test_of(figure)})")
    for line in notes(comparison):
        say(f"note: {line}")
    for name, problems in (("won", comparison.won), ("lost", comparison.lost)):
        say(f"\n{len(problems)} problems {name}", "bold")
        for line in problem_lines(problems, most):
            say(f"  {line}")
    if comparison.error_types:
        say("\nerror types, share of the scored samples", "bold")
        console.print(_rich_table([_type_row(figure) for figure in comparison.error_types], (*_HEADINGS, "")))


def _rich_table(rows: Sequence[tuple[str, ...]], headings: Sequence[str]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="left" if place in (0, len(_HEADINGS)) else "right")
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def markdown(comparisons: Sequence[Comparison], points: float, most: int) -> str:
    """All comparisons as a Markdown text."""
    return "\n".join(line for comparison in comparisons for line in _markdown_lines(comparison, points, most))


def _markdown_lines(comparison: Comparison, points: float, most: int) -> Iterator[str]:
    yield from (f"## {comparison.other} against {comparison.baseline}", "")
    yield from _markdown_table([figure_row(figure) for figure in comparison.figures], _HEADINGS)
    yield from (f"- {verdict(comparison.other, figure, points)} ({_test_of(figure)})" for figure in comparison.figures)
    yield from (f"- {line}" for line in notes(comparison))
    for name, problems in (("won", comparison.won), ("lost", comparison.lost)):
        yield from ("", f"### {len(problems)} problems {name}", "")
        yield from (f"- {line}" for line in problem_lines(problems, most))
    yield from ("", "### Error types", "")
    yield from _markdown_table([_type_row(figure) for figure in comparison.error_types], (*_HEADINGS, ""))


def _markdown_table(rows: Sequence[tuple[str, ...]], headings: Sequence[str]) -> Iterator[str]:
    if not rows:
        return
    yield f"| {' | '.join(headings)} |"
    yield "|" + "".join(" --- |" if place in (0, len(_HEADINGS)) else " ---: |" for place in range(len(headings)))
    yield from (f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows)
    yield ""
