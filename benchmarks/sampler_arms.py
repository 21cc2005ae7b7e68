"""The arms of the comparison: which strategy chooses the pairs, by name, and a control that is none of ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sampling.pool import PairPool, PoolOptions
from sampling.snapshots import Snapshot
from sampling.strategies import make_strategy
from sampling.strategies.frequency import type_frequencies
from sampling.strategies.mixture import Groups, constant_plan
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
        if self.strategy == "shuffled":
            return ShuffledFrequency(**self.options)
        return make_strategy(self.strategy, **self.options)


@dataclass(frozen=True)
class ShuffledFrequency:
    """Every error type has the frequency of another one, drawn once: as uneven as frequencies are, and no more."""

    def plan(self, pool: PairPool, history: Sequence[Snapshot], *, length: int, seed: int) -> Plan:
        types = Groups(pool, pool.error_types)
        frequencies = type_frequencies(types, history[-1].notebook)
        return constant_plan(pool, types, np.random.default_rng(seed).permutation(frequencies))


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
    "nearest": Arm("uniform", pool=PoolOptions(chosen="nearest")),
}
