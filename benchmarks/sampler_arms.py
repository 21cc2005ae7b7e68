"""The arms of the comparison: which strategy chooses the pairs, by name, and the controls that are none of ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rlcode.types import ErrorType
from sampling.notebook import ErrorNotebook
from sampling.pool import ERROR_TYPES, PairPool
from sampling.snapshots import Snapshot
from sampling.strategies import make_strategy
from sampling.strategies.mixture import MixturePlan, Part
from sampling.strategies.protocol import Plan, Strategy


@dataclass(frozen=True)
class Arm:
    """A strategy with its options, and whether it is told of a quiz on validation problems before each round."""

    strategy: str
    options: Mapping[str, Any] = field(default_factory=dict)
    quiz: bool = False

    def make(self) -> Strategy:
        if self.strategy in CONTROLS:
            return CONTROLS[self.strategy](**self.options)
        return make_strategy(self.strategy, **self.options)


@dataclass(frozen=True)
class UniformOverProblems:
    """A problem uniformly, then one of its failures: what a set of one pair for each problem amounts to."""

    def plan(self, pool: PairPool, history: Sequence[Snapshot], *, length: int, seed: int) -> Plan:
        _, problems, failures = np.unique(pool.problems, return_inverse=True, return_counts=True)
        return _one_part(pool, 1 / failures[problems])


@dataclass(frozen=True)
class ShuffledFrequency:
    """Every error type has the frequency of another one, drawn once: as uneven as frequencies are, and no more."""

    def plan(self, pool: PairPool, history: Sequence[Snapshot], *, length: int, seed: int) -> Plan:
        types, members, sizes = np.unique(pool.error_types, return_inverse=True, return_counts=True)
        shares = frequencies(history[-1].notebook, types)
        shuffled = np.random.default_rng(seed).permutation(shares)
        return _one_part(pool, (shuffled / sizes)[members])


CONTROLS: Mapping[str, type] = {"uniform_problems": UniformOverProblems, "shuffled": ShuffledFrequency}


def frequencies(notebook: ErrorNotebook, types: np.ndarray) -> np.ndarray:
    """How frequent the types of a pool, numbers into `ERROR_TYPES`, are now."""
    return np.array([notebook.frequency(ErrorType(ERROR_TYPES[number])) for number in types])


def _one_part(pool: PairPool, weights: np.ndarray) -> Plan:
    everything = [Part("all", 1.0, weights)]
    return MixturePlan(pool, lambda position: everything)


ARMS: Mapping[str, Arm] = {
    "uniform": Arm("uniform"),
    "uniform_problems": Arm("uniform_problems"),
    "shuffled": Arm("shuffled"),
    "frequency": Arm("frequency"),
    "frequency_0": Arm("frequency", {"power": 0.0}),
    "frequency_2": Arm("frequency", {"power": 2.0}),
}
