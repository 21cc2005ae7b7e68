"""The error notebook: how often the policy fails in which way, now and in the long run, overall and by problem.

It counts, for each policy version and problem, how many samples passed and how many failed with which error. Counts add
up, so notebooks of several processes merge in any order. Forgetting happens when a share is asked for: a sample weighs
half as much once `half_life` further samples were scored, with two half-lives, so that a type that is frequent now
outweighs one that was frequent once. Which of one policy's samples came first says nothing of the policy; they share
their weight.

The denominator is always all scored samples, passes included, so frequencies are shares of what the policy writes.
"""

from __future__ import annotations

import functools
import itertools
import json
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from rlcode.errors import DataError
from rlcode.run_directory import write_json
from rlcode.types import ErrorType, Rollout

Horizon = Literal["short", "long"]
FORMAT_VERSION = 2
_FORGOTTEN = 20
"""Long half-lives after which a policy's samples are dropped: they weigh a millionth then."""

_PIECE = 256
"""Rollouts that are held at once while a stream is watched."""


class Kind(NamedTuple):
    """A failure at the notebook's second depth: the closed type, and the normalised message (empty: there was none)."""

    error_type: ErrorType
    signature: str


@dataclass(frozen=True)
class ProblemRecord:
    """What the policy does on one problem: `samples` seen, and the share of them that failed, now."""

    task_id: str
    samples: int
    failing: float


Outcome = Kind | None
"""How a sample ended; None is a pass."""


