"""What every strategy keeps to, and the shares of those that have no order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlcode.errors import ConfigError
from rlcode.types import ErrorType
from sampling.draws import PairSequence
from sampling.notebook import ErrorNotebook
from sampling.pool import ERROR_TYPES, PASSED, PairPool, build_pair_pool
from sampling.snapshots import Snapshot, SnapshotHistory
from sampling.strategies import STRATEGIES, make_strategy
from sampling.strategies.mixture import Groups, constant_plan
from sampling.strategies.protocol import Plan
from sampling.strategies.shares import bounded_shares
from tests.sampling.drawn import (
    error_counts,
    failures_by_problem,
    histories,
    history_of,
    is_within_sampling_error,
    judged_problems,
    notebook_of,
    pool_sizes,
    run_of,
    type_counts,
)

LENGTH = 60
every_strategy = pytest.mark.parametrize("name", STRATEGIES)
MANY = judged_problems({task_id: [ErrorType.NAME] * 9 + [ErrorType.TYPE] * 4 for task_id in "abc"})


@every_strategy
@settings(max_examples=10, deadline=None)
@given(failures_by_problem, histories(LENGTH), st.integers(0, 2**40), st.permutations(range(LENGTH)))
def test_positions_can_be_asked_in_any_order_and_twice(name: str, failures, history, seed, order):
    pool, strategy = build_pair_pool(judged_problems(failures)), make_strategy(name)
    straight, mixed = (PairSequence(pool, strategy, history, length=LENGTH, seed=seed) for _ in range(2))
    drawn = [straight.draw(position) for position in range(LENGTH)]
    for position in order:
        assert mixed.draw(position) == drawn[position]
        assert mixed.draw(position) == drawn[position]


@every_strategy
@settings(max_examples=10, deadline=None)
@given(failures_by_problem, histories(LENGTH), st.randoms(use_true_random=False))
def test_the_order_in_which_samples_were_judged_changes_nothing(name: str, failures, history, random):
    rollouts = judged_problems(failures)
    shuffled = random.sample(rollouts, len(rollouts))
    one, other = (
        PairSequence(build_pair_pool(judged), make_strategy(name), history, length=LENGTH, seed=1)
        for judged in (rollouts, shuffled)
    )
    assert [one.draw(t) for t in range(LENGTH)] == [other.draw(t) for t in range(LENGTH)]


@every_strategy
@settings(max_examples=10, deadline=None)
@given(failures_by_problem, histories(LENGTH), st.integers(0, LENGTH - 1))
def test_what_is_learnt_later_changes_no_draw_before(name: str, failures, history, until):
    pool, strategy = build_pair_pool(judged_problems(failures)), make_strategy(name)
    known = history_of(*(snapshot for snapshot in history if snapshot.from_position <= until))
    then, now = (PairSequence(pool, strategy, h, length=LENGTH, seed=1) for h in (known, history))
    assert [then.draw(t) for t in range(until + 1)] == [now.draw(t) for t in range(until + 1)]


@every_strategy
def test_another_seed_draws_other_pairs(name: str):
    one, same, other = (run_of(name, MANY, seed=seed, length=LENGTH) for seed in (5, 5, 6))
    assert [one.draw(t) for t in range(LENGTH)] == [same.draw(t) for t in range(LENGTH)]
    assert [one.draw(t) for t in range(LENGTH)] != [other.draw(t) for t in range(LENGTH)]


@every_strategy
@settings(max_examples=15, deadline=None)
@given(failures_by_problem, histories(LENGTH))
def test_what_failed_is_rejected_for_what_passed_on_the_same_problem(name: str, failures, history):
    pool = build_pair_pool(judged_problems(failures))
    sequence = PairSequence(pool, make_strategy(name), history, length=LENGTH, seed=0)
    for position in range(LENGTH):
        draw = sequence.draw(position)
        assert draw.rejected in pool.rejected
        assert draw.chosen in pool.candidates(draw.rejected)
        assert pool.sides.error_type[draw.rejected] != PASSED
        assert pool.sides.error_type[draw.chosen] == PASSED
        assert pool.sides.problem[draw.rejected] == pool.sides.problem[draw.chosen]


@every_strategy
def test_both_sides_answer_the_same_prompt(name: str):
    rollouts = [
        replace(
            rollout,
            completion=replace(
                rollout.completion,
                index=rollout.completion.index + 100 * prompt,
                prompt_token_ids=(prompt,),
                text=f"{rollout.completion.text} + {prompt}",
            ),
            program=replace(rollout.program, source=f"{rollout.program.source} + {prompt}"),
        )
        for prompt in (0, 1)
        for rollout in MANY
    ]
    sequence = run_of(name, rollouts, length=LENGTH)
    prompts = sequence.pool.sides.prompt
    draws = [sequence.draw(position) for position in range(LENGTH)]
    assert all(prompts[draw.rejected] == prompts[draw.chosen] for draw in draws)
    assert {int(prompts[draw.rejected]) for draw in draws} == set(range(6))


def assert_shares_at_20_points(sequence: PairSequence, expected: Mapping[ErrorType, float]) -> None:
    draws = sequence.length // 20
    for start in range(0, sequence.length, draws):
        counts = type_counts(sequence.pool, (sequence.draw(t) for t in range(start, start + draws)))
        assert counts.keys() <= expected.keys()
        for error_type, share in expected.items():
            assert is_within_sampling_error(counts[error_type], share, draws), (start, error_type, share)


@settings(max_examples=3, deadline=None)
@given(failures_by_problem, error_counts, st.integers(0, 2**30))
def test_uniform_draws_each_failure_alike_at_every_point(failures, errors, seed):
    sequence = run_of("uniform", judged_problems(failures), Snapshot(0, notebook_of(errors)), length=10_000, seed=seed)
    sizes = pool_sizes(sequence.pool)
    assert_shares_at_20_points(sequence, {error: size / sum(sizes.values()) for error, size in sizes.items()})


def test_uniform_over_problems_draws_each_problem_alike():
    rollouts = judged_problems({"a": [ErrorType.NAME] * 18, "b": [ErrorType.TYPE] * 2})
    sequence = run_of("uniform", rollouts, over="problems", length=4000)
    counts = type_counts(sequence.pool, map(sequence.draw, range(4000)))
    assert is_within_sampling_error(counts[ErrorType.TYPE], 0.5, 4000)


@settings(max_examples=6, deadline=None)
@given(
    failures_by_problem,
    error_counts,
    st.sampled_from([0.0, 0.5, 1.0, 2.0]),
    st.sampled_from([(0.0, 1.0), (0.05, 0.6), (0.1, 0.3), (0.0, 0.4)]),
    st.integers(0, 2**30),
)
def test_frequency_keeps_its_shares_at_every_point(failures, errors, power, bounds, seed):
    floor, cap = bounds
    sequence = run_of(
        "frequency",
        judged_problems(failures),
        Snapshot(0, notebook_of(errors)),
        length=10_000,
        seed=seed,
        power=power,
        floor=floor,
        cap=cap,
    )
    sizes = pool_sizes(sequence.pool)
    known = any(errors.get(error, 0) for error in sizes)
    weights = {error: float(errors.get(error, 0)) ** power if known else float(size) for error, size in sizes.items()}
    assert_shares_at_20_points(sequence, dict(zip(weights, filled(list(weights.values()), floor, cap), strict=True)))


def filled(weights: list[float], floor: float, cap: float) -> list[float]:
    """The shares by bisection over the level of the water; what has no weight is a puddle of next to nothing."""
    floor, cap = min(floor, 1 / len(weights)), max(cap, 1 / len(weights))
    weights = [weight or 1e-12 * (max(weights) or 1) for weight in weights]
    low, high = -100.0, 100.0
    for _ in range(200):
        level = (low + high) / 2
        total = sum(min(max(weight * 10**level, floor), cap) for weight in weights)
        low, high = (level, high) if total < 1 else (low, level)
    return [min(max(weight * 10**high, floor), cap) for weight in weights]


weights = st.lists(st.floats(0, 1e6, allow_subnormal=False) | st.just(0.0), min_size=1, max_size=26)


@given(weights, st.floats(0, 1), st.floats(0, 1))
def test_bounded_shares_sum_to_one_within_their_bounds(weights, one, other):
    floor, cap = min(one, other), max(one, other)
    shares = bounded_shares(np.array(weights), floor, cap)
    count = len(weights)
    assert shares.sum() == pytest.approx(1)
    assert shares.min() >= min(floor, 1 / count) - 1e-9
    assert shares.max() <= max(cap, 1 / count) + 1e-9
    assert (np.diff(shares[np.argsort(weights, kind="stable")]) >= -1e-9).all()


@given(st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=12), st.floats(0, 0.1), st.floats(0.2, 1))
def test_bounded_shares_are_in_proportion_between_their_bounds(weights, floor, cap):
    assert bounded_shares(np.array(weights), floor, cap) == pytest.approx(filled(weights, floor, cap), abs=1e-6)


def test_shares_that_no_bound_touches_are_the_weights():
    assert list(bounded_shares(np.array([1.0, 3.0, 4.0]))) == pytest.approx([0.125, 0.375, 0.5])
    assert list(bounded_shares(np.array([1.0, 3.0, 6.0]), floor=0.2, cap=0.5)) == pytest.approx([0.2, 0.3, 0.5])


def test_frequency_follows_the_notebook_where_it_knows_more_than_the_pool():
    rollouts = judged_problems({"a": [ErrorType.NAME] * 6 + [ErrorType.TYPE] * 2})
    now = notebook_of({ErrorType.TYPE: 9, ErrorType.NAME: 1})
    sequence = run_of("frequency", rollouts, Snapshot(0, now), length=4000)
    counts = type_counts(sequence.pool, map(sequence.draw, range(4000)))
    assert is_within_sampling_error(counts[ErrorType.TYPE], 0.9, 4000)


def test_frequency_is_uniform_where_the_notebook_knows_none_of_the_types():
    rollouts = judged_problems({"a": [ErrorType.NAME] * 6 + [ErrorType.TYPE] * 2})
    sequence = run_of("frequency", rollouts, Snapshot(0, ErrorNotebook()), length=4000)
    counts = type_counts(sequence.pool, map(sequence.draw, range(4000)))
    assert is_within_sampling_error(counts[ErrorType.NAME], 0.75, 4000)


def test_static_draws_every_pair_once_before_any_comes_again():
    sequence = run_of("static", MANY, length=4 * 3 * 13 * 2)
    pairs = {(int(r), int(c)) for r in sequence.pool.rejected for c in sequence.pool.candidates(r)}
    passes = [
        [(draw.rejected, draw.chosen) for draw in map(sequence.draw, range(start, start + len(pairs)))]
        for start in range(0, 4 * len(pairs), len(pairs))
    ]
    for drawn in passes:
        assert Counter(drawn) == Counter(pairs)
    assert len({tuple(drawn) for drawn in passes}) == len(passes)


@given(failures_by_problem, st.integers(1, 4), st.integers(0, 2**40))
@settings(max_examples=20, deadline=None)
def test_static_covers_every_pool(failures, passes, seed):
    sequence = run_of("static", judged_problems(failures, passes), seed=seed)
    count = passes * sum(map(len, failures.values()))
    drawn = Counter((draw.rejected, draw.chosen) for draw in map(sequence.draw, range(2 * count)))
    assert len(drawn) == count
    assert set(drawn.values()) == {2}


def test_an_unknown_strategy_is_answered_with_the_known_ones():
    with pytest.raises(ConfigError, match="known: uniform, static, frequency"):
        make_strategy("best")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("frequency", {"powr": 2}, "no option powr; its options are power, floor, cap"),
        ("static", {"power": 2}, "no option power; it has none"),
        ("frequency", {"power": -1}, "power"),
        ("frequency", {"floor": 0.5, "cap": 0.2}, "floor"),
        ("uniform", {"over": "types"}, "failures or problems"),
        ("progressive", {"order": "up"}, "low_to_high or high_to_low"),
        ("progressive", {"window_share": 1.2}, "window_share"),
        ("progressive", {"window_share": "most"}, "progressive"),
        ("adaptive", {"window_share": 0.9, "replay_share": 0.2}, "more than 1 together"),
    ],
)
def test_options_that_can_not_be_are_refused_by_name(name: str, options: dict, message: str):
    with pytest.raises(ConfigError, match=message):
        make_strategy(name, **options)


@dataclass(frozen=True)
class LimitsStrategy:
    """Failures at a limit alone, each limit alike."""

    def plan(self, pool: PairPool, history: Sequence[Snapshot], *, length: int, seed: int) -> Plan:
        types = Groups(pool, pool.error_types)
        limits = (ErrorType.TIMEOUT, ErrorType.MEMORY, ErrorType.OUTPUT)
        return constant_plan(pool, types, np.array([ERROR_TYPES[label] in limits for label in types.labels]))


def test_a_line_in_the_table_adds_a_strategy(monkeypatch):
    monkeypatch.setitem(STRATEGIES, "limits", LimitsStrategy)
    rollouts = judged_problems({"a": [ErrorType.NAME] * 9 + [ErrorType.TIMEOUT] * 3 + [ErrorType.MEMORY]})
    sequence = run_of("limits", rollouts, length=1000)
    counts = type_counts(sequence.pool, map(sequence.draw, range(1000)))
    assert is_within_sampling_error(counts[ErrorType.MEMORY], 0.5, 1000)
    assert counts[ErrorType.NAME] == 0
    with pytest.raises(ValueError, match="nothing to draw"):
        run_of("limits", MANY).draw(0)


def test_the_documentation_names_every_strategy_with_its_options():
    text = (Path(__file__).parents[2] / "docs" / "strategies.md").read_text(encoding="utf-8")
    rows = {line.split("`")[1]: line for line in text.splitlines() if line.startswith("| `")}
    assert list(rows) == list(STRATEGIES)
    for name, strategy in STRATEGIES.items():
        for field in fields(strategy):
            assert f"`{field.name}` ({field.default})" in rows[name]


@every_strategy
def test_every_strategy_draws_from_the_smallest_pool_it_can(name: str):
    sequence = run_of(name, judged_problems({"a": [ErrorType.NAME, ErrorType.NAME]}), length=3)
    assert {sequence.draw(t).rejected for t in range(3)} <= set(sequence.pool.rejected)


def test_the_first_snapshot_counts_from_the_start():
    with pytest.raises(ValueError, match="position 0"):
        SnapshotHistory(Snapshot(3, ErrorNotebook()))


def test_a_snapshot_can_not_be_put_before_another():
    history = history_of(Snapshot(0, ErrorNotebook()), Snapshot(7, ErrorNotebook()))
    with pytest.raises(ValueError, match="position 7"):
        history.announce(Snapshot(7, ErrorNotebook()))
    assert [len(history.at(t)) for t in (0, 6, 7, 100)] == [1, 1, 2, 2]
