"""vLLM inside this process (on a GPU its core runs in a child of it), with LoRA adapters swapped by request.

Each adapter gets a name and an id that are never used again, and the prefix cache is dropped: vLLM may serve stale
blocks after a reload under the same name.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Self

from rlcode.errors import ConfigError, EngineError, InputError
from rlcode.types import Completion
from sampling.adapters import check_adapter, weight_files
from sampling.engine import EngineSettings, GenerationRequest, SamplingParams, decode, request_seed
from sampling.identity import BaseScores, LoadedPolicy
from sampling.vllm_core import EXTENSION, CoreEndedError, end_engine, naming_its_end, watch
from sampling.vllm_settings import CPU_ENVIRONMENT, HOW_TO_GET_VLLM, OR_MERGED, length_for, lora_rank, require_servable


class VllmEngine:
    """A vLLM engine for one base model; one adapter is in force, and the one before it while completions of it are
    still drawn."""

    name = "vllm"
    block_size: int | None = None

    def __init__(self, model: str, settings: EngineSettings) -> None:
        weight_files(model)
        self.policy_version = 0
        self._base_model = model
        self._max_lora_rank = lora_rank(settings.max_lora_rank)
        self._policy: Any = None  # the LoRARequest in force
        self._versions: set[int] = set()
        self._kept: set[int] = set()  # ids of the adapter in force, and of one that is being checked
        self._flying: dict[str, int] = {}  # requests that vLLM has, with the id of their adapter; 0 is none
        self._base_scores = BaseScores(lambda sequences: self._score(sequences, None))
        self._calls = 0
        self._is_dead = False
        self._outboxes: dict[str, deque[Any]] = {}
        self._llm: Any = _start(
            model=model,
            max_model_len=length_for(model, settings.max_model_length),
            **_lora_options(self._max_lora_rank, settings.sync),
            gpu_memory_utilization=settings.gpu_memory_utilization,
        )
        self.core_processes = watch(self._llm.llm_engine)
        """Where vLLM's core runs, if not in this process."""
        self._room = 2 * self._llm.llm_engine.vllm_config.scheduler_config.max_num_seqs
        self.tokenizer = self._llm.get_tokenizer()

    def load_adapter(self, version: int, path: Path) -> float | None:
        if version in self._versions or version < 1:
            raise InputError(f"policy version {version} can't be used (again); adapters count up from 1")
        require_servable(path, check_adapter(path, self._base_model), self._max_lora_rank)
        before, self._kept = self._kept, {*self._kept, version}
        try:
            policy = self._put_on(version, path)
            gap = self._check(policy, version, path)
        except (InputError, EngineError):
            self._kept = before
            self._unload_unused()
            raise
        self._policy, self._kept = policy, {version}
        self.policy_version = version
        self._unload_unused()
        return gap

    def _put_on(self, version: int, path: Path) -> Any:
        from vllm.lora.request import LoRARequest

        policy = LoRARequest(f"policy-v{version}", version, str(path.resolve()))
        self._versions.add(version)  # whatever comes of it: vLLM may keep something under this id
        try:
            with self._core() as engine:
                loaded = engine.add_lora(policy)
        except (ValueError, RuntimeError) as error:
            raise InputError(f"vLLM can't serve the adapter {path}: {error}; {OR_MERGED}") from error
        if not loaded:
            raise EngineError(f"vLLM refused the adapter {path} (policy version {version})")
        return policy

    def _check(self, policy: Any, version: int, path: Path) -> float | None:
        loaded = LoadedPolicy(version, path, "the engine vllm", self.dtype)
        sequences = loaded.sequences(self.tokenizer)
        return loaded.check(self._score(sequences, policy), self._base_scores.of(sequences))

    def load_weights(self, directory: str) -> None:
        """Read all weights from `directory`, for the requests from now on.

        Raises:
            EngineError: completions are in flight, or vLLM does not take the weights.
        """
        if self._flying:
            raise EngineError("completions are in flight: finish or close `generate` before weights are loaded")
        try:
            with self._core() as engine:
                engine.collective_rpc("reload_weights", kwargs={"weights_path": directory})
        except (OSError, ValueError, RuntimeError, KeyError, AssertionError) as error:
            raise EngineError(f"vLLM does not take the weights in {directory}: {error}") from error
        self._base_scores.forget()
        self._require_engine().reset_prefix_cache()

    @property
    def dtype(self) -> str:
        return str(self._require_engine().model_config.dtype).removeprefix("torch.")

    def _unload_unused(self) -> None:
        """Drop the adapters that are neither in force nor in use, and the prefix cache with them."""
        if self._is_dead:
            return
        engine = self._require_engine()
        for adapter_id in set(engine.list_loras()) - self._kept - set(self._flying.values()):
            engine.remove_lora(adapter_id)
        engine.reset_prefix_cache()  # refused while requests run; then the last of the old policy does it

    def generate(self, requests: Iterable[GenerationRequest], params: SamplingParams) -> Iterator[Completion]:
        template = _vllm_params(params)
        source = enumerate(requests)
        sent: dict[str, _Sent] = {}
        with self._outbox() as (call, outbox):
            while True:
                for number, request in islice(source, self._room - len(sent)):
                    name = f"{call}-{number}"
                    sent[name] = self._send(name, request, template, request_seed(params.seed, request))
                if not sent:
                    return
                while not outbox:
                    self._step()
                while outbox:
                    output = outbox.popleft()
                    yield self._completion(sent.pop(output.request_id), output.outputs[0], params)

    @contextmanager
    def _outbox(self) -> Iterator[tuple[str, deque[Any]]]:
        """Where the outputs of one call arrive, whoever steps the engine; its name begins those of its requests.

        What is still in flight at the end is aborted.
        """
        self._calls += 1
        call = str(self._calls)
        self._outboxes[call] = deque()
        try:
            yield call, self._outboxes[call]
        finally:
            left = [name for name in self._flying if name.partition("-")[0] == call]
            if left and self._llm is not None and not self._is_dead:
                self._require_engine().abort_request(left)
                self._landed(left)
            del self._outboxes[call]

    def _step(self) -> None:
        with self._core() as engine:
            outputs = engine.step()
        for output in outputs:
            self._outboxes[output.request_id.partition("-")[0]].append(output)
        self._landed([output.request_id for output in outputs])

    def _landed(self, names: Sequence[str]) -> None:
        gone = {self._flying.pop(name) for name in names}
        if gone - self._kept - {0, *self._flying.values()}:
            self._unload_unused()

    def _send(self, name: str, request: GenerationRequest, template: Any, seed: int) -> _Sent:
        params = template.clone()
        params.seed = seed
        ids = request.prompt_token_ids
        self._add(name, ids, params, self._policy, f"the prompt of task {request.task_id} ({len(ids)} tokens)")
        return _Sent(request, self.policy_version, seed)

    def _add(self, name: str, token_ids: Sequence[int], params: Any, policy: Any, what: str) -> None:
        adapter_id = policy.lora_int_id if policy else 0
        # vLLM's kernels for CPUs put the adapter of a batch on its requests without one too: they must not meet
        while any((other == 0) != (adapter_id == 0) for other in set(self._flying.values())):
            self._step()
        prompt = {"prompt_token_ids": list(token_ids)}
        try:
            self._require_engine().add_request(name, prompt, params, lora_request=policy)
        except ValueError as error:
            raise InputError(f"vLLM does not take {what}: {error}; raise --engine_max_model_length") from error
        self._flying[name] = adapter_id

    def _completion(self, sent: _Sent, output: Any, params: SamplingParams) -> Completion:
        if output.finish_reason not in ("stop", "length"):
            raise EngineError(
                f"vLLM broke off a completion of task {sent.request.task_id}: its finish reason is "
                f"{output.finish_reason!r}, and what it wrote is no answer"
            )
        ids = tuple(output.token_ids)
        return Completion(
            task_id=sent.request.task_id,
            index=sent.request.index,
            text=decode(self.tokenizer, ids, params.stop),
            prompt_token_ids=sent.request.prompt_token_ids,
            token_ids=ids,
            logprobs=tuple(output.logprobs.logprobs),
            finish_reason=output.finish_reason,
            policy_version=sent.policy_version,
            seed=sent.seed,
        )

    def score(self, sequences: Sequence[Sequence[int]]) -> list[list[float]]:
        return self._score(sequences, self._policy)

    def _score(self, sequences: Sequence[Sequence[int]], policy: Any) -> list[list[float]]:
        params = _scoring_params()
        with self._outbox() as (call, outbox):
            names = [f"{call}-{place}" for place in range(len(sequences))]
            for name, sequence in zip(names, sequences, strict=True):
                self._add(name, sequence, params.clone(), policy, f"a sequence of {len(sequence)} tokens")
            while len(outbox) < len(names):
                self._step()
        scores = {output.request_id: list(output.prompt_logprobs.logprobs) for output in outbox}
        return [scores[name] for name in names]

    @contextmanager
    def _core(self) -> Iterator[Any]:
        """vLLM's engine, for what waits for an answer of its core."""
        try:
            with naming_its_end():
                yield self._require_engine()
        except CoreEndedError:
            self._is_dead = True
            raise

    def _require_engine(self) -> Any:
        if self._llm is None:
            raise EngineError("the engine was closed")
        return self._llm.llm_engine

    def close(self) -> None:
        llm, self._llm = self._llm, None
        if llm is not None:
            end_engine(llm.llm_engine)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


