"""What the measured cells say: paired differences to the baseline, corrected for the number of comparisons."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

from benchmarks.sampler_results import NO_TRAINING, Measured, Result
from eval.paired import PairedDifference, holm, paired_difference

BASELINE = "uniform"
METRICS: dict[str, Callable[[Result], float]] = {
    "pass_at_1": lambda result: result.pass_at_1,
    "greedy": lambda result: result.greedy,
    "pass_at_10": lambda result: result.pass_at_10,
}

Runs = dict[int, list[Result]]
"""By seed; several where the rule was drawn several times."""


@dataclass(frozen=True)
class Comparison:
    """An arm against the mean of the baseline's draws, over the seeds that both were run with."""

    objective: str
    arm: str
    against: str
    """The baseline's objective: the same, or `dpo` where objectives are compared."""
    differences: dict[str, PairedDifference]
    """By metric."""
    p_holm: float
    """Of pass@1, over all comparisons of the bed and phase."""


@dataclass(frozen=True)
class Group:
    """All runs of one bed and phase with one budget, by objective and arm."""

    bed: str
    phase: str
    budget: str
    runs: dict[tuple[str, str], Runs]

    def comparisons(self) -> list[Comparison]:
        """Of all that at least two seeds are there for."""
        found = [
            (objective, arm, against, differences)
            for (objective, arm) in self.runs
            if (against := self._baseline_of(objective, arm)) is not None
            and (differences := self._differences((objective, arm), (against, BASELINE)))
        ]
        corrected = holm([differences["pass_at_1"].p for *_, differences in found])
        return [Comparison(*row, p_holm=p) for row, p in zip(found, corrected, strict=True)]

    def _baseline_of(self, objective: str, arm: str) -> str | None:
        """The objective of the baseline that an arm is held against; None for what is none."""
        if arm == NO_TRAINING or (objective, arm) == ("dpo", BASELINE):
            return None
        against = "dpo" if arm == BASELINE else objective
        return against if (against, BASELINE) in self.runs else None

    def _differences(self, one: tuple[str, str], other: tuple[str, str]) -> dict[str, PairedDifference]:
        seeds = sorted(self.runs[one].keys() & self.runs[other].keys())
        if len(seeds) < 2:
            return {}
        return {
            name: paired_difference(
                *([_mean(self.runs[side][seed], metric) for seed in seeds] for side in (one, other))
            )
            for name, metric in METRICS.items()
        }

    def draw_noise(self, objective: str) -> float | None:
        """Standard deviation of pass@1 over the baseline's draws of one seed: the A/A runs. A difference of two single
        draws spreads 1.4 times as much. None where no seed has two draws."""
        spreads = [
            statistics.variance([result.pass_at_1 for result in results])
            for results in self.runs.get((objective, BASELINE), {}).values()
            if len(results) > 1
        ]
        return math.sqrt(statistics.fmean(spreads)) if spreads else None


def groups_of(measured: Iterable[Measured]) -> list[Group]:
    """Bed by bed and phase by phase; a baseline counts once all its draws of a seed are there."""
    runs: dict[tuple[str, str, str], dict[tuple[str, str], Runs]] = {}
    for cell, result in measured:
        budget = cell.budget
        name = f"{budget.rounds} x {budget.problems} problems x {budget.samples}, {budget.pairs} pairs"
        key = (cell.bed, cell.phase, name)
        group = runs.setdefault(key, {})
        group.setdefault((cell.objective, _arm_name(cell)), defaultdict(list))[cell.seed].append(result)
    return [Group(*key, runs={arm: dict(seeds) for arm, seeds in found.items()}) for key, found in sorted(runs.items())]


def _arm_name(cell: Any) -> str:
    if cell.phase != "tune":
        return str(cell.arm)
    weight = f", NLL {cell.nll_weight:g}" if cell.objective == "dpo_nll" else ""
    return f"{cell.arm}, rate {cell.learning_rate:g}{weight}"


def show(groups: Sequence[Group], console: Console) -> None:
    """Two tables for each bed and phase: figures with differences, and error rates."""
    for group in groups:
        console.print(_figures(group))
        console.print(_costs(group))
        for objective in dict.fromkeys(objective for objective, _ in group.runs):
            noise = group.draw_noise(objective)
            if noise is not None:
                console.print(f"{objective}: pass@1 of one seed varies by {noise:.4f} (SD) between draws of {BASELINE}")


