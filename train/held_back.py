"""Judges programs that passed the shown tests against the held-back ones, which the reward leaves out, and watches the
gap."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from rewards.held_back import GapWatch, HeldBackCheck, held_back_metrics
from rlcode.extraction_worker import Extractor
from rlcode.types import PartialLimits, Problem, Rollout, Unscored
from sandbox.judging import Submission, judge_answers
from sandbox.protocol import Sandbox

logger = logging.getLogger(__name__)


class HeldBackTests:
    """The held-back tests of a run's problems."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        """`problems` have the held-back tests only."""
        self._problems: Mapping[str, Problem] = {problem.task_id: problem for problem in problems}
        self._watch = GapWatch()
        self._batch: list[HeldBackCheck] = []

    def __bool__(self) -> bool:
        """Whether there is anything to watch."""
        return bool(self._problems)

    def check(
        self, rollouts: Iterable[Rollout], *, sandbox: Sandbox, extractor: Extractor, limits: PartialLimits
    ) -> list[HeldBackCheck]:
        """One for each scored rollout of a problem with held-back tests; only those that passed are judged again.

        Raises:
            SandboxError: the sandbox can't go on.
            DataError: the held-back tests of a problem can't be run.
        """
        scored = [r for r in rollouts if r.verdict is not None and r.completion.task_id in self._problems]
        passed = [r for r in scored if r.verdict is not None and r.verdict.passed]
        submissions = ((r, Submission(r.program, self._problems[r.completion.task_id])) for r in passed)
        judged = judge_answers(submissions, sandbox=sandbox, extractor=extractor, limits=limits)
        failed = [HeldBackCheck(False, False)] * (len(scored) - len(passed))
        return [*failed, *(_check_of(one.outcome) for one in judged)]

    def count(self, checks: Iterable[HeldBackCheck]) -> None:
        """Take note of checks of the batch under way."""
        self._batch += checks

    def end_batch(self, step: int, *, may_warn: bool = True) -> dict[str, float]:
        """The metrics of the batch. Warns once when the gap has grown."""
        metrics = held_back_metrics(self._batch)
        self._batch = []
        warning = self._watch.add(metrics["held_back/gap"]) if metrics else None
        if warning and may_warn:
            logger.warning("step %d: %s", step, warning)
        return metrics

    def go_on_from(self, log_history: Iterable[Mapping[str, Any]]) -> None:
        """A run that resumes from a checkpoint remembers the gaps that were logged; each entry counts as a batch."""
        for entry in log_history:
            if "held_back/gap" in entry:
                self._watch.add(entry["held_back/gap"])


def _check_of(outcome: Any) -> HeldBackCheck:
    if isinstance(outcome, Unscored):
        return HeldBackCheck(True, None, outcome.reason)
    return HeldBackCheck(True, outcome.passed)
