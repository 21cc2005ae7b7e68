"""The pair pool: every scored completion as a side, and which of them can stand against which.

A side is stored once; a pair is two positions. What strategies look at lies in NumPy columns; texts and tokens lie in
a `datasets.Dataset` and are read when a pair is trained on.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from datasets import Dataset

from rlcode.errors import DataError
from rlcode.types import ErrorType, Rollout
from sampling.notebook import Kind

ERROR_TYPES: tuple[ErrorType, ...] = tuple(ErrorType)
"""What the numbers in a column of error types mean."""
PASSED = -1
"""In the place of an error type or a kind, where the side passed."""


@dataclass(frozen=True)
class Sides:
    """What is known of each scored completion, as columns of the same length.

    The rows are ordered by problem, policy version, index and seed, whatever the order in which they were judged.
    """

    task_ids: tuple[str, ...]
    """The problems; `problem` counts into them."""
    kinds: tuple[Kind, ...]
    """The failures at the notebook's second depth; `kind` counts into them."""
    problem: np.ndarray
    error_type: np.ndarray
    """Into `ERROR_TYPES`, or `PASSED`."""
    kind: np.ndarray
    """Into `kinds`, or `PASSED`."""
    policy_version: np.ndarray
    index: np.ndarray
    num_tokens: np.ndarray
    """Of the completion."""
    cut_off: np.ndarray
    """Whether it ended at the length limit."""
    row: np.ndarray
    """Where its text and tokens lie in the pool's `rows`."""

    def __len__(self) -> int:
        return len(self.problem)


class PairPool:
    """The sides that pairs can be drawn from.

    `rejected` holds the positions in `sides` of all failures that can be rejected, ascending; a strategy's weights
    have its order. `error_types`, `kinds` and `problems` are the columns of `sides` at these positions.
    """

    def __init__(self, sides: Sides, rows: Dataset, rejected: np.ndarray, chosen: dict[int, np.ndarray]) -> None:
        self.sides = sides
        self.rows = rows
        self.rejected = rejected
        self._chosen = chosen
        self.error_types = sides.error_type[rejected]
        self.kinds = sides.kind[rejected]
        self.problems = sides.problem[rejected]

    def candidates(self, rejected: int) -> np.ndarray:
        """The positions of the sides that can be chosen over `rejected`; never empty."""
        return self._chosen[int(self.sides.problem[rejected])]

    def choose(self, rejected: int, random: np.random.Generator) -> int:
        """The side that is chosen over `rejected`."""
        candidates = self.candidates(rejected)
        return int(candidates[random.integers(len(candidates))])

    def __len__(self) -> int:
        """How many different pairs there are."""
        return sum(len(self.candidates(rejected)) for rejected in self.rejected)


def build_pair_pool(rollouts: Iterable[Rollout]) -> PairPool:
    """Keep what can be part of a pair: scored, de-duplicated by problem, of problems with a pass and a failure.

    A completion that was cut off at the length limit is not chosen: its end is not the policy's.

    Raises:
        DataError: no problem has both a passed and a failed completion.
    """
    scored = [rollout for rollout in rollouts if rollout.verdict is not None]
    kept = list(_distinct(sorted(scored, key=_place)))
    sides = _columns(kept)
    passed = sides.error_type == PASSED
    choosable = np.flatnonzero(passed & ~sides.cut_off)
    chosen = {int(p): choosable[sides.problem[choosable] == p] for p in np.unique(sides.problem[choosable])}
    rejected = np.flatnonzero(~passed & np.isin(sides.problem, list(chosen)))
    if not len(rejected):
        raise DataError(
            "no problem has both a passed and a failed completion, so there are no pairs; draw more completions for "
            "each problem (--num_generations), or take easier problems"
        )
    return PairPool(sides, Dataset.from_list([_row(rollout) for rollout in kept]), rejected, chosen)


def _place(rollout: Rollout) -> tuple[str, int, int, int]:
    completion = rollout.completion
    return completion.task_id, completion.policy_version, completion.index, completion.seed


def _columns(rollouts: list[Rollout]) -> Sides:
    task_ids = sorted({rollout.completion.task_id for rollout in rollouts})
    kinds = sorted({kind for rollout in rollouts if (kind := _kind(rollout))})
    problem_of, kind_of = {t: i for i, t in enumerate(task_ids)}, {k: i for i, k in enumerate(kinds)}
    type_of = {error_type: i for i, error_type in enumerate(ERROR_TYPES)}
    found = [_kind(rollout) for rollout in rollouts]
    return Sides(
        task_ids=tuple(task_ids),
        kinds=tuple(kinds),
        problem=np.array([problem_of[r.completion.task_id] for r in rollouts], dtype=np.int32),
        error_type=np.array([type_of[kind.error_type] if kind else PASSED for kind in found], dtype=np.int16),
        kind=np.array([kind_of[kind] if kind else PASSED for kind in found], dtype=np.int32),
        policy_version=np.array([r.completion.policy_version for r in rollouts], dtype=np.int32),
        index=np.array([r.completion.index for r in rollouts], dtype=np.int32),
        num_tokens=np.array([len(r.completion.token_ids) for r in rollouts], dtype=np.int32),
        cut_off=np.array([r.completion.finish_reason == "length" for r in rollouts], dtype=bool),
        row=np.arange(len(rollouts)),
    )


def _kind(rollout: Rollout) -> Kind | None:
    verdict = rollout.verdict
    if verdict is None or verdict.error_type is None:
        return None
    return Kind(verdict.error_type, verdict.signature or "")


def _row(rollout: Rollout) -> dict:
    completion = rollout.completion
    return {
        "task_id": completion.task_id,
        "index": completion.index,
        "policy_version": completion.policy_version,
        "seed": completion.seed,
        "text": completion.text,
        "prompt_ids": list(completion.prompt_token_ids),
        "completion_ids": list(completion.token_ids),
    }


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
