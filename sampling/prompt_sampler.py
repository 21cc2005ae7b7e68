"""Which problems get a group in GRPO: those whose group is likely to have both passes and failures, and of these the
ones where the policy makes the mistakes that are frequent now.

A group teaches by the difference between its samples. Where all of them pass or all fail there is none, and what they
cost is lost. The error notebook knows how often each problem was passed, so the chance of a mixed group can be
estimated before anything is generated. Some share of the draws ignores the estimate, so that no problem is given up.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from rlcode.errors import ConfigError
from rlcode.types import ErrorType
from sampling.notebook import ErrorNotebook


@dataclass(frozen=True)
class Band:
    """The pass rates of groups that are worth training on: strictly between `low` and `high`.

    Raises:
        ConfigError: they are not between 0 and 1, or not in this order.
    """

    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.low < self.high <= 1:
            raise ConfigError(f"group_band must be two rising numbers from 0 to 1, got {self.low} and {self.high}")

    @classmethod
    def from_list(cls, bounds: Sequence[float]) -> Self:
        """From a list in a configuration.

        Raises:
            ConfigError: it has not two numbers in it, or they can't be a band.
        """
        if len(bounds) != 2:
            raise ConfigError(f"group_band must be two numbers, got {len(bounds)}")
        return cls(*bounds)

    def __contains__(self, pass_rate: float) -> bool:
        return self.low < pass_rate < self.high


@dataclass(frozen=True)
class PromptSampling:
    """How the problems of groups are drawn.

    Raises:
        ConfigError: a value that can't be.
    """

    num_generations: int
    """Completions of a group."""
    exploration: float = 0.1
    """Share of the draws in which all problems have the same chance."""
    power: float = 1.0
    """Of an error type's current frequency; 0 leaves error types out of it."""
    band: Band = field(default_factory=Band)
    prior: tuple[float, float] = (1.0, 1.0)
    """Passes and failures that each problem is taken to have had before anything was seen."""

    def __post_init__(self) -> None:
        if self.num_generations < 2:
            raise ConfigError(f"a group must have at least 2 completions, got num_generations {self.num_generations}")
        if not 0 <= self.exploration <= 1:
            raise ConfigError(f"exploration must be from 0 to 1, got {self.exploration}")
        if self.power < 0 or min(self.prior) <= 0:
            raise ConfigError("error_type_power must not be negative, and both parts of the prior must be positive")

    @classmethod
    def from_arguments(cls, args: Any, num_generations: int) -> Self:
        """From an instance of `GrpoArguments`, or a namespace with the same names."""
        exploration = 1.0 if args.prompt_sampling == "uniform" else args.exploration
        return cls(num_generations, exploration, args.error_type_power, Band.from_list(args.group_band))


class PromptSampler:
    """Draws problems by what the notebook says of them. It has no state: a draw depends on the seed, the step and the
    notebook alone."""

    def __init__(self, task_ids: Sequence[str], options: PromptSampling) -> None:
        """The order of `task_ids` does not matter."""
        self.task_ids = sorted(set(task_ids))
        self.options = options

    def order(self, notebook: ErrorNotebook, *, seed: int, step: int, batch: int = 0) -> Iterator[str]:
        """An endless sequence of problems for the `batch`-th batch of a step.

        Each is drawn by its chance from those that were not drawn yet; once all were, it begins anew. Successive draws
        without replacement are the order of the logarithms of the chances with Gumbel noise added (Kool, van Hoof and
        Welling, 2019).
        """
        with np.errstate(divide="ignore"):  # a chance of 0 comes last
            keys = np.log(self.chances(notebook))
        return self._ordered(keys, seed, step, batch)

    def _ordered(self, keys: np.ndarray, *where: int) -> Iterator[str]:
        for again in itertools.count():
            noise = np.random.default_rng([*where, again]).gumbel(size=len(keys))
            for place in np.argsort(-(keys + noise), kind="stable"):
                yield self.task_ids[place]

    def chances(self, notebook: ErrorNotebook) -> np.ndarray:
        """The chance of each of `task_ids` to be drawn first; they add up to 1."""
        weights = self.mixed_chances(notebook) * self.error_weights(notebook)
        total = weights.sum()
        uniform = np.full(len(weights), 1 / len(weights))
        if total == 0:
            return uniform
        return self.options.exploration * uniform + (1 - self.options.exploration) * weights / total

    def mixed_chances(self, notebook: ErrorNotebook) -> np.ndarray:
        """The estimated chance, for each of `task_ids`, that the pass rate of a group lies in the band.

        The posterior of a problem's pass rate is Beta(prior + evidence), so the number of passes in a group is
        beta-binomial.
        """
        evidence = notebook.evidence()
        passes, failures = self.options.prior
        alpha = np.array([passes + evidence.get(task_id, {}).get(None, 0.0) for task_id in self.task_ids])
        beta = np.array(
            [failures + math.fsum(_failures(evidence.get(task_id, {})).values()) for task_id in self.task_ids]
        )
        size = self.options.num_generations
        worth_it = [passed / size in self.options.band for passed in range(size + 1)]
        return beta_binomial(size, alpha, beta)[:, worth_it].sum(axis=1)

    def error_weights(self, notebook: ErrorNotebook) -> np.ndarray:
        """How frequent the mistakes are now that are made at each of `task_ids`: over its failures the mean of
        frequency ** power of their types, as a multiple of the mean problem's. 1 where no failure was seen."""
        frequencies = {kind: share**self.options.power for kind, share in notebook.frequencies().items()}
        evidence = notebook.evidence()
        weights = np.array([_mean_weight(_failures(evidence.get(t, {})), frequencies) for t in self.task_ids])
        known = weights[~np.isnan(weights)]
        if not known.size or known.mean() == 0:
            return np.ones(len(weights))
        return np.nan_to_num(weights / known.mean(), nan=1.0)


def beta_binomial(size: int, alpha: np.ndarray, beta: np.ndarray) -> np.ndarray:
    """The chance of 0 … `size` passes among `size` samples where the pass rate is Beta(`alpha`, `beta`).

    One row for each entry of `alpha` and `beta`, shape (n, size + 1). In logarithms, from P(0) and the ratios of
    neighbours, since both can be far below what a float holds.
    """
    steps = np.arange(size)
    alpha, beta = alpha[:, None], beta[:, None]
    none_passes = np.log((beta + steps) / (alpha + beta + steps)).sum(axis=1, keepdims=True)
    ratios = (size - steps) / (steps + 1) * (alpha + steps) / (beta + size - steps - 1)
    return np.exp(none_passes + np.concatenate([np.zeros_like(alpha), np.log(ratios).cumsum(axis=1)], axis=1))


def _failures(outcomes: Mapping[ErrorType | None, float]) -> dict[ErrorType, float]:
    return {kind: count for kind, count in outcomes.items() if kind is not None}


def _mean_weight(failures: Mapping[ErrorType, float], frequencies: Mapping[ErrorType, float]) -> float:
    """NaN without a failure."""
    whole = math.fsum(failures.values())
    parts = (count * frequencies.get(kind, 0.0) for kind, count in failures.items())
    return math.fsum(parts) / whole if whole else math.nan
