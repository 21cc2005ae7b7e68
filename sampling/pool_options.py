"""What a pair pool takes and how it pairs, as options."""

from __future__ import annotations

from dataclasses import dataclass

RULE_NAMES = ("random", "nearest", "shortest", "most_recent")
"""Which side is chosen; the rules themselves are in `sampling.choices`."""


@dataclass(frozen=True)
class PoolOptions:
    """Which completions become sides of pairs, and which of them is chosen over a rejected one.

    Raises:
        ValueError: an option is out of range, or the rule is unknown.
    """

    chosen: str = "random"
    """One of `RULE_NAMES`."""
    failure_pairs: float = 0.0
    """Share of the draws whose chosen side is a failure of a later stage, where the problem has passes too. Above 0,
    problems without a pass give pairs as well."""
    min_passed: int = 1
    """Different programs of a problem that must have passed, or its passes are not chosen."""
    min_failed: int = 1
    """Different programs of a problem that must have failed, or it gives no pair."""
    max_length_ratio: float | None = None
    """Tokens of the longer side to those of the shorter one; none: any."""
    max_side_tokens: int | None = None
    """Completions with more tokens are left out; none: any length."""

    def __post_init__(self) -> None:
        _require(self.chosen in RULE_NAMES, f"chosen must be one of {', '.join(RULE_NAMES)}; got {self.chosen!r}")
        _require(0 <= self.failure_pairs <= 1, "failure_pairs must be from 0 to 1")
        _require(self.min_passed >= 1, "min_passed must be at least 1")
        _require(self.min_failed >= 1, "min_failed must be at least 1")
        _require(self.max_length_ratio is None or self.max_length_ratio >= 1, "max_length_ratio must be at least 1")
        _require(self.max_side_tokens is None or self.max_side_tokens >= 1, "max_side_tokens must be at least 1")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)
