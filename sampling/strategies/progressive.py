"""Error types are practised one after the other, by how frequent they are now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sampling.pool import PairPool
from sampling.snapshots import Snapshot
from sampling.strategies.mixture import Groups, MixturePlan, Part
from sampling.strategies.options import Order, check_order, check_share
from sampling.strategies.protocol import Plan
from sampling.strategies.windows import Window, parts_by_window, plan_windows, window_weights


@dataclass(frozen=True)
class ProgressiveStrategy:
    """At every point `window_share` of the draws is of the types whose turn it is (part "window"); the others are over
    all failures (part "rest"). `plan_windows` says when which type has its turn, also after a new snapshot.
    """

    order: Order = "low_to_high"
    window_share: float = 0.8

    def __post_init__(self) -> None:
        check_order(self.order)
        check_share("window_share", self.window_share)

    def plan(self, pool: PairPool, history: Sequence[Snapshot], *, length: int, seed: int) -> Plan:
        types = Groups(pool, pool.error_types)
        windows = plan_windows(types, [(snapshot, self.order) for snapshot in history], length)

        def parts(window: Window) -> list[Part]:
            turn = Part("window", self.window_share, window_weights(types, window))
            return [turn, Part("rest", 1 - self.window_share, types.sizes)]

        return MixturePlan(pool, types, parts_by_window(windows, parts))
