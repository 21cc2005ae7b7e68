"""One reward made of several terms: their weighted sum.

TRL can sum reward functions itself, but masks a sample only where all of them return None, and would have each judge
the completions anew. So one reward function has all terms, and logs each under a name of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Self

from rewards.correctness import correctness_term
from rewards.format import proper_form
from rewards.fraction import fraction_term
from rewards.judged import JudgedReward, Sample, Term
from rewards.ladder import Ladder
from rewards.length import SoftOverlong
from rlcode.config import finite_number
from rlcode.errors import ConfigError
from rlcode.types import PartialLimits, Problem
from sandbox.protocol import Sandbox

DEFAULT_TERMS = {"correctness": 1.0}
TERM_NAMES = ("correctness", "fraction", "ladder", "length", "format")


class CompositeReward(JudgedReward):
    """The weighted sum of terms as a reward function for TRL; see `JudgedReward`.

    With TRL's `log_metric`, each term is logged as `reward/<term>`, without its weight: the mean over the scored
    samples of all processes.

    Args:
        terms: the weight of each term, by its name in `TERM_NAMES`. A term with the weight 0 is logged alone.
        ladder: see `Ladder`.
        max_completion_length: in tokens; the length term needs it.
        overlong_share: see `SoftOverlong`.

    Raises:
        ConfigError: no term, an unknown one, a weight that is negative or no number, none above 0, or options of a
            term that is not there or can't be.
    """

    def __init__(
        self,
        terms: Mapping[str, Any] = DEFAULT_TERMS,
        problems: Iterable[Problem] = (),
        sandbox: Sandbox | None = None,
        limits: PartialLimits | None = None,
        *,
        ladder: Mapping[str, Any] | None = None,
        max_completion_length: int | None = None,
        overlong_share: float = SoftOverlong.share,
    ) -> None:
        self.weights = checked_weights(terms)
        if ladder and "ladder" not in self.weights:
            raise ConfigError("ladder has values, but reward_terms has no term `ladder`; add it, or leave them away")
        makers: dict[str, Callable[[], Term]] = {
            "correctness": lambda: correctness_term,
            "fraction": lambda: fraction_term,
            "ladder": lambda: Ladder(ladder),
            "length": lambda: SoftOverlong(max_completion_length or 0, overlong_share),
            "format": lambda: proper_form,
        }
        self._terms = {name: makers[name]() for name in self.weights}
        only = next(iter(self.weights)) if list(self.weights.values()) == [1.0] else "composite"
        super().__init__(only, self.value, problems, sandbox, limits)

    @classmethod
    def from_arguments(cls, args: Any, max_completion_length: int | None) -> Self:
        """From an instance of `GrpoArguments`, or a namespace with the same names."""
        return cls(
            args.reward_terms,
            ladder=args.ladder,
            max_completion_length=max_completion_length,
            overlong_share=args.overlong_share,
        )

    def parts(self, sample: Sample) -> dict[str, float] | None:
        """What each term says of a sample, without its weight; None where it could not be scored."""
        if sample.verdict is None:
            return None
        said = ((name, term(sample)) for name, term in self._terms.items())
        return {name: value for name, value in said if value is not None}

    def value(self, sample: Sample) -> float | None:
        """The weighted sum for a sample; None where it could not be scored."""
        parts = self.parts(sample)
        return None if parts is None else self._sum(parts)

    def _sum(self, parts: Mapping[str, float]) -> float:
        return sum(weight * parts[name] for name, weight in self.weights.items())

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        log_metric: Callable[[str, float], None] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """One reward for each completion; see `JudgedReward`."""
        parts = [self.parts(sample) for sample in self._samples(prompts, completions, columns)]
        if log_metric is not None:
            _log(parts, log_metric)
        return [None if part is None else self._sum(part) for part in parts]


def _log(parts: Iterable[Mapping[str, float] | None], log_metric: Callable[[str, float], None]) -> None:
    for part in parts:
        for name, value in (part or {}).items():
            # sample by sample: TRL averages over all that the processes say, however many samples each had scored
            log_metric(f"reward/{name}", value)


def checked_weights(terms: Mapping[str, Any]) -> dict[str, float]:
    """The weights of a reward's terms.

    Raises:
        ConfigError: see `CompositeReward`.
    """
    known = f"known terms: {', '.join(TERM_NAMES)}"
    if not terms:
        raise ConfigError(f"reward_terms must name at least one term with its weight; {known}")
    for name in terms:
        if name not in TERM_NAMES:
            raise ConfigError(f"reward_terms: unknown term {name!r}; {known}")
    weights = {name: finite_number(f"reward_terms: {name}", weight) for name, weight in terms.items()}
    for name, weight in weights.items():
        if weight < 0:
            raise ConfigError(
                f"reward_terms: the weight of {name} must not be negative, got {weight:g}; "
                f"a penalty is negative by itself; {known}"
            )
    if not any(weights.values()):
        raise ConfigError(f"reward_terms: at least one weight must be above 0; {known}")
    return weights