@dataclass(frozen=True)
class _Sent:
    """A request in flight, and the policy that answers it."""

    request: GenerationRequest
    policy_version: int
    seed: int


def _lora_options(max_lora_rank: int, sync: str) -> dict[str, Any]:
    if sync == "merged":
        return {}
    # one adapter on the device, and beside it in memory the one before it while completions of it are drawn
    return {"enable_lora": True, "max_loras": 1, "max_cpu_loras": 2, "max_lora_rank": max_lora_rank}


def _start(**options: Any) -> Any:
    import torch

    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError(
            "vLLM inside one of several training processes would take the first GPU, and end their process group; "
            "start servers for them (`sampling.server_group`, or `rlcode serve`) and choose the engine vllm-server"
        )
    if torch.cuda.is_available():  # that question is enough to start CUDA, which a forked core could not use then
        os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "spawn"
    else:
        _settle_on_cpu(options)
    if os.environ.get("VLLM_ENABLE_V1_MULTIPROCESSING", "1") != "0":
        options["worker_extension_cls"] = EXTENSION
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    try:
        import vllm
    except ImportError as error:
        raise EngineError(f"vLLM can't be imported ({error}); {HOW_TO_GET_VLLM}") from error
    try:
        return vllm.LLM(logprobs_mode="processed_logprobs", seed=0, **options)
    except (OSError, ValueError, RuntimeError) as error:
        raise EngineError(f"vLLM does not start on model {options['model']!r}: {error}") from error


def _settle_on_cpu(options: dict[str, Any]) -> None:
    for name, value in CPU_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    # a child process would import torch once more: three times the start-up time
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    options |= {"dtype": "float32", "enforce_eager": True, "distributed_executor_backend": "uni"}
    # after a part of a prompt vLLM rewinds the sample's noise, which generators on a CPU can't do: prompts stay whole
    options["enable_chunked_prefill"] = False
    del options["gpu_memory_utilization"]


def _vllm_params(params: SamplingParams) -> Any:
    import vllm
    from vllm.sampling_params import RequestOutputKind

    return vllm.SamplingParams(
        temperature=params.temperature,
        top_p=params.top_p,
        top_k=params.top_k,
        max_tokens=params.max_completion_length,
        stop=list(params.stop) or None,
        ignore_eos=params.ignore_eos,
        logprobs=0,
        flat_logprobs=True,
        detokenize=bool(params.stop),
        skip_special_tokens=True,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


def _scoring_params() -> Any:
    import vllm
    from vllm.sampling_params import RequestOutputKind

    return vllm.SamplingParams(
        max_tokens=1,
        temperature=0,
        prompt_logprobs=0,
        flat_logprobs=True,
        detokenize=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )
