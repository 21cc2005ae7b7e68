"""Groups of completions for GRPO: which are worth training on, and a batch that is filled with them.

A group of which all completions passed or all failed has no advantage in it. Such groups are dropped and others drawn
in their place, as in DAPO's dynamic sampling (Yu et al., 2025), but never more than a bounded number; what is missing
then is filled with dropped ones, and training goes on. Nothing here generates or judges.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

from rlcode.errors import ConfigError
from rlcode.types import Rollout
from sampling.prompt_sampler import Band


class Fate(StrEnum):
    """What the filter says of a group."""

    KEPT = "kept"
    OUT_OF_BAND = "out_of_band"
    ALL_PASS = "all_pass"
    ALL_FAIL = "all_fail"
    UNSCORED = "unscored"


_FILL_UP = list(Fate)
"""In this order groups are taken: of the dropped ones first those that have some variance."""


@dataclass(frozen=True)
class Group:
    """The completions of one prompt, judged, in the order of their indices."""

    task_id: str
    rollouts: tuple[Rollout, ...]

    def fate(self, band: Band) -> Fate:
        """By the pass rate of the completions that were scored; fewer than two of them say nothing."""
        passed = [rollout.verdict.passed for rollout in self.rollouts if rollout.verdict is not None]
        if len(passed) < 2:
            return Fate.UNSCORED
        if not any(passed):
            return Fate.ALL_FAIL
        if all(passed):
            return Fate.ALL_PASS
        return Fate.KEPT if sum(passed) / len(passed) in band else Fate.OUT_OF_BAND

    @property
    def has_variance(self) -> bool:
        """Whether there is an advantage in it."""
        return self.fate(Band()) is Fate.KEPT


@dataclass(frozen=True)
class GroupFilter:
    """Which groups are trained on, and how many more than that may be drawn.

    Raises:
        ConfigError: a negative bound.
    """

    enabled: bool = True
    band: Band = field(default_factory=Band)
    max_refills: int = 3
    """Rounds in which groups are drawn in the place of dropped ones; together at most so many times a whole batch."""

    def __post_init__(self) -> None:
        if self.max_refills < 0:
            raise ConfigError(f"max_refills must not be negative, got {self.max_refills}; 0 draws no group anew")

    @classmethod
    def from_arguments(cls, args: Any) -> Self:
        """From an instance of `GrpoArguments`, or a namespace with the same names."""
        return cls(args.group_filter, Band.from_list(args.group_band), args.max_refills)


class GroupBatch:
    """Fills a batch of `size` groups round by round: draw as many as are `wanted`, `add` them, until none is."""

    def __init__(self, size: int, group_filter: GroupFilter) -> None:
        self.size = size
        self.drawn: list[Group] = []
        self.rounds = 0
        self._filter = group_filter

    def wanted(self) -> int:
        """How many groups to draw in the next round; 0 when the batch is full or the bound is reached."""
        if not self.drawn:
            return self.size
        missing = self.size - len(self._kept())
        if not self._filter.enabled or missing <= 0 or self.rounds > self._filter.max_refills:
            return 0
        # as many as are needed if the next ones are dropped as often as those so far (Laplace's rule of succession)
        likely = math.ceil(missing * (len(self.drawn) + 2) / (len(self._kept()) + 1))
        return min(likely, (1 + self._filter.max_refills) * self.size - len(self.drawn))

    def add(self, groups: Iterable[Group]) -> None:
        """The groups of one round, in the order in which their problems were drawn."""
        self.drawn += groups
        self.rounds += 1

    def chosen(self) -> list[Group]:
        """The groups to train on, `size` of them."""
        if not self._filter.enabled:
            return self.drawn
        return sorted(self.drawn, key=lambda group: _FILL_UP.index(self._fate(group)))[: self.size]

    @property
    def short(self) -> int:
        """How many of the chosen groups should have been dropped."""
        return max(0, self.size - len(self._kept())) if self._filter.enabled else 0

    def metrics(self) -> dict[str, float]:
        """What became of the groups, by the names under which it is logged."""
        chosen = self.chosen()
        left = Counter(map(self._fate, self.drawn)) - Counter(map(self._fate, chosen))
        flat = sum(not group.has_variance for group in chosen)
        return {
            "groups/drawn": len(self.drawn),
            **{f"groups/dropped_{fate}": left[fate] for fate in Fate if fate is not Fate.KEPT},
            "groups/surplus": left[Fate.KEPT],
            "groups/refill_rounds": self.rounds - 1,
            "groups/short": self.short,
            "groups/zero_variance_share": sum(not group.has_variance for group in self.drawn) / len(self.drawn),
            "groups/zero_variance_trained": flat / self.size,
        }

    def _kept(self) -> list[Group]:
        return [group for group in self.drawn if self._fate(group) is Fate.KEPT]

    def _fate(self, group: Group) -> Fate:
        return group.fate(self._filter.band)
