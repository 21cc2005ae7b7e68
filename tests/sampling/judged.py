"""Judged rollouts that are made up."""

from __future__ import annotations

from rlcode.types import Completion, ErrorType, Program, Rollout, Verdict
from sampling.notebook import ErrorNotebook


def rollout(task_id: str, index: int, error_type: ErrorType | None, text: str = "", **fields: object) -> Rollout:
    completion = Completion(task_id, index, text or f"return {index}", finish_reason=str(fields.get("finish", "stop")))
    return Rollout(completion, Program(completion.text, "whole"), Verdict(error_type, int(error_type is None), 1))


def seen(rollouts: list[Rollout]) -> ErrorNotebook:
    notebook = ErrorNotebook(short_half_life=1e9, long_half_life=1e9)
    notebook.observe(rollouts)
    return notebook


def one_problem(*failures: ErrorType) -> list[Rollout]:
    return [rollout("p", 0, None), *(rollout("p", i, error) for i, error in enumerate(failures, start=1))]
