"""Preference pairs from rollouts: a failed completion against a passed one of the same problem.

A side is stored once; a pair is two positions. Which failure is drawn at position t is the strategy's business
and a function of the seed, t and the notebook alone, so every process and every resumed run draws the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from rlcode.errors import DataError
from rlcode.types import ErrorType, PreferencePair, Rollout
from sampling.notebook import ErrorNotebook
from sampling.strategies.protocol import Strategy


@dataclass
class PairPool:
    """The sides that pairs can be drawn from.

    `rejected` holds the positions of all failed sides whose problem has a passed one; `chosen[task_id]` those of the
    passed ones. Positions index `sides`.
    """

    sides: list[Rollout] = field(default_factory=list)
    rejected: list[int] = field(default_factory=list)
    chosen: dict[str, list[int]] = field(default_factory=dict)

    def error_types(self) -> list[ErrorType]:
        """The error type of each rejected side, in the order of `rejected`."""
        return [_error_type(self.sides[position]) for position in self.rejected]

    def task_ids(self) -> list[str]:
        """The problem of each rejected side, in the order of `rejected`."""
        return [self.sides[position].completion.task_id for position in self.rejected]


def build_pair_pool(rollouts: Iterable[Rollout]) -> PairPool:
    """Keep what can be part of a pair: scored, de-duplicated by problem, of problems with a pass and a failure.

    A completion that was cut off at the length limit is not chosen: its end is not the policy's.

    Raises:
        DataError: no problem has both a passed and a failed completion.
    """
    pool = PairPool(sides=list(_distinct(rollout for rollout in rollouts if rollout.verdict is not None)))
    failed: dict[str, list[int]] = {}
    for position, side in enumerate(pool.sides):
        if side.verdict is not None and side.verdict.passed:
            if side.completion.finish_reason != "length":
                pool.chosen.setdefault(side.completion.task_id, []).append(position)
        elif side.verdict is not None and side.verdict.error_type is not None:
            failed.setdefault(side.completion.task_id, []).append(position)
    pool.rejected = [
        position for task_id, positions in failed.items() if task_id in pool.chosen for position in positions
    ]
    if not pool.rejected:
        raise DataError(
            "no problem has both a passed and a failed completion, so there are no pairs; draw more completions for "
            "each problem (--num_generations), or take easier problems"
        )
    return pool


def _distinct(rollouts: Iterable[Rollout]) -> Iterable[Rollout]:
    seen: set[tuple[str, str]] = set()
    for rollout in rollouts:
        key = (rollout.completion.task_id, _normalised(rollout.completion.text))
        if key not in seen:
            seen.add(key)
            yield rollout


def _normalised(text: str) -> str:
    """Text without blank lines and trailing space: line by line, for this is hostile text and is not parsed here."""
    return "\n".join(stripped for line in text.splitlines() if (stripped := line.rstrip()))


def draw_pairs(
    pool: PairPool, strategy: Strategy, notebook: ErrorNotebook, *, count: int, seed: int, start: int = 0
) -> list[PreferencePair]:
    """The pairs at positions `start` … `start + count - 1` of the endless sequence that `seed` fixes.

    `rejected` is drawn by the strategy's weights, `chosen` uniformly from the passed completions of its problem.
    """
    weights = strategy.weights(pool.error_types(), pool.task_ids(), notebook)
    cumulative = np.cumsum(weights)
    return [_draw(pool, cumulative, seed, position) for position in range(start, start + count)]


def _draw(pool: PairPool, cumulative: np.ndarray, seed: int, position: int) -> PreferencePair:
    random = np.random.default_rng([seed, position])
    at = int(np.searchsorted(cumulative, random.random() * cumulative[-1], side="right"))
    rejected = pool.sides[pool.rejected[min(at, len(pool.rejected) - 1)]]
    candidates = pool.chosen[rejected.completion.task_id]
    chosen = pool.sides[candidates[int(random.integers(len(candidates)))]]
    return PreferencePair(
        task_id=rejected.completion.task_id,
        chosen=chosen.completion,
        rejected=rejected.completion,
        error_type=_error_type(rejected),
    )


def _error_type(side: Rollout) -> ErrorType:
    if side.verdict is None or side.verdict.error_type is None:
        raise ValueError("a rejected side must have failed")
    return side.verdict.error_type
