"""What the processes of a run must be of one mind about."""

from __future__ import annotations

from typing import Any

import torch


def largest(accelerator: Any, number: int) -> int:
    """The largest of the numbers that the processes bring. Every process must call this."""
    if accelerator.num_processes == 1:
        return number
    tensor = torch.tensor([number], device=accelerator.device)
    torch.distributed.all_reduce(tensor, torch.distributed.ReduceOp.MAX)
    return int(tensor.item())
