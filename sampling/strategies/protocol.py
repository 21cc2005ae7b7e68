"""What a pair strategy is.

A strategy is a frozen dataclass whose fields are its options. Asked once for each snapshot, it makes a plan; the plan
says for every position which pair is drawn there. Both are pure: the same arguments give the same draws, on every
process and after every resume.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from sampling.pool import PairPool
from sampling.snapshots import Snapshot


@dataclass(frozen=True)
class Draw:
    """One drawn pair, as positions of its sides in the pool, and which part of the plan it came from."""

    rejected: int
    chosen: int
    part: str


def draw_random(seed: int, position: int) -> np.random.Generator:
    """What the draw at `position` of a run with this seed is decided by."""
    return np.random.default_rng([seed, position])


class Plan(Protocol):
    """Says which pair is drawn where, as long as the snapshots that it was made from are in force."""

    def draw(self, position: int, random: np.random.Generator) -> Draw:
        """The pair at `position`; `random` is that position's `draw_random`, fresh."""
        ...


class Strategy(Protocol):
    """Decides which pairs are trained on, and when."""

    def plan(self, pool: PairPool, history: Sequence[Snapshot], *, length: int, seed: int) -> Plan:
        """The plan while `history` is in force.

        Args:
            pool: the sides that pairs are made of.
            history: the snapshots so far, oldest first, at least one; the last one is in force.
            length: draws in the whole run, so `position / length` tells how far it is.
            seed: the run's, for what is decided once and not at each draw.
        """
        ...
