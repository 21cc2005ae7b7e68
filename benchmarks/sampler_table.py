"""What the measured cells say: paired differences to the baseline, corrected for the number of comparisons."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

from benchmarks.sampler_results import NO_TRAINING, Cell, Measured, Result
from eval.paired import PairedDifference, holm, paired_difference

BASELINE = "uniform"
BASELINE_DRAWS = 3
"""One draw of pairs can be lucky. A seed with fewer is not compared."""
AA = "A/A"
"""In the place of an arm: the baseline's first draw of pairs against its others, where no difference is real."""


def _later_rounds(result: Result) -> float:
    """pass@1 on the new problems of each round but the first, before it trains on them: how fast it was learned."""
    return statistics.fmean(one.passed for one in result.rounds[1:]) if len(result.rounds) > 1 else math.nan


METRICS: dict[str, Callable[[Result], float]] = {
    "pass@1": lambda result: result.pass_at_1,
    "greedy": lambda result: result.greedy,
    "pass@10": lambda result: result.pass_at_10,
    "later rounds": _later_rounds,
}
"""NaN where a run has none of it."""
Runs = dict[int, dict[int, Result]]
"""By seed and draw."""


@dataclass(frozen=True)
class Comparison:
    """An arm against the mean of the baseline's draws, over the seeds that both were run with."""

    objective: str
    arm: str
    against: str
    """The baseline's objective: the same, or `dpo` where objectives are compared."""
    differences: dict[str, PairedDifference]
    """By metric."""
    p_holm: float | None
    """Of pass@1, over all comparisons of the bed and phase; None for A/A, which claims nothing."""


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
            for (objective, arm), runs in self.runs.items()
            if (against := self._baseline_of(objective, arm)) is not None
            and (
                differences := _differences(self._whole(arm, runs), self._whole(BASELINE, self.runs[against, BASELINE]))
            )
        ]
        corrected = holm([differences["pass@1"].p for *_, differences in found])
        return [
            *(Comparison(*row, p_holm=p) for row, p in zip(found, corrected, strict=True)),
            *self._null_comparisons(),
        ]

    def _whole(self, arm: str, runs: Runs) -> Runs:
        """The seeds with all draws."""
        wanted = BASELINE_DRAWS if arm == BASELINE else 1
        return {seed: draws for seed, draws in runs.items() if len(draws) >= wanted}

    def _null_comparisons(self) -> Iterator[Comparison]:
        for (objective, arm), runs in self.runs.items():
            if arm == BASELINE:
                first = {seed: {0: draws[0]} for seed, draws in runs.items() if 0 in draws}
                others = {seed: {n: draws[n] for n in draws if n} for seed, draws in runs.items() if len(draws) > 1}
                if differences := _differences(first, others):
                    yield Comparison(objective, AA, objective, differences, None)

    def _baseline_of(self, objective: str, arm: str) -> str | None:
        """The objective of the baseline that an arm is held against; None for what is none."""
        if arm == NO_TRAINING or (objective, arm) == ("dpo", BASELINE):
            return None
        against = "dpo" if arm == BASELINE else objective
        return against if (against, BASELINE) in self.runs else None

    def draw_noise(self, objective: str) -> float | None:
        """Standard deviation of pass@1 over the baseline's draws of one seed: the A/A runs. A difference of two single
        draws spreads 1.4 times as much. None where no seed has two draws."""
        spreads = [
            statistics.variance([result.pass_at_1 for result in draws.values()])
            for draws in self.runs.get((objective, BASELINE), {}).values()
            if len(draws) > 1
        ]
        return math.sqrt(statistics.fmean(spreads)) if spreads else None


def _differences(one: Runs, other: Runs) -> dict[str, PairedDifference]:
    """By metric, over the seeds of both; empty for fewer than two."""
    seeds = sorted(one.keys() & other.keys())
    if len(seeds) < 2:
        return {}
    values = {
        name: [[_mean(side[seed], metric) for seed in seeds] for side in (one, other)]
        for name, metric in METRICS.items()
    }
    return {name: paired_difference(*sides) for name, sides in values.items() if not math.isnan(sum(map(sum, sides)))}


