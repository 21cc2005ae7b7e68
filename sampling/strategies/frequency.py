"""An error type is drawn with probability proportional to its current frequency to some power, then a failure of
that type uniformly.

With power 1 and a notebook that saw just the pool this is uniform over failures; it differs once the notebook
knows more than the pool does (several rounds, a quiz), or with another power.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from rlcode.types import ErrorType
from sampling.notebook import ErrorNotebook


class FrequencyStrategy:
    """Weights by `frequency ** power`; 0 gives every error type the same share, 2 favours the frequent ones."""

    def __init__(self, power: float = 1.0) -> None:
        if power < 0:
            raise ValueError("power must not be negative")
        self.power = power

    def weights(self, error_types: list[ErrorType], task_ids: list[str], notebook: ErrorNotebook) -> np.ndarray:
        in_pool = Counter(error_types)
        shares = {error_type: notebook.frequency(error_type) ** self.power for error_type in in_pool}
        if not any(notebook.frequency(error_type) for error_type in in_pool):
            return np.ones(len(error_types))  # the notebook knows none of these types
        return np.array([shares[error_type] / in_pool[error_type] for error_type in error_types])
