"""Which base model does this adapter belong to? Answered from the files, before anything is loaded.

An adapter that we save carries a fingerprint of its base (`rlcode_adapter.json`). For one from elsewhere the name
of the base in its configuration is compared, and the shapes of its matrices are held against the base's.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rlcode.errors import InputError
from rlcode.run_directory import write_json

logger = logging.getLogger(__name__)

METADATA_FILE = "rlcode_adapter.json"
MERGE_FILE = "rlcode_merge.json"
"""Beside an adapter that was merged of others: of which, and how."""


def weight_files(model: str) -> list[Path]:
    """The safetensors files of a model: a directory, or a hub name (downloaded to the cache if need be).

    Raises:
        InputError: there is no such model, or it has no safetensors weights.
    """
    from transformers.utils import cached_file

    directory = Path(model)
    if directory.is_dir():
        files = sorted(directory.glob("*.safetensors"))
    else:
        try:
            found = cached_file(model, "model.safetensors", _raise_exceptions_for_missing_entries=False)
            index = None if found else cached_file(model, "model.safetensors.index.json")
        except OSError as error:
            raise InputError(
                f"model {model!r} is neither a directory nor a model that can be fetched: {error}"
            ) from None
        files = [Path(found)] if found else _shards(model, Path(str(index)))
    if not files:
        raise InputError(f"model directory {directory} holds no *.safetensors weights")
    return files


def _shards(model: str, index: Path) -> list[Path]:
    from transformers.utils import cached_file

    names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    return [Path(str(cached_file(model, name))) for name in names]


@functools.cache
def base_fingerprint(model: str) -> str:
    """A short hash of the base model's weights: name, shape and first row of every tensor, rounded to bfloat16 so that
    the stored precision does not matter."""
    import torch

    rows: dict[str, bytes] = {}
    for file in weight_files(model):
        with _open_tensors(file) as tensors:
            for name in tensors.keys():  # noqa: SIM118 - not a dict
                part = tensors.get_slice(name)
                first = part[:1].to(torch.bfloat16).contiguous().view(torch.int16)
                rows[name] = f"{name}{part.get_shape()}".encode() + first.numpy().tobytes()
    digest = hashlib.sha256(b"".join(rows[name] for name in sorted(rows)))
    return digest.hexdigest()[:32]


def write_adapter_metadata(
    adapter: Path, base_model: str, version: int, identity: dict[str, Any] | None = None
) -> None:
    """Say beside the adapter which base it was trained on, which version it is, and what the trainer's model said of
    fixed sequences (`sampling.identity`)."""
    metadata = {"base_model": base_model, "base_fingerprint": base_fingerprint(base_model), "policy_version": version}
    write_json(adapter / METADATA_FILE, metadata if identity is None else {**metadata, "identity": identity})


def read_adapter_config(adapter: Path) -> dict[str, Any]:
    """The adapter's PEFT configuration.

    Raises:
        InputError: the directory is missing or is not a LoRA adapter.
    """
    path = adapter / "adapter_config.json"
    if is_checkpoint(adapter):
        raise InputError(
            f"{adapter} is a whole checkpoint, not an adapter: an engine takes it with --engine_sync merged, training "
            "with --full_finetuning true, and as --model it stands for itself"
        )
    if not path.is_file():
        raise InputError(f"{adapter} is not an adapter: it has no adapter_config.json")
    if not (adapter / "adapter_model.safetensors").is_file():
        raise InputError(f"{adapter} is not a whole adapter: it has no adapter_model.safetensors")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} can't be read: {error}") from None
    if config.get("peft_type") != "LORA":
        raise InputError(f"{adapter} is a {config.get('peft_type')} adapter; only LoRA is supported")
    return config


def is_checkpoint(policy: Path) -> bool:
    """Whether a policy is whole weights (full fine-tuning) and no adapter."""
    return not (policy / "adapter_config.json").is_file() and (policy / "config.json").is_file()


def check_checkpoint(policy: Path, base_model: str) -> None:
    """Make sure that whole weights are a policy that came of `base_model`; those from elsewhere are believed.

    Raises:
        InputError: they came of another one, or the directory holds no whole weights.
    """
    if not is_checkpoint(policy):
        raise InputError(
            f"{policy} is no whole checkpoint, which full fine-tuning goes on with; export an adapter first "
            "(rlcode export) and name the result as --model_name_or_path"
        )
    weight_files(str(policy))
    metadata = read_metadata(policy)
    if metadata.get("base_fingerprint") not in (None, base_fingerprint(base_model)):
        raise InputError(
            f"checkpoint {policy} came of another base model ({metadata.get('base_model')}) than {base_model}; name "
            "that one instead"
        )


def adapter_version(adapter: Path) -> int:
    """The policy version that the adapter was saved as; 1 for one from elsewhere."""
    return int(read_metadata(adapter).get("policy_version", 1))


def start_version(adapter: str | None) -> int:
    """The policy version of what training starts from; 0, the base's, without an adapter."""
    return adapter_version(Path(adapter)) if adapter else 0


