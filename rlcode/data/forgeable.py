"""Problems whose verdicts a program can forge serve evaluation alone: a policy trained on them would learn to forge."""

from __future__ import annotations

from collections.abc import Iterable

from rlcode.errors import DataError
from rlcode.types import Problem, Verdict

FORGEABLE = "can be forged: judged in the candidate's interpreter"
"""What reports say of such verdicts."""
_ADVICE = (
    "its unittest classes run in the program's own interpreter, where a pass can be forged, so it serves `rlcode eval` "
    "alone; take another benchmark to train on"
)


def refuse_forgeable(problems: Iterable[Problem]) -> None:
    """Raises:
    DataError: one of the problems is judged in the program's interpreter.
    """
    found = next((problem for problem in problems if problem.forgeable), None)
    if found is not None:
        raise DataError(f"{found.source or 'the problem'} {found.task_id} can't be trained on: {_ADVICE}")


def refuse_forgeable_verdict(verdict: Verdict | None, task_id: str) -> None:
    """Raises:
    DataError: the verdict on a sample of the task can be forged.
    """
    if verdict is not None and verdict.forgeable:
        raise DataError(f"a verdict on {task_id} can't be trained on: {_ADVICE}")
