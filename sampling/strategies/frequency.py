"""An error type is drawn with probability proportional to its current frequency to some power, then a failure of
that type uniformly.

With power 1 and a notebook that saw just the pool this is uniform over failures; it differs once the notebook
knows more than the pool does (several rounds, a quiz), or with another power.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sampling.notebook import ErrorNotebook
from sampling.pool import ERROR_TYPES, PairPool
from sampling.snapshots import Snapshot
from sampling.strategies.mixture import Groups, constant_plan
from sampling.strategies.options import check_share
from sampling.strategies.protocol import Plan
from sampling.strategies.shares import bounded_shares


@dataclass(frozen=True)
class FrequencyStrategy:
    """Weights by `frequency ** power`; 0 gives every error type the same share, 2 favours the frequent ones.

    No type that the pool has gets less than `floor` of the draws or more than `cap`. Where the pool has too many types
    for the floor, or too few for the cap, each gets the same share.
    """

    power: float = 1.0
    floor: float = 0.0
    cap: float = 1.0

    def __post_init__(self) -> None:
        if self.power < 0:
            raise ValueError("power must not be negative")
        check_share("floor", self.floor)
        check_share("cap", self.cap)
        if self.floor > self.cap:
            raise ValueError(f"floor ({self.floor}) must not be above cap ({self.cap})")

    def plan(self, pool: PairPool, history: Sequence[Snapshot], *, length: int, seed: int) -> Plan:
        types = Groups(pool, pool.error_types)
        weights = self._weights(types, history[-1].notebook)
        return constant_plan(pool, types, bounded_shares(weights, self.floor, self.cap))

    def _weights(self, types: Groups, notebook: ErrorNotebook) -> np.ndarray:
        now = type_frequencies(types, notebook)
        if not now.any():
            return types.sizes.astype(float)  # the notebook knows none of these types: uniform over failures
        return (now / now.max()) ** self.power


def type_frequencies(types: Groups, notebook: ErrorNotebook) -> np.ndarray:
    """The current frequency of each error type among all scored samples, in the order of the groups."""
    return np.array([notebook.frequency(ERROR_TYPES[label]) for label in types.labels])