def _figures(group: Group) -> Table:
    table = Table(title=f"{group.bed}, {group.phase}: {group.budget}", box=MARKDOWN)
    for name in ("objective", "arm", "seeds", "pass@1", "greedy", "pass@10", "to", "pass@1 difference", "p", "p Holm"):
        table.add_column(name, justify="left" if name in ("objective", "arm", "to") else "right")
    for name in ("greedy difference", "pass@10 difference"):
        table.add_column(name, justify="right")
    comparisons = {(one.objective, one.arm): one for one in group.comparisons()}
    for key, runs in _ordered(group):
        values = [f"{_over_seeds(runs, metric):.3f}" for metric in METRICS.values()]
        table.add_row(*key, str(len(runs)), *values, *_difference_cells(comparisons.get(key)))
    return table


def _difference_cells(comparison: Comparison | None) -> list[str]:
    if comparison is None:
        return [""] * 6
    first, *others = (comparison.differences[name] for name in METRICS)
    shown = [f"{one.mean:+.4f} ± {one.half_width:.4f}" for one in (first, *others)]
    return [comparison.against, shown[0], f"{first.p:.3f}", f"{comparison.p_holm:.3f}", *shown[1:]]


def _costs(group: Group) -> Table:
    """What was used, and how the policy's samples end."""
    results = [result for runs in group.runs.values() for one in runs.values() for result in one]
    types = sorted(
        {name for result in results for name in result.error_rates}, key=lambda name: -sum(map(_rate_of(name), results))
    )
    table = Table(
        title=f"{group.bed}, {group.phase}: share of samples by error type in %, and what was used", box=MARKDOWN
    )
    for name in ("objective", "arm", *types, "pairs", "distinct", "k tokens", "k generated", "quiz", "cpu s"):
        table.add_column(name, justify="left" if name in ("objective", "arm") else "right")
    for key, runs in _ordered(group):
        used = [f"{_over_seeds(runs, metric):.0f}" for metric in _USED]
        rates = [f"{100 * _over_seeds(runs, _rate_of(name)):.1f}" for name in types]
        table.add_row(*key, *rates, *used)
    return table


_USED: tuple[Callable[[Result], float], ...] = (
    lambda result: result.pairs,
    lambda result: result.distinct_pairs,
    lambda result: result.trained_tokens / 1000,
    lambda result: result.generated_tokens / 1000,
    lambda result: result.quiz_samples,
    lambda result: result.cpu_s,
)


def _ordered(group: Group) -> list[tuple[tuple[str, str], Runs]]:
    """The base first, then by objective; in each the baseline, then the best first."""

    def place(item: tuple[tuple[str, str], Runs]) -> tuple[bool, str, bool, float]:
        (objective, arm), runs = item
        return arm != NO_TRAINING, objective, arm != BASELINE, -_over_seeds(runs, METRICS["pass_at_1"])

    return sorted(group.runs.items(), key=place)


def _rate_of(name: str) -> Callable[[Result], float]:
    return lambda result: result.error_rates.get(name, 0.0)


def _over_seeds(runs: Runs, metric: Callable[[Result], float]) -> float:
    return statistics.fmean(_mean(results, metric) for results in runs.values())


def _mean(results: Sequence[Result], metric: Callable[[Result], float]) -> float:
    return statistics.fmean(map(metric, results))


def figures(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """Everything that the tables show, for a file."""
    return [
        {
            "bed": group.bed,
            "phase": group.phase,
            "budget": group.budget,
            "arms": [
                {
                    "objective": objective,
                    "arm": arm,
                    "seeds": sorted(runs),
                    **{name: _over_seeds(runs, metric) for name, metric in METRICS.items()},
                }
                for (objective, arm), runs in _ordered(group)
            ],
            "comparisons": [asdict(comparison) for comparison in group.comparisons()],
            "draw_noise": {objective: group.draw_noise(objective) for objective, _ in group.runs},
        }
        for group in groups
    ]
