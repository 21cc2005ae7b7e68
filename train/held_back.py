"""Judges programs that passed the shown tests against the held-back ones, which the reward leaves out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rewards.held_back import HeldBackCheck, held_back_metrics
from rlcode.extraction_worker import Extractor
from rlcode.types import PartialLimits, Problem, Rollout, Unscored
from sandbox.judging import Submission, judge_answers
from sandbox.protocol import Sandbox


class HeldBackTests:
    """The held-back tests of a run's problems."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        """`problems` have the held-back tests only."""
        self._problems: Mapping[str, Problem] = {problem.task_id: problem for problem in problems}
        self._batch: list[HeldBackCheck] = []

    def __bool__(self) -> bool:
        """Whether there are any."""
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

    def end_batch(self) -> dict[str, float]:
        """The metrics of the batch."""
        metrics = held_back_metrics(self._batch)
        self._batch = []
        return metrics


def _check_of(outcome: Any) -> HeldBackCheck:
    if isinstance(outcome, Unscored):
        return HeldBackCheck(True, None, outcome.reason)
    return HeldBackCheck(True, outcome.passed)
