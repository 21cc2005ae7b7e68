"""What a generation engine is: requests in, completions of a known policy out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from rlcode.errors import InputError
from rlcode.types import Completion
from sampling.adapters import adapter_version, check_adapter

if TYPE_CHECKING:
    from sampling.transformers_engine import TransformersEngine
    from sampling.vllm_engine import VllmEngine

ENGINES = ("transformers", "vllm", "vllm-server")


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
    ignore_eos: bool = False
    """Go on behind an end token, up to `max_completion_length`: to measure what the longest completions take."""


@dataclass(frozen=True)
class GenerationRequest:
    """One completion to draw: the `index`-th of task `task_id`."""

    task_id: str
    index: int
    prompt_token_ids: tuple[int, ...]


class Engine(Protocol):
    """Holds a base model and at most one adapter in force, and draws completions.

    An adapter that is loaded while completions are drawn is for the requests after it: what was sent before is finished
    by the policy that it was sent to, and says so. (`transformers` refuses to load in the middle of a block.)
    """

    name: str
    tokenizer: Any
    policy_version: int
    """0 is the base model; each adapter has a version of its own that is never used again."""
    block_size: int | None
    """How many consecutive requests are decoded together as one closed block, so that what a sample gets depends on
    its block alone; None where batching is the engine's own affair."""

    def load_adapter(self, version: int, path: Path) -> float | None:
        """Put the LoRA adapter at `path` in force under a new `version`; where that fails, the policy before it stays.

        Returns:
            The mean gap (nats per token) between the engine's log-probabilities of fixed sequences and what the
            adapter's trainer wrote down; None where it wrote nothing.
        Raises:
            InputError: the adapter belongs to another base model, the engine can't serve it, or the version was used
                before.
            PolicyMismatchError: the engine does not compute what the trainer did.
        """
        ...

    def generate(self, requests: Iterable[GenerationRequest], params: SamplingParams) -> Iterator[Completion]:
        """Yield one completion for each request, as each is finished, in any order.

        Requests are taken only as far as the engine has room. To close the iterator early aborts what is in flight.
        `token_ids` ends with the end-of-text token where the model wrote it; `text` does not hold it.
        """
        ...

    def score(self, sequences: Sequence[Sequence[int]]) -> list[list[float]]:
        """The log-probability (nats, temperature 1) of every token but the first of each sequence, under the policy in
        force."""
        ...

    def close(self) -> None:
        """Free the memory. Can be called twice."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...


@dataclass(frozen=True)
class EngineSettings:
    """What writes the completions, and what it may take; `EngineArguments` holds the same for the command line."""

    engine: str = "transformers"
    sync: str = "adapter"
    """How a policy gets to the engine: `adapter`, or `merged` into whole weights."""
    batch_size: int = 64
    """`transformers` only: completions decoded together."""
    max_model_length: int = 2048
    """`vllm` only: longest prompt plus completion, in tokens; less where the model has fewer positions."""
    max_lora_rank: int = 64
    """`vllm` only: highest rank of an adapter."""
    gpu_memory_utilization: float = 0.9
    """`vllm` only: share of a GPU's memory."""
    urls: tuple[str, ...] = ()
    """`vllm-server` only: the servers."""
    server_wait_s: float = 300.0
    """How long a server that does not answer is waited for."""
    server_timeout_s: float = 600.0
    """How long one request may take before its server counts as lost."""

    @classmethod
    def from_arguments(cls, args: Any) -> Self:
        """From an instance of `EngineArguments`, or a namespace with the same names."""
        options = {field.name: getattr(args, f"engine_{field.name}") for field in fields(cls) if field.name != "engine"}
        return cls(engine=args.engine, **{**options, "urls": tuple(options["urls"])})


def open_engine(
    settings: EngineSettings, model: str, adapter: Path | None = None, *, run: Path | None = None
) -> Engine:
    """Start an engine on `model` (a hub name or a directory), with `adapter` in force under its own version.

    Args:
        run: the run directory, given by who has the machine to itself: where it has several GPUs, vLLM runs on each of
            them, as servers that end with this process and write their logs beside that directory, to `NAME.vllm`.
    Raises:
        InputError: an unknown engine, a model that can't be loaded, an adapter of another base.
        EngineError: vLLM is not installed or does not start.
    """
    if adapter is not None and settings.sync == "adapter":
        rank = check_adapter(adapter, model)["r"]
        settings = replace(settings, max_lora_rank=max(settings.max_lora_rank, rank))
    engine = _open(settings, model, run)
    try:
        if adapter is not None:
            engine.load_adapter(adapter_version(adapter), adapter)
    except BaseException:
        engine.close()
        raise
    return engine


def _open(settings: EngineSettings, model: str, run: Path | None) -> Engine:
    if settings.engine == "vllm-server":
        from sampling.server_engine import VllmServerEngine

        return VllmServerEngine(model, settings)
    if settings.engine == "vllm" and settings.sync == "adapter" and run is not None:
        from sampling.server_group import WholeGroupEngine, gpus_of_this_machine

        gpus = gpus_of_this_machine()
        if len(gpus) > 1:
            run = run.absolute()
            return WholeGroupEngine(model, settings, gpus, run.with_name(f"{run.name}.vllm"))
    engine = _open_here(settings, model)
    if settings.sync == "adapter":
        return engine
    from sampling.merged_engine import MergedEngine

    return MergedEngine(engine, model)


def _open_here(settings: EngineSettings, model: str) -> TransformersEngine | VllmEngine:
    if settings.engine == "transformers":
        from sampling.transformers_engine import TransformersEngine

        return TransformersEngine.from_pretrained(model, batch_size=settings.batch_size)
    if settings.engine == "vllm":
        from sampling.vllm_engine import VllmEngine

        return VllmEngine(model, settings)
    raise InputError(f"no engine {settings.engine!r}; known: {', '.join(ENGINES)}")


def request_seed(params_seed: int, request: GenerationRequest) -> int:
    """The 63-bit seed of one completion: a hash of the run's seed, the task and the index."""
    key = f"{params_seed}\0{request.task_id}\0{request.index}".encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") >> 1


def decode(tokenizer: Any, token_ids: Sequence[int], stop: tuple[str, ...]) -> str:
    """The text of `token_ids` without special tokens, cut before the first stop string."""
    text: str = tokenizer.decode(list(token_ids), skip_special_tokens=True)
    positions = [at for string in stop if (at := text.find(string)) >= 0]
    return text[: min(positions)] if positions else text
