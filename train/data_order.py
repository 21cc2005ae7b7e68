"""Which example is trained on at which place of a run: a function of the seed and the place alone.

So it is the same for any number of processes and of dataloader workers, and for a run that was killed and goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from torch.utils.data import Sampler

from rlcode.errors import ConfigError


class ExampleSampler(Sampler[int]):
    """Yields the numbers of examples, `epoch_length` of them in an epoch.

    The run is one sequence: all examples in a random order, all of them again in another one, and so on. An epoch is as
    long as its whole optimizer steps are, so it may end a little way into the next order; the times that two examples
    have come never differ by more than one.
    """

    def __init__(self, num_examples: int, epoch_length: int, *, seed: int) -> None:
        self.epoch: Callable[[], int] = lambda: 0
        """The epoch that an iteration which begins now is of; the trainer says it."""
        self._num_examples = num_examples
        self._epoch_length = epoch_length
        self._order = lru_cache(maxsize=2)(lambda turn: np.random.default_rng([seed, turn]).permutation(num_examples))

    def __iter__(self) -> Iterator[int]:
        first = self.epoch() * self._epoch_length
        for position in range(first, first + self._epoch_length):
            yield self.example_at(position)

    def __len__(self) -> int:
        return self._epoch_length

    def example_at(self, position: int) -> int:
        """Which example is trained on at this place of the run."""
        turn, place = divmod(position, self._num_examples)
        return int(self._order(turn)[place])


def check_data_order(args: Any) -> None:
    """Refuse what would change the order in which a sampler of ours is read.

    Raises:
        ConfigError: it names the field, and says what to do.
    """
    accelerator = args.accelerator_config
    require_values(
        "would change what is trained on when",
        ("auto_find_batch_size", args.auto_find_batch_size, False),
        ("ignore_data_skip", args.ignore_data_skip, False),
        ("dataloader_in_order", args.dataloader_in_order, True),
        ("train_sampling_strategy", args.train_sampling_strategy, "random"),
        ("accelerator_config.split_batches", accelerator.split_batches, False),
        ("accelerator_config.dispatch_batches", accelerator.dispatch_batches or False, False),
    )


def require_values(reason: str, *fields: tuple[str, Any, Any]) -> None:
    """Each field is its name, the value that it has, and the only one that it may have.

    Raises:
        ConfigError: one has another value; `reason` says what that would do.
    """
    for name, value, wanted in fields:
        if value != wanted:
            raise ConfigError(f"{name}={value} {reason}; leave it at {wanted}")
