"""What is counted while samples are judged, so that no sample has to be kept: memory does not grow with them but for a
reference each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

from eval.judging import Judged
from eval.pass_at_k import mean_interval, pass_at_k
from rlcode.data.evalplus import passed_base
from rlcode.types import Interval, PartReport, Problem, Unscored

Results = dict[str, list[bool]]
"""Of the scored samples of each task that has samples: whether they passed. A task may have none that is scored."""


@dataclass
class Figures:
    """Outcomes by task, and what went wrong how often."""

    results: Results = field(default_factory=dict)
    base: Results = field(default_factory=dict)
    """The same for the base tests of a plus set; empty for any other benchmark."""
    errors: dict[str, Counter[str]] = field(default_factory=dict)
    """Failed samples by task and error type."""
    unscored: int = 0

    def add(self, judged: Judged) -> None:
        """Count one sample."""
        task_id, outcome = judged.sample.task_id, judged.outcome
        scored = self.results.setdefault(task_id, [])
        base = self.base.setdefault(task_id, []) if judged.problem.base_tests else []
        if isinstance(outcome, Unscored):
            self.unscored += 1
            return
        scored.append(outcome.passed)
        base.append(bool(passed_base(judged.problem, outcome)))
        if outcome.error_type is not None:
            self.errors.setdefault(task_id, Counter())[str(outcome.error_type)] += 1

    def in_order(self, problems: Iterable[Problem]) -> Self:
        """The same with the tasks in the order of `problems`: intervals are drawn over their places, so it must not be
        that in which verdicts came."""
        ids = [problem.task_id for problem in problems]
        results, base = ({i: found[i] for i in ids if i in found} for found in (self.results, self.base))
        return replace(self, results=results, base=base)

    @property
    def num_samples(self) -> int:
        return sum(map(len, self.results.values())) + self.unscored

    def error_types(self) -> dict[str, int]:
        """Failed samples by error type, the most frequent first."""
        return dict(sum(self.errors.values(), Counter[str]()).most_common())


def pass_at_ks(results: Results, ks: Sequence[int], seed: int) -> tuple[dict[str, Interval], dict[str, str]]:
    """pass@k by k, and the reason for each k that is withheld."""
    given, withheld = {}, {}
    fewest = min(results, key=lambda task_id: len(results[task_id]), default="")
    for k in ks:
        interval = pass_at_k(results, k, seed) if results else None
        if interval is not None:
            given[str(k)] = interval
        elif results:
            withheld[str(k)] = f"{fewest} has only {len(results[fewest])} scored samples"
    return given, withheld


def greedy_interval(results: Results) -> Interval | None:
    """The share of problems whose greedy answer passes, of those that were scored; None if none was."""
    passed = [float(passed) for scored in results.values() for passed in scored]
    return mean_interval(passed) if passed else None


def by_part(
    figures: Figures, parts: Mapping[str, Sequence[Problem]], ks: Sequence[int], seed: int
) -> dict[str, PartReport]:
    """The figures of each of some groups of problems that has samples."""
    reports = {}
    for name, problems in parts.items():
        results = {p.task_id: figures.results[p.task_id] for p in problems if p.task_id in figures.results}
        if results:
            given, _ = pass_at_ks(results, ks, seed)
            reports[name] = PartReport(len(results), sum(map(len, results.values())), given)
    return reports


def difficulties(problems: Iterable[Problem]) -> dict[str, list[Problem]]:
    """The problems of each difficulty, in the order in which they come up."""
    parts: dict[str, list[Problem]] = {}
    for problem in problems:
        if problem.difficulty:
            parts.setdefault(problem.difficulty, []).append(problem)
    return parts


def tags(problems: Iterable[Problem]) -> dict[str, list[Problem]]:
    """The problems with each tag, by name."""
    parts: dict[str, list[Problem]] = {}
    for problem in problems:
        for tag in dict.fromkeys(problem.tags):
            parts.setdefault(tag, []).append(problem)
    return dict(sorted(parts.items()))
