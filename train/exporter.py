"""From base and adapter to a directory that is proven, or to none.

The proof (`export_proof.json`): each matrix that the adapter targets differs from the base's; what was written, loaded
again, says what base + adapter says (`train/export_proof.py`); and its log-probabilities are those that the adapter's
trainer wrote down, as in any engine. An adapter of a quantised base is merged into the base in full.
"""

from __future__ import annotations

import gc
import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from peft import PeftModel
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlcode.errors import ConfigError, DiskError, EngineError, InputError, PolicyMismatchError
from rlcode.run_directory import file_hash, package_versions, write_json
from rlcode.types import to_json
from sampling.adapters import (
    MERGE_FILE,
    METADATA_FILE,
    adapter_version,
    base_fingerprint,
    check_adapter,
    read_adapter_config,
)
from sampling.engine import EngineSettings, open_engine
from sampling.identity import LoadedPolicy
from sampling.tokenizer import tokenizer_of
from sampling.transformers_engine import TransformersEngine
from sampling.vllm_engine import VllmEngine
from train import export_proof
from train.export_proof import EngineProof, Proof, Reference
from train.model_card import CardOptions, write_card
from train.stopwatch import REST, Stopwatch
from train.unproven import require_new, unproven

PROOF = "export_proof.json"
_ENGINE_LENGTH = 512  # tokens of the longest prompt of the proof with its answer, with room


