"""pass@k with confidence intervals over problems."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from rlcode.types import Interval

_RESAMPLES = 10_000
_CHUNK = 500  # resamples at a time: bounds the memory on large benchmarks
_Z95 = 1.959963984540054


def estimate_pass_at_k(n: int, c: int, k: int) -> float:
    """The unbiased estimate 1 - C(n - c, k) / C(n, k) that at least one of k samples passes.

    Eq. 1 of Chen et al. 2021 (arXiv 2107.03374): `n` samples were judged and `c` of them passed.

    Raises:
        ValueError: unless 0 <= c <= n and 1 <= k <= n.
    """
    if not 0 <= c <= n:
        raise ValueError(f"{c} of {n} samples can't have passed")
    if not 1 <= k <= n:
        raise ValueError(f"pass@{k} needs at least {k} samples of each problem, and k from 1; there are {n}")
    if n - c < k:
        return 1.0
    return 1.0 - math.prod(1.0 - k / i for i in range(n - c + 1, n + 1))


def pass_at_k(results: Mapping[str, Sequence[bool]], k: int, seed: int = 0) -> Interval | None:
    """Mean pass@k over problems with its 95 % interval; `results` has the scored samples of each problem by task id.

    None unless every problem has at least k scored samples: a mean over other problems for each k would compare
    what can't be compared.

    Raises:
        ValueError: there is no problem.
    """
    if not results:
        raise ValueError("pass@k of no problems is not defined")
    if any(len(passed) < k for passed in results.values()):
        return None
    return mean_interval([estimate_pass_at_k(len(passed), sum(passed), k) for passed in results.values()], seed)


def mean_interval(values: Sequence[float], seed: int = 0) -> Interval:
    """Mean of per-problem values in [0, 1] with a 95 % interval for new problems of the same kind.

    The percentile bootstrap over problems (10,000 resamples drawn from `seed`). Where that says nothing or lies, the
    Wilson score interval for as many problems as there are: when every value is 0 or 1 (one sample each, or greedy),
    where it is the better interval, and when all values are equal, where the bootstrap has no width at all.
    """
    mean = math.fsum(values) / len(values)
    if all(value in (0.0, 1.0) for value in values) or min(values) == max(values):
        return _wilson(mean, len(values))
    means = resampled_means(np.asarray(values, dtype=np.float64), seed)
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(mean, min(float(low), mean), max(float(high), mean))


def _wilson(share: float, n: int) -> Interval:
    """Wilson 1927: the shares that a normal test at 95 % does not reject, given `share` of n."""
    z2 = _Z95**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z95 / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    # min and max: rounding must not put the value itself outside
    return Interval(share, max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share)))


def resampled_means(values: np.ndarray, seed: int) -> np.ndarray:
    """Means of resamples of `values` with replacement, shape (_RESAMPLES,)."""
    generator = np.random.default_rng(seed)
    draws = [generator.integers(len(values), size=(_CHUNK, len(values))) for _ in range(_RESAMPLES // _CHUNK)]
    return np.concatenate([values[draw].mean(axis=1) for draw in draws])
