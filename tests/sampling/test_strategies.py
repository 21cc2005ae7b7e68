"""Which pairs are drawn, and that the draw depends on nothing but seed, position, rollouts and notebook."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlcode.errors import ConfigError
from rlcode.types import ErrorType, Rollout
from sampling.draws import PairSequence
from sampling.notebook import ErrorNotebook
from sampling.pool import ERROR_TYPES, build_pair_pool
from sampling.snapshots import Snapshot, SnapshotHistory
from sampling.strategies import STRATEGIES, make_strategy
from sampling.strategies.protocol import Draw
from tests.sampling.judged import one_problem, rollout, seen


def draws(
    strategy: str, rollouts: list[Rollout], notebook: ErrorNotebook, positions: Sequence[int], seed: int, **options: Any
) -> list[Draw]:
    """What a run draws at these positions."""
    history = SnapshotHistory(Snapshot(0, notebook))
    sequence = PairSequence(
        build_pair_pool(rollouts), make_strategy(strategy, **options), history, length=4000, seed=seed
    )
    return [sequence.draw(position) for position in positions]


@settings(max_examples=25)
@given(st.integers(0, 2**31), st.integers(1, 40), st.integers(0, 40))
def test_a_resumed_run_draws_what_the_undisturbed_one_would_have(seed: int, count: int, start: int):
    rollouts = one_problem(*[ErrorType.NAME] * 5, *[ErrorType.TYPE] * 3)
    whole = draws("uniform", rollouts, seen(rollouts), range(start + count), seed=seed)
    assert draws("uniform", rollouts, seen(rollouts), range(start, start + count), seed=seed) == whole[start:]


def test_another_seed_draws_other_pairs():
    rollouts = one_problem(*[ErrorType.NAME] * 20)
    one, other = (draws("uniform", rollouts, seen(rollouts), range(20), seed=seed) for seed in (0, 1))
    assert one != other


@settings(max_examples=25)
@given(st.permutations(range(9)))
def test_the_order_of_the_rollouts_changes_nothing_the_notebook_knows(order: list[int]):
    rollouts = one_problem(*[ErrorType.NAME] * 5, *[ErrorType.TYPE] * 3)
    straight, shuffled = ErrorNotebook(short_half_life=3), ErrorNotebook(short_half_life=3)
    straight.observe(rollouts)
    shuffled.observe([rollouts[i] for i in order])
    assert shuffled.frequencies() == straight.frequencies()


def realised_shares(strategy: str, rollouts: list[Rollout], notebook: ErrorNotebook, **options: float) -> Counter:
    count, pool = 4000, build_pair_pool(rollouts)
    drawn = draws(strategy, rollouts, notebook, range(count), seed=3, **options)
    types = Counter(ERROR_TYPES[pool.sides.error_type[draw.rejected]] for draw in drawn)
    return Counter({error_type: n / count for error_type, n in types.items()})


# 4,000 draws: a share has a standard error below 0.008, so 0.04 is five of them
SAMPLING_ERROR = 0.04


def test_uniform_draws_each_failure_alike():
    rollouts = one_problem(*[ErrorType.NAME] * 6, *[ErrorType.TYPE] * 2)
    shares = realised_shares("uniform", rollouts, seen(rollouts))
    assert shares[ErrorType.NAME] == pytest.approx(0.75, abs=SAMPLING_ERROR)


@pytest.mark.parametrize(("power", "expected"), [(0.0, 0.5), (1.0, 0.75), (2.0, 0.9)])
def test_frequency_draws_a_type_by_its_share_to_the_power(power: float, expected: float):
    rollouts = one_problem(*[ErrorType.NAME] * 6, *[ErrorType.TYPE] * 2)
    shares = realised_shares("frequency", rollouts, seen(rollouts), power=power)
    assert shares[ErrorType.NAME] == pytest.approx(expected, abs=SAMPLING_ERROR)


def test_frequency_follows_the_notebook_where_it_knows_more_than_the_pool():
    rollouts = one_problem(*[ErrorType.NAME] * 6, *[ErrorType.TYPE] * 2)
    now = seen([rollout("q", i, ErrorType.TYPE) for i in range(9)] + [rollout("q", 9, ErrorType.NAME)])
    shares = realised_shares("frequency", rollouts, now)
    assert shares[ErrorType.TYPE] == pytest.approx(0.9, abs=SAMPLING_ERROR)


def test_frequency_is_uniform_where_the_notebook_knows_none_of_the_types():
    rollouts = one_problem(*[ErrorType.NAME] * 6, *[ErrorType.TYPE] * 2)
    shares = realised_shares("frequency", rollouts, ErrorNotebook())
    assert shares[ErrorType.NAME] == pytest.approx(0.75, abs=SAMPLING_ERROR)


@given(st.lists(st.sampled_from(ErrorType), min_size=1, max_size=30), st.sampled_from(sorted(STRATEGIES)))
def test_every_strategy_draws_a_failure_and_what_passed_of_its_problem(failures: list[ErrorType], name: str):
    rollouts = one_problem(*failures)
    pool = build_pair_pool(rollouts)
    for draw in draws(name, rollouts, seen(rollouts), range(5), seed=0):
        assert draw.rejected in pool.rejected
        assert draw.chosen in pool.candidates(draw.rejected)


def test_an_unknown_strategy_is_answered_with_the_known_ones():
    with pytest.raises(ConfigError, match="known: uniform, static, frequency"):
        make_strategy("best")
