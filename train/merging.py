"""Several LoRA adapters of one base made into one, by PEFT's `add_weighted_adapter`.

The methods are PEFT's: `linear` adds A and B matrices (task arithmetic, Ilharco et al. 2023, arXiv 2212.04089), `svd`
the products BA and cuts them to a rank, `cat` puts the matrices side by side, which is exact, at the sum of the ranks.
`ties` (Yadav et al. 2023, arXiv 2306.01708) and `dare` (Yu et al. 2024, arXiv 2311.03099) drop part of the values
first. The result is an adapter like any other, with its own record of log-probabilities, and `rlcode_merge.json`
beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlcode.errors import ConfigError, InputError, PolicyMismatchError
from rlcode.run_directory import file_hash, package_versions, write_json
from sampling.adapters import (
    MERGE_FILE,
    adapter_version,
    check_adapter,
    is_trained,
    read_adapter_config,
    tensor_shapes,
)

DENSE = ("linear", "svd", "cat")
SPARSE = (
    *("ties", "dare_linear", "dare_ties", "magnitude_prune"),
    *("ties_svd", "dare_linear_svd", "dare_ties_svd", "magnitude_prune_svd"),
)
METHODS = (*DENSE, *SPARSE)
_REFUSED = ("use_dora", "modules_to_save", "lora_bias", "target_parameters", "trainable_token_indices")


@dataclass(frozen=True)
class Recipe:
    """How adapters are merged; their weights come beside it."""

    method: str = "linear"
    density: float | None = None
    """Share of the values that is kept; for the methods in `SPARSE` alone."""
    rank: int | None = None
    """Of the result, for methods with svd; none: the highest one of the adapters."""
    seed: int = 0
    """Decides which values DARE drops."""

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ConfigError(f"no method {self.method!r}; known: {', '.join(METHODS)}")
        if self.method in SPARSE and (self.density is None or not 0 < self.density < 1):
            raise ConfigError(f"--method {self.method} needs --density, the share of values that it keeps: 0.5, say")
        if self.method in DENSE and self.density is not None:
            raise ConfigError(f"--method {self.method} keeps all values; leave out --density")
        if self.rank is not None and (self.rank < 1 or not self.method.endswith("svd")):
            raise ConfigError("--rank must be 1 or more, and goes with the svd methods alone")

    @property
    def keeps_matrices(self) -> bool:
        """Whether A and B matrices are combined as they are, so that their ranks must be the same."""
        return not self.method.endswith("svd") and self.method != "cat"

    def equal_weights(self, count: int) -> tuple[float, ...]:
        """The mean of `count` adapters; TIES takes a mean itself."""
        return (1.0,) * count if "ties" in self.method else (1 / count,) * count


def check_sources(adapters: Sequence[Path], model: str | None, recipe: Recipe) -> str:
    """Make sure that the adapters can be merged, and return their base model.

    Raises:
        InputError: they can't; it names the adapter, and what to do.
    """
    if len({adapter.resolve() for adapter in adapters}) < max(2, len(adapters)):
        raise InputError("name two adapters or more, each once")
    configs = [read_adapter_config(adapter) for adapter in adapters]
    base = model or configs[0].get("base_model_name_or_path")
    if not base:
        raise InputError(f"adapter {adapters[0]} does not name its base model; name it with --model")
    for adapter, config in zip(adapters, configs, strict=True):
        check_adapter(adapter, base)
        _check_kind(adapter, config)
    _check_targets(adapters)
    if recipe.keeps_matrices:
        _check_ranks(adapters, configs, recipe)
    return str(base)


def _check_kind(adapter: Path, config: dict[str, Any]) -> None:
    refused = [name for name in _REFUSED if config.get(name)]
    refused += ["bias"] if config.get("bias", "none") != "none" else []
    if refused:
        raise InputError(
            f"adapter {adapter} is more than LoRA matrices ({', '.join(refused)}), which PEFT can't merge; leave it out"
        )
    if not is_trained(adapter):
        raise InputError(f"adapter {adapter} changes nothing: its B matrices are zero; leave it out")


def _check_targets(adapters: Sequence[Path]) -> None:
    first, *others = adapters
    wanted = set(tensor_shapes([first / "adapter_model.safetensors"]))
    for other in others:
        given = set(tensor_shapes([other / "adapter_model.safetensors"]))
        if differ := sorted(wanted ^ given):
            lacks, has = (first, other) if differ[0] in given else (other, first)
            raise InputError(
                f"adapter {lacks} has no {differ[0]}, which {has} has: merge adapters that target the same matrices"
            )


def _check_ranks(adapters: Sequence[Path], configs: Sequence[dict[str, Any]], recipe: Recipe) -> None:
    instead = f"{recipe.method} needs the same rank in all; choose an svd method or cat"
    for adapter, config in zip(adapters, configs, strict=True):
        if config["r"] != configs[0]["r"]:
            raise InputError(
                f"adapter {adapter} has rank {config['r']} and {adapters[0]} rank {configs[0]['r']}: {instead}"
            )
        if config.get("rank_pattern"):
            raise InputError(f"adapter {adapter} has ranks of its own for some matrices (rank_pattern): {instead}")


class Merger:
    """Adapters on their base, loaded once, to be merged in any proportion."""

    def __init__(self, adapters: Sequence[Path], base: str, recipe: Recipe, *, on_gpu: bool = True) -> None:
        """
        Args:
            on_gpu: whether they lie on a GPU, where there is one.
        Raises:
            InputError: base or adapters can't be loaded.
        """
        import torch
        from peft import PeftModel
        from safetensors import SafetensorError
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.adapters, self.base, self.recipe = tuple(adapters), base, recipe
        self._names = [f"source{place}" for place in range(len(adapters))]
        try:
            model = AutoModelForCausalLM.from_pretrained(base, dtype="auto")
            model.to("cuda" if on_gpu and torch.cuda.is_available() else "cpu")
            self._tokenizer = AutoTokenizer.from_pretrained(base)
            self._model = PeftModel.from_pretrained(model, str(adapters[0]), adapter_name=self._names[0])
            for name, adapter in zip(self._names[1:], adapters[1:], strict=True):
                self._model.load_adapter(str(adapter), adapter_name=name)
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            raise InputError(f"the adapters can't be put on {base}: {error}") from error
        for name in self._names:
            # the result inherits these from the first adapter: its scale is 1, whatever theirs are, and the base stays
            self._model.peft_config[name].use_rslora = False
            self._model.peft_config[name].init_lora_weights = True

    @property
    def newest_version(self) -> int:
        """Of the adapters; what comes of them is a policy after it."""
        return max(map(adapter_version, self.adapters))

    def merge(self, weights: Sequence[float], version: int, output: Path) -> Path:
        """Write the merged adapter to `output`, under a policy `version`.

        An adapter with the weight 0 is left out; one that is left alone comes out as it is, times its weight.

        Raises:
            ConfigError: there is not one weight for each adapter, or none that counts.
            InputError: `output` exists. PolicyMismatchError: the result, loaded again, is not what was merged.
            DiskError: it has no room.
        """
        from sampling.identity import record_policy
        from train.policy import save_adapter
        from train.unproven import require_new, unproven

        self._check_weights(weights)
        require_new(output)
        self._combine(weights)
        record = record_policy(self._model.eval(), self._tokenizer)
        with unproven(output) as part:
            save_adapter(self._model, part / "adapter", self.base, version, record)
            for file in sorted((part / "adapter").iterdir()):
                file.rename(part / file.name)
            (part / "adapter").rmdir()
            write_json(part / MERGE_FILE, self.provenance(weights))
            self._prove(part, version)
        return output

    def _check_weights(self, weights: Sequence[float]) -> None:
        if len(weights) != len(self.adapters):
            raise ConfigError(f"{len(self.adapters)} adapters need as many --weights, not {len(weights)}")
        if not any(weights):
            raise ConfigError("--weights must not all be 0: that is the base model")

    def _combine(self, weights: Sequence[float]) -> None:
        """Put the merged adapter in force, in the place of the one before it."""
        import torch

        from train.policy import ADAPTER_NAME

        used = {name: float(weight) for name, weight in zip(self._names, weights, strict=True) if weight}
        if ADAPTER_NAME in self._model.peft_config:
            self._model.set_adapter(self._names[0])
            self._model.delete_adapter(ADAPTER_NAME)
        with torch.random.fork_rng():
            torch.manual_seed(self.recipe.seed)
            self._model.add_weighted_adapter(
                list(used),
                list(used.values()),
                ADAPTER_NAME,
                combination_type=self.recipe.method,
                svd_rank=self.recipe.rank,
                svd_full_matrices=False,
                density=self.recipe.density,
            )
        self._model.set_adapter(ADAPTER_NAME)

    def _prove(self, part: Path, version: int) -> None:
        """Load what was written, and hold it against what was merged."""
        from sampling.decoding import sequence_logprobs
        from sampling.identity import LoadedPolicy

        loaded = LoadedPolicy(version, part, "the merged adapter", str(self._model.dtype).removeprefix("torch."))
        sequences = loaded.sequences(self._tokenizer)
        with self._model.disable_adapter():
            of_base = [sequence_logprobs(self._model, sequence) for sequence in sequences]
        self._model.load_adapter(str(part), adapter_name="written")
        self._model.set_adapter("written")
        try:
            loaded.check([sequence_logprobs(self._model, sequence) for sequence in sequences], of_base)
        finally:
            self._model.set_adapter(self._names[0])
            self._model.delete_adapter("written")
        if not is_trained(part):
            raise PolicyMismatchError("the weights cancel each other out: what comes of them is the base model")

    def provenance(self, weights: Sequence[float]) -> dict[str, Any]:
        """What is merged, and how: the content of `rlcode_merge.json`."""
        return {
            "base_model": self.base,
            **vars(self.recipe),
            "adapters": [
                {
                    "adapter": str(adapter),
                    "adapter_sha256": file_hash(adapter / "adapter_model.safetensors"),
                    "policy_version": adapter_version(adapter),
                    "weight": weight,
                }
                for adapter, weight in zip(self.adapters, weights, strict=True)
            ],
            "versions": package_versions(),
        }
