"""A training process that stands alone takes one GPU, however many the machine has.

transformers would split each batch over all GPUs that it sees (`nn.DataParallel`), which TRL refuses, and `accelerate
launch` with one process hides none of them.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

_DEVICES = Path("/dev")


def take_one_gpu() -> None:
    """Hide all GPUs but the first of those that this process may see, and say so. Does nothing in one of several
    processes, which have their own. To be called before CUDA is first used."""
    if "WORLD_SIZE" in os.environ:
        return
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible is not None else _gpus()
    if len(names) < 2:
        return
    os.environ["CUDA_VISIBLE_DEVICES"] = names[0].strip()
    print(
        f"one process takes one of {len(names)} GPUs, {names[0].strip()}; for more of them launch with a configuration "
        "of several processes, such as configs/accelerate/zero2.yaml",
        file=sys.stderr,
    )


def _gpus() -> list[str]:
    return [str(place) for place, _ in enumerate(sorted(_DEVICES.glob("nvidia[0-9]*")))]
