"""Which pairs are drawn, and that the draw depends on nothing but seed, position, rollouts and notebook."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlcode.errors import ConfigError, DataError
from rlcode.types import Completion, ErrorType, Program, Rollout, Verdict
from sampling.notebook import ErrorNotebook
from sampling.pairs import build_pair_pool, draw_pairs
from sampling.strategies import STRATEGIES, make_strategy

UNIFORM = make_strategy("uniform")


def rollout(task_id: str, index: int, error_type: ErrorType | None, text: str = "", **fields: object) -> Rollout:
    completion = Completion(task_id, index, text or f"return {index}", finish_reason=str(fields.get("finish", "stop")))
    return Rollout(completion, Program(completion.text, "whole"), Verdict(error_type, int(error_type is None), 1))


def seen(rollouts: list[Rollout]) -> ErrorNotebook:
    notebook = ErrorNotebook(short_half_life=1e9, long_half_life=1e9)
    notebook.observe(rollouts)
    return notebook


def one_problem(*failures: ErrorType) -> list[Rollout]:
    return [rollout("p", 0, None), *(rollout("p", i, error) for i, error in enumerate(failures, start=1))]


def test_chosen_passed_rejected_failed_and_both_are_of_one_problem():
    rollouts = [r for t in "ab" for r in (rollout(t, 0, None), rollout(t, 1, ErrorType.NAME), rollout(t, 2, None))]
    pool = build_pair_pool(rollouts)
    by_key = {(r.completion.task_id, r.completion.index): r for r in rollouts}
    for pair in draw_pairs(pool, UNIFORM, seen(rollouts), count=50, seed=1):
        assert pair.chosen.task_id == pair.rejected.task_id == pair.task_id
        assert by_key[pair.task_id, pair.chosen.index].verdict.passed
        assert by_key[pair.task_id, pair.rejected.index].verdict.error_type is pair.error_type is ErrorType.NAME


def test_problems_that_always_or_never_pass_give_no_pair():
    rollouts = [rollout("easy", 0, None), rollout("hard", 0, ErrorType.NAME), *one_problem(ErrorType.TYPE)]
    pool = build_pair_pool(rollouts)
    assert pool.task_ids() == ["p"]


def test_equal_programs_of_one_problem_count_once_but_not_across_problems():
    rollouts = [
        rollout(task_id, index, ErrorType.NAME if index else None, text=f"return {bool(index)}\n\n" + " " * index)
        for task_id in ("a", "b")
        for index in (0, 1, 2)
    ]
    assert build_pair_pool(rollouts).task_ids() == ["a", "b"]


def test_an_unscored_side_enters_no_pair():
    unscored = Rollout(Completion("p", 9, "return 9"), Program("return 9", "whole"), None, "the sandbox was lost")
    pool = build_pair_pool([*one_problem(ErrorType.NAME), unscored])
    assert {side.completion.index for side in pool.sides} == {0, 1}


def test_a_completion_that_was_cut_off_is_never_chosen():
    rollouts = [rollout("p", 0, None, finish="length"), rollout("p", 1, None), rollout("p", 2, ErrorType.NAME)]
    pairs = draw_pairs(build_pair_pool(rollouts), UNIFORM, seen(rollouts), count=20, seed=0)
    assert {pair.chosen.index for pair in pairs} == {1}


def test_without_any_pair_the_error_says_what_to_do():
    with pytest.raises(DataError, match="num_generations"):
        build_pair_pool([rollout("p", 0, ErrorType.NAME)])


@settings(max_examples=25)
@given(st.integers(0, 2**31), st.integers(1, 40), st.integers(0, 40))
def test_a_resumed_run_draws_what_the_undisturbed_one_would_have(seed: int, count: int, start: int):
    rollouts = one_problem(*[ErrorType.NAME] * 5, *[ErrorType.TYPE] * 3)
    pool, notebook = build_pair_pool(rollouts), seen(rollouts)
    whole = draw_pairs(pool, UNIFORM, notebook, count=start + count, seed=seed)
    assert draw_pairs(pool, UNIFORM, notebook, count=count, seed=seed, start=start) == whole[start:]


def test_another_seed_draws_other_pairs():
    rollouts = one_problem(*[ErrorType.NAME] * 20)
    pool, notebook = build_pair_pool(rollouts), seen(rollouts)
    assert draw_pairs(pool, UNIFORM, notebook, count=20, seed=0) != draw_pairs(
        pool, UNIFORM, notebook, count=20, seed=1
    )


@settings(max_examples=25)
@given(st.permutations(range(9)))
def test_the_order_of_the_rollouts_changes_nothing_the_notebook_knows(order: list[int]):
    rollouts = one_problem(*[ErrorType.NAME] * 5, *[ErrorType.TYPE] * 3)
    straight, shuffled = ErrorNotebook(short_half_life=3), ErrorNotebook(short_half_life=3)
    straight.observe(rollouts)
    shuffled.observe([rollouts[i] for i in order])
    assert shuffled.frequencies() == straight.frequencies()


def test_an_unscored_twin_hides_no_scored_one():
    twin = Rollout(Completion("p", 9, "return 0"), Program("return 0", "whole"), None, "the sandbox was lost")
    pool = build_pair_pool([twin, *one_problem(ErrorType.NAME)])
    assert len(pool.rejected) == 1


def realised_shares(strategy: str, rollouts: list[Rollout], notebook: ErrorNotebook, **options: float) -> Counter:
    count = 4000
    pairs = draw_pairs(build_pair_pool(rollouts), make_strategy(strategy, **options), notebook, count=count, seed=3)
    return Counter({e: n / count for e, n in Counter(pair.error_type for pair in pairs).items()})


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
def test_every_strategy_gives_each_failure_a_weight_and_some_a_positive_one(failures, name):
    rollouts = one_problem(*failures)
    pool = build_pair_pool(rollouts)
    weights = make_strategy(name).weights(pool.error_types(), pool.task_ids(), seen(rollouts))
    assert weights.shape == (len(pool.rejected),)
    assert (weights >= 0).all()
    assert weights.sum() > 0


def test_an_unknown_strategy_is_answered_with_the_known_ones():
    with pytest.raises(ConfigError, match="uniform, frequency"):
        make_strategy("best")
