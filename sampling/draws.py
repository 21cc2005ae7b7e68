"""The sequence of pairs that a run is trained on: position in, pair out."""

from __future__ import annotations

from sampling.pool import PairPool
from sampling.snapshots import SnapshotHistory
from sampling.strategies.protocol import Draw, Plan, Strategy, draw_random

_PLANS_KEPT = 2
"""Who reads ahead of a snapshot and who reports on what was trained before it ask in turns."""


class PairSequence:
    """The draws of a run of `length` draws; position t holds the same pair whoever asks, and however often.

    It has no state but its history: a draw is a function of the seed, its position and the snapshots in force there.
    """

    def __init__(self, pool: PairPool, strategy: Strategy, history: SnapshotHistory, *, length: int, seed: int) -> None:
        self.pool = pool
        self.history = history
        self.length = length
        self._strategy = strategy
        self._seed = seed
        self._plans: dict[int, Plan] = {}  # by how many snapshots they were made from

    def draw(self, position: int) -> Draw:
        """The pair at `position`, from 0 to `length` - 1."""
        return self._plan(position).draw(position, draw_random(self._seed, position))

    def _plan(self, position: int) -> Plan:
        count = self.history.count_at(position)
        if count not in self._plans:
            if len(self._plans) == _PLANS_KEPT:
                del self._plans[next(iter(self._plans))]
            snapshots = self.history.at(position)
            self._plans[count] = self._strategy.plan(self.pool, snapshots, length=self.length, seed=self._seed)
        return self._plans[count]
