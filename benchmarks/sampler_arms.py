"""The arms of the comparison: which strategy chooses the pairs, by name, and two that exist for it alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sampling.pool import PairPool, PoolOptions
from sampling.snapshots import Snapshot
from sampling.strategies import make_strategy
from sampling.strategies.ap2o import Ap2oStrategy
from sampling.strategies.frequency import type_frequencies
from sampling.strategies.mixture import Groups, constant_plan
from sampling.strategies.options import Order
from sampling.strategies.protocol import Plan, Strategy


@dataclass(frozen=True)
class Arm:
    """A strategy with its options, those of the pool, and whether a quiz on validation problems comes before each
    round."""

    strategy: str
    options: Mapping[str, Any] = field(default_factory=dict)
    pool: PoolOptions = field(default_factory=PoolOptions)
    quiz: bool = False

    def make(self) -> Strategy:
        if self.strategy in _OWN:
            return _OWN[self.strategy](**self.options)
        return make_strategy(self.strategy, **self.options)


@dataclass(frozen=True)
class ShuffledFrequency:
    """Every error type has the frequency of another one, drawn once: as uneven as frequencies are, and no more."""

    def plan(self, pool: PairPool, history: Sequence[Snapshot], *, length: int, seed: int) -> Plan:
        types = Groups(pool, pool.error_types)
        frequencies = type_frequencies(types, history[-1].notebook)
        return constant_plan(pool, types, np.random.default_rng(seed).permutation(frequencies))


@dataclass(frozen=True)
class WholeAp2o:
    """`ap2o` with as many epochs as the run visits each problem, so that its window goes all the way: with the
    published 200 it would hardly leave its start here."""

    order: Order

    def plan(self, pool: PairPool, history: Sequence[Snapshot], *, length: int, seed: int) -> Plan:
        epochs = max(1, round(length / len(np.unique(pool.problems))))
        return Ap2oStrategy(self.order, epochs).plan(pool, history, length=length, seed=seed)


_OWN: Mapping[str, Callable[..., Strategy]] = {"shuffled": ShuffledFrequency, "ap2o_whole": WholeAp2o}

ARMS: Mapping[str, Arm] = {
    "uniform": Arm("uniform"),
    "uniform_problems": Arm("uniform", {"over": "problems"}),
    "shuffled": Arm("shuffled"),
    "static": Arm("static"),
    "frequency": Arm("frequency"),
    "frequency_0": Arm("frequency", {"power": 0.0}),
    "frequency_2": Arm("frequency", {"power": 2.0}),
    "progressive_low_to_high": Arm("progressive", {"order": "low_to_high"}),
    "progressive_high_to_low": Arm("progressive", {"order": "high_to_low"}),
    "adaptive": Arm("adaptive", quiz=True),
    "novelty": Arm("novelty"),
    "nearest": Arm("uniform", pool=PoolOptions(chosen="nearest")),
    "ap2o_low_to_high": Arm("ap2o_whole", {"order": "low_to_high"}, quiz=True),
    "ap2o_high_to_low": Arm("ap2o_whole", {"order": "high_to_low"}, quiz=True),
}
