"""What a generation engine is: requests in, completions of a known policy out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

from rlcode.errors import InputError
from rlcode.types import Completion
from sampling.adapters import adapter_version, check_adapter

ENGINES = ("transformers", "vllm")


@dataclass(frozen=True)
class SamplingParams:
    """How completions are drawn. `temperature` 0 is greedy; `top_k` 0 is off; `max_completion_length` in tokens.

    The noise of a completion depends on `seed`, its task and its index alone, so it does not matter in which
    batch, order or process it is drawn (up to rounding of the logits).
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    max_completion_length: int = 512
    stop: tuple[str, ...] = ()
    seed: int = 0


@dataclass(frozen=True)
class GenerationRequest:
    """One completion to draw: the `index`-th of task `task_id`."""

    task_id: str
    index: int
    prompt_token_ids: tuple[int, ...]


class Engine(Protocol):
    """Holds a base model and at most one adapter in force, and draws completions."""

    name: str
    tokenizer: Any
    policy_version: int
    """0 is the base model; each adapter has a version of its own that is never used again."""

    def load_adapter(self, version: int, path: Path) -> None:
        """Put the LoRA adapter at `path` in force under a new `version`.

        Raises:
            InputError: the adapter belongs to another base model, or the version was used before.
        """
        ...

    def generate(self, requests: Sequence[GenerationRequest], params: SamplingParams) -> Iterator[Completion]:
        """Yield one completion for each request, in their order, as batches finish.

        `token_ids` ends with the end-of-text token where the model wrote it; `text` does not hold it.
        """
        ...

    def close(self) -> None:
        """Free the memory. Can be called twice."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...


def open_engine(
    name: str,
    model: str,
    *,
    adapter: Path | None = None,
    max_model_length: int = 2048,
    max_lora_rank: int = 64,
    batch_size: int = 64,
    gpu_memory_utilization: float = 0.9,
) -> Engine:
    """Start an engine by name on `model` (a hub name or a directory), with `adapter` in force under its own version.

    `batch_size` is the number of completions that `transformers` decodes together; `vllm` schedules by itself, takes
    the share `gpu_memory_utilization` of a GPU, and serves adapters up to `max_lora_rank`.

    Raises:
        InputError: an unknown engine, a model that can't be loaded, an adapter of another base.
        EngineError: vLLM is not installed or does not start.
    """
    if adapter is not None:
        max_lora_rank = max(max_lora_rank, check_adapter(adapter, model)["r"])
    engine: Engine
    if name == "transformers":
        from sampling.transformers_engine import TransformersEngine

        engine = TransformersEngine.from_pretrained(model, batch_size=batch_size)
    elif name == "vllm":
        from sampling.vllm_engine import VllmEngine

        engine = VllmEngine(
            model,
            max_model_length=max_model_length,
            max_lora_rank=max_lora_rank,
            gpu_memory_utilization=gpu_memory_utilization,
        )
    else:
        raise InputError(f"no engine {name!r}; known: {', '.join(ENGINES)}")
    if adapter is not None:
        engine.load_adapter(adapter_version(adapter), adapter)
    return engine


def request_seed(params_seed: int, request: GenerationRequest) -> int:
    """The 63-bit seed of one completion: a hash of the run's seed, the task and the index."""
    key = f"{params_seed}\0{request.task_id}\0{request.index}".encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") >> 1


def decode(tokenizer: Any, token_ids: Sequence[int], stop: tuple[str, ...]) -> str:
    """The text of `token_ids` without special tokens, cut before the first stop string."""
    text: str = tokenizer.decode(list(token_ids), skip_special_tokens=True)
    positions = [at for string in stop if (at := text.find(string)) >= 0]
    return text[: min(positions)] if positions else text
