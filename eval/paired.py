"""Paired comparisons: is one way better than another, when both were tried on the same seeds?"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_TERMS = 400
"""Of a continued fraction that converges in a few dozen where it is used."""
_TINY = 1e-300


@dataclass(frozen=True)
class PairedDifference:
    """The mean of n paired differences, half the width of its 95 % t-interval, and the two-sided p of the t-test
    against no difference."""

    n: int
    mean: float
    half_width: float
    p: float


def paired_difference(treated: Sequence[float], baseline: Sequence[float]) -> PairedDifference:
    """What `treated` has over `baseline`; the same place in both is the same seed.

    Raises:
        ValueError: they are not of one length, or shorter than two: one difference has no spread.
    """
    differences = [a - b for a, b in zip(treated, baseline, strict=True)]
    n = len(differences)
    if n < 2:
        raise ValueError(f"{n} paired differences have no interval; at least 2 are needed")
    mean, error = statistics.fmean(differences), statistics.stdev(differences) / math.sqrt(n)
    if error == 0:
        return PairedDifference(n, mean, 0.0, 1.0 if mean == 0 else 0.0)
    return PairedDifference(n, mean, t_quantile(0.975, n - 1) * error, two_sided_p(mean / error, n - 1))


def two_sided_p(t: float, df: int) -> float:
    """The chance that Student's t with `df` degrees of freedom is as far from 0 as `t`, or further."""
    return _incomplete_beta(df / 2, 0.5, df / (df + t * t))


def t_quantile(probability: float, df: int) -> float:
    """The value that Student's t with `df` degrees of freedom stays below with `probability`, from 0.5 up to 1."""
    if not 0.5 <= probability < 1:
        raise ValueError(f"probability must be in [0.5, 1), got {probability}")
    return _root(lambda t: 1 - two_sided_p(t, df) / 2 - probability)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values corrected for their number, in the same order (Holm 1979): the chance of one or more false
    findings in the family stays under the level that they are held against."""
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * p_values[place]))
        corrected[place] = highest
    return corrected


def _root(function: Callable[[float], float]) -> float:
    """Where a rising function that is not above 0 at 0 crosses it, by bisection."""
    high = 1.0
    while function(high) < 0:
        high *= 2
    low = 0.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if function(middle) < 0 else (low, middle)
    return high


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function I_x(a, b)."""
    if x in (0.0, 1.0):
        return x
    if x > (a + 1) / (a + b + 2):  # where the fraction below converges slowly
        return 1 - _incomplete_beta(b, a, 1 - x)
    front = a * math.log(x) + b * math.log1p(-x) + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    return math.exp(front) / (a * _beta_fraction(a, b, x))


def _beta_fraction(a: float, b: float, x: float) -> float:
    """DLMF 8.17.22, from its far end: 1 + d1 / (1 + d2 / (1 + ...))."""
    value = 1.0
    for term in range(_TERMS, 0, -1):
        m = term // 2
        if term % 2:
            d = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            d = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        value = 1 + d / (value or _TINY)
    return value
