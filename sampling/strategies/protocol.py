"""What a pair strategy is."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from rlcode.types import ErrorType
from sampling.notebook import ErrorNotebook


class Strategy(Protocol):
    """Says how likely each failed completion is to be the `rejected` side of the next pair."""

    def weights(self, error_types: list[ErrorType], task_ids: list[str], notebook: ErrorNotebook) -> np.ndarray:
        """One weight (>= 0, at least one > 0) for each failed completion of the pool, given its error type and
        problem. Shape (len(error_types),); need not sum to one."""
        ...
