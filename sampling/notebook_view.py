"""The error notebook as a person wants to see it. All that comes from a program is made harmless first."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from rlcode.types import ErrorType, Rollout
from sampling.notebook import ErrorNotebook, Kind
from sandbox.commands.verdict_view import excerpt
from sandbox.terminal import one_line

_SURE = 2
"""Standard errors that a difference must have to be drawn as a trend."""
_WIDTH = 90


class Examples:
    """One failed rollout for each error type: of the newest policy, the one with the shortest program."""

    def __init__(self) -> None:
        self._best: dict[ErrorType, Rollout] = {}

    def watched(self, rollouts: Iterable[Rollout]) -> Iterator[Rollout]:
        """Hand the rollouts on and keep the examples among them."""
        for rollout in rollouts:
            error_type = rollout.verdict.error_type if rollout.verdict else None
            if error_type is not None:
                kept = self._best.get(error_type)
                if kept is None or _rank(rollout) < _rank(kept):
                    self._best[error_type] = rollout
            yield rollout

    def of(self, error_type: ErrorType) -> Rollout | None:
        return self._best.get(error_type)


def _rank(rollout: Rollout) -> tuple[int, int, str, int]:
    """What comes first is shown; the same whatever the order of the rollouts."""
    completion = rollout.completion
    return (
        -completion.policy_version,
        len(rollout.program.source or completion.text),
        completion.task_id,
        completion.index,
    )


def view(
    notebook: ErrorNotebook, examples: Examples, *, signatures: int, problems: int, shown_examples: int
) -> Iterator[RenderableType]:
    """The parts to print one after the other."""
    versions = notebook.versions()
    policies = f"policy version {versions[0]}" if len(versions) == 1 else f"policies {versions[0]} to {versions[-1]}"
    yield Text(f"{notebook.scored} scored samples, {policies}", "bold")
    yield _types(notebook, signatures)
    if problems:
        yield _problems(notebook, problems)
    for error_type in list(notebook.frequencies())[:shown_examples]:
        example = examples.of(error_type)
        if example is not None:
            yield from _example(error_type, example)


def _types(notebook: ErrorNotebook, signatures: int) -> Table:
    table = Table("error", "now", "in the long run", "trend", title="failures, as shares of all scored samples")
    for column in table.columns[1:3]:
        column.justify = "right"
    for error_type in notebook.frequencies():
        table.add_row(Text(error_type, "bold"), *_figures(notebook, error_type))
        for kind in [kind for kind in notebook.kinds() if kind.error_type is error_type][:signatures]:
            if kind.signature:
                message = Text("  " + one_line(kind.signature, _WIDTH), "dim")
                table.add_row(message, *(Text(figure, "dim") for figure in _figures(notebook, kind)))
    passing = [1 - math.fsum(notebook.frequencies(horizon).values()) for horizon in ("short", "long")]
    table.add_section()
    table.add_row(Text("passed", "bold green"), *(f"{share:.1%}" for share in passing), "")
    return table


def _figures(notebook: ErrorNotebook, error: ErrorType | Kind) -> tuple[str, str, str]:
    now, long_run = notebook.frequency(error, "short"), notebook.frequency(error, "long")
    return f"{now:.1%}", f"{long_run:.1%}", arrow(notebook, error)


def arrow(notebook: ErrorNotebook, error: ErrorType | Kind) -> str:
    """↑ more frequent now than in the long run, ↓ less, → no difference that could not be chance."""
    share = notebook.frequency(error, "long")
    chance = _SURE * math.sqrt(share * (1 - share) / max(notebook.samples("short"), 1))
    trend = notebook.trend(error)
    if abs(trend) <= chance:
        return "→"
    return "↑" if trend > 0 else "↓"


def _problems(notebook: ErrorNotebook, count: int) -> Table:
    records = notebook.problems()
    title = "problems that fail most" + (f" ({count} of {len(records)})" if len(records) > count else "")
    table = Table("problem", "samples", "failing now", "most often", title=title)
    for column in table.columns[1:3]:
        column.justify = "right"
    for record in records[:count]:
        shares = {t: notebook.problem_frequency(record.task_id, t, "short") for t in notebook.frequencies()}
        most = max(shares, key=lambda error_type: shares[error_type]) if record.failing else ""
        table.add_row(Text(one_line(record.task_id, 40)), str(record.samples), f"{record.failing:.0%}", str(most))
    return table


def _example(error_type: ErrorType, rollout: Rollout) -> Iterator[Text]:
    verdict, completion = rollout.verdict, rollout.completion
    assert verdict is not None  # only failures are kept
    where = (
        f"  {one_line(completion.task_id, 40)}, sample {completion.index}, policy version {completion.policy_version}"
    )
    yield Text.assemble("\n", (str(error_type), "bold red"), (where, "dim"))
    yield Text("  " + one_line(verdict.detail, _WIDTH))
    source = rollout.program.source or completion.text
    yield from excerpt(source, verdict.line)
