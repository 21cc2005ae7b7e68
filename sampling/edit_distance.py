"""How many tokens have to be inserted and deleted to make one sequence the other."""

from __future__ import annotations

import numpy as np
from rapidfuzz.distance import Indel


def edit_distance(one: np.ndarray, other: np.ndarray) -> int:
    """Inserted and deleted tokens, by the longest common subsequence."""
    return Indel.distance(one.tolist(), other.tolist())
