"""What became of the samples of a run, in numbers: every one of them counts here, however few the page can show."""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from eval.evaluations import PASSED
from eval.pass_at_k import estimate_pass_at_k, mean_interval
from eval.run_report.layout import SampleSet
from eval.run_report.samples_of import OUTCOMES, UNSCORED, JudgedSample
from rlcode.types import Interval

MOST_MOMENTS = 40
"""Of all sets of many policies together; those that follow each other share one where there are more."""
_KS = (1, 5, 10, 20, 50, 100)
_CODES = {outcome: code for code, outcome in enumerate(OUTCOMES)}
Results = dict[str, Counter[str]]
"""By problem: how its samples ended."""


@dataclass(frozen=True)
class Moment:
    """Samples that one policy, or a few that follow each other, wrote."""

    name: str
    results: Results

    @property
    def outcomes(self) -> Counter[str]:
        """How all of them ended."""
        total: Counter[str] = Counter()
        for counts in self.results.values():
            total.update(counts)
        return total

    @property
    def scored(self) -> int:
        return sum(count for outcome, count in self.outcomes.items() if outcome != UNSCORED)

    def share(self, outcome: str) -> float:
        """Of the scored samples, those that ended this way."""
        return self.outcomes[outcome] / self.scored if self.scored else 0.0

    def passes(self) -> list[tuple[int, int]]:
        """Scored samples and passes of each problem with any."""
        pairs = zip(self._scored_by_problem(), (counts[PASSED] for counts in self.results.values()), strict=True)
        return [(scored, passed) for scored, passed in pairs if scored]

    def pass_rate(self) -> Interval | None:
        """Mean over problems of the share that passed, with its interval; None without scored samples."""
        shares = [passed / scored for scored, passed in self.passes()]
        return mean_interval(shares) if shares else None

    def ks(self) -> list[int]:
        """1, and the largest usual k of which every problem has samples enough."""
        fewest = min(self._scored_by_problem(), default=0)
        return sorted({k for k in _KS if k <= fewest} & {1, max((k for k in _KS if k <= fewest), default=1)})

    def pass_at(self, k: int, seed: int = 0) -> Interval | None:
        """pass@k with its interval, as `eval.pass_at_k.pass_at_k` has it; None where a problem has too few samples."""
        if min(self._scored_by_problem(), default=0) < k:
            return None
        return mean_interval([estimate_pass_at_k(scored, passed, k) for scored, passed in self.passes()], seed)

    def _scored_by_problem(self) -> list[int]:
        return [counts.total() - counts[UNSCORED] for counts in self.results.values()]


@dataclass
class SetCounts:
    """The numbers of one set of samples."""

    found: SampleSet
    samples: int = 0
    seconds: array[float] = field(default_factory=lambda: array("f"))
    """That each scored sample took in the sandbox."""
    memory_mb: array[float] = field(default_factory=lambda: array("f"))
    reasons: Counter[str] = field(default_factory=Counter)
    """Why samples could not be scored."""
    judged_by: Counter[str] = field(default_factory=Counter)
    _counts: Counter[tuple[int, str, int]] = field(default_factory=Counter)

    def add(self, sample: JudgedSample) -> None:
        """Count a sample."""
        self.samples += 1
        self._counts[sample.version, sample.task_id, _CODES[sample.outcome]] += 1
        if sample.outcome == UNSCORED:
            self.reasons[sample.detail[:200] or "no reason was given"] += 1
            return
        self.seconds.append(sample.time_s)
        self.memory_mb.append(sample.memory_mb)
        self.judged_by[sample.judged_by] += 1

    def versions(self) -> list[int]:
        """Of the policies that wrote samples, oldest first."""
        return sorted({version for version, _, _ in self._counts})

    def whole(self) -> Moment:
        """All samples as one."""
        return Moment(self.found.name, self._results(self.versions()))

    def moments(self, most: int) -> list[Moment]:
        """One, or for sets of many policies one for each, or for a few that follow each other: `most` at most."""
        if not self.found.role.by_version:
            return [self.whole()]
        bins = list(binned(self.versions(), most))
        by_version = self._by_version()
        return [Moment(_span(versions), _merged([by_version[version] for version in versions])) for versions in bins]

    def groups(self) -> dict[int, list[float]]:
        """By policy: the share that passed of each problem's scored completions, of which there are two or more."""
        shares = {}
        for version, results in sorted(self._by_version().items()):
            passes = Moment("", results).passes()
            shares[version] = [passed / scored for scored, passed in passes if scored > 1]
        return shares

    def _by_version(self) -> dict[int, Results]:
        found: dict[int, Results] = defaultdict(lambda: defaultdict(Counter))
        for (version, task_id, code), count in self._counts.items():
            found[version][task_id][OUTCOMES[code]] += count
        return found

    def _results(self, versions: Sequence[int]) -> Results:
        by_version = self._by_version()
        return _merged([by_version[version] for version in versions])


def moments_of(counts: Sequence[SetCounts]) -> list[Moment]:
    """The moments of sets of one role, one set after the other."""
    return [moment for one in counts for moment in one.moments(max(1, MOST_MOMENTS // len(counts)))]


def binned(items: Sequence[int], most: int) -> Iterator[Sequence[int]]:
    """`items` in at most so many pieces of about one size, in their order."""
    count = min(len(items), most)
    for place in range(count):
        yield items[len(items) * place // count : len(items) * (place + 1) // count]


def _span(versions: Sequence[int]) -> str:
    return f"v{versions[0]}" if len(versions) == 1 else f"v{versions[0]}–{versions[-1]}"


def _merged(parts: Sequence[Results]) -> Results:
    merged: Results = defaultdict(Counter)
    for results in parts:
        for task_id, counts in results.items():
            merged[task_id].update(counts)
    return dict(merged)


def problems_of(counts: Sequence[SetCounts]) -> Results:
    """How the samples of each problem ended, in all sets together."""
    return _merged([one.whole().results for one in counts])
