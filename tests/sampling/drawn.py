"""Runs that are made up: what was judged, what was known when, and what a strategy draws from it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from rlcode.types import Completion, ErrorType, Program, Rollout, Verdict
from sampling.draws import PairSequence
from sampling.notebook import ErrorNotebook
from sampling.pool import ERROR_TYPES, PairPool, build_pair_pool
from sampling.snapshots import QuizResult, Snapshot, SnapshotHistory
from sampling.strategies import make_strategy
from sampling.strategies.protocol import Draw

TYPES = (ErrorType.NAME, ErrorType.TYPE, ErrorType.SYNTAX, ErrorType.INDEX, ErrorType.TIMEOUT, ErrorType.WRONG_ANSWER)

failures_by_problem = st.dictionaries(
    st.sampled_from("abcd"), st.lists(st.sampled_from(TYPES), min_size=2, max_size=12), min_size=1
)
"""Of each problem at least two, so that every strategy has pairs."""
error_counts = st.dictionaries(st.sampled_from(TYPES), st.integers(0, 40))
"""What a notebook or a quiz met; types among them that the pool does not have, and none at all."""


def judged_problems(failures: Mapping[str, Sequence[ErrorType]], passes: int = 2) -> list[Rollout]:
    """All samples of these problems; no text comes twice, and there are three messages for each type."""
    rollouts = []
    for task_id, errors in failures.items():
        for index, error in enumerate([None] * passes + list(errors)):
            tokens = (1, 2, index % 3, 4, 5, index)
            completion = Completion(task_id, index, f"return '{task_id}{index}'", token_ids=tokens)
            signature = None if error is None else f"message {index % 3}"
            verdict = Verdict(error, int(error is None), 1, signature=signature)
            rollouts.append(Rollout(completion, Program(completion.text, "whole"), verdict))
    return rollouts


def notebook_of(errors: Mapping[ErrorType, int], passes: int = 10) -> ErrorNotebook:
    """A notebook in which the types' frequencies are to each other as these numbers."""
    outcomes: list[ErrorType | None] = [*Counter(errors).elements(), *[None] * passes]
    notebook = ErrorNotebook(short_half_life=1e9, long_half_life=1e9)
    notebook.observe(
        Rollout(Completion("q", i, ""), Program("", "whole"), Verdict(error, int(error is None), 1))
        for i, error in enumerate(outcomes)
    )
    return notebook


def quiz_of(errors: Mapping[ErrorType, int], passes: int = 10) -> QuizResult:
    return QuizResult(policy_version=0, step=0, samples=passes + sum(errors.values()), errors=errors)


def history_of(first: Snapshot, *later: Snapshot) -> SnapshotHistory:
    history = SnapshotHistory(first)
    for snapshot in later:
        history.announce(snapshot)
    return history


@st.composite
def histories(draw: st.DrawFn, length: int) -> SnapshotHistory:
    """Up to four snapshots anywhere in a run, with and without quizzes."""
    starts = [0, *sorted(draw(st.sets(st.integers(1, length - 1), max_size=3)))]
    quizzes = st.none() | st.builds(quiz_of, error_counts, st.integers(0, 100))
    return history_of(*(Snapshot(start, notebook_of(draw(error_counts)), draw(quizzes)) for start in starts))


def run_of(
    strategy: str, rollouts: Iterable[Rollout], *snapshots: Snapshot, length: int = 400, seed: int = 0, **options: Any
) -> PairSequence:
    """A run with these snapshots; a notebook that saw the rollouts, where there are none."""
    rollouts = list(rollouts)
    if not snapshots:
        notebook = ErrorNotebook()
        notebook.observe(rollouts)
        snapshots = (Snapshot(0, notebook),)
    pool = build_pair_pool(rollouts)
    return PairSequence(pool, make_strategy(strategy, **options), history_of(*snapshots), length=length, seed=seed)


def error_type(pool: PairPool, draw: Draw) -> ErrorType:
    return ERROR_TYPES[pool.sides.error_type[draw.rejected]]


def type_counts(pool: PairPool, draws: Iterable[Draw]) -> Counter[ErrorType]:
    return Counter(error_type(pool, draw) for draw in draws)


def pool_sizes(pool: PairPool) -> dict[ErrorType, int]:
    return dict(Counter(ERROR_TYPES[number] for number in pool.error_types))


def is_within_sampling_error(count: int, share: float, draws: int) -> bool:
    """Five and a half standard errors, and a little for counts so small that they are not normal. A share of 0 or 1
    must be met exactly."""
    if share in (0, 1):
        return count == share * draws
    return abs(count - share * draws) <= 5.5 * math.sqrt(share * (1 - share) * draws) + 5
