"""One vLLM server behind a URL: what we ask of it, and what its answers mean."""

from __future__ import annotations

import asyncio
import os
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import httpx

from rlcode.errors import EngineError, InputError
from sampling.vllm_settings import OR_MERGED

_CONNECT_SECONDS = 10.0
_MOST_IN_FLIGHT = 512
_CLIENTS = 32
_OTHER_FILES = 256  # that this process may have open
_KEEP_SECONDS = 2.0  # of an idle connection: vLLM ends it after five, and then the next request is lost
_DEAD = (502, 503, 504)


class ServerLost(Exception):  # noqa: N818 - what happened, not what to tell the user
    """The server does not answer, or answers like one that was started anew. What was asked may be asked again."""


@dataclass(frozen=True)
class ServerInfo:
    """How a server was started."""

    model: str
    """Base model, as the server was told it."""
    served_name: str
    dtype: str
    max_model_length: int
    max_lora_rank: int
    room: int
    """Requests that it may have in flight: as many again as it decodes at once, so that it need not wait for us."""


class VllmServer:
    """Talks to one server; every wait is bounded by `timeout_s`."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self.url = url.rstrip("/").removesuffix("/v1")
        self._clients = cycle(_clients(self.url, timeout_s))

    async def info(self) -> ServerInfo:
        """How the server was started, once it is up.

        Raises:
            ServerLost: it is not up.
            InputError: it can't serve a policy that changes; the message names the command that starts one that can.
        """
        await self._call("GET", "/health")
        models = await self._models()
        answer = await self._call("GET", "/server_info", params={"config_format": "json"})
        if answer.status_code == 404:
            raise self._wrong_start("without VLLM_SERVER_DEV_MODE=1, so its prefix cache can't be reset")
        config = answer.json()["vllm_config"]
        if config.get("lora_config") is None:
            raise self._wrong_start("without --enable-lora, so it can't take adapters")
        if config["model_config"].get("logprobs_mode") != "processed_logprobs":
            raise self._wrong_start("without --logprobs-mode processed_logprobs, so its log-probabilities are not ours")
        base = next(model for model in models if model.get("parent") is None)
        return ServerInfo(
            model=config["model_config"]["model"],
            served_name=base["id"],
            dtype=str(config["model_config"]["dtype"]).removeprefix("torch."),
            max_model_length=int(base["max_model_len"]),
            max_lora_rank=int(config["lora_config"]["max_lora_rank"]),
            room=min(2 * int(config["scheduler_config"]["max_num_seqs"]), _MOST_IN_FLIGHT),
        )

    async def adapters(self) -> set[str]:
        """Names of the adapters that it has."""
        return {str(model["id"]) for model in await self._models() if model.get("parent") is not None}

    async def _models(self) -> list[dict[str, Any]]:
        answer = await self._call("GET", "/v1/models")
        if answer.status_code != 200:
            raise InputError(f"{self.url} is no OpenAI-style server: /v1/models gives {answer.status_code}")
        return list(answer.json()["data"])

    async def load_adapter(self, name: str, path: Path) -> None:
        """Load the adapter and drop the prefix cache.

        Raises:
            ServerLost: it went away. InputError, EngineError: it refuses; the message says why.
        """
        body = {"lora_name": name, "lora_path": str(path)}
        answer = await self._call("POST", "/v1/load_lora_adapter", json=body)
        if answer.status_code != 200:
            self._refused(path, _message(answer), answer.status_code)
        reset = await self._call("POST", "/reset_prefix_cache")
        if reset.status_code != 200:
            raise EngineError(f"{self.url} does not reset its prefix cache: {_message(reset)}")

    def _refused(self, path: Path, message: str, status: int) -> None:
        if "already been loaded" in message:  # by another process of this run: the name stands for the content
            return
        if "No adapter found" in message:
            raise InputError(f"{self.url} does not find the adapter {path}: it must see the files of this machine")
        if status == 404:
            raise self._wrong_start("without VLLM_ALLOW_RUNTIME_LORA_UPDATING=1, so it takes no adapters while it runs")
        raise InputError(f"{self.url} can't serve the adapter {path}: {message}; {OR_MERGED} in another engine")

    async def unload_adapter(self, name: str) -> None:
        """Forget the adapter; it is no error if the server does not have it."""
        answer = await self._call("POST", "/v1/unload_lora_adapter", json={"lora_name": name})
        if answer.status_code not in (200, 404):
            raise EngineError(f"{self.url} does not unload the adapter {name}: {_message(answer)}")

    async def complete(self, body: dict[str, Any]) -> dict[str, Any]:
        """The one choice of a completion request.

        Raises:
            ServerLost: the server, or the adapter that the request names, is gone.
            InputError: it does not take the request.
        """
        answer = await self._call("POST", "/v1/completions", json=body)
        if answer.status_code == 200:
            choice: dict[str, Any] = answer.json()["choices"][0]
            if choice["finish_reason"] in ("stop", "length"):
                return choice
            raise ServerLost(f"it ended a completion by {choice['finish_reason']!r}")
        if answer.status_code == 404 or answer.status_code >= 500:
            raise ServerLost(_message(answer))  # an unknown adapter: it was started anew
        raise InputError(f"{self.url} refuses a request: {_message(answer)}")

    async def score(self, name: str, sequences: Sequence[Sequence[int]]) -> list[list[float]]:
        """The log-probability of every token but the first of each sequence, under the policy `name`."""
        return list(await asyncio.gather(*[self._score(name, list(sequence)) for sequence in sequences]))

    async def _score(self, name: str, sequence: list[int]) -> list[float]:
        body = {"model": name, "prompt": sequence, "max_tokens": 1, "temperature": 0, "prompt_logprobs": 0}
        positions = (await self.complete(body))["prompt_logprobs"]
        return [position[str(token)]["logprob"] for token, position in zip(sequence[1:], positions[1:], strict=True)]

    async def _call(self, method: str, path: str, **options: Any) -> httpx.Response:
        begun = time.monotonic()
        try:
            answer = await next(self._clients).request(method, path, **options)
        except httpx.HTTPError as error:
            waited = time.monotonic() - begun
            raise ServerLost(f"{type(error).__name__} on {path} after {waited:.0f} s {error}".strip()) from error
        if answer.status_code in _DEAD:
            raise ServerLost(f"{path} gives {answer.status_code}")
        return answer

    def _wrong_start(self, how: str) -> InputError:
        return InputError(
            f"the server {self.url} was started {how}; start it with "
            f"`rlcode serve --model MODEL --port {httpx.URL(self.url).port or 80}`"
        )

    async def close(self) -> None:
        for client in islice(self._clients, _CLIENTS):
            await client.aclose()


def connections_for(wanted: int) -> int:
    """How many of so many connections this process may hold. Its limit of open files, which is often 1,024, is raised
    for them as far as it can be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted + _OTHER_FILES:
        return wanted
    most = wanted + _OTHER_FILES if hard == resource.RLIM_INFINITY else min(wanted + _OTHER_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return max(most - _OTHER_FILES, 1)


def _clients(url: str, timeout_s: float) -> list[httpx.AsyncClient]:
    """Several, to be used in turn: for each request a client looks at all of its connections, so that hundreds on one
    would keep us busier than the server."""
    key = os.environ.get("VLLM_API_KEY")
    context = httpx.create_ssl_context()
    return [
        httpx.AsyncClient(
            base_url=url,
            verify=context,
            timeout=httpx.Timeout(timeout_s, connect=min(_CONNECT_SECONDS, timeout_s)),
            limits=httpx.Limits(max_keepalive_connections=_MOST_IN_FLIGHT, keepalive_expiry=_KEEP_SECONDS),
            headers={"Authorization": f"Bearer {key}"} if key else None,
            trust_env=False,  # the servers of a run are not behind a proxy
        )
        for _ in range(_CLIENTS)
    ]


def _message(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"{answer.status_code} {answer.text[:200]}"