class ErrorNotebook:
    """Counts failures by error type over everything that was scored.

    Args:
        short_half_life: samples after which an observation counts half for *now*.
        long_half_life: the same for the long run.
    """

    def __init__(self, short_half_life: float = 1_000, long_half_life: float = 20_000) -> None:
        if not 0 < short_half_life <= long_half_life:
            raise ValueError("half-lives must be positive, the short one no longer than the long one")
        self._half_lives: dict[Horizon, float] = {"short": short_half_life, "long": long_half_life}
        self._counts: dict[int, dict[str, Counter[Outcome]]] = {}
        self._cache: dict[tuple[str, Horizon], Any] = {}
        self.scored = 0
        """Samples observed, forgotten ones included."""

    def observe(self, rollouts: Iterable[Rollout]) -> None:
        """Take down what was judged, in any order. A rollout without a verdict is left out: it says nothing of the
        policy."""
        for rollout in rollouts:
            verdict = rollout.verdict
            if verdict is None or not (verdict.passed or verdict.error_type):
                continue
            kind = None if verdict.error_type is None else Kind(verdict.error_type, verdict.signature or "")
            self._add(rollout.completion.policy_version, rollout.completion.task_id, {kind: 1})
        self._settle()

    def watched(self, rollouts: Iterable[Rollout]) -> Iterator[Rollout]:
        """Hand the rollouts on and take them down, some hundreds at a time."""
        stream = iter(rollouts)
        while piece := list(itertools.islice(stream, _PIECE)):
            self.observe(piece)
            yield from piece

    def merge(self, other: ErrorNotebook) -> None:
        """Add everything that `other` has seen. The order in which notebooks are merged does not matter.

        Raises:
            ValueError: the notebooks have other half-lives.
        """
        if other._half_lives != self._half_lives:
            raise ValueError(f"notebooks with half-lives {self._half_lives} and {other._half_lives} can't be merged")
        scored = self.scored + other.scored
        for version, problems in other._counts.items():
            for task_id, outcomes in problems.items():
                self._add(version, task_id, outcomes)
        self.scored = scored
        self._settle()

    def _add(self, version: int, task_id: str, outcomes: Mapping[Outcome, int]) -> None:
        seen = self._counts.setdefault(version, {}).setdefault(task_id, Counter())
        for outcome, count in outcomes.items():
            seen[outcome] += count
            self.scored += count

    def _settle(self) -> None:
        """Drop policies that weigh nothing any more. Since samples are only ever added, dropping early or late comes to
        the same."""
        self._cache.clear()
        limit = _FORGOTTEN * self._half_lives["long"]
        for version, later in list(self._later()):
            if later > limit:
                del self._counts[version]

    def _later(self) -> Iterator[tuple[int, int]]:
        """Each policy version, newest first, and the number of samples that newer ones have."""
        later = 0
        for version in sorted(self._counts, reverse=True):
            yield version, later
            later += _total(self._counts[version])

    def versions(self) -> list[int]:
        """The policy versions that are remembered, oldest first."""
        return sorted(self._counts)

    def counts(self, version: int) -> Counter[Outcome]:
        """How the samples of one policy version ended; nothing is forgotten here."""
        counts: Counter[Outcome] = Counter()
        for outcomes in self._counts.get(version, {}).values():
            counts.update(outcomes)
        return counts

    def frequency(self, error: ErrorType | Kind, horizon: Horizon = "short") -> float:
        """Share of all scored samples that failed this way; 0 before anything was seen."""
        if isinstance(error, Kind):
            return self._by_kind(horizon).get(error, 0.0)
        return self._by_type(horizon).get(error, 0.0)

    def frequencies(self, horizon: Horizon = "short") -> dict[ErrorType, float]:
        """Every error type that was seen, most frequent first."""
        return dict(self._by_type(horizon))

    def kinds(self, horizon: Horizon = "short") -> dict[Kind, float]:
        """The same at the second depth: type and message signature."""
        return dict(self._by_kind(horizon))

    def trend(self, error: ErrorType | Kind) -> float:
        """Share now less the share in the long run: above 0 the failure becomes more frequent."""
        return self.frequency(error, "short") - self.frequency(error, "long")

    def samples(self, horizon: Horizon = "short") -> float:
        """To how many samples of one weight the shares amount (Kish's effective sample size)."""
        weights = self._weights(horizon)
        totals = {version: _total(self._counts[version]) for version in weights}
        mass = sum(weights[version] * count for version, count in totals.items())
        squares = sum(weights[version] ** 2 * count for version, count in totals.items())
        return mass**2 / squares if squares else 0.0

    def problem_frequency(self, task_id: str, error_type: ErrorType, horizon: Horizon = "long") -> float:
        """Share of one problem's samples that failed with `error_type`; 0 for a problem that was not seen."""
        shares = self._by_problem(horizon).get(task_id, {})
        return math.fsum(share for kind, share in shares.items() if kind is not None and kind.error_type is error_type)

    def evidence(self, horizon: Horizon = "long") -> dict[str, dict[ErrorType | None, float]]:
        """For each problem that was seen, how many samples passed (None) and failed by each error type; an older sample
        counts as the part of one that is not forgotten."""
        return dict(self._evidence(horizon))

    def problems(self, horizon: Horizon = "short") -> list[ProblemRecord]:
        """Every problem that was seen, the ones that fail most first."""
        seen: Counter[str] = Counter()
        for problems in self._counts.values():
            seen.update({task_id: outcomes.total() for task_id, outcomes in problems.items()})
        shares = self._by_problem(horizon)
        records = [ProblemRecord(task_id, n, 1 - shares[task_id].get(None, 0.0)) for task_id, n in seen.items()]
        return sorted(records, key=lambda record: (-record.failing, record.task_id))

    # What is derived from the counts, kept until they change.

    def _derived(self, name: str, horizon: Horizon, make: Callable[[], Any]) -> Any:
        if (name, horizon) not in self._cache:
            self._cache[name, horizon] = make()
        return self._cache[name, horizon]

    def _weights(self, horizon: Horizon) -> dict[int, float]:
        """The weight of one sample of each policy version, oldest first."""
        half_life = self._half_lives[horizon]

        def make() -> dict[int, float]:
            newest_first = [
                (version, 0.5 ** (later / half_life) * _mean_decay(_total(self._counts[version]), half_life))
                for version, later in self._later()
            ]
            return dict(reversed(newest_first))

        return self._derived("weights", horizon, make)

    def _by_problem(self, horizon: Horizon) -> dict[str, dict[Outcome, float]]:
        def make() -> dict[str, dict[Outcome, float]]:
            return {task_id: _shares(weighted) for task_id, weighted in self._weighted(horizon).items()}

        return self._derived("by_problem", horizon, make)

    def _evidence(self, horizon: Horizon) -> dict[str, dict[ErrorType | None, float]]:
        def make() -> dict[str, dict[ErrorType | None, float]]:
            return {task_id: _add_types(_sums(weighted)) for task_id, weighted in self._weighted(horizon).items()}

        return self._derived("evidence", horizon, make)

    def _weighted(self, horizon: Horizon) -> dict[str, list[tuple[float, Mapping[Outcome, int]]]]:
        """The counts of each problem, with what one sample of each count weighs."""
        seen: defaultdict[str, list[tuple[float, Mapping[Outcome, int]]]] = defaultdict(list)
        for version, weight in self._weights(horizon).items():
            for task_id, outcomes in self._counts[version].items():
                seen[task_id].append((weight, outcomes))
        return seen

    def _by_kind(self, horizon: Horizon) -> dict[Kind, float]:
        def make() -> dict[Kind, float]:
            shares = _shares((weight, self.counts(version)) for version, weight in self._weights(horizon).items())
            return _most_first({kind: share for kind, share in shares.items() if kind is not None})

        return self._derived("by_kind", horizon, make)

    def _by_type(self, horizon: Horizon) -> dict[ErrorType, float]:
        def make() -> dict[ErrorType, float]:
            return _most_first(_add_types(self._by_kind(horizon)))

        return self._derived("by_type", horizon, make)

    def save(self, path: Path) -> None:
        """Write the notebook as JSON; `load` gives it back exactly."""
        write_json(
            path,
            {
                "format_version": FORMAT_VERSION,
                "half_lives": self._half_lives,
                "scored": self.scored,
                "counts": {
                    str(version): {task_id: _to_rows(self._counts[version][task_id]) for task_id in sorted(problems)}
                    for version, problems in sorted(self._counts.items())
                },
            },
        )

    @classmethod
    def load(cls, path: Path) -> ErrorNotebook:
        """Read what `save` wrote.

        Raises:
            DataError: the file is missing or is no notebook.
        """
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            if data["format_version"] != FORMAT_VERSION:
                raise ValueError(f"format version {data['format_version']!r}; this rlcode reads {FORMAT_VERSION}")
            notebook = cls(*(data["half_lives"][horizon] for horizon in get_args(Horizon)))
            for version, problems in data["counts"].items():
                for task_id, rows in problems.items():
                    notebook._add(int(version), task_id, dict(map(_from_row, rows)))
            notebook.scored = data["scored"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"{path} is not an error notebook: {error!r}; `rlcode notebook show RUN --output FILE` makes one from "
                "rollouts"
            ) from error
        return notebook