def groups_of(measured: Iterable[Measured]) -> list[Group]:
    """Bed by bed and phase by phase."""
    runs: dict[tuple[str, str, str], dict[tuple[str, str], Runs]] = {}
    for cell, result in measured:
        budget = cell.budget
        name = f"{budget.rounds} x {budget.problems} problems x {budget.samples}, {budget.pairs} pairs"
        key = (cell.bed, cell.phase, name)
        group = runs.setdefault(key, {})
        group.setdefault((cell.objective, arm_name(cell)), defaultdict(dict))[cell.seed][cell.draw] = result
    return [Group(*key, runs={arm: dict(seeds) for arm, seeds in found.items()}) for key, found in sorted(runs.items())]


def arm_name(cell: Cell) -> str:
    """The arm, and where settings are tuned its settings."""
    if cell.phase != "tune" or cell.arm == NO_TRAINING:
        return cell.arm
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
    for name in ("objective", "arm"):
        table.add_column(name, no_wrap=True)
    for name in ("seeds", *METRICS, "to", "p", "p Holm", *(f"{name} +/-" for name in METRICS)):
        table.add_column(name, no_wrap=True, justify="right")
    comparisons = {(one.objective, one.arm): one for one in group.comparisons()}
    for key, runs in _ordered(group):
        if key[1] == BASELINE and (null := comparisons.get((key[0], AA))) is not None:
            seeds = str(null.differences["pass@1"].n)
            table.add_row(key[0], AA, seeds, *("" for _ in METRICS), *_difference_cells(null))
        values = map(_shown, _means(runs).values())
        table.add_row(*key, str(len(runs)), *values, *_difference_cells(comparisons.get(key)))
    return table


def _shown(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3f}"


def _difference_cells(comparison: Comparison | None) -> list[str]:
    if comparison is None:
        return [""] * (3 + len(METRICS))
    found = [comparison.differences.get(name) for name in METRICS]
    return [
        comparison.against,
        f"{comparison.differences['pass@1'].p:.3f}",
        "" if comparison.p_holm is None else f"{comparison.p_holm:.3f}",
        *("" if one is None else f"{one.mean:+.4f} ± {one.half_width:.4f}" for one in found),
    ]


def _costs(group: Group) -> Table:
    """What was used, and how the policy's samples end."""
    results = [result for runs in group.runs.values() for draws in runs.values() for result in draws.values()]
    types = sorted(
        {name for result in results for name in result.error_rates}, key=lambda name: -sum(map(_rate_of(name), results))
    )
    table = Table(
        title=f"{group.bed}, {group.phase}: share of samples by error type in %, and what was used", box=MARKDOWN
    )
    for name in ("objective", "arm", *types, "pairs", "distinct", "k tokens", "k generated", "quiz", "cpu s"):
        table.add_column(name, no_wrap=True, justify="left" if name in ("objective", "arm") else "right")
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
        return arm != NO_TRAINING, objective, arm != BASELINE, -_over_seeds(runs, METRICS["pass@1"])

    return sorted(group.runs.items(), key=place)


def _rate_of(name: str) -> Callable[[Result], float]:
    return lambda result: result.error_rates.get(name, 0.0)


def _means(runs: Runs) -> dict[str, float]:
    return {name: _over_seeds(runs, metric) for name, metric in METRICS.items()}


def _over_seeds(runs: Runs, metric: Callable[[Result], float]) -> float:
    return statistics.fmean(_mean(draws, metric) for draws in runs.values())


def _mean(draws: dict[int, Result], metric: Callable[[Result], float]) -> float:
    return statistics.fmean(map(metric, draws.values()))


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
                    **{name: None if math.isnan(value) else value for name, value in _means(runs).items()},
                }
                for (objective, arm), runs in _ordered(group)
            ],
            "comparisons": [asdict(comparison) for comparison in group.comparisons()],
            "draw_noise": {objective: group.draw_noise(objective) for objective, _ in group.runs},
        }
        for group in groups
    ]
