"""Is one way of answering the same problems better than another? Problems are the unit: what was drawn is a set of
problems, and each gives one difference.

The p-value is that of the sign-flip test: if the two ways are one, each problem's difference might as well have had
the other sign. That holds for any number of problems and samples, so two halves of one run differ in no more than
5 % of the cases at p < 0.05. With differences of -1, 0 and 1 alone (greedy answers, or one sample each) the test is
McNemar's, exact. The interval is the percentile bootstrap over problems; for such differences it is that of Bonett
and Price 2012, which stays honest where few problems differ.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eval.pass_at_k import resampled_means

_FLIPS = 20_000
_Z95 = 1.959963984540054
_Z80 = 0.8416212335729143
_TIE = 1e-9
"""Sums of differences that rounding alone sets apart."""


@dataclass(frozen=True)
class ProblemDifference:
    """The mean of `n` differences by problem (other less baseline, from -1 to 1), its 95 % interval, and the two-sided
    p-value against no difference."""

    n: int
    value: float
    low: float
    high: float
    p: float
    num_different: int
    """Problems that came out differently."""
    mean_square: float
    """Of the differences by problem: what they scatter around no difference."""
    is_binary: bool
    """All differences are -1, 0 or 1; the test is McNemar's."""


def problem_difference(baseline: Sequence[float], other: Sequence[float], seed: int = 0) -> ProblemDifference:
    """What `other` has over `baseline`; the same place in both is the same problem. A function of the arguments.

    Raises:
        ValueError: they are not of one length, or empty.
    """
    differences = np.asarray([b - a for a, b in zip(baseline, other, strict=True)], dtype=np.float64)
    if not differences.size:
        raise ValueError("without problems there is no difference")
    is_binary = bool(np.isin(differences, (-1.0, 0.0, 1.0)).all())
    value = math.fsum(differences) / differences.size
    low, high = _discordant_interval(differences) if is_binary else _bootstrap_interval(differences, seed)
    return ProblemDifference(
        n=int(differences.size),
        value=value,
        low=min(low, value),
        high=max(high, value),
        p=p_value(differences, seed),
        num_different=int((np.abs(differences) > _TIE).sum()),
        mean_square=float((differences**2).mean()),
        is_binary=is_binary,
    )


def p_value(differences: Sequence[float] | np.ndarray, seed: int = 0) -> float:
    """The two-sided p of the sign-flip test: McNemar's exact one where all differences are -1, 0 or 1, else with 20,000
    flips drawn from `seed`."""
    values = np.asarray(differences, dtype=np.float64)
    if np.isin(values, (-1.0, 0.0, 1.0)).all():
        return mcnemar((values > 0).sum(), (values < 0).sum())
    return _sign_flip(np.abs(values[np.abs(values) > _TIE]), abs(math.fsum(values)), seed)


def mcnemar(won: int, lost: int) -> float:
    """The exact two-sided p of McNemar's test: `won` problems came out better, `lost` worse; of those that came out
    alike nothing is learnt. Twice the smaller tail of the binomial with 1/2, and at most 1."""
    discordant, fewer = int(won) + int(lost), min(int(won), int(lost))
    ways = combinations = 1
    for count in range(fewer):
        combinations = combinations * (discordant - count) // (count + 1)
        ways += combinations
    return min(1.0, 2 * ways / 2**discordant)


def problems_to_see(points: float, difference: ProblemDifference) -> int:
    """How many problems like these a comparison needs, all told, to find a true difference of `points` (a share, 0.02
    say) at p < 0.05 four times in five.

    The usual formula for paired data (Connor 1987 for McNemar's test), with the continuity correction that the exact
    test's steps ask for. As many samples of each problem are taken as here.
    """
    square = max(difference.mean_square, points**2, points if difference.is_binary else 0.0)
    scatter = _Z95 * math.sqrt(square) + _Z80 * math.sqrt(square - points**2)
    step = 1.0 if difference.is_binary else 0.0
    root = (scatter + math.sqrt(scatter**2 + 4 * points * step)) / (2 * points)
    return math.ceil(root**2)


def _discordant_interval(differences: np.ndarray) -> tuple[float, float]:
    """Bonett and Price 2012: Wald's interval after one more problem was won and one more lost."""
    n = differences.size + 2
    won, lost = ((differences > 0).sum() + 1) / n, ((differences < 0).sum() + 1) / n
    centre, half = won - lost, _Z95 * math.sqrt((won + lost - (won - lost) ** 2) / n)
    return max(-1.0, centre - half), min(1.0, centre + half)


def _bootstrap_interval(differences: np.ndarray, seed: int) -> tuple[float, float]:
    low, high = np.quantile(resampled_means(differences, seed), [0.025, 0.975])
    return float(low), float(high)


def _sign_flip(sizes: np.ndarray, observed: float, seed: int) -> float:
    """The share of sign patterns, the observed one among them, whose sum is as far from 0 as what was seen."""
    generator = np.random.default_rng(seed)
    sums = np.zeros(_FLIPS)
    for size, count in zip(*np.unique(sizes.round(12), return_counts=True), strict=True):
        sums += size * (2.0 * generator.binomial(count, 0.5, _FLIPS) - count)  # all of one size at once
    return (1 + int((np.abs(sums) >= observed - _TIE).sum())) / (_FLIPS + 1)
