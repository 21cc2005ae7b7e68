"""Pair strategies by name. A new one is one file here and one line in the table."""

from __future__ import annotations

from typing import Any

from rlcode.errors import ConfigError
from sampling.strategies.frequency import FrequencyStrategy
from sampling.strategies.protocol import Strategy
from sampling.strategies.uniform import UniformStrategy

STRATEGIES: dict[str, type] = {
    "uniform": UniformStrategy,
    "frequency": FrequencyStrategy,
}


def make_strategy(name: str, **options: Any) -> Strategy:
    """The strategy called `name`, with its options.

    Raises:
        ConfigError: an unknown name, or options that the strategy does not have.
    """
    if name not in STRATEGIES:
        raise ConfigError(f"no strategy {name!r}; known: {', '.join(STRATEGIES)}")
    try:
        strategy: Strategy = STRATEGIES[name](**options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"strategy {name!r}: {error}") from error
    return strategy
