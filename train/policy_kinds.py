"""Which kinds of policy there are, and what each of them does not go together with. Asked before anything is loaded.

LoRA is the default; rsLoRA (Kalajdzievski 2023, arXiv 2312.03732) scales it by alpha / sqrt(rank), DoRA (Liu et al.
2024, arXiv 2402.09353) trains the magnitude of each output beside it, QLoRA (Dettmers et al. 2023, arXiv 2305.14314)
puts it on a base that is quantised to 4 or 8 bits. Full fine-tuning trains all weights.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from typing import Any

import torch
from trl import ModelConfig

from rlcode.errors import ConfigError
from sampling.arguments import EngineArguments
from sampling.identity import quantised_bits
from train.arguments import PolicyArguments


def check_kind(
    policy_args: PolicyArguments, model_args: ModelConfig, training_args: Any, engine: EngineArguments | None = None
) -> None:
    """Refuse a kind of policy that can't be trained as asked. `engine` is what writes completions meanwhile, if any.

    Raises:
        ConfigError: it names the field, and says what to do.
    """
    for complaint in _complaints(policy_args, model_args, training_args, engine):
        raise ConfigError(complaint)


def _complaints(
    policy_args: PolicyArguments, model_args: ModelConfig, training_args: Any, engine: EngineArguments | None
) -> Iterator[str]:
    if is_quantised(model_args):
        yield from _against_quantised(model_args, training_args)
    if policy_args.full_finetuning:
        yield from _against_full(model_args, training_args)
    yield from _against_options(model_args)
    if engine is not None and engine.engine == "transformers" and _is_fsdp():
        yield (
            "under FSDP the trainer's model can't write completions: every pass gathers weights of all processes, and "
            "each of them writes another number of tokens; use engine: vllm, or ZeRO (configs/accelerate/zero3.yaml)"
        )
    if engine is not None and (policy_args.full_finetuning or model_args.use_dora):
        kind = "full fine-tuning" if policy_args.full_finetuning else "use_dora"
        yield from _against_engine(kind, engine)


def is_quantised(model_args: ModelConfig) -> bool:
    """Whether the base is to be quantised."""
    return bool(model_args.load_in_4bit or model_args.load_in_8bit)


def _against_quantised(model_args: ModelConfig, training_args: Any) -> Iterator[str]:
    if importlib.util.find_spec("bitsandbytes") is None:
        yield "load_in_4bit and load_in_8bit need bitsandbytes, which is not installed; pip install 'rlcode[qlora]'"
    if model_args.load_in_4bit and model_args.dtype == "auto":
        yield "load_in_4bit computes in the precision that dtype names, so it can't be auto; use dtype: bfloat16"
    if _splits_weights(training_args):
        yield (
            "a quantised base can't be split over processes (ZeRO stage 3, FSDP); use configs/accelerate/zero2.yaml, "
            "or leave load_in_4bit and load_in_8bit out"
        )


def _against_full(model_args: ModelConfig, training_args: Any) -> Iterator[str]:
    names = ("load_in_4bit", "load_in_8bit", "use_dora", "use_rslora", "use_peft")
    if given := [name for name in names if getattr(model_args, name)]:
        yield f"full_finetuning trains all weights and has no adapter; leave {given[0]} out, or full_finetuning"
    if model_args.dtype != "float32" and getattr(training_args, "deepspeed_plugin", None) is None:
        yield (
            f"full_finetuning with dtype {model_args.dtype} loses most steps: a change of 1e-6 in a weight of 0.02 is "
            "less than 16 bits can hold; use dtype: float32 (bf16 still computes in 16 bits), or DeepSpeed, which "
            "keeps a copy in 32 bits"
        )
    # GRPO's alone: that of DPO is ours to load
    if model_args.model_revision != "main" and hasattr(training_args, "num_generations") and training_args.beta:
        yield "full_finetuning takes its reference from the main revision; leave model_revision out or name a directory"


def _against_options(model_args: ModelConfig) -> Iterator[str]:
    for name in ("lora_modules_to_save", "lora_target_parameters"):
        if getattr(model_args, name):
            yield f"{name} is not supported; leave it out and name linear maps in lora_target_modules"
    if model_args.lora_task_type != "CAUSAL_LM":
        yield f"lora_task_type must be CAUSAL_LM, not {model_args.lora_task_type!r}"


def _against_engine(kind: str, engine: EngineArguments) -> Iterator[str]:
    if engine.engine == "vllm-server":
        yield f"a vLLM server takes LoRA adapters alone, which {kind} is not; use engine: transformers, or vllm"
    if engine.engine == "vllm" and engine.engine_sync != "merged":
        yield f"vLLM does not serve {kind} as an adapter; let it take whole weights: engine_sync: merged"


def _splits_weights(training_args: Any) -> bool:
    plugin = getattr(training_args, "deepspeed_plugin", None)
    return (plugin is not None and plugin.zero_stage == 3) or _is_fsdp()


def _is_fsdp() -> bool:
    return os.environ.get("ACCELERATE_USE_FSDP") == "true"


class KeepsAdapter:
    """For a trainer of TRL's, before it in the list of bases. TRL rounds the adapter on a quantised base to bfloat16 (a
    step of 1e-5 is then lost in most of its values, and an adapter to go on with becomes another one); this keeps it
    in 32 bits, as on any other base."""

    def __init__(self, *args: Any, model: Any, **kwargs: Any) -> None:
        kept = _trained(model) if quantised_bits(model) else {}
        super().__init__(*args, model=model, **kwargs)  # type: ignore[call-arg]
        for name, values in kept.items():
            weight = model.get_parameter(name)
            weight.data = values.to(weight.device)


def _trained(model: Any) -> dict[str, torch.Tensor]:
    return {name: weight.data for name, weight in model.named_parameters() if weight.requires_grad}
