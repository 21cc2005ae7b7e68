"""AP2O-Coder's sampling as its authors published it (arXiv 2510.02393, `merge.py` and `utils/collator.py` of
TsingZ0/AP2O), to compare with. `adaptive` is the same idea with the faults of this one mended.

Each problem's failures lie in a row by how frequent their type is *on that problem*. An epoch visits each problem once;
a window slides over the row from the first epoch to the last. To the window's failures come copies of those whose type
the last quiz met, and one of all these is drawn. With as many epochs as failures or more the window is a single failure
and the copies outweigh it: what is drawn follows the quiz's counts, in both orders.

Differences, all of them:
- Error types are this project's closed set, in the pool and in the quiz alike. AP2O takes the name of the exception, so
  its `AssertionError` is `wrong_answer`, and exceptions that it tells apart can be one `other_runtime` here.
- The arithmetic of the window is exact instead of in floats. Where it reaches beyond the last failure at the run's end
  it stops there; in AP2O it is empty then, and where no quiz adds anything the run dies of an IndexError.
- An epoch's share that is gone is the share of its draws. AP2O counts optimizer steps, so a batch has one window.
- What the pool leaves out is not counted: programs whose verdicts differ, those that are too long.
- Of texts that differ only in what the pool normalises away, each counts, and one is trained on for all.
- A quiz counts from the snapshot on that it comes with; AP2O holds one after each epoch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rlcode.errors import DataError
from rlcode.types import ErrorType
from sampling.pool import ERROR_TYPES, PASSED, PairPool, Scored
from sampling.snapshots import Snapshot, last_quiz
from sampling.strategies.options import Order, check_order
from sampling.strategies.permutation import Passes
from sampling.strategies.protocol import Draw, Plan


@dataclass(frozen=True)
class Ap2oStrategy:
    """The window goes from each problem's rare types to its frequent ones, or back, in `epochs` draws of each problem.

    A run shorter than epochs × problems ends before the window does; in a longer one it stays at the end.
    """

    order: Order = "low_to_high"
    epochs: int = 200

    def __post_init__(self) -> None:
        check_order(self.order)
        if self.epochs < 1:
            raise ValueError("epochs must be at least 1")

    def plan(self, pool: PairPool, history: Sequence[Snapshot], *, length: int, seed: int) -> Plan:
        quiz = last_quiz(history)
        return _Ap2oPlan(self, _Exam(pool), quiz.errors if quiz else {}, seed)

    def window(self, position: int, problems: int, failures: int) -> tuple[int, int]:
        """From where to where in a problem's row of failures the window reaches at a position of the run."""
        start = min(position * failures // (problems * self.epochs), failures - 1)
        stop = min(max((position + problems) * failures // (problems * self.epochs), start + 1), failures)
        return (start, stop) if self.order == "low_to_high" else (failures - stop, failures - start)


class _Exam:
    """The problems that pairs are drawn from: those with two different passes and two different failures at least.

    Texts are compared exactly, over all problems: one that two problems have in common counts for the first alone. A
    problem that was asked in several ways counts as several.
    """

    def __init__(self, pool: PairPool) -> None:
        problem = pool.sides.prompt[pool.scored.side]
        kept = _first_of_each_text(pool.scored, problem)
        self._sides, self._types, problem = pool.scored.side[kept], pool.scored.error_type[kept], problem[kept]
        passed, problems = self._types == PASSED, int(problem.max()) + 1
        passes, failures = (np.bincount(problem[side], minlength=problems) for side in (passed, ~passed))
        self.problems = np.flatnonzero((passes >= 2) & (failures >= 2))
        if not len(self.problems):
            raise DataError(
                "ap2o draws from problems with two different passes and two different failures, and there is none; "
                "draw more completions for each problem (--num_generations), or take another strategy"
            )
        self._starts = np.searchsorted(problem, np.arange(problems))
        self._passes, self._failures = passes, failures

    def passes(self, problem: int) -> np.ndarray:
        """The sides that passed."""
        return self._sides[self._starts[problem] :][: self._passes[problem]]

    def failures(self, problem: int) -> tuple[np.ndarray, np.ndarray]:
        """The sides that failed, rare types first, and their types."""
        row = slice(first := self._starts[problem] + self._passes[problem], first + self._failures[problem])
        return self._sides[row], self._types[row]


def _first_of_each_text(scored: Scored, problem: np.ndarray) -> np.ndarray:
    """Sorted by problem; in a problem passes come first, then failures from rare types to frequent ones."""
    columns = len(ERROR_TYPES) + 1  # PASSED is the last one
    cell = problem.astype(np.int64) * columns + scored.error_type % columns
    often = np.where(scored.error_type == PASSED, 0, np.bincount(cell)[cell])
    order = np.lexsort((often, problem))
    _, first = np.unique(scored.text[order], return_index=True)
    return order[np.sort(first)]


class _Ap2oPlan:
    def __init__(self, strategy: Ap2oStrategy, exam: _Exam, errors: Mapping[ErrorType, int], seed: int) -> None:
        self._strategy = strategy
        self._exam = exam
        self._order = Passes(len(exam.problems), seed)
        met = [(number, errors[error]) for number, error in enumerate(ERROR_TYPES) if errors.get(error)]
        self._met = np.array([number for number, _ in met], dtype=np.int64)
        self._counts = np.array([count for _, count in met], dtype=np.int64)
        self._least = -(-self._counts // min((count for _, count in met), default=1))
        self._whole = max(1, int(self._counts.sum()))

    def draw(self, position: int, random: np.random.Generator) -> Draw:
        problem = int(self._exam.problems[self._order[position]])
        sides, types = self._exam.failures(problem)
        start, stop = self._strategy.window(position, self._order.size, len(sides))
        rejected, part = self._reject(types, start, stop, random)
        chosen = self._exam.passes(problem)
        return Draw(int(sides[rejected]), int(chosen[random.integers(len(chosen))]), part)

    def _reject(self, types: np.ndarray, start: int, stop: int, random: np.random.Generator) -> tuple[int, str]:
        """One of the window and the copies, where a copy is any failure of its type."""
        copies = np.where((self._met[:, None] == types).any(axis=1), self._copies(stop - start), 0)
        ticket = int(random.integers(stop - start + copies.sum()))
        if ticket < stop - start:
            return start + ticket, "window"
        met = np.searchsorted(np.cumsum(copies), ticket - (stop - start), side="right")
        of_type = np.flatnonzero(types == self._met[met])
        return int(of_type[random.integers(len(of_type))]), "replay"

    def _copies(self, window: int) -> np.ndarray:
        """How many failures of each type that the quiz met are added to a window of this length."""
        return np.maximum(self._least, window * self._counts // self._whole)
