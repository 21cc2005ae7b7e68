"""Which of the scored sides are kept: one for each program, if its verdicts agree."""

from __future__ import annotations

import dataclasses

import numpy as np

from sampling.sides import Sides


def find_distinct(scored: Sides, max_tokens: int | None) -> tuple[Sides, dict[str, int]]:
    """One side for each normalised program under each prompt, and how many were dropped: `unstable`, `too_long` and
    `duplicates`.

    Of equal programs the one that stays is one that is not too long, then one that was not cut off, then the one of
    the newest policy, then the first. Where a program's outcome is not always the same, on whatever prompt of the
    problem, none stays.
    """
    too_long = scored.num_tokens > (max_tokens or np.inf)
    position = np.arange(len(scored))
    # the last key decides first
    order = np.lexsort(
        (position, -scored.policy_version, scored.cut_off, too_long, scored.prompt, scored.code, scored.problem)
    )
    programs = _starts(scored.problem[order], scored.code[order])
    groups = _starts(scored.problem[order], scored.code[order], scored.prompt[order])
    unstable = np.empty(len(scored), dtype=bool)
    unstable[order] = _differs_within(scored.error_type[order], programs)
    copies = np.empty(len(scored), dtype=np.int32)
    first = order[groups]
    copies[first] = np.diff(groups, append=len(order))
    kept = np.sort(first[~unstable[first] & ~too_long[first]])
    counts = {
        "unstable": int(unstable.sum()),
        "too_long": int((too_long & ~unstable).sum()),
        "duplicates": int((~too_long & ~unstable).sum()) - len(kept),
    }
    return dataclasses.replace(scored.take(kept), copies=copies[kept]), counts


def _starts(*columns: np.ndarray) -> np.ndarray:
    """Where runs of equal rows begin."""
    if not len(columns[0]):
        return np.empty(0, dtype=np.int64)
    changes = np.logical_or.reduce([column[1:] != column[:-1] for column in columns])
    return np.concatenate([[0], 1 + np.flatnonzero(changes)])


def _differs_within(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """For each row, whether its run holds different values."""
    if not len(starts):
        return np.empty(0, dtype=bool)
    differs = np.minimum.reduceat(values, starts) != np.maximum.reduceat(values, starts)
    return np.repeat(differs, np.diff(starts, append=len(values)))
