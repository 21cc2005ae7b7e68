"""How many tokens have to be inserted and deleted to make one sequence the other."""

from __future__ import annotations

import numpy as np

MAX_TOKENS = 1024
"""Behind a common start, no more are compared; of what is left the difference in length counts."""


def edit_distance(one: np.ndarray, other: np.ndarray) -> int:
    """Inserted and deleted tokens, by the longest common subsequence.

    Its length comes from a bit-parallel row of the dynamic programme in one integer (Hyyrö, "Bit-parallel LCS-length
    computation revisited", 2004).
    """
    one, other = _without_common_ends(one, other)
    left = abs(len(one[MAX_TOKENS:]) - len(other[MAX_TOKENS:]))
    one, other = one[:MAX_TOKENS], other[:MAX_TOKENS]
    return left + len(one) + len(other) - 2 * _common_length(one.tolist(), other.tolist())


def _without_common_ends(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    start = _common_start(one, other)
    one, other = one[start:], other[start:]
    end = _common_start(one[::-1], other[::-1])
    return one[: len(one) - end], other[: len(other) - end]


def _common_start(one: np.ndarray, other: np.ndarray) -> int:
    length = min(len(one), len(other))
    different = np.flatnonzero(one[:length] != other[:length])
    return int(different[0]) if len(different) else length


def _common_length(one: list[int], other: list[int]) -> int:
    """Length of the longest common subsequence."""
    places: dict[int, int] = {}
    for place, token in enumerate(one):
        places[token] = places.get(token, 0) | 1 << place
    row = full = (1 << len(one)) - 1
    for token in other:
        if token in places:  # else the row stays as it is
            kept = row & places[token]
            row = (row + kept) | (row - kept)
    return len(one) - (row & full).bit_count()
