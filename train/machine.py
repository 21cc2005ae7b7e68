"""The training processes of one machine: the first of them opens what they share, and tells the others where it is.

The ranks of a machine follow on each other, as torchrun and DeepSpeed's launcher give them.
"""

from __future__ import annotations

from typing import TypeVar

from accelerate import PartialState
from accelerate.utils import gather_object

T = TypeVar("T")


def is_first() -> bool:
    """Whether this is the first training process of its machine."""
    return bool(PartialState().is_local_main_process)


def first_rank() -> int:
    """The rank of the first process of this machine."""
    state = PartialState()
    return int(state.process_index - state.local_process_index)


def from_first(value: T) -> T:
    """What the first process of this machine called this with. Every process of the run must call it; none goes on
    before all have."""
    gathered: list[T] = gather_object([value])
    return gathered[first_rank()]
