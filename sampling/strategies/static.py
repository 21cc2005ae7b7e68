"""Every pair of the pool once, in a shuffled order, before any comes again: plain DPO's data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sampling.pool import PairPool
from sampling.snapshots import Snapshot
from sampling.strategies.permutation import Passes
from sampling.strategies.protocol import Draw, Plan


@dataclass(frozen=True)
class StaticStrategy:
    """All N_p × N_f pairs of every problem, whatever rule the pool has for what is chosen. Each pass over them has an
    order of its own; snapshots change nothing. The pairs are numbered, never listed.
    """

    def plan(self, pool: PairPool, history: Sequence[Snapshot], *, length: int, seed: int) -> Plan:
        return _StaticPlan(pool, seed)


class _StaticPlan:
    def __init__(self, pool: PairPool, seed: int) -> None:
        self._pool = pool
        self._ends = np.cumsum(pool.num_candidates)
        self._numbers = Passes(int(self._ends[-1]), seed)

    def draw(self, position: int, random: np.random.Generator) -> Draw:
        number = self._numbers[position]
        at = int(np.searchsorted(self._ends, number, side="right"))
        rejected = int(self._pool.rejected[at])
        candidates = self._pool.candidates(rejected)
        return Draw(rejected, int(candidates[number - int(self._ends[at])]), "all")  # counted back from the end
