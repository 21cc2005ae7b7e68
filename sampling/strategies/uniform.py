"""Every failed completion is as likely as any other: the baseline that a strategy has to beat."""

from __future__ import annotations

import numpy as np

from rlcode.types import ErrorType
from sampling.notebook import ErrorNotebook


class UniformStrategy:
    def weights(self, error_types: list[ErrorType], task_ids: list[str], notebook: ErrorNotebook) -> np.ndarray:
        return np.ones(len(error_types))
