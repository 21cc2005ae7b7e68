"""What came of each round of `rlcode run`, as files and as a table."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from rlcode.run_directory import read_json_lines, write_atomically, write_json
from rlcode.types import EvalReport, Interval, from_json, to_json
from train.alarms import FILE_NAME
from train.stage_process import StageFailedError

if TYPE_CHECKING:
    from rich.table import Table

_HEADINGS = ("", "pass@1", "greedy", "unscored", "most frequent errors", "minutes", "alarms")
_ERRORS_SHOWN = 4


@dataclass(frozen=True)
class Outcome:
    """A validated policy: the start, or what a round made."""

    name: str
    adapter: str | None
    pass_at_1: Interval
    greedy: Interval | None
    errors: dict[str, float]
    """Share of the scored samples by error type, the most frequent first."""
    unscored: int
    seconds: float
    """That the round took, without its validation."""
    alarms: list[str] = field(default_factory=list)
    """Those that its stages told: `dpo: compile_errors`."""

    @classmethod
    def read(cls, name: str, adapter: Path | None, folder: Path, seconds: float) -> Self:
        """What the stages of the round in `folder` left.

        Raises:
            StageFailedError: no sample of the validation has a verdict.
        """
        report = from_json(EvalReport, json.loads((folder / "validation" / "report.json").read_text(encoding="utf-8")))
        scored = max(1, report.num_samples - report.unscored)
        errors = {kind: count / scored for kind, count in report.error_types.items()}
        pass_at_1, withheld = _pass_at_1(report, folder / "validation")
        alarms = [*alarms_in(folder), *([f"validation: {withheld}"] if withheld else [])]
        adapter_name = str(adapter) if adapter else None
        return cls(name, adapter_name, pass_at_1, report.greedy, errors, report.unscored, round(seconds, 1), alarms)

    def describe(self) -> str:
        """One line."""
        return f"{self.name}: pass@1 {self.pass_at_1}" + (f", greedy {self.greedy}" if self.greedy else "")

    def cells(self) -> list[str]:
        """What stands in its row."""
        errors = ", ".join(f"{kind} {share:.1%}" for kind, share in list(self.errors.items())[:_ERRORS_SHOWN])
        greedy = str(self.greedy) if self.greedy else ""
        minutes = f"{self.seconds / 60:.1f}"
        return [
            *(self.name, str(self.pass_at_1), greedy, str(self.unscored), errors, minutes),
            ", ".join(self.alarms),
        ]


def _pass_at_1(report: EvalReport, validation: Path) -> tuple[Interval, str]:
    """pass@1; where it is withheld, since of some problem no sample could be judged, that of the other problems, with a
    note. It is no reason to end a run."""
    from eval.evaluations import PASSED, read_evaluation
    from eval.pass_at_k import pass_at_k

    if "1" in report.pass_at_k:
        return report.pass_at_k["1"], ""
    outcomes = read_evaluation(validation).outcomes
    results = {task_id: [one == PASSED for one in some] for task_id, some in outcomes.items() if some}
    interval = pass_at_k(results, 1, report.seed) if results else None
    if interval is None:
        raise StageFailedError(
            f"{validation}: no sample could be judged; see to the sandbox, and remove that directory"
        )
    return interval, f"pass@1 is without {len(outcomes) - len(results)} problems that could not be judged"


def alarms_in(round_directory: Path) -> list[str]:
    """The alarms that the stages of a round told, each once."""
    told = [
        f"{file.parent.name}: {line['name']}"
        for file in sorted(round_directory.glob(f"*/{FILE_NAME}"))
        for line in read_json_lines(file)
    ]
    return list(dict.fromkeys(told))


def best_of(outcomes: Sequence[Outcome]) -> Outcome:
    """The one with the highest pass@1, of equal ones the first."""
    return max(outcomes, key=lambda outcome: outcome.pass_at_1.value)


def write_summary(directory: Path, outcomes: Sequence[Outcome]) -> None:
    """`summary.json`, `summary.md`, and the link `best_adapter` where the best policy has an adapter."""
    best = best_of(outcomes)
    write_json(directory / "summary.json", {"best": best.name, "rounds": [to_json(outcome) for outcome in outcomes]})
    rows = [_HEADINGS, ["---"] * len(_HEADINGS), *(_marked(outcome, best) for outcome in outcomes)]
    write_atomically(directory / "summary.md", "".join(f"| {' | '.join(row)} |\n" for row in rows))
    _link(directory / "best_adapter", Path(best.adapter) if best.adapter else None)


def print_outcomes(outcomes: Sequence[Outcome]) -> None:
    """The table on the terminal."""
    from rich.console import Console

    Console().print(_table(outcomes))


def _table(outcomes: Sequence[Outcome]) -> Table:
    from rich.table import Table

    table = Table(*_HEADINGS, title="validation")
    best = best_of(outcomes)
    for outcome in outcomes:
        table.add_row(*_marked(outcome, best), style="bold" if outcome is best else None)
    return table


def _marked(outcome: Outcome, best: Outcome) -> list[str]:
    name, *others = outcome.cells()
    return [f"{name} (best)" if outcome is best else name, *others]


def _link(link: Path, target: Path | None) -> None:
    if target is None:
        link.unlink(missing_ok=True)
        return
    new = link.with_name(f".{link.name}.new")
    new.unlink(missing_ok=True)
    new.symlink_to(os.path.relpath(target, link.parent))
    os.replace(new, link)
