"""What was not drawn yet comes first, and pairs that differ little."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlcode.types import Completion, ErrorType, Program, Rollout, Verdict
from sampling.draws import PairSequence
from sampling.notebook import ErrorNotebook
from sampling.pool import build_pair_pool
from sampling.snapshots import Snapshot
from sampling.strategies import make_strategy
from sampling.strategies.novelty import Urn, likeness
from tests.sampling.drawn import error_type, history_of, is_within_sampling_error, judged_problems, run_of, type_counts

NAME, TYPE = ErrorType.NAME, ErrorType.TYPE
# nine tenths of the failures are of one type; each type has one message
SKEWED = [
    Rollout(r.completion, r.program, Verdict(r.verdict.error_type, r.verdict.tests_passed, 1, signature="m"))
    for r in judged_problems({"a": [NAME] * 45 + [TYPE] * 5, "b": [NAME] * 45 + [TYPE] * 5})
    if r.verdict is not None
]


def test_a_kind_is_drawn_by_the_root_of_its_number():
    """Its weight falls as one over its draws, so the draws of two kinds are to each other as the roots of their
    numbers: a quarter is of the tenth."""
    sequence = run_of("novelty", SKEWED, length=2000)
    counts = type_counts(sequence.pool, map(sequence.draw, range(2000)))
    assert is_within_sampling_error(counts[TYPE], 0.25, 2000)


def firsts(positions: Sequence[int], *snapshots: Snapshot, seeds: int = 400) -> list[tuple[ErrorType, ...]]:
    """The types at these positions in as many runs as there are seeds."""
    pool, strategy, history = build_pair_pool(SKEWED), make_strategy("novelty", candidates=1), history_of(*snapshots)
    runs = [PairSequence(pool, strategy, history, length=100, seed=seed) for seed in range(seeds)]
    return [tuple(error_type(pool, run.draw(position)) for position in positions) for run in runs]


def test_a_kind_that_was_drawn_once_has_half_its_weight():
    seconds = Counter(second for first, second in firsts([0, 1], Snapshot(0, ErrorNotebook())) if first is NAME)
    assert is_within_sampling_error(seconds[TYPE], 10 / (45 + 10), seconds.total())


def test_with_a_snapshot_everything_is_new_again():
    snapshots = Snapshot(0, ErrorNotebook()), Snapshot(40, ErrorNotebook())
    types = Counter(error for (error,) in firsts([40], *snapshots, seeds=200))
    assert is_within_sampling_error(types[TYPE], 0.1, 200)


def test_problems_that_were_not_drawn_come_first():
    rollouts = judged_problems({"a": [NAME] * 45, "b": [NAME] * 15})
    for candidates, least, most in [(1, 0.2, 0.3), (8, 0.4, 0.6)]:
        sequence = run_of("novelty", rollouts, length=1000, candidates=candidates)
        draws = [sequence.draw(position) for position in range(1000)]
        rare = sum(sequence.pool.sides.task_ids[sequence.pool.sides.problem[draw.rejected]] == "b" for draw in draws)
        assert least < rare / 1000 < most


def test_the_pair_that_differs_least_is_taken_and_one_that_does_not_differ_last():
    tokens = {0: [*range(20)], 1: [*range(19), 30], 2: [0, *range(40, 59)], 3: [*range(20)]}
    rollouts = [
        Rollout(
            Completion("a", index, f"return {index}", token_ids=tuple(ids)),
            Program(f"return {index}", "whole"),
            Verdict(NAME if index else None, int(not index), 1),
        )
        for index, ids in tokens.items()
    ]
    sequence = run_of("novelty", rollouts, length=200, candidates=16)
    drawn = Counter(int(sequence.pool.sides.index[sequence.draw(t).rejected]) for t in range(200))
    assert drawn[1] > 190
    assert drawn[3] == 0


def test_likeness_is_the_share_of_tokens_that_stay():
    one, near, far = np.array([1, 2, 3, 4]), np.array([1, 2, 9, 4]), np.array([5, 6])
    assert likeness(one, near) == pytest.approx(6 / 8)
    assert likeness(one, far) == 0
    assert likeness(one, one) == 0


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.floats(0.01, 10), min_size=1, max_size=30),
    st.lists(st.tuples(st.integers(0, 29), st.floats(0.01, 10)), max_size=20),
    st.integers(0, 2**30),
)
def test_an_urn_draws_by_the_weights_it_has_now(weights, changes, seed):
    urn, random = Urn(np.array(weights)), np.random.default_rng(seed)
    for number, weight in changes:
        if number < len(weights):
            weights[number] = weight
            urn.set(number, weight)
    counts = Counter(urn.draw(random) for _ in range(3000))
    assert set(counts) <= set(range(len(weights)))
    for number, weight in enumerate(weights):
        assert is_within_sampling_error(counts[number], weight / math.fsum(weights), 3000)