@dataclass(frozen=True)
class ExportOptions:
    """What is exported, and how."""

    adapter: Path
    output: Path
    model: str | None = None
    """The base; none: the one that the adapter names."""
    dtype: str = "auto"
    """Of the weights; `auto`: as the base is stored."""
    max_shard_size: str = "5GB"
    adapter_only: bool = False
    engines: tuple[str, ...] = ("transformers",)
    """What loads the export to prove it."""
    device: str | None = None
    """Where it is merged and tried; none: a GPU where there is one."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\d+[KMGT]B", self.max_shard_size):
            raise ConfigError(f"--max_shard_size must be a size such as 500MB or 5GB, got {self.max_shard_size!r}")
        if "transformers" not in self.engines:
            raise ConfigError("--prove_engines must name transformers: it is what the export is held against")


def export_adapter(options: ExportOptions, card: CardOptions | None = None) -> Proof:
    """Write the export, and return its proof.

    Raises:
        InputError: the output exists, or adapter and base don't belong together or can't be read.
        PolicyMismatchError: the proof failed. EngineError: an engine does not load it. DiskError: it has no room.
        In all of these cases nothing is left at `output`.
    """
    require_new(options.output)
    config = read_adapter_config(options.adapter)
    base = options.model or config.get("base_model_name_or_path")
    if not base:
        raise InputError(f"adapter {options.adapter} does not name its base model; name it with --model")
    if config.get("target_parameters"):
        raise InputError(f"adapter {options.adapter} targets bare parameters (target_parameters): not supported")
    check_adapter(options.adapter, base)
    with unproven(options.output) as part:
        proof = _Export(base, options, part).run()
        write_card(part / "README.md", proof, options.adapter, card or CardOptions())
        write_json(part / PROOF, to_json(proof))
    return proof


class _Export:
    """One export on its way into the directory `part`."""

    def __init__(self, base: str, options: ExportOptions, part: Path) -> None:
        self._base = base
        self._options = options
        self._part = part
        self._watch = Stopwatch()
        self._dtype = options.dtype
        self._tokenizer: Any = None

    def run(self) -> Proof:
        self._tokenizer = tokenizer_of(self._base)
        policy = load_policy(self._base, self._options)
        self._dtype = str(policy.dtype).removeprefix("torch.")
        with self._watch.measure("proof"):
            _check_finite(policy, self._options.adapter)
        self._write(policy)
        with self._watch.measure("proof"):
            del policy  # nothing of what was written is held against itself, and the proof needs the room
            gc.collect()
            found = self._hold_against(*self._ask_policy())
        seconds = self._watch.lap()
        return replace(found, seconds={"merge": seconds[REST], "proof": seconds["proof"]})

    @property
    def _exported(self) -> LoadedPolicy:
        adapter = self._options.adapter
        return LoadedPolicy(adapter_version(adapter), adapter, "the export", self._dtype)

    def _write(self, policy: Any) -> None:
        if self._options.adapter_only:
            _copy_adapter(self._options.adapter, self._part)
        else:
            require_room(self._part, sum(weight.nbytes for weight in policy.get_base_model().parameters()))
            merged = policy.merge_and_unload()  # NaN and infinity are found in the logits
            merged.save_pretrained(self._part, max_shard_size=self._options.max_shard_size)
        self._tokenizer.save_pretrained(self._part)

    def _ask_policy(self) -> tuple[Reference, list[export_proof.Change]]:
        """What base + adapter, loaded once more, say, and what merging changes in each target matrix."""
        policy = load_policy(self._base, self._options)
        reference = export_proof.ask_reference(policy, self._tokenizer, self._base, self._exported)
        changes = export_proof.changes_by_merging(policy)
        del policy
        gc.collect()
        return reference, changes

    def _hold_against(self, reference: Reference, changes: list[export_proof.Change]) -> Proof:
        adapter = self._options.adapter
        loaded = self._load_again()
        _check_tokenizer(self._tokenizer, self._part)
        changed = export_proof.count_changed(changes, None if self._options.adapter_only else loaded)
        export_proof.check_changed(changed, changes, adapter)
        found = Proof(
            kind="adapter" if self._options.adapter_only else "merged",
            base_model=self._base,
            base_fingerprint=base_fingerprint(self._base),
            adapter=str(adapter),
            adapter_sha256=file_hash(adapter / "adapter_model.safetensors"),
            policy_version=adapter_version(adapter),
            dtype=self._dtype,
            target_matrices=len(changes),
            changed_matrices=changed,
            logit_gap=export_proof.check_logits(loaded, reference, self._dtype),
            tolerance=export_proof.TOLERANCE[self._dtype],
            near_tie=export_proof.NEAR_TIE[self._dtype],
            trainer_gap=export_proof.check_trainer(loaded, reference, self._exported),
            engines=(self._ask_transformers(loaded, reference),),
            seconds={},
            versions=package_versions(),
            update_kept=None if self._options.adapter_only else export_proof.mean_kept(changes),
        )
        del loaded
        if "vllm" in self._options.engines:
            found = replace(found, engines=(*found.engines, self._ask_vllm(reference)))
        return found

    def _load_again(self) -> Any:
        """What was written, as people load it."""
        if self._options.adapter_only:
            return load_policy(self._base, replace(self._options, adapter=self._part, dtype=self._dtype))
        loaded = AutoModelForCausalLM.from_pretrained(self._part, dtype=getattr(torch, self._dtype))
        return loaded.to(_device(self._options)).eval()

    def _ask_transformers(self, loaded: Any, reference: Reference) -> EngineProof:
        engine = TransformersEngine(loaded, self._tokenizer, base_model=self._base)
        return export_proof.check_engine(engine, reference, self._dtype, self._dtype)

    def _ask_vllm(self, reference: Reference) -> EngineProof:
        gc.collect()
        torch.cuda.empty_cache()
        try:
            with open_vllm(self._base, self._options, self._part) as engine:
                return export_proof.check_engine(engine, reference, self._dtype, engine.dtype)
        except (EngineError, InputError) as error:
            error.add_note("to prove it without vLLM: --prove_engines transformers")
            raise


def open_vllm(base: str, options: ExportOptions, export: Path) -> VllmEngine:
    """vLLM with the merged model in `export` as it is, or with the adapter there beside its base."""
    settings = EngineSettings("vllm", max_model_length=_ENGINE_LENGTH)
    if options.adapter_only:
        return cast(VllmEngine, open_engine(settings, base, export))
    return VllmEngine(str(export), replace(settings, sync="merged"))


def load_policy(base: str, options: ExportOptions) -> Any:
    """Base + adapter.

    Raises:
        InputError: one of them can't be loaded, or they don't fit.
    """
    dtype: Any = options.dtype if options.dtype == "auto" else getattr(torch, options.dtype)
    try:
        weights = AutoModelForCausalLM.from_pretrained(base, dtype=dtype).eval()
    except (OSError, ValueError, SafetensorError) as error:
        raise InputError(f"model {base!r} can't be loaded: {error}") from error
    if str(weights.dtype).removeprefix("torch.") not in export_proof.TOLERANCE:
        raise InputError(f"model {base!r} is stored as {weights.dtype}; choose a precision with --dtype")
    try:
        return PeftModel.from_pretrained(weights.to(_device(options)), str(options.adapter)).eval()
    except (ValueError, RuntimeError, SafetensorError) as error:
        raise InputError(f"adapter {options.adapter} can't be put on {base}: {error}") from error


def _device(options: ExportOptions) -> str:
    return options.device or ("cuda" if torch.cuda.is_available() else "cpu")


def _check_finite(policy: Any, adapter: Path) -> None:
    for name, weight in policy.named_parameters():
        if ".lora_" in name and not bool(weight.isfinite().all()):
            raise InputError(f"adapter {adapter} is damaged: {name} holds NaN or infinity; take an earlier one")


def require_room(directory: Path, needed: int) -> None:
    """
    Raises:
        DiskError: `needed` bytes don't fit into `directory`.
    """
    free = shutil.disk_usage(directory).free
    if free < needed:
        raise DiskError(
            f"the export takes {needed >> 20:,} MiB and {directory.parent} has {free >> 20:,} MiB free; make room, or "
            "choose another --output or a smaller --dtype"
        )


def _copy_adapter(adapter: Path, part: Path) -> None:
    for name in ("adapter_config.json", "adapter_model.safetensors", METADATA_FILE, MERGE_FILE):
        if (adapter / name).is_file():
            shutil.copyfile(adapter / name, part / name)


def _check_tokenizer(tokenizer: Any, part: Path) -> None:
    """Some model types replace parts of the tokenizer that lies beside them."""
    loaded = AutoTokenizer.from_pretrained(part)
    if loaded.chat_template != tokenizer.chat_template or any(
        loaded(prompt)["input_ids"] != tokenizer(prompt)["input_ids"] for prompt in export_proof.PROMPTS
    ):
        raise PolicyMismatchError("the exported tokenizer, loaded again, is not the base's: other tokens or template")
