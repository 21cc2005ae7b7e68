"""Rules for which side is chosen over a rejected one. A new one is one function and one line in the table."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from sampling.edit_distance import edit_distance

if TYPE_CHECKING:
    from sampling.pool import PairPool

Rule = Callable[["PairPool", int, np.ndarray, np.random.Generator], int]
"""Gives one of the candidates, from the pool, the rejected side, the positions of the candidates (at least one), and
randomness that is the draw's own."""

MAX_COMPARED = 8
"""Candidates that `nearest` looks at; of more, those whose lengths are nearest."""


def random(pool: PairPool, rejected: int, candidates: np.ndarray, generator: np.random.Generator) -> int:
    """Any, with equal chances."""
    return int(candidates[generator.integers(len(candidates))])


def nearest(pool: PairPool, rejected: int, candidates: np.ndarray, generator: np.random.Generator) -> int:
    """The one with the least edit distance in tokens; of equal ones the first in the pool."""
    lengths = pool.sides.num_tokens
    gaps = np.abs(lengths[candidates] - lengths[rejected])
    best, least = -1, np.inf
    tokens = pool.token_ids(rejected)
    for at in np.lexsort((candidates, gaps))[:MAX_COMPARED]:
        if gaps[at] > least:  # a difference in length has to be inserted, at least
            break
        position = int(candidates[at])
        distance = edit_distance(tokens, pool.token_ids(position))
        if (distance, position) < (least, best):
            best, least = position, distance
    return best


def shortest(pool: PairPool, rejected: int, candidates: np.ndarray, generator: np.random.Generator) -> int:
    """The one with the fewest tokens; of equal ones the first in the pool."""
    lengths = pool.sides.num_tokens[candidates]
    return int(candidates[lengths == lengths.min()].min())


def most_recent(pool: PairPool, rejected: int, candidates: np.ndarray, generator: np.random.Generator) -> int:
    """Any of those by the newest policy, with equal chances."""
    versions = pool.sides.policy_version[candidates]
    return random(pool, rejected, candidates[versions == versions.max()], generator)


RULES: dict[str, Rule] = {"random": random, "nearest": nearest, "shortest": shortest, "most_recent": most_recent}
