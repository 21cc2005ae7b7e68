"""The error notebook: how often the policy fails in which way, now and in the long run, overall and by problem.

Two memories with half-lives counted in samples: a type that is frequent now outweighs one that was frequent once.
The denominator is always all scored samples, passes included, so frequencies are shares of what the policy writes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from rlcode.errors import DataError
from rlcode.run_directory import write_json
from rlcode.types import ErrorType, Rollout

Horizon = Literal["short", "long"]


class _Memory:
    """Exponentially forgotten counts: a sample weighs half as much once `half_life` further samples were seen."""

    def __init__(self, half_life: float) -> None:
        self.half_life = half_life
        self.samples = 0.0
        self.failures: dict[ErrorType, float] = {}

    def add(self, outcomes: Counter[ErrorType | None]) -> None:
        """Take a batch down; the samples of one batch weigh the same."""
        decay = 0.5 ** (outcomes.total() / self.half_life)
        self.samples = self.samples * decay + outcomes.total()
        for known in self.failures:
            self.failures[known] *= decay
        for error_type, count in outcomes.items():
            if error_type is not None:
                self.failures[error_type] = self.failures.get(error_type, 0.0) + count

    def frequency(self, error_type: ErrorType) -> float:
        return self.failures.get(error_type, 0.0) / self.samples if self.samples else 0.0

    def to_json(self) -> dict[str, Any]:
        return {"half_life": self.half_life, "samples": self.samples, "failures": dict(self.failures)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> _Memory:
        memory = cls(data["half_life"])
        memory.samples = data["samples"]
        memory.failures = {ErrorType(name): count for name, count in data["failures"].items()}
        return memory


class ErrorNotebook:
    """Counts failures by error type over everything that was scored.

    Args:
        short_half_life: samples after which an observation counts half for *now*.
        long_half_life: the same for the long run.
    """

    def __init__(self, short_half_life: float = 1_000, long_half_life: float = 20_000) -> None:
        if not 0 < short_half_life <= long_half_life:
            raise ValueError("half-lives must be positive, the short one no longer than the long one")
        self._memories: dict[Horizon, _Memory] = {"short": _Memory(short_half_life), "long": _Memory(long_half_life)}
        self._problems: dict[str, _Memory] = {}
        self.scored = 0
        """Samples observed."""

    def observe(self, rollouts: Iterable[Rollout]) -> None:
        """Take down a batch that one policy wrote; in which order does not matter. A rollout without a verdict is left
        out: it says nothing of the policy."""
        by_problem: dict[str, Counter[ErrorType | None]] = {}
        for rollout in rollouts:
            if rollout.verdict is not None:
                outcomes = by_problem.setdefault(rollout.completion.task_id, Counter())
                outcomes[rollout.verdict.error_type] += 1
        for task_id, outcomes in by_problem.items():
            self._problem(task_id).add(outcomes)
        whole = sum(by_problem.values(), Counter())
        self.scored += whole.total()
        for memory in self._memories.values():
            memory.add(whole)

    def _problem(self, task_id: str) -> _Memory:
        if task_id not in self._problems:
            self._problems[task_id] = _Memory(self._memories["long"].half_life)
        return self._problems[task_id]

    def frequency(self, error_type: ErrorType, horizon: Horizon = "short") -> float:
        """Share of all scored samples that failed with `error_type`; 0 before anything was seen."""
        return self._memories[horizon].frequency(error_type)

    def frequencies(self, horizon: Horizon = "short") -> dict[ErrorType, float]:
        """Every error type that was seen, most frequent first."""
        memory = self._memories[horizon]
        shares = {error_type: memory.frequency(error_type) for error_type in memory.failures}
        return dict(sorted(shares.items(), key=lambda item: (-item[1], item[0])))

    def problem_frequency(self, task_id: str, error_type: ErrorType) -> float:
        """The same for one problem, in the long run; 0 for a problem that was not seen."""
        memory = self._problems.get(task_id)
        return memory.frequency(error_type) if memory else 0.0

    def save(self, path: Path) -> None:
        """Write the notebook as JSON; `load` gives it back exactly."""
        write_json(
            path,
            {
                "scored": self.scored,
                "memories": {name: memory.to_json() for name, memory in self._memories.items()},
                "problems": {task_id: memory.to_json() for task_id, memory in self._problems.items()},
            },
        )

    @classmethod
    def load(cls, path: Path) -> ErrorNotebook:
        """Read what `save` wrote.

        Raises:
            DataError: the file is missing or is no notebook.
        """
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            notebook = cls()
            notebook.scored = data["scored"]
            notebook._memories = {name: _Memory.from_json(data["memories"][name]) for name in notebook._memories}
            notebook._problems = {task_id: _Memory.from_json(m) for task_id, m in data["problems"].items()}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} is not an error notebook: {error!r}") from error
        return notebook
