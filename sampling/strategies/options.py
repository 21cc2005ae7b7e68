"""What the options of several strategies have in common."""

from __future__ import annotations

from typing import Literal

Order = Literal["low_to_high", "high_to_low"]
"""By which frequency an error type's turn comes: the rare ones first, or the frequent ones first."""


def check_choice(name: str, value: str, known: tuple[str, ...]) -> None:
    """Raises:
    ValueError: `value` is none of the known ones.
    """
    if value not in known:
        raise ValueError(f"{name} must be {' or '.join(known)}, not {value!r}")


def check_order(value: str) -> None:
    """Raises:
    ValueError: `value` is no `Order`.
    """
    check_choice("order", value, ("low_to_high", "high_to_low"))


def check_share(name: str, value: float) -> None:
    """Raises:
    ValueError: `value` is not between 0 and 1.
    """
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must lie between 0 and 1, not {value!r}")
