"""The engine `vllm-server`: one or several vLLM servers with the same model, requests spread by load.

A server that is lost is waited for, for a bounded time, while the others take its requests; when it is back it gets the
adapters that are in use again, and is checked again, before it gets requests. The HTTP traffic runs in a thread of its
own, so that the servers have work while the caller judges.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Self, TypeVar

from rlcode.errors import ConfigError, EngineError, InputError, PolicyMismatchError, RlcodeError
from rlcode.types import Completion
from sampling.adapters import base_fingerprint, check_adapter, weight_files
from sampling.engine import EngineSettings, GenerationRequest, SamplingParams, decode, request_seed
from sampling.identity import LoadedPolicy, Sequences, fixed_sequences, mean_gap, read_record, tolerance_for
from sampling.tokenizer import tokenizer_of
from sampling.vllm_server import ServerInfo, ServerLost, VllmServer, connections_for
from sampling.vllm_settings import require_servable

logger = logging.getLogger(__name__)

_POLL_SECONDS = 0.5
_MOST_LOSSES = 5  # of one request: then it may be the request that takes the servers down

T = TypeVar("T")


@dataclass(frozen=True)
class _Policy:
    """What requests are sent to: an adapter under its name on the servers, or the base."""

    version: int
    name: str | None = None
    path: Path | None = None
    adopted: bool = False
    """Another client loaded it, and unloads it."""


class _Replica:
    """One server, whether it may be asked, and how much it has to do."""

    def __init__(self, server: VllmServer) -> None:
        self.server = server
        self.info: ServerInfo | None = None
        self.base_scores: dict[Sequences, list[list[float]]] = {}
        self._in_flight = {True: 0, False: 0}  # with an adapter, without one
        self.revival: asyncio.Task[None] | None = None
        self.trouble: str = ""  # why it is not ready, last heard
        self.refusal: RlcodeError | None = None  # it came back as something that can't be used

    @property
    def ready(self) -> bool:
        return self.info is not None

    @property
    def in_flight(self) -> int:
        return sum(self._in_flight.values())

    @asynccontextmanager
    async def slot(self, *, adapter: bool) -> AsyncIterator[None]:
        """The time of one request with or without an adapter.

        vLLM's kernels for CPUs put the adapter of a batch on its requests without one too: the two must not meet.
        """
        while self._in_flight[not adapter]:  # bounded, since every request is
            await asyncio.sleep(_POLL_SECONDS / 10)
        self._in_flight[adapter] += 1
        try:
            yield
        finally:
            self._in_flight[adapter] -= 1


class VllmServerEngine:
    """Servers behind URLs; one adapter is in force, the same on all."""

    name = "vllm-server"
    block_size: int | None = None

    def __init__(self, model: str, settings: EngineSettings, advice: str | None = None) -> None:
        """`advice` ends the message when a server stays away; none names the command that starts one."""
        if not settings.urls:
            raise ConfigError(
                "the engine vllm-server needs --engine_urls; `rlcode serve --model MODEL` starts a server"
            )
        if settings.sync != "adapter":
            raise ConfigError(
                "a server takes adapters alone; for merged weights choose --engine vllm, or export the policy "
                "(`rlcode export`) and serve that (`rlcode serve --model EXPORT`)"
            )
        weight_files(model)
        self.policy_version = 0
        self.tokenizer = tokenizer_of(model)
        self._base_model = model
        self._advice = advice or f"start it with `rlcode serve --model {model}` and run the same command again"
        self._wait_s = settings.server_wait_s
        self._policy = _Policy(0)
        self._versions: set[int] = {0}
        self._users: Counter[_Policy] = Counter()
        self._base_scores: list[list[float]] | None = None
        self._thread = _LoopThread()
        self._replicas = [_Replica(VllmServer(url, settings.server_timeout_s)) for url in settings.urls]
        self._closed = False
        try:
            self._thread.run(self._start())
        except BaseException:
            self.close()
            raise

    async def _start(self) -> None:
        self._changed = asyncio.Condition()
        await asyncio.gather(*map(self._up, self._replicas))
        self._room = connections_for(sum(replica.info.room for replica in self._replicas if replica.info))

    # --- adapters

    def load_adapter(self, version: int, path: Path) -> float | None:
        self._require_open()
        if version in self._versions or version < 1:
            raise InputError(f"policy version {version} can't be used (again); adapters count up from 1")
        config = check_adapter(path, self._base_model)
        policy = _Policy(version, _adapter_name(version, path), path.resolve())
        self._versions.add(version)
        gap = self._thread.run(self._load_everywhere(policy, config))
        self.policy_version = version
        return gap

    def adopt_adapter(self, version: int, path: Path) -> None:
        """Put an adapter in force that another client of these servers has just loaded there, and checked. It must be
        the very same files."""
        self._require_open()
        self._versions.add(version)
        self._policy = _Policy(version, _adapter_name(version, path), path.resolve(), adopted=True)
        self.policy_version = version

    async def _load_everywhere(self, policy: _Policy, config: dict[str, Any]) -> float | None:
        outcomes = await asyncio.gather(
            *(self._load_when_up(replica, policy, config) for replica in self._replicas), return_exceptions=True
        )
        errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        if errors:
            await self._unload_everywhere(policy)
            raise errors[0]
        before, self._policy = self._policy, policy
        await self._unload_unused(before)
        gaps = [outcome for outcome in outcomes if isinstance(outcome, float)]
        return max(gaps, default=None)

    async def _load_when_up(self, replica: _Replica, policy: _Policy, config: dict[str, Any]) -> float | None:
        for _ in range(_MOST_LOSSES):
            info = await self._up(replica)
            assert policy.path is not None
            require_servable(policy.path, config, info.max_lora_rank)
            try:
                return await self._load(replica, info, policy)
            except ServerLost as error:
                self._lose(replica, error)
        raise EngineError(f"{replica.server.url} was lost {_MOST_LOSSES} times while it loaded {policy.path}")

    async def _load(self, replica: _Replica, info: ServerInfo, policy: _Policy) -> float | None:
        """Have the server hold the policy and compute what its trainer did."""
        assert policy.path is not None
        assert policy.name is not None
        server = replica.server
        loaded = LoadedPolicy(policy.version, policy.path, f"the vLLM server {server.url}", info.dtype)
        sequences = loaded.sequences(self.tokenizer)
        base = await self._scores_of_base(replica, info, sequences)
        if policy.name not in await server.adapters():
            await server.load_adapter(policy.name, policy.path)
        try:
            return loaded.check(await self._ask_scores(replica, policy.name, info, sequences), base)
        except PolicyMismatchError:
            await server.unload_adapter(policy.name)
            raise

    async def _scores_of_base(self, replica: _Replica, info: ServerInfo, sequences: Sequences) -> list[list[float]]:
        """Asked once: another client may have requests with an adapter in flight later, see `_Replica.slot`."""
        if sequences not in replica.base_scores:
            replica.base_scores[sequences] = await self._ask_scores(replica, None, info, sequences)
        return replica.base_scores[sequences]

    async def _unload_unused(self, policy: _Policy) -> None:
        if policy is not self._policy and not self._users[policy]:
            del self._users[policy]
            await self._unload_everywhere(policy)

    async def _unload_everywhere(self, policy: _Policy) -> None:
        for replica in self._replicas:
            if policy.name is not None and not policy.adopted and replica.ready:
                try:
                    await replica.server.unload_adapter(policy.name)
                except (ServerLost, RlcodeError) as error:  # it only takes room there
                    logger.warning("policy version %d stays on %s: %s", policy.version, replica.server.url, error)

    # --- servers that come and go

    async def _up(self, replica: _Replica) -> ServerInfo:
        """Wait until the server is ready.

        Raises:
            EngineError: it does not come (back) in time. RlcodeError: it came as one that can't be used.
        """
        if not replica.ready and replica.revival is None:
            replica.refusal, replica.revival = None, asyncio.create_task(self._revive(replica))
        if replica.revival is not None:
            await asyncio.shield(replica.revival)
        if replica.info is None:
            raise replica.refusal or EngineError(self._gone(replica))
        return replica.info

    def _gone(self, replica: _Replica) -> str:
        return (
            f"the vLLM server {replica.server.url} did not answer for {self._wait_s:g} s ({replica.trouble}); "
            f"{self._advice}"
        )

    def _lose(self, replica: _Replica, error: ServerLost) -> None:
        """Take the server out and begin to wait for it."""
        if replica.revival is not None:
            return
        logger.warning("lost the vLLM server %s, waiting up to %g s: %s", replica.server.url, self._wait_s, error)
        replica.info, replica.refusal, replica.trouble = None, None, str(error)
        replica.revival = asyncio.create_task(self._revive(replica))

    async def _revive(self, replica: _Replica) -> None:
        begun = time.monotonic()
        try:
            while time.monotonic() - begun < self._wait_s:
                try:
                    info = await self._prepare(replica)
                except ServerLost as error:
                    if not replica.trouble:
                        logger.warning("waiting up to %g s for %s: %s", self._wait_s, replica.server.url, error)
                    replica.trouble = str(error)
                    await asyncio.sleep(_POLL_SECONDS)
                else:
                    replica.info, replica.trouble = info, ""
                    return
            logger.warning(self._gone(replica))
        except RlcodeError as error:
            replica.refusal = error
        except Exception as error:  # noqa: BLE001 - an answer that we do not understand must not end the task in silence
            replica.refusal = EngineError(f"{replica.server.url} answers what we don't understand: {error!r}")
        finally:
            replica.revival = None
            async with self._changed:
                self._changed.notify_all()

    async def _prepare(self, replica: _Replica) -> ServerInfo:
        """Check a server that is new or came back, and give it the adapters in use."""
        server = replica.server
        info = await server.info()
        self._require_same_base(server, info)
        policies = {self._policy, *(policy for policy, users in self._users.items() if users)} - {_Policy(0)}
        if not any(policy.path is not None and read_record(policy.path) for policy in policies):
            await self._check_base(replica, info)  # else the check of the adapter tells, which has the base in it
        for policy in policies:
            await self._load(replica, info, policy)
        return info

    async def _check_base(self, replica: _Replica, info: ServerInfo) -> None:
        sequences = fixed_sequences(self.tokenizer)
        replica.base_scores.pop(sequences, None)  # of the server that was there before
        scores = await self._scores_of_base(replica, info, sequences)
        self._base_scores = self._base_scores or scores
        gap = mean_gap(scores, self._base_scores)
        if not gap <= tolerance_for(info.dtype):
            raise PolicyMismatchError(
                f"the base model of {replica.server.url} is not that of the other servers, or of itself before: their "
                f"log-probabilities are {gap:.4g} nats per token apart"
            )

    def _require_same_base(self, server: VllmServer, info: ServerInfo) -> None:
        mine, theirs = self._base_model, info.model
        if mine == theirs:
            return
        both_here = Path(mine).is_dir() and Path(theirs).is_dir()
        if not both_here or base_fingerprint(mine) != base_fingerprint(theirs):
            raise InputError(
                f"the server {server.url} serves the model {theirs}, not {mine}; start it with "
                f"`rlcode serve --model {mine}`, or name {theirs} as the model"
            )

    # --- completions

    def generate(self, requests: Iterable[GenerationRequest], params: SamplingParams) -> Iterator[Completion]:
        self._require_open()
        source = iter(requests)
        done: SimpleQueue[Future[Completion]] = SimpleQueue()
        flying: set[Future[Completion]] = set()
        try:
            while True:
                for request in islice(source, self._room - len(flying)):
                    future = self._thread.submit(self._complete(request, params, self._policy))
                    flying.add(future)
                    future.add_done_callback(done.put)
                if not flying:
                    return
                future = done.get()  # every request has its own bounds
                flying.remove(future)
                yield future.result()
        finally:
            for future in flying:
                future.cancel()

    async def _complete(self, request: GenerationRequest, params: SamplingParams, policy: _Policy) -> Completion:
        seed = request_seed(params.seed, request)
        self._users[policy] += 1
        try:
            choice = await self._ask(request, params, policy, seed)
        finally:
            self._users[policy] -= 1
            await self._unload_unused(policy)
        token_ids = tuple(choice["token_ids"])
        return Completion(
            task_id=request.task_id,
            index=request.index,
            text=decode(self.tokenizer, token_ids, params.stop),
            prompt_token_ids=request.prompt_token_ids,
            token_ids=token_ids,
            logprobs=tuple(choice["logprobs"]["token_logprobs"]),
            finish_reason=choice["finish_reason"],
            policy_version=policy.version,
            seed=seed,
        )

    async def _ask(
        self, request: GenerationRequest, params: SamplingParams, policy: _Policy, seed: int
    ) -> dict[str, Any]:
        for _ in range(_MOST_LOSSES):
            replica = await self._least_loaded()
            assert replica.info is not None
            name = policy.name or replica.info.served_name
            body = _body(request, params, name, seed, replica.info.max_model_length)
            try:
                async with replica.slot(adapter=policy.name is not None):
                    return await replica.server.complete(body)
            except ServerLost as error:
                lost = f"{replica.server.url}: {error}"
                self._lose(replica, error)
        raise EngineError(f"a request of task {request.task_id} lost its server {_MOST_LOSSES} times, at last {lost}")

    async def _least_loaded(self) -> _Replica:
        async with self._changed:
            while not (ready := [replica for replica in self._replicas if replica.ready]):
                self._require_hope()
                await self._changed.wait()  # a revival is under way, and its end is told
        refusal = next((replica.refusal for replica in self._replicas if replica.refusal), None)
        if refusal:
            raise refusal
        return min(ready, key=lambda replica: replica.in_flight)

    def _require_hope(self) -> None:
        for replica in self._replicas:
            if replica.refusal:
                raise replica.refusal
        if all(replica.revival is None for replica in self._replicas):
            raise EngineError("; ".join(map(self._gone, self._replicas)))

    def score(self, sequences: Sequence[Sequence[int]]) -> list[list[float]]:
        self._require_open()
        return self._thread.run(self._score(sequences, self._policy))

    async def _score(self, sequences: Sequence[Sequence[int]], policy: _Policy) -> list[list[float]]:
        for _ in range(_MOST_LOSSES):
            replica = await self._least_loaded()
            assert replica.info is not None
            try:
                return await self._ask_scores(replica, policy.name, replica.info, sequences)
            except ServerLost as error:
                self._lose(replica, error)
        raise EngineError(f"{_MOST_LOSSES} servers were lost while they scored {len(sequences)} sequences")

    @staticmethod
    async def _ask_scores(
        replica: _Replica, adapter: str | None, info: ServerInfo, sequences: Sequence[Sequence[int]]
    ) -> list[list[float]]:
        async with replica.slot(adapter=adapter is not None):
            return await replica.server.score(adapter or info.served_name, sequences)

    # --- end

    def _require_open(self) -> None:
        if self._closed:
            raise EngineError("the engine was closed")

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._thread.run(self._leave())
            self._thread.close()

    async def _leave(self) -> None:
        """Take our adapters back and hang up."""
        if self._policy.name is not None:
            await self._unload_everywhere(self._policy)
        for replica in self._replicas:
            if replica.revival is not None:
                replica.revival.cancel()
            await replica.server.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _body(
    request: GenerationRequest, params: SamplingParams, name: str, seed: int, max_model_length: int
) -> dict[str, Any]:
    room = max_model_length - len(request.prompt_token_ids)
    if room < 1:
        raise InputError(
            f"the prompt of task {request.task_id} has {len(request.prompt_token_ids)} tokens, the server takes "
            f"{max_model_length} with the completion; start it with a higher --max_model_length"
        )
    return {
        "model": name,
        "prompt": list(request.prompt_token_ids),
        "max_tokens": min(params.max_completion_length, room),
        "temperature": params.temperature,
        "top_p": params.top_p,
        "top_k": params.top_k,
        "seed": seed,
        "stop": list(params.stop),
        "ignore_eos": params.ignore_eos,
        "logprobs": 0,
        "return_token_ids": True,
        "return_tokens_as_token_ids": True,
        # whatever defaults the model's files give the server
        "min_p": 0,
        "repetition_penalty": 1,
        "presence_penalty": 0,
        "frequency_penalty": 0,
    }


def _adapter_name(version: int, adapter: Path) -> str:
    """On the servers: it stands for the content."""
    digest = hashlib.sha256()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        digest.update((adapter / name).read_bytes())
    return f"policy-v{version}-{digest.hexdigest()[:16]}"


class _LoopThread:
    """An asyncio loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="vllm-server", daemon=True)
        self._thread.start()

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.submit(work).result()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
