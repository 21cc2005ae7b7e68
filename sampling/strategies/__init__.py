"""Pair strategies by name. A new one is one file here and one line in the table."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from rlcode.errors import ConfigError
from sampling.strategies.adaptive import AdaptiveStrategy
from sampling.strategies.ap2o import Ap2oStrategy
from sampling.strategies.frequency import FrequencyStrategy
from sampling.strategies.novelty import NoveltyStrategy
from sampling.strategies.progressive import ProgressiveStrategy
from sampling.strategies.protocol import Strategy
from sampling.strategies.static import StaticStrategy
from sampling.strategies.uniform import UniformStrategy

STRATEGIES: dict[str, type] = {
    "uniform": UniformStrategy,
    "static": StaticStrategy,
    "frequency": FrequencyStrategy,
    "progressive": ProgressiveStrategy,
    "adaptive": AdaptiveStrategy,
    "novelty": NoveltyStrategy,
    "ap2o": Ap2oStrategy,
}


def make_strategy(name: str, **options: Any) -> Strategy:
    """The strategy called `name`, with its options; those that are not given have their defaults.

    Raises:
        ConfigError: an unknown name, an option that the strategy does not have, or a value that it can't have.
    """
    if name not in STRATEGIES:
        raise ConfigError(f"no strategy {name!r}; known: {', '.join(STRATEGIES)}")
    known = option_names(name)
    if unknown := sorted(set(options) - set(known)):
        has = f"its options are {', '.join(known)}" if known else "it has none"
        raise ConfigError(f"strategy {name!r} has no option {', '.join(unknown)}; {has}")
    try:
        strategy: Strategy = STRATEGIES[name](**options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"strategy {name!r}: {error}") from error
    return strategy


def option_names(name: str) -> list[str]:
    """The options of the strategy called `name`."""
    return [field.name for field in fields(STRATEGIES[name])]
