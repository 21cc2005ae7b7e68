"""The policy: a base model with one LoRA adapter in training. Loading it, saving it, and knowing it again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model
from torch.distributed.tensor import DTensor
from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed
from trl import ModelConfig

from rlcode.errors import ConfigError, DataError, InputError
from rlcode.types import to_json
from sampling.adapters import check_adapter, write_adapter_metadata
from sampling.identity import PolicyRecord, record_policy

ADAPTER_NAME = "default"


def load_tokenizer(model_args: ModelConfig) -> Any:
    """The base model's tokenizer, with a pad token.

    Raises:
        ConfigError, InputError: no model was named, or it can't be found.
    """
    _require_model(model_args)
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            model_args.model_name_or_path, revision=model_args.model_revision, padding_side="left"
        )
    except (OSError, ValueError) as error:
        raise InputError(f"no tokenizer for model {model_args.model_name_or_path!r}: {error}") from error
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def check_tokens(rows: Dataset, tokenizer: Any) -> None:
    """Make sure that the tokens of stored completions are this tokenizer's, by the first few `rows` of a
    `SideCollector`.

    Raises:
        DataError: they say something else than their text: the rollouts are of another model.
    """
    for row in rows.select(range(min(8, len(rows)))):
        if not tokenizer.decode(row["completion_ids"], skip_special_tokens=True).startswith(row["text"]):
            raise DataError(
                f"the tokens of completion {row['index']} of task {row['task_id']} are not its text in this "
                "model's tokenizer; the rollouts must come from the model that is trained"
            )


def load_policy(model_args: ModelConfig, adapter: str | None, seed: int) -> PeftModel:
    """The base model with `adapter` to go on training, or with a new one whose start depends on `seed`.

    Raises:
        InputError: the model can't be loaded, or the adapter belongs to another base.
    """
    if model_args.load_in_4bit or model_args.load_in_8bit or model_args.use_dora:
        raise ConfigError("quantised bases and DoRA are not supported; remove load_in_4bit, load_in_8bit, use_dora")
    _require_model(model_args)
    if adapter is not None:
        check_adapter(Path(adapter), str(model_args.model_name_or_path))
    base = _load_base(model_args)
    if adapter is not None:
        try:
            return PeftModel.from_pretrained(base, adapter, adapter_name=ADAPTER_NAME, is_trainable=True)
        except (ValueError, RuntimeError) as error:
            raise InputError(f"adapter {adapter} can't be put on {model_args.model_name_or_path}: {error}") from error
    set_seed(seed)
    return get_peft_model(base, _lora_config(model_args), adapter_name=ADAPTER_NAME)


def _require_model(model_args: ModelConfig) -> None:
    if not model_args.model_name_or_path:
        raise ConfigError("no base model: set model_name_or_path to a directory or a hub name")


def _load_base(model_args: ModelConfig) -> Any:
    try:
        return AutoModelForCausalLM.from_pretrained(
            model_args.model_name_or_path,
            revision=model_args.model_revision,
            dtype=model_args.dtype,
            attn_implementation=model_args.attn_implementation,
        )
    except (OSError, ValueError) as error:
        raise InputError(f"model {model_args.model_name_or_path!r} can't be loaded: {error}") from error


def _lora_config(model_args: ModelConfig) -> LoraConfig:
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=model_args.lora_r,
        lora_alpha=model_args.lora_alpha,
        lora_dropout=model_args.lora_dropout,
        target_modules=model_args.lora_target_modules or "all-linear",
        use_rslora=model_args.use_rslora,
        bias="none",
    )


def save_policy(trainer: Any, path: Path, base_model: str, version: int, writes: bool | None = None) -> None:
    """Write the adapter in training to `path`, with the base it belongs to and what the policy says of fixed sequences.

    Every process must call this; those write that say so (None: the first one does).
    """
    accelerator = trainer.accelerator
    model = accelerator.unwrap_model(trainer.model)
    state = gather_adapter(model) if _is_split(accelerator) else None
    # sharded weights are gathered by a forward pass that all processes make
    record = record_policy(model, trainer.processing_class)
    if accelerator.is_main_process if writes is None else writes:
        save_adapter(model, path, base_model, version, record, state)
    accelerator.wait_for_everyone()


def _is_split(accelerator: Any) -> bool:
    """Whether each process has a part of the weights alone (ZeRO stage 3, FSDP2)."""
    plugin = accelerator.state.deepspeed_plugin
    return accelerator.is_fsdp2 or (plugin is not None and plugin.zero_stage == 3)


def gather_adapter(model: PeftModel) -> dict[str, Any]:
    """The whole weights of an adapter that is split over processes, all of which must call this. The base's stay where
    they are, so it moves megabytes however large the model is."""
    adapter = {name: weight for name, weight in model.named_parameters() if f".{ADAPTER_NAME}." in name}
    if any(isinstance(weight, DTensor) for weight in adapter.values()):  # FSDP2's
        return {name: weight.full_tensor().detach().cpu() for name, weight in adapter.items()}
    import deepspeed

    with deepspeed.zero.GatheredParameters(list(adapter.values())):
        return {name: weight.detach().cpu().clone() for name, weight in adapter.items()}


def leave_together(trainer: Any) -> None:
    """End the process group once every process is done: the launcher ends all when one leaves badly, and one that
    still holds the group's connections may."""
    if trainer.accelerator.num_processes > 1:
        trainer.accelerator.wait_for_everyone()
        trainer.accelerator.end_training()


def save_adapter(
    model: PeftModel, path: Path, base_model: str, version: int, record: PolicyRecord, state: Any = None
) -> None:
    """Write the adapter of `model` to `path`, with the `record` of what the policy says; `state` replaces the model's
    own weights where they are sharded."""
    model.save_pretrained(str(path), selected_adapters=[ADAPTER_NAME], state_dict=state)
    write_adapter_metadata(path, base_model, version, to_json(record))
