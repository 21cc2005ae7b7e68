"""The table at the end of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sampling.tally import Tally

if TYPE_CHECKING:
    from rich.table import Table


def summary_table(tally: Tally) -> Table:
    """What became of the rollouts, and how many problems have what pairs are made of."""
    from rich.table import Table

    table = Table()
    for heading in ("", "rollouts", "of the scored"):
        table.add_column(heading, justify="left" if not heading else "right")
    table.add_row("passed", str(tally.passed), _share(tally.passed, tally.scored))
    for error_type, count in tally.error_types.most_common():
        table.add_row(str(error_type), str(count), _share(count, tally.scored))
    if tally.unscored:
        table.add_row("unscored", str(tally.unscored), "")
    table.add_section()
    problems = tally.problems.values()
    passed_all = sum(0 < problem.scored == problem.passed for problem in problems)
    passed_none = sum(problem.passed == 0 for problem in problems)
    both = len(problems) - passed_all - passed_none
    table.add_row("problems that always pass", str(passed_all), "")
    table.add_row("problems that sometimes pass", str(both), "")
    table.add_row("problems that never pass", str(passed_none), "")
    return table


def _share(count: int, of: int) -> str:
    return f"{count / of:.1%}" if of else "–"
