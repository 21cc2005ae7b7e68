"""Which error type has its turn when, and that window, replay and rest keep their shares."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlcode.types import Completion, ErrorType, Program, Rollout, Verdict
from sampling.draws import PairSequence
from sampling.notebook import ErrorNotebook
from sampling.pool import ERROR_TYPES, build_pair_pool
from sampling.snapshots import Snapshot, SnapshotHistory
from sampling.strategies import make_strategy
from sampling.strategies.adaptive import AdaptiveStrategy
from sampling.strategies.mixture import Groups, MixturePlan
from sampling.strategies.windows import plan_windows
from tests.sampling.drawn import (
    error_counts,
    error_type,
    failures_by_problem,
    histories,
    history_of,
    is_within_sampling_error,
    judged_problems,
    notebook_of,
    pool_sizes,
    quiz_of,
    run_of,
    type_counts,
)

LENGTH = 10_000
NAME, TYPE, SYNTAX, INDEX = ErrorType.NAME, ErrorType.TYPE, ErrorType.SYNTAX, ErrorType.INDEX
orders = st.sampled_from(["low_to_high", "high_to_low"])
FOUR = judged_problems({"a": [NAME] * 2 + [TYPE] * 4, "b": [TYPE] * 2 + [SYNTAX] * 2 + [INDEX] * 6})
"""Sizes 2, 6, 2 and 6."""
RISING = notebook_of({NAME: 1, TYPE: 2, SYNTAX: 3, INDEX: 4})
FALLING = notebook_of({NAME: 4, TYPE: 3, SYNTAX: 2, INDEX: 1})


def turns(*stages: tuple[Snapshot, str], length: int = 160) -> list[tuple[int, int, set[ErrorType]]]:
    """The windows over `FOUR`, as (start, stop, types)."""
    pool = build_pair_pool(FOUR)
    types = Groups(pool, pool.error_types)
    return [
        (window.start, window.stop, {ERROR_TYPES[types.labels[group]] for group in window.types})
        for window in plan_windows(types, stages, length)
    ]


def test_types_come_from_rare_to_frequent_with_windows_by_their_failures():
    expected = [(0, 20, {NAME}), (20, 80, {TYPE}), (80, 100, {SYNTAX}), (100, 160, {INDEX})]
    assert turns((Snapshot(0, RISING), "low_to_high")) == expected


def test_high_to_low_is_the_other_way_round():
    expected = [(0, 60, {INDEX}), (60, 80, {SYNTAX}), (80, 140, {TYPE}), (140, 160, {NAME})]
    assert turns((Snapshot(0, RISING), "high_to_low")) == expected


@pytest.mark.parametrize("order", ["low_to_high", "high_to_low"])
def test_types_that_are_equally_frequent_share_a_window(order: str):
    tied = notebook_of({NAME: 3, TYPE: 3, SYNTAX: 3, INDEX: 7})
    both = [(0, 100, {NAME, TYPE, SYNTAX}), (100, 160, {INDEX})]
    back = [(0, 60, {INDEX}), (60, 160, {NAME, TYPE, SYNTAX})]
    assert turns((Snapshot(0, tied), order)) == (both if order == "low_to_high" else back)


def test_a_tie_is_seen_through_the_rounding_of_sums():
    """One type's frequency is that of a single message, the other's is a sum over three."""
    messages = [(NAME, ""), (NAME, ""), (NAME, ""), (TYPE, "a"), (TYPE, "b"), (TYPE, "c")]
    verdicts = [Verdict(error, 0, 1, signature=message) for error, message in messages] + [Verdict(None, 1, 1)] * 5
    notebook = ErrorNotebook()
    notebook.observe(Rollout(Completion("a", i, ""), Program("", "whole"), v) for i, v in enumerate(verdicts))
    assert notebook.frequency(NAME) != notebook.frequency(TYPE)
    assert turns((Snapshot(0, notebook), "low_to_high"))[1] == (80, 160, {NAME, TYPE})


def test_a_window_that_was_begun_goes_on_and_the_rest_is_ordered_anew():
    stages = [(Snapshot(0, RISING), "low_to_high"), (Snapshot(30, FALLING), "low_to_high")]
    assert turns(*stages) == [(0, 20, {NAME}), (20, 80, {TYPE}), (80, 140, {INDEX}), (140, 160, {SYNTAX})]


def test_a_window_that_begins_with_the_snapshot_is_not_begun():
    stages = [(Snapshot(0, RISING), "low_to_high"), (Snapshot(20, FALLING), "low_to_high")]
    assert turns(*stages) == [(0, 20, {NAME}), (20, 80, {INDEX}), (80, 100, {SYNTAX}), (100, 160, {TYPE})]


def test_another_order_changes_what_is_ahead():
    stages = [(Snapshot(0, RISING), "low_to_high"), (Snapshot(10, RISING), "high_to_low")]
    assert turns(*stages) == [(0, 20, {NAME}), (20, 80, {INDEX}), (80, 100, {SYNTAX}), (100, 160, {TYPE})]


@given(failures_by_problem, histories(50), st.data())
def test_windows_follow_each_other_and_each_type_has_one(failures, history: SnapshotHistory, data):
    pool = build_pair_pool(judged_problems(failures))
    types = Groups(pool, pool.error_types)
    stages = [(snapshot, data.draw(orders)) for snapshot in history]
    windows = plan_windows(types, stages, 50)
    assert windows[0].start == 0
    assert windows[-1].stop == 50
    assert all(one.stop == other.start for one, other in itertools.pairwise(windows))
    assert Counter(group for window in windows for group in window.types) == Counter(range(len(types)))
    for until in range(1, len(stages)):
        begun = [window for window in windows if window.start < stages[until][0].from_position]
        before = plan_windows(types, stages[:until], 50)
        assert list(before[: len(begun)]) == begun


@given(failures_by_problem, error_counts, orders, st.integers(200, 10_000))
def test_a_window_is_as_long_as_its_types_share_of_the_failures(failures, errors, order, length):
    pool = build_pair_pool(judged_problems(failures))
    types = Groups(pool, pool.error_types)
    sizes, frequency = pool_sizes(pool), []
    for window in plan_windows(types, [(Snapshot(0, notebook_of(errors)), order)], length):
        members = [ERROR_TYPES[types.labels[group]] for group in window.types]
        expected = length * sum(sizes[member] for member in members) / len(pool.rejected)
        assert abs(window.stop - window.start - expected) <= 1
        assert len({errors.get(member, 0) for member in members}) == 1
        frequency.append(errors.get(members[0], 0))
    assert frequency == sorted(set(frequency), reverse=order == "high_to_low")


@given(st.integers(1, 3))
def test_a_run_shorter_than_the_number_of_types_leaves_windows_out(length):
    windows = turns((Snapshot(0, RISING), "low_to_high"), length=length)
    assert [start for start, _, _ in windows] == sorted({start for start, _, _ in windows})
    assert windows[0][0] == 0
    assert windows[-1][1] == length


def test_a_rare_type_has_its_turn_in_a_short_run():
    rollouts = judged_problems({"a": [NAME] * 98 + [TYPE, SYNTAX]})
    sequence = run_of("progressive", rollouts, Snapshot(0, RISING), window_share=1.0, length=10)
    assert [error_type(sequence.pool, sequence.draw(t)) for t in range(10)] == [NAME] * 8 + [TYPE, SYNTAX]


@settings(max_examples=5, deadline=None)
@given(failures_by_problem, error_counts, orders, st.sampled_from([0.0, 0.5, 0.8, 1.0]), st.integers(0, 2**30))
def test_progressive_keeps_its_shares_at_20_points(failures, errors, order, share, seed):
    rollouts = judged_problems(failures)
    first = Snapshot(0, notebook_of(errors))
    sequence = run_of("progressive", rollouts, first, length=LENGTH, seed=seed, order=order, window_share=share)
    sizes, block = pool_sizes(sequence.pool), LENGTH // 20
    for start in range(0, LENGTH, block):
        draws = [sequence.draw(t) for t in range(start, start + block)]
        counts, windows = type_counts(sequence.pool, draws), Counter(draw.part for draw in draws)["window"]
        assert is_within_sampling_error(windows, share, block)
        turn = shares_of_the_turn(sizes, errors, order, start, start + block)
        for error, size in sizes.items():
            expected = share * turn[error] + (1 - share) * size / sum(sizes.values())
            assert is_within_sampling_error(counts[error], expected, block), (start, error)


def shares_of_the_turn(sizes: dict, errors: dict, order: str, start: int, stop: int) -> dict[ErrorType, float]:
    """How much of the draws from `start` up to `stop` is whose turn."""
    shares, done = dict.fromkeys(sizes, 0.0), 0
    for frequency in sorted({errors.get(error, 0) for error in sizes}, reverse=order == "high_to_low"):
        together = {error: size for error, size in sizes.items() if errors.get(error, 0) == frequency}
        failures = sum(together.values())
        first, last = (
            math.floor(LENGTH * Fraction(n, sum(sizes.values())) + Fraction(1, 2)) for n in (done, done + failures)
        )
        overlap = max(0, min(last, stop) - max(first, start)) / (stop - start)
        shares |= {error: overlap * size / failures for error, size in together.items()}
        done += failures
    return shares


splits = st.sampled_from([(0.8, 0.2), (0.5, 0.2), (0.0, 1.0), (1.0, 0.0), (0.6, 0.1)])


@settings(deadline=None)
@given(failures_by_problem, histories(400), splits)
def test_no_position_has_less_window_or_more_replay_than_configured(failures, history, split):
    window, replay = split
    pool = build_pair_pool(judged_problems(failures))
    strategy = AdaptiveStrategy(window_share=window, replay_share=replay)
    for position in range(0, 400, 20):
        plan = strategy.plan(pool, history.at(position), length=400, seed=0)
        assert isinstance(plan, MixturePlan)
        shares = {part.name: part.share for part in plan.parts_at(position)}
        assert shares["window"] > window - 1e-12
        assert shares.get("replay", 0) == (replay if replayed(history, pool_sizes(pool), position) else 0)
        assert sum(shares.values()) == pytest.approx(1)


@settings(max_examples=6, deadline=None)
@given(
    failures_by_problem,
    histories(LENGTH),
    splits,
    st.integers(0, 2**30),
)
def test_window_and_replay_keep_their_shares_across_snapshots(failures, history, split, seed):
    window, replay = split
    pool = build_pair_pool(judged_problems(failures))
    strategy = make_strategy("adaptive", window_share=window, replay_share=replay)
    sequence = PairSequence(pool, strategy, history, length=LENGTH, seed=seed)
    block = LENGTH // 20
    for start in range(0, LENGTH, block):
        known = [replayed(history, pool_sizes(pool), t) for t in range(start, start + block)]
        parts = Counter(sequence.draw(t).part for t in range(start, start + block))
        expected = replay * sum(known) / block
        assert is_within_sampling_error(parts["replay"], expected, block)
        assert is_within_sampling_error(parts["window"], window + replay - expected, block)


def replayed(history: SnapshotHistory, sizes: dict[ErrorType, int], position: int) -> bool:
    """Whether the last quiz before a position met a type that the pool has."""
    quizzes = [s.quiz for s in history if s.quiz and s.quiz.samples and s.from_position <= position]
    return bool(quizzes) and any(quizzes[-1].errors.get(error) for error in sizes)


@pytest.mark.parametrize(
    ("name", "options"),
    [("progressive", {"window_share": 0.0}), ("adaptive", {"window_share": 0.0, "replay_share": 0.0})],
)
def test_the_rest_is_uniform_over_all_failures(name: str, options: dict):
    sequence = run_of(name, judged_problems({"a": [NAME] * 45 + [TYPE] * 5}), length=4000, **options)
    draws = [sequence.draw(position) for position in range(4000)]
    assert {draw.part for draw in draws} == {"rest"}
    assert is_within_sampling_error(type_counts(sequence.pool, draws)[TYPE], 0.1, 4000)


def test_replay_draws_what_the_quiz_met_by_its_share_there():
    quiz = quiz_of({NAME: 3, INDEX: 1, ErrorType.MEMORY: 50})
    sequence = run_of("adaptive", FOUR, Snapshot(0, RISING, quiz), window_share=0.0, replay_share=1.0, length=4000)
    counts = type_counts(sequence.pool, map(sequence.draw, range(4000)))
    assert set(counts) == {NAME, INDEX}
    assert is_within_sampling_error(counts[NAME], 0.75, 4000)


def test_the_last_quiz_counts_until_another_one():
    quiz = quiz_of({NAME: 3})
    snapshots = [Snapshot(0, RISING, quiz), Snapshot(100, FALLING), Snapshot(200, FALLING, quiz_of({}))]
    sequence = run_of("adaptive", FOUR, *snapshots, length=300, window_share=0.0, replay_share=1.0)
    parts = [sequence.draw(t).part for t in range(300)]
    assert set(parts[:200]) == {"replay"}
    assert set(parts[200:]) == {"window"}


def decisions(*skills: float | None, **options: float) -> list[str]:
    """The order after each quiz with this pass@1; None: a snapshot without a quiz, of a policy that passes 20 in 30."""
    notebook = notebook_of({NAME: 10}, passes=20)
    quizzes = [
        None if skill is None else quiz_of({NAME: round(100 - 100 * skill)}, round(100 * skill)) for skill in skills
    ]
    return AdaptiveStrategy(**options).orders([Snapshot(i, notebook, quiz) for i, quiz in enumerate(quizzes)])


LOW, HIGH = "low_to_high", "high_to_low"


def test_a_weak_policy_goes_from_rare_to_frequent_and_a_strong_one_back():
    assert decisions(0.2) == [LOW]
    assert decisions(0.5) == [HIGH]
    assert decisions(0.5, skill_threshold=0.6) == [LOW]


def test_adaptive_changes_its_mind_and_comes_back():
    assert decisions(0.3, 0.6, 0.6, 0.3) == [LOW, HIGH, HIGH, LOW]


def test_noise_about_the_threshold_changes_no_mind():
    assert decisions(0.48, 0.52, 0.48, 0.56, 0.48, 0.46, 0.44) == [LOW, LOW, LOW, HIGH, HIGH, HIGH, LOW]


def test_before_the_first_quiz_the_notebook_decides():
    assert decisions(None, 0.48, None) == [HIGH, LOW, LOW]
    assert AdaptiveStrategy().orders([Snapshot(0, notebook_of({}, passes=0))]) == [LOW]


def test_a_changed_mind_turns_what_is_ahead_and_nothing_else():
    weak, strong = quiz_of({NAME: 70}, 30), quiz_of({NAME: 30}, 70)
    snapshots = [Snapshot(0, RISING, weak), Snapshot(100, RISING, strong)]
    runs = [run_of("adaptive", FOUR, *snapshots[:n], length=1600, window_share=1.0, replay_share=0.0) for n in (1, 2)]
    seen = [
        [kind for kind, _ in itertools.groupby(error_type(run.pool, run.draw(t)) for t in range(1600))] for run in runs
    ]
    assert seen == [[NAME, TYPE, SYNTAX, INDEX], [NAME, INDEX, SYNTAX, TYPE]]


def test_a_history_can_grow_while_a_run_goes_on():
    history = history_of(Snapshot(0, RISING))
    sequence = PairSequence(
        build_pair_pool(FOUR), make_strategy("progressive", window_share=1.0), history, length=160, seed=0
    )
    before = [sequence.draw(t) for t in range(30)]
    history.announce(Snapshot(90, FALLING))
    assert [sequence.draw(t) for t in range(30)] == before
    assert error_type(sequence.pool, sequence.draw(101)) is INDEX
