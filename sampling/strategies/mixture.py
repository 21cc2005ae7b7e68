"""The plan of most strategies: a few parts, each with its share of the draws and its weights over the failures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sampling.pool import PairPool
from sampling.strategies.protocol import Draw


@dataclass(frozen=True)
class Part:
    """Where a share of the draws comes from.

    `weights` has one number (>= 0, at least one > 0) for each of the pool's `rejected`, and need not sum to one.
    """

    name: str
    share: float
    weights: np.ndarray


class MixturePlan:
    """Draws a part by its share, then a failure of it by its weight, then what was chosen by the pool's rule.

    `parts_at(position)` gives the parts at a position, with shares that sum to one. It is asked at every draw, so it
    keeps what is costly.
    """

    def __init__(self, pool: PairPool, parts_at: Callable[[int], Sequence[Part]]) -> None:
        self._pool = pool
        self._parts_at = parts_at
        self._cumulative: dict[int, tuple[Part, np.ndarray]] = {}

    def draw(self, position: int, random: np.random.Generator) -> Draw:
        part = _pick(self._parts_at(position), random.random())
        sums = self._sums(part)
        at = int(np.searchsorted(sums, random.random() * sums[-1], side="right"))
        rejected = int(self._pool.rejected[min(at, len(sums) - 1)])
        return Draw(rejected, self._pool.choose(rejected, random), part.name)

    def _sums(self, part: Part) -> np.ndarray:
        # by identity, and the part is kept with it so that the identity stays its own
        if id(part) not in self._cumulative:
            self._cumulative[id(part)] = (part, np.cumsum(part.weights))
        return self._cumulative[id(part)][1]


def _pick(parts: Sequence[Part], point: float) -> Part:
    for part in parts:
        point -= part.share
        if point < 0:
            return part
    return parts[-1]
