"""The policy in training: a base model with one LoRA adapter, or whole weights. Loading it, saving it, and knowing it
again. Which kinds go together with what is in `train/policy_kinds.py`."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model
from torch.distributed.tensor import DTensor
from transformers import AutoModelForCausalLM, set_seed
from transformers.integrations import is_deepspeed_zero3_enabled
from trl import ModelConfig, get_quantization_config

from rlcode.errors import ConfigError, DataError, InputError
from rlcode.run_directory import flush_to_disk
from rlcode.types import to_json
from sampling.adapters import check_adapter, check_checkpoint, write_adapter_metadata
from sampling.identity import PolicyRecord, quantised_bits, record_policy
from sampling.tokenizer import tokenizer_of

ADAPTER_NAME = "default"
FOLDERS = {False: "adapter", True: "model"}
"""Where a run directory has its final policy: an adapter, or with full fine-tuning whole weights."""


def load_tokenizer(model_args: ModelConfig) -> Any:
    """The base model's tokenizer, with a pad token.

    Raises:
        ConfigError, InputError: no model was named, or it can't be found.
    """
    _require_model(model_args)
    model, revision = str(model_args.model_name_or_path), model_args.model_revision
    tokenizer = tokenizer_of(model, revision=revision, padding_side="left")
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


def load_policy(model_args: ModelConfig, adapter: str | None, seed: int, *, full: bool = False) -> Any:
    """The base model with `adapter` to go on training, or with a new one whose start depends on `seed`.

    `full`: all weights are trained, those of the base or of the checkpoint that `adapter` then is; no PEFT model.

    Raises:
        InputError: the model can't be loaded, or the adapter belongs to another base.
    """
    _require_model(model_args)
    if full:
        return _load_whole(model_args, adapter)
    if adapter is not None:
        check_adapter(Path(adapter), str(model_args.model_name_or_path))
    base = _load_base(model_args)
    # ZeRO-3 gathers weights together and computes in the precision of the first that is trained: all have the base's
    in_32_bits = quantised_bits(base) is not None or not is_deepspeed_zero3_enabled()
    if adapter is not None:
        try:
            return PeftModel.from_pretrained(
                base, adapter, adapter_name=ADAPTER_NAME, is_trainable=True, autocast_adapter_dtype=in_32_bits
            )
        except (ValueError, RuntimeError) as error:
            raise InputError(f"adapter {adapter} can't be put on {model_args.model_name_or_path}: {error}") from error
    set_seed(seed)
    return get_peft_model(base, _lora_config(model_args), adapter_name=ADAPTER_NAME, autocast_adapter_dtype=in_32_bits)


def _require_model(model_args: ModelConfig) -> None:
    if not model_args.model_name_or_path:
        raise ConfigError("no base model: set model_name_or_path to a directory or a hub name")


def load_reference(model_args: ModelConfig, start: str | None) -> Any:
    """A second copy of whole weights, frozen, where the policy has no adapter to switch off."""
    return _load_whole(model_args, start).eval().requires_grad_(False)


def _load_whole(model_args: ModelConfig, checkpoint: str | None) -> Any:
    if checkpoint is None:
        return _load_base(model_args)
    check_checkpoint(Path(checkpoint), str(model_args.model_name_or_path))
    return _load_base(replace(model_args, model_name_or_path=checkpoint, model_revision="main"))


def _load_base(model_args: ModelConfig) -> Any:
    try:
        return AutoModelForCausalLM.from_pretrained(
            model_args.model_name_or_path,
            revision=model_args.model_revision,
            dtype=model_args.dtype,
            attn_implementation=model_args.attn_implementation,
            # it is enough: PEFT freezes the base, and what `prepare_model_for_kbit_training` does beside that is to
            # hold embeddings and output in 32 bits, which takes more than 4-bit weights save in a small model
            quantization_config=_quantization(model_args),
        )
    except (OSError, ValueError) as error:
        raise InputError(f"model {model_args.model_name_or_path!r} can't be loaded: {error}") from error


def _quantization(model_args: ModelConfig) -> Any:
    if model_args.load_in_8bit:  # which says at every layer of every pass that it computes in 16 bits
        logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
    return get_quantization_config(model_args)


def _lora_config(model_args: ModelConfig) -> LoraConfig:
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=model_args.lora_r,
        lora_alpha=model_args.lora_alpha,
        lora_dropout=model_args.lora_dropout,
        target_modules=model_args.lora_target_modules or "all-linear",
        use_rslora=model_args.use_rslora,
        use_dora=model_args.use_dora,
        bias="none",
    )


def save_policy(
    trainer: Any, path: Path, base_model: str, version: int, writes: bool | None = None, *, lasts: bool = True
) -> None:
    """Write the policy in training to `path`, with the base it belongs to and what it says of fixed sequences: its
    adapter, or a whole checkpoint with its tokenizer.

    Every process must call this; those write that say so (None: the first one does). `lasts`: it is to be there after a
    power cut too, which takes the time that the disk does.
    """
    accelerator = trainer.accelerator
    model = accelerator.unwrap_model(trainer.model)
    is_adapter = isinstance(model, PeftModel)
    state = None
    if is_split(accelerator):
        state = gather_adapter(model) if is_adapter else accelerator.get_state_dict(trainer.model_wrapped)
    # sharded weights are gathered by a forward pass that all processes make
    record = record_policy(model, trainer.processing_class, accelerator.mixed_precision)
    if accelerator.is_main_process if writes is None else writes:
        if is_adapter:
            save_adapter(model, path, base_model, version, record, state, lasts=lasts)
        else:
            _save_weights(model, trainer.processing_class, path, base_model, version, record, state, lasts=lasts)
    accelerator.wait_for_everyone()


def is_split(accelerator: Any) -> bool:
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
    model: PeftModel,
    path: Path,
    base_model: str,
    version: int,
    record: PolicyRecord,
    state: Any = None,
    *,
    lasts: bool = True,
) -> None:
    """Write the adapter of `model` to `path`, whole or not at all, with the `record` of what the policy says; `state`
    replaces the model's own weights where they are sharded. `lasts`: see `save_policy`."""
    with _whole_or_not_at_all(path, lasts) as part:
        model.save_pretrained(str(part), selected_adapters=[ADAPTER_NAME], state_dict=state)
        write_adapter_metadata(part, base_model, version, to_json(record))


def _save_weights(
    model: Any,
    tokenizer: Any,
    path: Path,
    base_model: str,
    version: int,
    record: PolicyRecord,
    state: Any,
    *,
    lasts: bool,
) -> None:
    with _whole_or_not_at_all(path, lasts) as part:
        model.save_pretrained(str(part), state_dict=state)
        tokenizer.save_pretrained(str(part))
        write_adapter_metadata(part, base_model, version, to_json(record))


@contextmanager
def _whole_or_not_at_all(path: Path, lasts: bool) -> Iterator[Path]:
    """A directory to write to, which takes the place of `path` when all is there."""
    part = path.with_name(f".{path.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    yield part
    if lasts:
        flush_to_disk(part)
    if path.exists():
        shutil.rmtree(path)
    os.replace(part, path)
