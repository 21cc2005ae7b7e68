"""The published rules, worked out a second time: every probability as a fraction, by listing what can be drawn."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from fractions import Fraction

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rlcode.errors import DataError
from rlcode.types import Completion, ErrorType, Program, Rollout, Verdict
from sampling.draws import PairSequence
from sampling.pool import ERROR_TYPES, PairPool, build_pair_pool
from sampling.snapshots import Snapshot
from sampling.strategies import make_strategy
from sampling.strategies.protocol import Draw, Plan
from tests.sampling.drawn import TYPES, error_counts, history_of, notebook_of, quiz_of

WRONG, NAME, TYPE = ErrorType.WRONG_ANSWER, ErrorType.NAME, ErrorType.TYPE
Sample = tuple[str, str, ErrorType | None]
"""Problem, text, and how it ended."""
Probabilities = dict[tuple[str, str], Fraction]
"""Of each pair of texts, rejected and chosen."""


def rollouts_of(samples: list[Sample]) -> list[Rollout]:
    return [
        Rollout(Completion(task_id, index, text), Program(text, "whole"), Verdict(error, int(error is None), 1))
        for index, (task_id, text, error) in enumerate(samples)
    ]


def published_rows(samples: list[Sample]) -> dict[str, tuple[list[str], list[tuple[str, ErrorType]]]]:
    """For each problem that is used: the passes, and the row of failures from rare to frequent."""
    kept: list[tuple[str, Fraction, int, str, ErrorType | None]] = []
    for at, (task_id, text, error) in enumerate(samples):
        endings = [other for task, _, other in samples if task == task_id]
        score = Fraction(0) if error is None else Fraction(endings.count(error), len(endings))
        kept.append((task_id, score, at, text, error))
    rows: defaultdict[str, tuple[list, list]] = defaultdict(lambda: ([], []))
    known: set[str] = set()
    for task_id, _, _, text, error in sorted(kept, key=lambda item: item[:3]):
        if text not in known:
            known.add(text)
            rows[task_id][0].append(text) if error is None else rows[task_id][1].append((text, error))
    return {task: (passes, row) for task, (passes, row) in rows.items() if len(passes) >= 2 and len(row) >= 2}


def published_probabilities(
    passes: list[str],
    row: list[tuple[str, ErrorType]],
    epoch: Fraction,
    epochs: int,
    order: str,
    quiz: dict[ErrorType, int],
) -> Probabilities:
    per_epoch = Fraction(len(row), epochs)
    start, end = math.floor(epoch * per_epoch), math.floor((epoch + 1) * per_epoch)
    if end == start:
        end = start + 1
    end = min(end, len(row))  # where the published slice is cut short, or falls empty in one order
    window = row[start:end] if order == "low_to_high" else row[len(row) - end : len(row) - start]
    tickets: Counter[str] = Counter({text: Fraction(1) for text, _ in window})
    total, seen = len(window), {error: count for error, count in quiz.items() if count}
    for error, count in seen.items():
        of_type = [text for text, kind in row if kind is error]
        copies = max(math.ceil(Fraction(count, min(seen.values()))), len(window) * count // sum(seen.values()))
        for text in of_type:
            tickets[text] += Fraction(copies, len(of_type))
        total += copies if of_type else 0
    return {
        (text, chosen): Fraction(share, total) / len(passes) for text, share in tickets.items() for chosen in passes
    }


class EveryChoice:
    """Stands for a generator, and takes each of its choices in turn instead of one by chance."""

    def __init__(self) -> None:
        self._path: list[tuple[int, int]] = []
        self._at = 0

    def integers(self, count: int) -> int:
        if self._at == len(self._path):
            self._path.append((0, int(count)))
        choice, known = self._path[self._at]
        assert known == count
        self._at += 1
        return choice

    def ways(self) -> Iterator[None]:
        """Comes back until every way through was taken."""
        while True:
            self._at = 0
            yield
            while self._path and self._path[-1][0] + 1 == self._path[-1][1]:
                self._path.pop()
            if not self._path:
                return
            choice, count = self._path.pop()
            self._path.append((choice + 1, count))

    @property
    def probability(self) -> Fraction:
        """Of the way that was taken last."""
        return math.prod((Fraction(1, count) for _, count in self._path), start=Fraction(1))


def every_draw(plan: Plan, position: int) -> list[tuple[Draw, Fraction]]:
    """All that can be drawn at a position, each with its probability."""
    choices, found = EveryChoice(), []
    for _ in choices.ways():
        draw = plan.draw(position, choices)  # type: ignore[arg-type]
        found.append((draw, choices.probability))
    assert sum(probability for _, probability in found) == 1
    return found


def plan_of(pool: PairPool, quiz: dict[ErrorType, int], order: str, epochs: int) -> Plan:
    snapshot = Snapshot(0, notebook_of({}), quiz_of(quiz))
    return make_strategy("ap2o", order=order, epochs=epochs).plan(pool, [snapshot], length=10, seed=4)


def text_of(pool: PairPool, side: int) -> str:
    return pool.rows[int(pool.sides.row[side])]["text"]


@st.composite
def judged_samples(draw: st.DrawFn) -> list[Sample]:
    """Problems that have texts in common, texts that come several times, and how a text ends on a problem."""
    endings: dict[tuple[str, str], ErrorType | None] = {}
    samples: list[Sample] = []
    for task_id in draw(st.sets(st.sampled_from("abc"), min_size=1)):
        for text in draw(st.lists(st.sampled_from("pqrstuvwxyz"), min_size=4, max_size=14)):
            ending = endings.setdefault((task_id, text), draw(st.none() | st.sampled_from(TYPES[:4])))
            samples.append((task_id, text, ending))
    assume(published_rows(samples))
    return samples


orders = st.sampled_from(["low_to_high", "high_to_low"])


@settings(max_examples=60, deadline=None)
@given(judged_samples(), error_counts, orders, st.sampled_from([1, 2, 3, 5, 200]), st.data())
def test_every_pair_has_its_published_probability(samples, quiz, order, epochs, data):
    pool = build_pair_pool(rollouts_of(samples))
    plan, rows = plan_of(pool, quiz, order, epochs), published_rows(samples)
    for _ in range(4):
        position = data.draw(st.integers(0, epochs * len(rows) - 1))
        draws = every_draw(plan, position)
        task_id = pool.sides.task_ids[pool.sides.problem[draws[0][0].rejected]]
        found: Counter[tuple[str, str]] = Counter()
        for draw, probability in draws:
            found[text_of(pool, draw.rejected), text_of(pool, draw.chosen)] += probability
        assert found == published_probabilities(*rows[task_id], Fraction(position, len(rows)), epochs, order, quiz)


@settings(max_examples=30, deadline=None)
@given(judged_samples(), orders, st.integers(0, 2**40))
def test_an_epoch_visits_each_problem_once(samples, order, seed):
    pool, problems = build_pair_pool(rollouts_of(samples)), len(published_rows(samples))
    strategy = make_strategy("ap2o", order=order, epochs=5)
    sequence = PairSequence(pool, strategy, history_of(Snapshot(0, notebook_of({}))), length=50, seed=seed)
    for epoch in range(7):
        draws = [sequence.draw(position) for position in range(epoch * problems, (epoch + 1) * problems)]
        visited = [pool.sides.task_ids[pool.sides.problem[draw.rejected]] for draw in draws]
        assert sorted(visited) == sorted(published_rows(samples))


def one_problem(failures: dict[ErrorType, int]) -> PairPool:
    passes: list[Sample] = [("a", f"pass {i}", None) for i in range(2)]
    return build_pair_pool(
        rollouts_of(passes + [("a", f"{error} {i}", error) for error, count in failures.items() for i in range(count)])
    )


@pytest.mark.parametrize("order", ["low_to_high", "high_to_low"])
def test_replay_washes_the_order_out(order: str):
    """As measured on the published code: after a quiz with 25, 3 and 1 errors of three types, the window's own item is
    drawn 3 to 4 % of the time, and the most frequent type 82 to 88 %, in every epoch."""
    pool = one_problem({WRONG: 40, NAME: 30, TYPE: 20})
    plan = plan_of(pool, {WRONG: 25, NAME: 3, TYPE: 1}, order, epochs=200)
    for position in (*range(0, 200, 25), 199):
        draws = every_draw(plan, position)
        assert sum(p for draw, p in draws if draw.part == "window") == Fraction(1, 30)
        wrong = sum(p for draw, p in draws if ERROR_TYPES[pool.sides.error_type[draw.rejected]] is WRONG)
        assert 0.82 < wrong < 0.88


@pytest.mark.parametrize(
    ("counts", "share"),
    [((40, 8, 6, 4, 2, 1), Fraction(1, 62)), ((30, 5, 4, 2), Fraction(1, 22)), ((10, 2), Fraction(1, 7)), ((3,), 0.5)],
)
def test_the_windows_share_follows_from_the_quiz(counts: tuple[int, ...], share: Fraction):
    pool = one_problem(dict.fromkeys(TYPES, 3))
    draws = every_draw(plan_of(pool, dict(zip(TYPES, counts, strict=False)), "low_to_high", epochs=200), 0)
    assert sum(p for draw, p in draws if draw.part == "window") == share


def test_a_window_of_several_failures_adds_by_their_share():
    """Of a window of 30, two thirds are more copies than the quotient of the counts."""
    pool = one_problem({WRONG: 30, NAME: 30})
    draws = every_draw(plan_of(pool, {WRONG: 2, NAME: 1}, "low_to_high", epochs=2), 0)
    assert sum(p for draw, p in draws if draw.part == "window") == Fraction(30, 30 + 20 + 10)


@pytest.mark.parametrize(("order", "first"), [("low_to_high", NAME), ("high_to_low", WRONG)])
def test_without_a_quiz_the_window_goes_through_the_row(order: str, first: ErrorType):
    pool = one_problem({WRONG: 3, NAME: 2})
    plan = plan_of(pool, {}, order, epochs=5)
    row = [every_draw(plan, position)[0][0].rejected for position in range(5)]
    types = [ERROR_TYPES[pool.sides.error_type[rejected]] for rejected in row]
    assert len(set(row)) == 5
    assert types == sorted(types, key=lambda error: error is not first)


@pytest.mark.parametrize("order", ["low_to_high", "high_to_low"])
def test_after_the_last_epoch_the_window_stays_where_the_published_code_dies(order: str):
    pool = one_problem({WRONG: 3, NAME: 2})
    plan = plan_of(pool, {}, order, epochs=5)
    last = every_draw(plan, 4)
    assert [every_draw(plan, position) for position in (5, 6, 100)] == [last] * 3


def test_a_quiz_counts_from_its_snapshot_on():
    pool = one_problem({WRONG: 4, NAME: 4})
    snapshots = [Snapshot(0, notebook_of({})), Snapshot(50, notebook_of({}), quiz_of({NAME: 3}))]
    strategy = make_strategy("ap2o", epochs=100)
    sequence = PairSequence(pool, strategy, history_of(*snapshots), length=100, seed=0)
    parts = [sequence.draw(position).part for position in range(100)]
    assert set(parts[:50]) == {"window"}
    assert "replay" in parts[50:]


def test_texts_that_the_pool_takes_for_one_count_each():
    samples: list[Sample] = [("a", "p", None), ("a", "q", None), ("a", "x", NAME), ("a", "x ", NAME), ("a", "y", NAME)]
    pool = build_pair_pool(rollouts_of(samples))
    plan = plan_of(pool, {}, "low_to_high", epochs=3)
    drawn = [text_of(pool, every_draw(plan, position)[0][0].rejected) for position in range(3)]
    assert drawn == ["x", "x", "y"]


def test_without_a_problem_that_fits_the_error_says_what_to_do():
    pool = build_pair_pool(rollouts_of([("a", "p", None), ("a", "x", NAME), ("a", "y", NAME)]))
    with pytest.raises(DataError, match="num_generations"):
        plan_of(pool, {}, "low_to_high", epochs=3)
