"""Weights as shares of a whole that are neither too small nor too large."""

from __future__ import annotations

import numpy as np

_NOTHING = 1e-200
"""Of the largest weight; quotients would overflow below."""


def bounded_shares(weights: np.ndarray, floor: float = 0.0, cap: float = 1.0) -> np.ndarray:
    """Shares that sum to one, each between `floor` and `cap`, and between these bounds in proportion to the weights.

    Exact water-filling: share i is `clip(level * weights[i], floor, cap)`, at the level where they sum to one. What
    entries with a weight leave under their caps goes to those without one, in equal shares. Bounds that `n` shares
    can't keep give way: all are then 1 / n.

    Args:
        weights: (n), >= 0.
    """
    count = len(weights)
    floor, cap = min(floor, 1 / count), max(cap, 1 / count)
    weighted = weights > weights.max() * _NOTHING
    left = 1 - np.sum(np.where(weighted, cap, floor))  # when the level is as high as can be
    if left >= 0:
        return np.where(weighted, cap, floor + left / max(1, np.sum(~weighted)))
    weights = np.where(weighted, weights, 0)
    return np.clip(_level(weights[weighted], 1 - floor * np.sum(~weighted), floor, cap) * weights, floor, cap)


def _level(weights: np.ndarray, whole: float, floor: float, cap: float) -> float:
    """Where `sum(clip(level * weights, floor, cap))`, which grows with the level in straight pieces, is `whole`."""
    bends = np.unique(np.concatenate([floor / weights, cap / weights]))
    sums = np.clip(bends[:, None] * weights, floor, cap).sum(axis=1)
    return float(np.interp(whole, sums, bends))
