"""Progressive, and what the last quiz shows is practised again; the quiz also decides in which order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rlcode.types import ErrorType
from sampling.notebook import ErrorNotebook
from sampling.pool import ERROR_TYPES, PairPool
from sampling.snapshots import QuizResult, Snapshot, last_quiz
from sampling.strategies.mixture import Groups, MixturePlan, Part
from sampling.strategies.options import Order, check_share
from sampling.strategies.protocol import Plan
from sampling.strategies.windows import Window, parts_by_window, plan_windows, window_weights


@dataclass(frozen=True)
class AdaptiveStrategy:
    """At every point three parts share the draws: "window", the types whose turn it is; "replay", the types that the
    last quiz met, by their share of its failures; "rest", all failures.

    The window has at least `window_share`, and replay no more than `replay_share`: without a quiz, or where the pool
    has none of the quiz's types, the window has replay's share too.

    A policy whose pass@1 on the quiz reaches `skill_threshold` goes from frequent types to rare ones, a weaker one from
    rare to frequent; before the first quiz the notebook's share of passes stands in. Once a quiz has decided, another
    one decides otherwise when it lies `hysteresis` beyond the threshold, so that noise does not.
    """

    window_share: float = 0.8
    replay_share: float = 0.2
    skill_threshold: float = 0.5
    hysteresis: float = 0.05

    def __post_init__(self) -> None:
        for name in ("window_share", "replay_share", "skill_threshold", "hysteresis"):
            check_share(name, getattr(self, name))
        if self.window_share + self.replay_share > 1:
            raise ValueError("window_share and replay_share must not be more than 1 together")

    def plan(self, pool: PairPool, history: Sequence[Snapshot], *, length: int, seed: int) -> Plan:
        types = Groups(pool, pool.error_types)
        windows = plan_windows(types, list(zip(history, self.orders(history), strict=True)), length)
        again = _replay_weights(types, last_quiz(history))
        replay = [Part("replay", self.replay_share, again)] if again.any() else []
        rest = 1 - (self.window_share + self.replay_share)

        def parts(window: Window) -> list[Part]:
            turn = Part("window", 1 - rest - sum(part.share for part in replay), window_weights(types, window))
            return [turn, *replay, Part("rest", rest, types.sizes)]

        return MixturePlan(pool, types, parts_by_window(windows, parts))

    def orders(self, history: Sequence[Snapshot]) -> list[Order]:
        """The order from each snapshot on."""
        orders: list[Order] = []
        decided: Order | None = None
        for snapshot in history:
            if quiz := last_quiz([snapshot]):
                decided = self._decide(decided, quiz.pass_at_1)
            orders.append(decided or self._decide(None, _pass_share(snapshot.notebook)))
        return orders

    def _decide(self, before: Order | None, skill: float) -> Order:
        margin = {None: 0.0, "low_to_high": self.hysteresis, "high_to_low": -self.hysteresis}[before]
        return "high_to_low" if skill >= self.skill_threshold + margin else "low_to_high"


def _replay_weights(types: Groups, quiz: QuizResult | None) -> np.ndarray:
    errors: Mapping[ErrorType, int] = quiz.errors if quiz else {}
    return np.array([errors.get(ERROR_TYPES[label], 0) for label in types.labels])


def _pass_share(notebook: ErrorNotebook) -> float:
    """Of all scored samples; 0 before anything was seen."""
    return 1 - sum(notebook.frequencies().values()) if notebook.scored else 0.0
