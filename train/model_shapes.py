"""What a decoder's matrices measure: enough to count its parameters and those of a LoRA adapter. Imports nothing heavy
for Qwen2 and Llama.

The shapes of the Qwen2.5-Coder models are those of their published `config.json`; any other model gives its own. Where
a layer is made otherwise than theirs, transformers makes the model without its weights, and its matrices are counted.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from rlcode.errors import ConfigError

_QKV_BIAS = {"qwen2": True, "llama": False}
"""The families whose layers are made as `ModelShape` says, and whether query, key and value have a bias."""


@dataclass(frozen=True)
class Linear:
    """The linear maps of one name and size in a whole model, its output matrix left out."""

    name: str
    inputs: int
    outputs: int
    count: int


@dataclass(frozen=True)
class Counted:
    """What was counted in a model that is made otherwise."""

    parameters: int
    linears: tuple[Linear, ...]


@dataclass(frozen=True)
class ModelShape:
    """A decoder with grouped-query attention and a gated MLP, or, with `counted`, any other."""

    vocabulary: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    tied: bool
    """The embedding serves as the output matrix too."""
    qkv_bias: bool = True
    head: int | None = None
    """Values of one attention head; none: hidden / heads."""
    gated: bool = True
    """The MLP has a gate: four values are kept for each of its inner ones, and not two."""
    counted: Counted | None = None

    @classmethod
    def from_config(cls, config: Mapping[str, Any], name: str) -> Self:
        """Of a `config.json` in transformers' form, which messages call `name`.

        Raises:
            ConfigError: it is of a family that transformers does not know, or lacks a size.
        """
        family = config.get("model_type")
        if family not in _QKV_BIAS:
            return cls._by_counting(config, name)
        try:
            return cls(
                vocabulary=config["vocab_size"],
                hidden=config["hidden_size"],
                intermediate=config["intermediate_size"],
                layers=config["num_hidden_layers"],
                heads=config["num_attention_heads"],
                kv_heads=config.get("num_key_value_heads") or config["num_attention_heads"],
                tied=config.get("tie_word_embeddings", False),
                qkv_bias=_QKV_BIAS[family] or config.get("attention_bias", False),
                head=config.get("head_dim"),
            )
        except KeyError as error:
            raise ConfigError(f"{name} lacks {error}; it must be a model's config.json") from None

    @classmethod
    def _by_counting(cls, config: Mapping[str, Any], name: str) -> Self:
        """From a model without memory for its weights; nothing is loaded and nothing is asked over the network."""
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM
        from transformers.pytorch_utils import Conv1D

        try:
            made = AutoConfig.for_model(**config)
            with torch.device("meta"):
                model = AutoModelForCausalLM.from_config(made)
            text, heads = made.get_text_config(), made.get_text_config().num_attention_heads
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            family = config.get("model_type")
            raise ConfigError(f"{name}: the shape of a {family!r} model is not known: {error}") from error
        output, sizes = model.get_output_embeddings(), Counter[tuple[str, int, int]]()
        for path, module in model.named_modules():
            if isinstance(module, torch.nn.Linear | Conv1D) and module is not output:
                inputs, outputs = module.weight.shape if isinstance(module, Conv1D) else module.weight.shape[::-1]
                sizes[path.rpartition(".")[2], inputs, outputs] += 1
        linears = tuple(Linear(*size, count) for size, count in sizes.items())
        return cls(
            vocabulary=text.vocab_size,
            hidden=text.hidden_size,
            intermediate=getattr(text, "intermediate_size", None)
            or getattr(text, "n_inner", None)
            or 4 * text.hidden_size,
            layers=text.num_hidden_layers,
            heads=heads,
            kv_heads=getattr(text, "num_key_value_heads", None) or heads,
            tied=bool(getattr(text, "tie_word_embeddings", False)),
            head=getattr(text, "head_dim", None),
            gated=any("gate" in linear.name for linear in linears),
            counted=Counted(sum(weight.numel() for weight in model.parameters()), linears),
        )

    @property
    def queries(self) -> int:
        """Values of a token's queries in one layer, over all heads."""
        return self.heads * (self.head or self.hidden // self.heads)

    @property
    def keys(self) -> int:
        """Values of a token's keys in one layer; of its values as many."""
        return self.kv_heads * (self.head or self.hidden // self.heads)

    def linears(self) -> dict[str, tuple[int, int]]:
        """The linear maps of one layer by name, as (inputs, outputs)."""
        return {
            "q_proj": (self.hidden, self.queries),
            "k_proj": (self.hidden, self.keys),
            "v_proj": (self.hidden, self.keys),
            "o_proj": (self.queries, self.hidden),
            "gate_proj": (self.hidden, self.intermediate),
            "up_proj": (self.hidden, self.intermediate),
            "down_proj": (self.intermediate, self.hidden),
        }

    def layer_parameters(self) -> int:
        """Of one layer: its linear maps, biases and two norms."""
        biases = self.queries + 2 * self.keys if self.qkv_bias else 0
        return sum(inputs * outputs for inputs, outputs in self.linears().values()) + biases + 2 * self.hidden

    def parameters(self) -> int:
        """Of the whole model; an embedding that is tied to the output counts once."""
        if self.counted:
            return self.counted.parameters
        embeddings = self.vocabulary * self.hidden * (1 if self.tied else 2)
        return embeddings + self.layers * self.layer_parameters() + self.hidden

    def adapter_parameters(self, rank: int, targets: Sequence[str] | None) -> int:
        """Of a LoRA adapter (Hu et al. 2021): rank × (inputs + outputs) for each map that it targets. None targets all.

        Raises:
            ConfigError: a target is no linear map of a layer.
        """
        linears = self.all_linears()
        known = dict.fromkeys(linear.name for linear in linears)  # in their order
        if unknown := set(targets or ()) - known.keys():
            raise ConfigError(f"lora_target_modules: {', '.join(sorted(unknown))} unknown; known: {', '.join(known)}")
        return rank * sum(one.count * (one.inputs + one.outputs) for one in linears if one.name in (targets or known))

    def all_linears(self) -> tuple[Linear, ...]:
        """The linear maps of all layers: what LoRA targets and bitsandbytes quantises."""
        if self.counted:
            return self.counted.linears
        return tuple(Linear(name, *size, self.layers) for name, size in self.linears().items())


_SMALL, _LARGE = 151_936, 152_064
KNOWN = {
    "Qwen2.5-Coder-0.5B": ModelShape(_SMALL, 896, 4864, 24, 14, 2, tied=True),
    "Qwen2.5-Coder-1.5B": ModelShape(_SMALL, 1536, 8960, 28, 12, 2, tied=True),
    "Qwen2.5-Coder-3B": ModelShape(_SMALL, 2048, 11_008, 36, 16, 2, tied=True),
    "Qwen2.5-Coder-7B": ModelShape(_LARGE, 3584, 18_944, 28, 28, 4, tied=False),
    "Qwen2.5-Coder-14B": ModelShape(_LARGE, 5120, 13_824, 48, 40, 8, tied=False),
    "Qwen2.5-Coder-32B": ModelShape(_LARGE, 5120, 27_648, 64, 40, 8, tied=False),
}
"""By hub name without its owner and without `-Instruct`."""


def shape_of(model: str | None, model_config: str | None = None) -> ModelShape:
    """The shape of a model directory or a known hub name; `model_config` is the path of a `config.json` that wins.

    Raises:
        ConfigError: no model is named, its configuration can't be read, or nothing is known of it.
    """
    if model_config is not None:
        return _read(Path(model_config))
    if not model:
        raise ConfigError("no base model: set model_name_or_path to a directory or a hub name")
    if Path(model).is_dir():
        return _read(Path(model) / "config.json")
    name = model.rpartition("/")[2].removesuffix("-Instruct")
    if name not in KNOWN:
        raise ConfigError(
            f"the shape of {model!r} is not known here, and nothing is asked over the network; give its config.json "
            f"with --model_config FILE, or a directory as model_name_or_path (known: {', '.join(KNOWN)})"
        )
    return KNOWN[name]


def _read(path: Path) -> ModelShape:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"the model's configuration {path} can't be read: {error}") from error
    if not isinstance(config, dict):
        raise ConfigError(f"the model's configuration {path} must hold a JSON object")
    return ModelShape.from_config(config, str(path))
