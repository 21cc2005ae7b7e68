"""Every failed completion is as likely as any other: the baseline that a strategy has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sampling.pool import PairPool
from sampling.snapshots import Snapshot
from sampling.strategies.mixture import MixturePlan, Part
from sampling.strategies.protocol import Plan


@dataclass(frozen=True)
class UniformStrategy:
    def plan(self, pool: PairPool, history: Sequence[Snapshot], *, length: int, seed: int) -> Plan:
        everything = [Part("all", 1.0, np.ones(len(pool.rejected)))]
        return MixturePlan(pool, lambda position: everything)
