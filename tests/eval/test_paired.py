"""Paired comparisons give the figures of statistics' own tables."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.paired import holm, paired_difference, t_quantile, two_sided_p

# Student 1908: hours of sleep that two drugs gave the same ten patients; the first paired t-test that was published
DRUG_1 = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
DRUG_2 = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]


def test_students_own_example_comes_out():
    difference = paired_difference(DRUG_2, DRUG_1)
    assert difference.n == 10
    assert difference.mean == pytest.approx(1.58)
    assert difference.mean - difference.half_width == pytest.approx(0.7001142, abs=1e-6)
    assert difference.mean + difference.half_width == pytest.approx(2.4598858, abs=1e-6)
    assert difference.p == pytest.approx(0.00283289, abs=1e-7)


@pytest.mark.parametrize(
    ("df", "quantile"), [(1, 12.7062), (2, 4.30265), (3, 3.18245), (15, 2.13145), (30, 2.04227), (1000, 1.96234)]
)
def test_quantiles_are_those_of_the_table(df, quantile):
    assert t_quantile(0.975, df) == pytest.approx(quantile, abs=1e-4)
    assert two_sided_p(quantile, df) == pytest.approx(0.05, abs=1e-5)


def test_the_sign_says_which_is_better():
    assert paired_difference([0.5, 0.6, 0.55], [0.4, 0.4, 0.4]).mean == pytest.approx(0.15)
    assert paired_difference([0.4, 0.4, 0.4], [0.5, 0.6, 0.55]).mean == pytest.approx(-0.15)


def test_no_difference_at_all_is_no_finding():
    same = paired_difference([0.1, 0.2, 0.3], [0.1, 0.2, 0.3])
    assert (same.mean, same.half_width, same.p) == (0.0, 0.0, 1.0)


def test_one_pair_is_refused():
    with pytest.raises(ValueError, match="at least 2"):
        paired_difference([0.5], [0.4])


def test_unequal_lengths_are_refused():
    with pytest.raises(ValueError):
        paired_difference([0.5, 0.6], [0.4, 0.5, 0.6])


def test_holm_corrects_as_in_the_text_book():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_never_lowers_a_p_and_keeps_their_order(p_values):
    corrected = holm(p_values)
    assert all(0 <= p <= q <= 1 for p, q in zip(p_values, corrected, strict=True))
    by_p = [q for _, q in sorted(zip(p_values, corrected, strict=True))]
    assert by_p == sorted(by_p)


@given(st.floats(0, 50), st.integers(1, 200))
def test_p_falls_from_one_as_t_grows(t, df):
    assert two_sided_p(0.0, df) == 1.0
    assert 0 <= two_sided_p(t + 0.1, df) < two_sided_p(t, df) <= 1
