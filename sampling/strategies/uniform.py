"""Every failure is as likely as any other, or every problem and then every failure of it: the two baselines that a
strategy has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sampling.pool import PairPool
from sampling.snapshots import Snapshot
from sampling.strategies.mixture import Groups, constant_plan
from sampling.strategies.options import check_choice
from sampling.strategies.protocol import Plan


@dataclass(frozen=True)
class UniformStrategy:
    """`over` failures: a problem is drawn as often as it has failures; over problems: each is drawn alike."""

    over: Literal["failures", "problems"] = "failures"

    def __post_init__(self) -> None:
        check_choice("over", self.over, ("failures", "problems"))

    def plan(self, pool: PairPool, history: Sequence[Snapshot], *, length: int, seed: int) -> Plan:
        problems = Groups(pool, pool.problems)
        return constant_plan(pool, problems, problems.sizes if self.over == "failures" else np.ones(len(problems)))