def _total(problems: Mapping[str, Counter[Outcome]]) -> int:
    return sum(outcomes.total() for outcomes in problems.values())


@functools.lru_cache(maxsize=1 << 14)
def _mean_decay(count: int, half_life: float) -> float:
    """The mean of 0.5 ** (i / half_life) for i from 0 to count - 1: what one of `count` samples weighs that follow each
    other in an order that does not matter."""
    return (1 - 0.5 ** (count / half_life)) / (count * (1 - 0.5 ** (1 / half_life))) if count else 0.0


def _sums(seen: Iterable[tuple[float, Mapping[Outcome, int]]]) -> dict[Outcome, float]:
    """Weighted counts added up; rounded alike in whatever order they come."""
    parts: defaultdict[Outcome, list[float]] = defaultdict(list)
    for weight, outcomes in seen:
        for outcome, count in outcomes.items():
            parts[outcome].append(weight * count)
    return {outcome: math.fsum(values) for outcome, values in parts.items()}


def _add_types(kinds: Mapping[Any, float]) -> dict[Any, float]:
    """What is known by type and message added up by type; passes stay apart."""
    parts: defaultdict[Any, list[float]] = defaultdict(list)
    for kind, value in kinds.items():
        parts[None if kind is None else kind.error_type].append(value)
    return {error_type: math.fsum(values) for error_type, values in parts.items()}


def _shares(seen: Iterable[tuple[float, Mapping[Outcome, int]]]) -> dict[Outcome, float]:
    """Weighted counts as shares of their sum."""
    sums = _sums(seen)
    whole = math.fsum(sums.values())
    return {outcome: value / whole for outcome, value in sums.items()} if whole else {}


def _most_first(shares: dict[Any, float]) -> dict[Any, float]:
    return dict(sorted(shares.items(), key=lambda item: (-item[1], item[0])))


def _to_rows(outcomes: Counter[Outcome]) -> list[list[Any]]:
    rows = [
        [None, "", n] if kind is None else [str(kind.error_type), kind.signature, n] for kind, n in outcomes.items()
    ]
    return sorted(rows, key=lambda row: (row[0] or "", row[1]))


def _from_row(row: list[Any]) -> tuple[Outcome, int]:
    error_type, signature, count = row
    return (None if error_type is None else Kind(ErrorType(error_type), signature)), count
