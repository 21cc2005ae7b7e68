"""What of the rollouts became part of pairs, and why the rest did not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sampling.pairing import Pairing
from sampling.sides import PASSED, Sides


@dataclass(frozen=True)
class PoolSummary:
    """Counts of rollouts: `read` is the sum of those dropped, for the first reason that holds, and those kept."""

    read: int
    unscored: int
    """No verdict."""
    unstable: int
    """The same program of one problem was judged in different ways, so none of its verdicts is believed."""
    too_long: int
    """More than `max_side_tokens`."""
    duplicates: int
    """Another completion of the same prompt has the same program."""
    cut_off: int
    """Passed, but ended at the length limit, so it is not chosen."""
    one_sided: int
    """There is nothing under the same prompt to pair it with."""
    too_unequal: int
    """All that it could be paired with is longer or shorter by more than `max_length_ratio`."""
    passed: int
    """Kept."""
    failed: int
    """Kept."""
    problems: int
    """That have pairs."""
    pairs: int
    """Different ones."""

    @property
    def dropped(self) -> dict[str, int]:
        """Rollouts by the reason why they are in no pair."""
        names = ("unscored", "unstable", "too_long", "duplicates", "cut_off", "one_sided", "too_unequal")
        return {name: getattr(self, name) for name in names}

    def __str__(self) -> str:
        dropped = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in self.dropped.items() if count)
        return (
            f"{self.pairs} pairs of {self.problems} problems from {self.passed} passes and {self.failed} failures; "
            f"of {self.read} rollouts were left out: {dropped or 'none'}"
        )


def count_pairs(sides: Sides, pairing: Pairing) -> dict[str, int]:
    """The part of a summary that tells what became of the distinct sides."""
    passed = sides.error_type == PASSED
    better = pairing.num_better()
    paired = (better + pairing.num_worse()) > 0
    pairable = (pairing.num_better(any_length=True) + pairing.num_worse(any_length=True)) > 0
    cut_off = passed & sides.cut_off
    return {
        "cut_off": int(cut_off.sum()),
        "one_sided": int((~pairable & ~cut_off).sum()),
        "too_unequal": int((pairable & ~paired).sum()),
        "passed": int((passed & paired).sum()),
        "failed": int((~passed & paired).sum()),
        "problems": len(np.unique(sides.problem[better > 0])),
        "pairs": int(better.sum()),
    }
