"""Which side can be chosen over which, found by binary search: no list of pairs is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from rlcode.types import Stage
from sampling.pool_options import PoolOptions
from sampling.sides import PASSED, Sides

_ANY_LENGTH = (0, (1 << 31) - 1)
_ROUNDING = 1e-9
_NONE = np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class _Shelf:
    """Sides of one stage in the order of prompt and length, so that those of one prompt and of a range of lengths
    are neighbours."""

    positions: np.ndarray
    keys: np.ndarray

    def spans(self, prompt: Any, least: Any, most: Any) -> tuple[Any, Any]:
        """Where the sides of a prompt with at least and at most so many tokens begin and end; for arrays too."""
        return (
            np.searchsorted(self.keys, _key(prompt, least), "left"),
            np.searchsorted(self.keys, _key(prompt, most), "right"),
        )


class Pairing:
    """The relation between sides: same prompt, a later stage, lengths not too different.

    A completion that was cut off at the length limit is not chosen, since its end is not the policy's.
    """

    def __init__(self, sides: Sides, options: PoolOptions) -> None:
        self._sides = sides
        self._stage = sides.stage
        self._ratio = options.max_length_ratio
        passed = (sides.error_type == PASSED) & ~sides.cut_off
        failed = sides.error_type != PASSED
        self._failed = failed & _under_prompts_with(failed, sides, options.min_failed)
        self._choosable = passed & _under_prompts_with(passed, sides, options.min_passed)
        if options.failure_pairs:
            self._choosable |= self._failed & ~sides.cut_off
        self._chosen_shelves = self._shelves(self._choosable)
        self._rejected_shelves = self._shelves(self._failed)

    def _shelves(self, wanted: np.ndarray) -> dict[Stage, _Shelf]:
        shelves = {}
        for stage in Stage:
            positions = np.flatnonzero(wanted & (self._stage == stage))
            keys = _key(self._sides.prompt[positions], self._sides.num_tokens[positions])
            order = np.argsort(keys, kind="stable")
            if len(order):
                shelves[stage] = _Shelf(positions[order], keys[order])
        return shelves

    def passes(self, rejected: int) -> np.ndarray:
        """The passes that can be chosen over a failure, the shortest first."""
        return self._on(Stage.PASS, rejected)

    def further(self, rejected: int) -> np.ndarray:
        """The failures of a later stage that can be chosen over a failure."""
        later = [self._on(stage, rejected) for stage in Stage if self._stage[rejected] < stage < Stage.PASS]
        return np.concatenate([_NONE, *later])

    def _on(self, stage: Stage, rejected: int) -> np.ndarray:
        shelf = self._chosen_shelves.get(stage)
        if shelf is None:
            return _NONE
        least, most = self._lengths(rejected, self._ratio)
        first, end = shelf.spans(self._sides.prompt[rejected], least, most)
        return shelf.positions[first:end]

    def num_better(self, *, any_length: bool = False) -> np.ndarray:
        """For each side, how many can be chosen over it; 0 for what is not rejected."""
        return self._partners(self._failed, self._chosen_shelves, any_length, later=True)

    def num_worse(self, *, any_length: bool = False) -> np.ndarray:
        """For each side, over how many it can be chosen."""
        return self._partners(self._choosable, self._rejected_shelves, any_length, later=False)

    def _partners(
        self, wanted: np.ndarray, shelves: dict[Stage, _Shelf], any_length: bool, *, later: bool
    ) -> np.ndarray:
        counts = np.zeros(len(self._sides), dtype=np.int64)
        for stage, shelf in shelves.items():
            of = np.flatnonzero(wanted & (self._stage < stage if later else self._stage > stage))
            least, most = self._lengths(of, None if any_length else self._ratio)
            first, end = shelf.spans(self._sides.prompt[of], least, most)
            counts[of] += end - first
        return counts

    def _lengths(self, of: Any, ratio: float | None) -> tuple[Any, Any]:
        """The least and the most tokens that a partner may have."""
        if ratio is None:
            return _ANY_LENGTH
        tokens = np.maximum(self._sides.num_tokens[of], 1)  # an empty side counts as one token
        least = np.ceil(tokens / ratio - _ROUNDING).astype(np.int64)
        most = np.minimum(np.floor(tokens * ratio + _ROUNDING), _ANY_LENGTH[1]).astype(np.int64)
        return least * (least > 1), most


def _key(prompt: Any, tokens: Any) -> Any:
    return np.asarray(prompt, dtype=np.int64) << 32 | np.asarray(tokens, dtype=np.int64)


def _under_prompts_with(wanted: np.ndarray, sides: Sides, minimum: int) -> np.ndarray:
    """Whether there are at least `minimum` wanted sides under a side's prompt."""
    counts = np.bincount(sides.prompt[wanted], minlength=sides.prompt.max(initial=-1) + 1)
    return counts[sides.prompt] >= minimum
