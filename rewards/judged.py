"""What every reward is made from: completions with their verdicts, brought by columns or judged here."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rlcode.data.forgeable import refuse_forgeable, refuse_forgeable_verdict
from rlcode.errors import DataError
from rlcode.extraction_worker import Extractor
from rlcode.types import Answer, PartialLimits, Problem, Program, Unscored, Verdict
from sandbox.judging import judge_answers
from sandbox.protocol import Sandbox

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sample:
    """A completion as a reward sees it."""

    verdict: Verdict | None
    """None where it could not be scored."""
    program: Program | None = None
    """None where nobody brought it along."""
    num_tokens: int | None = None
    """Of the completion; None where nobody brought its ids along."""
    is_chat: bool = False
    """Whether the prompt was messages and not a text to go on with."""


class Term(Protocol):
    """A number for a sample, and None for one without a verdict: TRL masks a sample that has no reward at all."""

    def __call__(self, sample: Sample) -> float | None: ...


class JudgedReward:
    """A term as a reward function for TRL's `GRPOTrainer`.

    Rollouts of ours bring their verdicts and programs in the columns `verdict` and `program`. In a stock TRL script
    give the problems and an open sandbox, and let the data set have a column `task_id`: then the completions are judged
    here.
    """

    def __init__(
        self,
        name: str,
        term: Term,
        problems: Iterable[Problem] = (),
        sandbox: Sandbox | None = None,
        limits: PartialLimits | None = None,
    ) -> None:
        """Raises DataError where a program could forge its verdict on one of the problems."""
        self.__name__ = name  # TRL names its metrics by it
        self._term = term
        self._problems = {problem.task_id: problem for problem in problems}
        refuse_forgeable(self._problems.values())
        self._sandbox = sandbox
        self._limits = limits or PartialLimits()
        self._extractor: Extractor | None = None  # opened where it is needed: a reward may travel to another process

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float | None]:
        """One reward for each completion (a text, or a conversation's new messages).

        Raises:
            DataError: a column is missing, names a problem that was not given, or brings a verdict that can be forged.
        """
        return [self._term(sample) for sample in self._samples(prompts, completions, columns)]

    def _samples(self, prompts: Sequence[Any], completions: Sequence[Any], columns: dict[str, Any]) -> list[Sample]:
        nothing = [None] * len(completions)
        verdicts, programs = columns.get("verdict"), columns.get("program") or nothing
        if verdicts is None:
            programs, verdicts = self._judge(completions, columns.get("task_id"))
        for verdict in verdicts:
            refuse_forgeable_verdict(verdict, "a problem")
        ids = columns.get("completion_ids")
        lengths = nothing if ids is None else map(len, ids)
        return [
            Sample(verdict, program, length, not isinstance(prompt, str))
            for verdict, program, length, prompt in zip(verdicts, programs, lengths, prompts, strict=True)
        ]

    def _judge(
        self, completions: Sequence[Any], task_ids: Sequence[str] | None
    ) -> tuple[list[Program], list[Verdict | None]]:
        if self._sandbox is None or task_ids is None:
            raise DataError(
                f"{type(self).__name__} needs either a column `verdict`, or a sandbox, problems and a column `task_id`"
            )
        answers = [
            Answer(_text(completion), self._problem(task_id))
            for completion, task_id in zip(completions, task_ids, strict=True)
        ]
        self._extractor = self._extractor or Extractor()
        judging = judge_answers(
            enumerate(answers), sandbox=self._sandbox, extractor=self._extractor, limits=self._limits
        )
        judged = sorted(judging, key=lambda one: one.item)
        unscored = [one.outcome.reason for one in judged if isinstance(one.outcome, Unscored)]
        if unscored:
            log.warning("%d of %d completions could not be judged: %s", len(unscored), len(judged), unscored[-1])
        verdicts = [one.outcome if isinstance(one.outcome, Verdict) else None for one in judged]
        return [one.program for one in judged], verdicts

    def _problem(self, task_id: str) -> Problem:
        if task_id not in self._problems:
            raise DataError(f"the data set has a row of task {task_id!r}, which is not among the problems given")
        return self._problems[task_id]

    def close(self) -> None:
        """End the worker that extracts programs; the sandbox stays open. Can be called twice."""
        if self._extractor is not None:
            self._extractor.close()
        self._extractor = None

    def __getstate__(self) -> dict[str, Any]:
        """Without the worker, which stays with its process."""
        return {**self.__dict__, "_extractor": None}


def _text(completion: Any) -> str:
    return completion if isinstance(completion, str) else str(completion[-1]["content"])
