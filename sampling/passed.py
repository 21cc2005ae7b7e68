"""From a stream of rollouts to the programs that passed: each one once, and at most so many of a problem.

The distrust is the pair pool's own: rollouts without a verdict and programs that were not always judged alike stay out.
Texts and tokens go to a file at once, so that what is held does not grow with them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
from datasets import Dataset

from rlcode.errors import DataError
from rlcode.types import Rollout
from sampling.distinct import find_distinct
from sampling.side_collector import SideCollector
from sampling.sides import PASSED, Sides


@dataclass(frozen=True)
class PassedOptions:
    """Which of the passed programs are taken."""

    max_per_problem: int = 0
    """Different programs of a problem at most; 0: all."""
    max_tokens: int | None = None
    """Prompts with completions that have more tokens together are left out; none: any length."""
    newest_policy_only: bool = False
    """Take none but those of the newest policy in the rollouts."""
    seed: int = 0
    """Decides which are taken where a problem has more than `max_per_problem`."""


@dataclass(frozen=True)
class PassedSummary:
    """Counts of rollouts: `read` is the sum of those left out, for the first reason that holds, and those taken."""

    read: int
    unscored: int
    """No verdict."""
    unstable: int
    """The same program of one problem was judged in different ways, so none of its verdicts is believed."""
    too_long: int
    """More than `max_tokens`."""
    failed: int
    """Different programs; further copies are duplicates."""
    older_policy: int
    """Passed, but not the newest policy's, where only that one's are wanted."""
    duplicates: int
    """Another completion of the problem has the same program."""
    over_cap: int
    """More than `max_per_problem`."""
    taken: int
    cut_off: int
    """Of those taken: they ended at the length limit."""
    problems: int
    """That have programs which were taken."""

    def __str__(self) -> str:
        names = ("unscored", "unstable", "too_long", "failed", "older_policy", "duplicates", "over_cap")
        left_out = [f"{getattr(self, name)} {name.replace('_', ' ')}" for name in names if getattr(self, name)]
        return (
            f"{self.taken} programs of {self.problems} problems, {self.cut_off} of them cut off; "
            f"of {self.read} rollouts were left out: {', '.join(left_out) or 'none'}"
        )


@dataclass(frozen=True)
class PassedPrograms:
    """The programs that were taken, in an order that depends on the rollouts and not on theirs."""

    sides: Sides
    """Their `num_tokens` counts the prompt too."""
    rows: Dataset
    """Texts and tokens of everything that was read; `sides.row` counts into it."""
    newest_version: int
    """Of all policies that wrote something here."""
    summary: PassedSummary

    def token_ids(self) -> Iterator[tuple[list[int], list[int]]]:
        """Prompt and completion of each program, as they were sampled."""
        prompts, completions = (self.rows.data.column(name) for name in ("prompt_ids", "completion_ids"))
        for row in self.sides.row.tolist():
            yield prompts[row].values.to_numpy().tolist(), completions[row].values.to_numpy().tolist()


def collect_passed(rollouts: Iterable[Rollout], path: Path, options: PassedOptions) -> PassedPrograms:
    """Read rollouts, in any order and as a stream, and take passed programs; texts and tokens go to the new file
    `path`, which the result is mapped from.

    Of equal programs the one that stays was not cut off, if there is such a one, then the newest policy's. Where a
    problem has too many, finished ones are taken first, and by chance among these.

    Raises:
        DataError: nothing can be taken, or a number in a rollout is beyond all bounds.
    """
    collector = SideCollector(path)
    everything, rows = collector.add_all(rollouts)
    everything = dataclasses.replace(everything, num_tokens=_lengths_with_prompts(everything, rows))
    newest = int(everything.policy_version.max(initial=0))
    distinct, _, dropped = find_distinct(everything, options.max_tokens)
    passed = distinct.take(np.flatnonzero(distinct.error_type == PASSED))
    recent = passed.take(np.flatnonzero(passed.policy_version == newest)) if options.newest_policy_only else passed
    once = recent.take(_first_of_each_program(recent))
    taken = once.take(_at_most(once, options.max_per_problem, options.seed)) if options.max_per_problem else once
    summary = PassedSummary(
        read=collector.read,
        unscored=collector.unscored,
        unstable=dropped["unstable"],
        too_long=dropped["too_long"],
        failed=len(distinct) - len(passed),
        older_policy=len(passed) - len(recent),
        duplicates=dropped["duplicates"] + len(recent) - len(once),
        over_cap=len(once) - len(taken),
        taken=len(taken),
        cut_off=int(taken.cut_off.sum()),
        problems=len(np.unique(taken.problem)),
    )
    if not len(taken):
        raise DataError(
            f"no program passed that could be trained on ({summary}); draw more completions for each problem "
            "(--num_generations), or take easier problems"
        )
    return PassedPrograms(taken, rows, newest, summary)


def _lengths_with_prompts(sides: Sides, rows: Dataset) -> np.ndarray:
    prompts = pc.list_value_length(rows.data.column("prompt_ids")).to_numpy()
    lengths: np.ndarray = sides.num_tokens + prompts[sides.row]
    return lengths


def _first_of_each_program(sides: Sides) -> np.ndarray:
    """Positions, ascending, of one side for each program of a problem: it may have been written under several
    prompts."""
    order = np.lexsort((-sides.policy_version, sides.cut_off))
    programs = np.stack([sides.problem[order].astype(np.int64), sides.code[order]])
    _, first = np.unique(programs, axis=1, return_index=True)
    return np.sort(order[first])


def _at_most(sides: Sides, most: int, seed: int) -> np.ndarray:
    """Positions, ascending, of at most so many sides of each problem."""
    chance = np.random.default_rng(seed).permutation(len(sides))
    order = np.lexsort((chance, sides.cut_off, sides.problem))
    problem = sides.problem[order]
    place = np.arange(len(sides)) - np.searchsorted(problem, problem)
    return np.sort(order[place < most])
