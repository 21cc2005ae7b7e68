"""Failures unlike those already drawn since the last snapshot come first, and of these the pairs whose texts differ
little."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sampling.edit_distance import edit_distance
from sampling.pool import PairPool
from sampling.snapshots import Snapshot
from sampling.strategies.mixture import Groups
from sampling.strategies.protocol import Draw, Plan, draw_random


@dataclass(frozen=True)
class NoveltyStrategy:
    """A kind (error type and message) is drawn by its number of failures, divided by one more than how often it was
    drawn in this stage. Of `candidates` pairs with failures of this kind, drawn uniformly, the one is taken that has
    the most of: the likeness of its sides' tokens (0 where they are the same), divided by one more than how often its
    problem was drawn in this stage.

    A stage begins with each snapshot. A draw goes by those before it in its stage, so a run that resumes in the middle
    of one draws its beginning again.
    """

    candidates: int = 2

    def __post_init__(self) -> None:
        if self.candidates < 1:
            raise ValueError("candidates must be at least 1")

    def plan(self, pool: PairPool, history: Sequence[Snapshot], *, length: int, seed: int) -> Plan:
        return _NoveltyPlan(pool, self.candidates, history[-1].from_position, seed)


class _NoveltyPlan:
    def __init__(self, pool: PairPool, candidates: int, start: int, seed: int) -> None:
        self._pool = pool
        self._candidates = candidates
        self._start = start
        self._seed = seed
        self._kinds = Groups(pool, pool.kinds)
        self._kind_draws = np.zeros(len(self._kinds), dtype=np.int64)
        self._kind_weights = Urn(self._kinds.sizes)
        self._problem_draws = np.zeros(len(pool.sides.task_ids), dtype=np.int64)
        self._drawn: list[Draw] = []

    def draw(self, position: int, random: np.random.Generator) -> Draw:
        for missing in range(self._start + len(self._drawn), position):
            self._drawn.append(self._next(draw_random(self._seed, missing)))
        if self._start + len(self._drawn) == position:
            self._drawn.append(self._next(random))
        return self._drawn[position - self._start]

    def _next(self, random: np.random.Generator) -> Draw:
        kind = self._kind_weights.draw(random)
        pairs = [self._pair(kind, random) for _ in range(self._candidates)]
        draw = max(pairs, key=self._worth)  # the first of equal ones
        self._kind_draws[kind] += 1
        self._kind_weights.set(kind, self._kinds.sizes[kind] / (1 + self._kind_draws[kind]))
        self._problem_draws[self._pool.sides.problem[draw.rejected]] += 1
        return draw

    def _pair(self, kind: int, random: np.random.Generator) -> Draw:
        rejected = self._kinds.draw(kind, random)
        return Draw(rejected, self._pool.choose(rejected, random), "all")

    def _worth(self, pair: Draw) -> float:
        draws = self._problem_draws[self._pool.sides.problem[pair.rejected]]
        return likeness(self._pool.token_ids(pair.rejected), self._pool.token_ids(pair.chosen)) / float(1 + draws)


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    """The share of tokens that stay, from 0 to 1, when the fewest are inserted and deleted to make one sequence the
    other; 0 where nothing has to be."""
    changed = edit_distance(one, other)
    return 1 - changed / (len(one) + len(other)) if changed else 0.0


class Urn:
    """Draws a number by weights that change; both take the square root of how many there are."""

    def __init__(self, weights: np.ndarray) -> None:
        width = math.isqrt(len(weights) - 1) + 1
        self._rows = np.zeros((width, width))
        self._rows.flat[: len(weights)] = weights
        self._sums = self._rows.sum(axis=1)

    def set(self, number: int, weight: float) -> None:
        row, column = divmod(number, len(self._rows))
        self._rows[row, column] = weight
        self._sums[row] = self._rows[row].sum()

    def draw(self, random: np.random.Generator) -> int:
        row = _pick(self._sums, random.random())
        return row * len(self._rows) + _pick(self._rows[row], random.random())


def _pick(weights: np.ndarray, point: float) -> int:
    borders = np.cumsum(weights)
    return int(np.searchsorted(borders, point * borders[-1], side="right"))
