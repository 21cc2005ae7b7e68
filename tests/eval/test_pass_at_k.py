from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from eval.pass_at_k import estimate_pass_at_k, mean_interval, pass_at_k
from rlcode.types import Interval


@pytest.mark.parametrize(("n", "c", "k"), [(1, 0, 1), (5, 2, 1), (5, 2, 3), (6, 1, 6), (7, 5, 3), (8, 0, 4), (8, 8, 8)])
def test_the_estimate_is_the_share_of_all_draws_of_k_with_a_pass(n: int, c: int, k: int) -> None:
    samples = [True] * c + [False] * (n - c)
    draws = list(itertools.combinations(samples, k))
    assert estimate_pass_at_k(n, c, k) == pytest.approx(sum(any(d) for d in draws) / len(draws), abs=1e-12)


def test_the_estimate_stays_exact_for_many_samples() -> None:
    exact = 1 - math.comb(900, 100) / math.comb(1000, 100)
    assert estimate_pass_at_k(1000, 100, 100) == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize(("n", "c", "k"), [(3, 4, 1), (3, -1, 1), (3, 1, 0), (3, 1, 4)])
def test_impossible_counts_are_refused(n: int, c: int, k: int) -> None:
    with pytest.raises(ValueError):
        estimate_pass_at_k(n, c, k)


def test_the_mean_is_over_problems() -> None:
    interval = pass_at_k({"a": [True, False], "b": [False, False], "c": [True, True, True]}, 1)
    assert interval is not None
    assert interval.value == pytest.approx(0.5)


def test_a_k_above_the_samples_of_one_problem_is_withheld() -> None:
    assert pass_at_k({"a": [True] * 10, "b": [True] * 9}, 10) is None
    assert pass_at_k({"a": [True] * 10, "b": []}, 1) is None


@pytest.mark.parametrize(("passed", "low", "high"), [(0, 0.0, 0.0228914), (164, 0.9771086, 1.0), (82, 0.4243, 0.5757)])
def test_one_sample_for_each_problem_gets_wilsons_interval(passed: int, low: float, high: float) -> None:
    interval = pass_at_k({str(index): [index < passed] for index in range(164)}, 1)
    assert interval is not None
    assert interval == Interval(passed / 164, pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


@pytest.mark.parametrize("value", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("n", [1, 2, 30])
def test_no_interval_is_without_width_and_each_holds_its_value(value: float, n: int) -> None:
    interval = mean_interval([value] * n)
    assert 0.0 <= interval.low <= interval.value <= interval.high <= 1.0
    assert interval.high - interval.low > 0.05


def test_the_same_seed_gives_the_same_interval() -> None:
    values = [0.1, 0.5, 0.9, 0.3, 0.0, 1.0]
    assert mean_interval(values, seed=3) == mean_interval(values, seed=3)
    assert mean_interval(values, seed=3) != mean_interval(values, seed=4)


@pytest.mark.parametrize(("samples", "k"), [(10, 1), (20, 10)])
def test_the_interval_holds_the_true_mean_as_often_as_it_says(samples: int, k: int) -> None:
    """Problems whose chances are drawn from Beta(1/2, 1/2): pass@k of all such problems has a closed form."""
    truth = 1 - math.gamma(k + 0.5) * math.gamma(0.5) / math.gamma(k + 1) / math.pi
    generator = np.random.default_rng(7)
    trials, held = 300, 0
    for trial in range(trials):
        passed = generator.binomial(samples, generator.beta(0.5, 0.5, size=164))
        interval = mean_interval([estimate_pass_at_k(samples, int(c), k) for c in passed], seed=trial)
        held += interval.low <= truth <= interval.high
    assert 0.93 <= held / trials <= 0.97
