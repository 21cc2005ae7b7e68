"""The binary reward: 1.0 for a program that passed every test, 0.0 for one that did not, None without a verdict."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rlcode.errors import DataError
from rlcode.extraction_worker import Extractor
from rlcode.types import Answer, PartialLimits, Problem, Verdict
from sandbox.judging import judge_answers
from sandbox.protocol import Sandbox


def correctness(verdict: Verdict | None) -> float | None:
    """1.0 passed, 0.0 failed, None where the program could not be scored: TRL masks such a sample."""
    return None if verdict is None else float(verdict.passed)


class CorrectnessReward:
    """`correctness` as a reward function for TRL's `GRPOTrainer`.

    Rollouts of ours bring their verdicts in the column `verdict`. In a stock TRL script give the problems and an open
    sandbox, and let the data set have a column `task_id`: then the completions are judged here.
    """

    def __init__(
        self, problems: Iterable[Problem] = (), sandbox: Sandbox | None = None, limits: PartialLimits | None = None
    ) -> None:
        self.__name__ = "correctness"  # TRL names its metrics by it
        self._problems = {problem.task_id: problem for problem in problems}
        self._sandbox = sandbox
        self._limits = limits or PartialLimits()
        self._extractor = Extractor() if sandbox else None

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        verdict: Sequence[Verdict | None] | None = None,
        task_id: Sequence[str] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """One reward for each completion (a text, or a conversation's new messages)."""
        if verdict is None:
            verdict = self._judge(completions, task_id)
        return [correctness(one) for one in verdict]

    def _judge(self, completions: Sequence[Any], task_ids: Sequence[str] | None) -> list[Verdict | None]:
        if self._sandbox is None or self._extractor is None or task_ids is None:
            raise DataError(
                "CorrectnessReward needs either a column `verdict`, or a sandbox, problems and a column `task_id`"
            )
        answers = [
            Answer(_text(completion), self._problem(task_id))
            for completion, task_id in zip(completions, task_ids, strict=True)
        ]
        verdicts = {
            judged.item: judged.outcome if isinstance(judged.outcome, Verdict) else None
            for judged in judge_answers(
                enumerate(answers), sandbox=self._sandbox, extractor=self._extractor, limits=self._limits
            )
        }
        return [verdicts[place] for place in range(len(answers))]

    def _problem(self, task_id: str) -> Problem:
        if task_id not in self._problems:
            raise DataError(f"the data set has a row of task {task_id!r}, which is not among the problems given")
        return self._problems[task_id]


def _text(completion: Any) -> str:
    return completion if isinstance(completion, str) else str(completion[-1]["content"])
