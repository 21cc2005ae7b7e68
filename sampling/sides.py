"""The sides that pairs are made of, as columns: what is asked of all scored completions at once."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from rlcode.types import ErrorType, Stage
from sampling.notebook import Kind

ERROR_TYPES: tuple[ErrorType, ...] = tuple(ErrorType)
"""What the numbers in a column of error types mean."""
PASSED = -1
"""In the place of an error type or a kind, where the side passed."""
_STAGES = np.array([*(error_type.stage for error_type in ERROR_TYPES), Stage.PASS], dtype=np.int8)  # -1 is the last one


@dataclass(frozen=True)
class Sides:
    """What is known of scored completions, as columns of the same length.

    The rows are ordered by problem, policy version, index and seed, and where all of these are equal (two runs with one
    policy) by a hash of the content: never by the order in which they were judged.
    """

    task_ids: tuple[str, ...]
    """The problems, sorted; `problem` counts into them."""
    kinds: tuple[Kind, ...]
    """The failures at the notebook's second depth, sorted; `kind` counts into them."""
    problem: np.ndarray
    prompt: np.ndarray
    """Numbers the prompts. A problem has several where runs asked in different ways."""
    error_type: np.ndarray
    """Into `ERROR_TYPES`, or `PASSED`."""
    kind: np.ndarray
    """Into `kinds`, or `PASSED`."""
    policy_version: np.ndarray
    index: np.ndarray
    seed: np.ndarray
    num_tokens: np.ndarray
    """Of the completion."""
    tests_passed: np.ndarray
    tests_total: np.ndarray
    cut_off: np.ndarray
    """Whether it ended at the length limit."""
    text: np.ndarray
    """Hash of the text, exact."""
    code: np.ndarray
    """Hash of the normalised program: two sides of one problem with the same code do the same."""
    row: np.ndarray
    """Where its text and tokens lie in the pool's `rows`."""

    def __len__(self) -> int:
        return len(self.problem)

    @property
    def stage(self) -> np.ndarray:
        """How far each one got, as numbers of `Stage`."""
        return _STAGES[self.error_type]

    def take(self, positions: np.ndarray) -> Sides:
        """The sides at `positions`, in their order."""
        columns = {name: getattr(self, name)[positions] for name in COLUMNS}
        return Sides(task_ids=self.task_ids, kinds=self.kinds, **columns)


@dataclass(frozen=True)
class Scored:
    """Every completion that a side stands for, itself included: columns of the same length, in the order of `Sides`."""

    problem: np.ndarray
    error_type: np.ndarray
    """Into `ERROR_TYPES`, or `PASSED`."""
    text: np.ndarray
    """Hash of the text, exact."""
    side: np.ndarray
    """The position in `Sides` of the one that stands for it."""

    def __len__(self) -> int:
        return len(self.problem)


COLUMNS = tuple(field.name for field in fields(Sides) if field.type == "np.ndarray")
