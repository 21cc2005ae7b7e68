"""A penalty for completions that come close to the length at which they are cut off."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rewards.judged import JudgedReward, Sample
from rlcode.errors import ConfigError, DataError
from rlcode.types import PartialLimits, Problem
from sandbox.protocol import Sandbox


@dataclass(frozen=True)
class SoftOverlong:
    """DAPO's soft overlong punishment (Yu et al., 2025, arXiv 2503.14476, equation 13).

    0 up to L_max - L_cache tokens, from there linearly down to -1 at L_max, and -1 beyond.

    Raises:
        ConfigError: a length or a share that can't be.
    """

    max_completion_length: int
    """L_max, in tokens."""
    share: float = 0.2
    """L_cache / L_max. The paper has 4,096 of 20,480 tokens."""

    def __post_init__(self) -> None:
        if not self.max_completion_length or self.max_completion_length < 1:
            raise ConfigError(f"the length term needs max_completion_length, got {self.max_completion_length}")
        if not 0 < self.share <= 1:
            raise ConfigError(f"overlong_share must be above 0 and at most 1, got {self.share}")

    def penalty(self, num_tokens: int) -> float:
        """From -1 to 0, for a completion of so many tokens."""
        cache = self.share * self.max_completion_length
        over = num_tokens - (self.max_completion_length - cache)
        return -min(over / cache, 1.0) if over > 0 else 0.0

    def __call__(self, sample: Sample) -> float | None:
        if sample.verdict is None:
            return None
        if sample.num_tokens is None:
            raise DataError("the length term needs the column `completion_ids`, which TRL hands to reward functions")
        return self.penalty(sample.num_tokens)


class LengthReward(JudgedReward):
    """`SoftOverlong` as a reward function for TRL; see `JudgedReward`.

    It needs verdicts too, so that a sample that could not be scored has no reward from any term.

    Raises:
        ConfigError: see `SoftOverlong`.
    """

    def __init__(
        self,
        problems: Iterable[Problem] = (),
        sandbox: Sandbox | None = None,
        limits: PartialLimits | None = None,
        *,
        max_completion_length: int,
        overlong_share: float = SoftOverlong.share,
    ) -> None:
        super().__init__("length", SoftOverlong(max_completion_length, overlong_share), problems, sandbox, limits)
