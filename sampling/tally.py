"""Counts over the rollouts of a run, kept as they come: what progress and summary are made of."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from rlcode.types import Completion, ErrorType
from sampling.rollout_lines import Outcome


class SampleKeys:
    """A set of samples, (task, index) each, in little memory: an integer of bits for each task."""

    def __init__(self) -> None:
        self._bits: dict[str, int] = {}

    def add(self, task_id: str, index: int) -> None:
        self._bits[task_id] = self._bits.get(task_id, 0) | 1 << index

    def __contains__(self, key: object) -> bool:
        match key:
            case (str(task_id), int(index)):
                return bool(self._bits.get(task_id, 0) >> index & 1)
        return False

    def __len__(self) -> int:
        return sum(bits.bit_count() for bits in self._bits.values())


@dataclass
class ProblemTally:
    scored: int = 0
    passed: int = 0


@dataclass
class Tally:
    """What became of the samples of a run so far."""

    total: int
    """Samples that the run is to have."""
    found: int = 0
    """Rollouts that an earlier start of the run left."""
    drawn: int = 0
    """Completions that this process wrote; the rest of a block that is drawn again is among them."""
    tokens: int = 0
    """Tokens of these."""
    judged: int = 0
    """Rollouts that this process wrote."""
    unscored: int = 0
    passed: int = 0
    error_types: Counter[ErrorType] = field(default_factory=Counter)
    problems: dict[str, ProblemTally] = field(default_factory=dict)

    @property
    def rollouts(self) -> int:
        return self.found + self.judged

    @property
    def scored(self) -> int:
        return self.rollouts - self.unscored

    def count_found(self, outcome: Outcome) -> None:
        """A rollout that was here before."""
        self.found += 1
        self._count(outcome)

    def count_drawn(self, completion: Completion) -> None:
        self.drawn += 1
        self.tokens += len(completion.token_ids)

    def count_judged(self, outcome: Outcome) -> None:
        """A rollout of this process."""
        self.judged += 1
        self._count(outcome)

    def _count(self, outcome: Outcome) -> None:
        problem = self.problems.setdefault(outcome.task_id, ProblemTally())
        if not outcome.is_scored:
            self.unscored += 1
            return
        problem.scored += 1
        if outcome.passed:
            problem.passed += 1
            self.passed += 1
        elif outcome.error_type is not None:
            self.error_types[outcome.error_type] += 1
