"""Which of the scored sides are kept: one for each program, if its verdicts agree."""

from __future__ import annotations

import numpy as np

from sampling.sides import Scored, Sides


def find_distinct(everything: Sides, max_tokens: int | None) -> tuple[Sides, Scored, dict[str, int]]:
    """One side for each normalised program under each prompt, what these stand for, and how many completions were
    dropped: `unstable`, `too_long` and `duplicates`.

    Of equal programs the one that stays is one that is not too long, then one that was not cut off, then the one of
    the newest policy, then the first. Where a program's outcome is not always the same, on whatever prompt of the
    problem, none stays.
    """
    too_long = everything.num_tokens > (max_tokens or np.inf)
    keys = (-everything.policy_version, everything.cut_off, too_long, everything.prompt, everything.code)
    order = np.lexsort((*keys, everything.problem))  # stable, and the last key decides first
    problem, code, prompt = (column[order] for column in (everything.problem, everything.code, everything.prompt))
    unstable = np.empty(len(everything), dtype=bool)
    unstable[order] = _differs_within(everything.error_type[order], _starts(problem, code))
    groups = _starts(problem, code, prompt)
    sizes, first = np.diff(groups, append=len(order)), order[groups]
    is_kept = ~unstable[first] & ~too_long[first]
    kept = np.sort(first[is_kept])
    stand_in = np.empty(len(everything), dtype=np.int64)
    stand_in[order] = np.repeat(first, sizes)
    counts = {
        "unstable": int(unstable.sum()),
        "too_long": int((too_long & ~unstable).sum()),
        "duplicates": int((~too_long & ~unstable).sum()) - len(kept),
    }
    return everything.take(kept), _stood_for(everything, stand_in, kept), counts


def _stood_for(everything: Sides, stand_in: np.ndarray, kept: np.ndarray) -> Scored:
    """Those whose `stand_in` is among the `kept`."""
    wanted = np.isin(stand_in, kept)
    return Scored(
        problem=everything.problem[wanted],
        error_type=everything.error_type[wanted],
        text=everything.text[wanted],
        side=np.searchsorted(kept, stand_in[wanted]),
    )


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
