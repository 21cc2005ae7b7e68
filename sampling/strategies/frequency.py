"""An error type is drawn with probability proportional to its current frequency to some power, then a failure of
that type uniformly.

With power 1 and a notebook that saw just the pool this is uniform over failures; it differs once the notebook
knows more than the pool does (several rounds, a quiz), or with another power.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rlcode.types import ErrorType
from sampling.notebook import ErrorNotebook
from sampling.pool import ERROR_TYPES, PairPool
from sampling.snapshots import Snapshot
from sampling.strategies.mixture import MixturePlan, Part
from sampling.strategies.protocol import Plan


@dataclass(frozen=True)
class FrequencyStrategy:
    """Weights by `frequency ** power`; 0 gives every error type the same share, 2 favours the frequent ones."""

    power: float = 1.0

    def __post_init__(self) -> None:
        if self.power < 0:
            raise ValueError("power must not be negative")

    def plan(self, pool: PairPool, history: Sequence[Snapshot], *, length: int, seed: int) -> Plan:
        everything = [Part("all", 1.0, self._weights(pool, history[-1].notebook))]
        return MixturePlan(pool, lambda position: everything)

    def _weights(self, pool: PairPool, notebook: ErrorNotebook) -> np.ndarray:
        types, members, sizes = np.unique(pool.error_types, return_inverse=True, return_counts=True)
        frequencies = np.array([notebook.frequency(ErrorType(ERROR_TYPES[t])) for t in types])
        if not frequencies.any():
            return np.ones(len(pool.error_types))  # the notebook knows none of these types
        return (frequencies**self.power / sizes)[members]