def read_metadata(adapter: Path) -> dict[str, Any]:
    """What we wrote beside an adapter when it was saved; empty for one from elsewhere.

    Raises:
        InputError: the file is damaged.
    """
    file = adapter / METADATA_FILE
    try:
        metadata = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except ValueError as error:
        raise InputError(f"{file} can't be read: {error}") from None
    return metadata if isinstance(metadata, dict) else {}


def is_trained(adapter: Path) -> bool:
    """Whether it is an adapter that changes the base at all: a new one has only zeros in its B matrices."""
    if not (adapter / "adapter_model.safetensors").is_file():  # a whole checkpoint
        return False
    with _open_tensors(adapter / "adapter_model.safetensors") as tensors:
        names = [name for name in tensors.keys() if "lora_B" in name or "lora_embedding_B" in name]  # noqa: SIM118
        return not names or any(bool(tensors.get_tensor(name).any()) for name in names)


def check_adapter(adapter: Path, base_model: str) -> dict[str, Any]:
    """Make sure that `adapter` was trained on `base_model`, and return its PEFT configuration.

    Raises:
        InputError: it was not; the message names both.
    """
    config = read_adapter_config(adapter)
    named = str(config.get("base_model_name_or_path") or "")
    wanted = read_metadata(adapter).get("base_fingerprint")
    if wanted is None and Path(named).is_dir():
        wanted = base_fingerprint(named)
    if wanted is not None and wanted != base_fingerprint(base_model):
        raise InputError(
            f"adapter {adapter} was trained on another base model ({named}) than {base_model}; name that one instead"
        )
    if wanted is None and not Path(base_model).is_dir() and named != base_model:
        raise InputError(
            f"adapter {adapter} names {named!r} as its base model, not {base_model!r}; name that one instead"
        )
    if wanted is None and named != base_model:
        logger.warning(
            "adapter %s names %r as its base; whether %s is that model can't be told", adapter, named, base_model
        )
    _check_shapes(adapter, base_model)
    return config


def _check_shapes(adapter: Path, base_model: str) -> None:
    base = tensor_shapes(weight_files(base_model))
    matched = False
    for name, shape in tensor_shapes([adapter / "adapter_model.safetensors"]).items():
        module, _, which = name.removeprefix("base_model.model.").rpartition(".lora_")
        weight = base.get(f"{module}.weight")
        if not module or weight is None:  # some architectures store some weights under other names
            continue
        matched = True
        # A is (rank, in), B is (out, rank)
        size = shape[1] if which.startswith(("A", "embedding_A")) else shape[0]
        if size not in weight:  # either way round: GPT-2 stores its matrices transposed
            raise InputError(
                f"adapter {adapter} does not fit the base model {base_model}: {module} has size {size} in the adapter "
                f"and {weight} in the base; name the base that it was trained on"
            )
    if not matched:
        raise InputError(
            f"adapter {adapter} targets no matrix that {base_model} has; name the base that it was trained on"
        )


def tensor_shapes(files: list[Path]) -> dict[str, list[int]]:
    """The shape of every tensor in safetensors files, by name.

    Raises:
        InputError: a file is damaged.
    """
    shapes = {}
    for file in files:
        with _open_tensors(file) as tensors:
            shapes.update({name: tensors.get_slice(name).get_shape() for name in tensors.keys()})  # noqa: SIM118
    return shapes


@contextmanager
def _open_tensors(file: Path) -> Iterator[Any]:
    """A safetensors file.

    Raises:
        InputError: it is damaged, or cut off.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as tensors:
            yield tensors
    except SafetensorError as error:
        raise InputError(f"{file} is damaged or incomplete ({error}); copy or save it again") from error
