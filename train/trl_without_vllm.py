"""TRL's GRPO, loaded without vLLM where rlcode generates.

TRL imports vLLM, where it is installed, with its GRPO trainer, whoever generates: several seconds and hundreds of MiB
in every process of a run.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any


def load_trl_without_vllm() -> None:
    """Afterwards TRL's own vLLM modes can't be used in this process. Does nothing where TRL's part that generates was
    loaded before."""
    if "trl.generation" in sys.modules:
        return
    import_utils: Any = importlib.import_module("trl.import_utils")
    is_vllm_available = import_utils.is_vllm_available
    import_utils.is_vllm_available = lambda min_version=None: False
    try:
        importlib.import_module("trl.generation.vllm_generation")
    finally:
        import_utils.is_vllm_available = is_vllm_available
