"""In which precision training computes, where nobody said: what the device can do, told in one line.

TRL's default is bfloat16 everywhere. On a machine without a GPU that is refused or slow, and a GPU older than Ampere
emulates it.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import Any

from rlcode.config import written_values

_FIELDS = ("bf16", "fp16")
_YES = ("true", "1", "yes", "none")  # none: the option stands alone


def with_precision(argv: list[str]) -> list[str]:
    """The command line `argv` of a training script with `--bf16` and `--fp16` as fits this device, unless it or its
    configuration file names one of them. The first process says what was chosen."""
    if "-h" in argv or "--help" in argv:
        return argv
    given = written_values(argv)
    if any(name in given for name in _FIELDS):
        return argv
    bf16, fp16, why = precision_of_device(use_cpu=str(given.get("use_cpu", False)).lower() in _YES)
    if os.environ.get("RANK", "0") == "0":
        name = "bfloat16" if bf16 else "float16" if fp16 else "float32"
        print(f"precision: {name}, since {why}; bf16 or fp16 in the configuration says otherwise", file=sys.stderr)
    return [*argv, "--bf16", str(bf16).lower(), "--fp16", str(fp16).lower()]


def precision_of_device(*, use_cpu: bool = False) -> tuple[bool, bool, str]:
    """bf16, fp16 and why: bfloat16 where the GPU has it in hardware, else float16 on a GPU, float32 on a CPU."""
    import torch

    if use_cpu or not torch.cuda.is_available():
        return False, False, "training is on the CPU"
    if torch.cuda.is_bf16_supported(including_emulation=False):
        return True, False, "the GPU has it"
    return False, True, "the GPU has no bfloat16"


def keep_outputs_exact(accelerator: Any) -> None:
    """Under FSDP2 accelerate has all that a model returns rounded to bfloat16: log-probabilities too, whose sums over a
    completion then go by half a nat. To be called before the model is wrapped."""
    plugin: Any = getattr(accelerator.state, "fsdp_plugin", None)
    policy = getattr(plugin, "mixed_precision_policy", None)
    if policy is not None and hasattr(policy, "output_dtype"):
        plugin.mixed_precision_policy = replace(policy, output_dtype=None)
