"""The plan of most strategies: parts, each with its share of the draws and its weights over groups of failures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sampling.pool import PairPool
from sampling.strategies.protocol import Draw


class Groups:
    """The pool's failures by something that they share, such as their error type or their problem.

    `labels` (n) are the values that occur, ascending; `sizes` (n) says how many failures have each.
    """

    def __init__(self, pool: PairPool, column: np.ndarray) -> None:
        self.labels, self.sizes = np.unique(column, return_counts=True)
        self._members = pool.rejected[np.argsort(column, kind="stable")]
        self._starts = np.cumsum(self.sizes) - self.sizes

    def __len__(self) -> int:
        return len(self.labels)

    def draw(self, group: int, random: np.random.Generator) -> int:
        """A failure of this group, each as likely as any other, as a position in the pool's sides."""
        return int(self._members[self._starts[group] + random.integers(self.sizes[group])])


@dataclass(frozen=True, eq=False)
class Part:
    """Where a share of the draws comes from: a group by its weight, then a failure of it uniformly.

    `weights` has one number (>= 0, at least one > 0) for each group, and need not sum to one.
    """

    name: str
    share: float
    weights: np.ndarray

    def __post_init__(self) -> None:
        if not self.weights.any():
            raise ValueError(f"part {self.name!r} has nothing to draw: no group has a weight")

    def draw_group(self, random: np.random.Generator) -> int:
        return int(np.searchsorted(self._borders, random.random(), side="right"))

    @cached_property
    def _borders(self) -> np.ndarray:
        """Between the groups, up to the last one that has a weight: no rounding error points behind it."""
        sums = np.cumsum(self.weights[: np.flatnonzero(self.weights)[-1] + 1], dtype=float)
        return sums[:-1] / sums[-1]


class MixturePlan:
    """Draws a part by its share, then a failure of it, then what was chosen by the pool's rule.

    `parts_at(position)` gives the parts at a position, with shares that sum to one. It is asked at every draw, so it
    keeps what is costly.
    """

    def __init__(self, pool: PairPool, groups: Groups, parts_at: Callable[[int], Sequence[Part]]) -> None:
        self._pool = pool
        self._groups = groups
        self.parts_at = parts_at

    def draw(self, position: int, random: np.random.Generator) -> Draw:
        part = _pick(self.parts_at(position), random.random())
        rejected = self._groups.draw(part.draw_group(random), random)
        return Draw(rejected, self._pool.choose(rejected, random), part.name)


def constant_plan(pool: PairPool, groups: Groups, weights: np.ndarray) -> MixturePlan:
    """One part, "all", from the first draw to the last."""
    parts = [Part("all", 1.0, weights)]
    return MixturePlan(pool, groups, lambda position: parts)


def _pick(parts: Sequence[Part], point: float) -> Part:
    for part in parts:
        point -= part.share
        if point < 0:
            return part
    return parts[-1]
