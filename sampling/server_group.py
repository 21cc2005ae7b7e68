"""The engine group of a machine: vLLM servers that a run starts for itself, one on each GPU, and that end with it.

They are what `rlcode serve` starts. `sampling.server_keeper` starts a server again that dies, and ends them all when
this process does, however that may come about.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from argparse import Namespace
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from rlcode.errors import ConfigError, EngineError
from sampling import server_keeper
from sampling.adapters import weight_files
from sampling.engine import EngineSettings
from sampling.serve import server_command
from sampling.server_engine import VllmServerEngine

_POLL_S = 0.3
_END_S = 30.0
_OF_A_LAUNCHER = ("TORCHELASTIC_", "ACCELERATE_", "ROLE_", "GROUP_")
_OF_A_PROCESS_GROUP = {"RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}


def gpus_of_this_machine() -> list[str]:
    """What `CUDA_VISIBLE_DEVICES` names one of the GPUs by that this process may use, for each of them."""
    import torch

    count = torch.cuda.device_count()  # `is_available` would start CUDA, after which no process can be forked
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",")[:count] if named else [str(number) for number in range(count)]


class ServerGroup:
    """Servers for `model`, up and with nothing loaded, at `urls`."""

    def __init__(self, model: str, settings: EngineSettings, logs: Path, gpus: Sequence[str]) -> None:
        """Start a server on each of `gpus`, or a single one on the CPU where there is none, and wait for all.

        Args:
            logs: the directory for `server-0.log` and so on, and for `keeper.log`; made where it is not there.
        Raises:
            ConfigError: servers can't take what `settings` asks for.
            EngineError: one does not come up within `server_wait_s`; the end of its log is in the message.
        """
        if settings.sync != "adapter":
            raise ConfigError(
                "with several training processes vLLM runs as servers, which take adapters alone; for "
                "--engine_sync merged train with one process, or choose --engine transformers"
            )
        weight_files(model)
        logs.mkdir(parents=True, exist_ok=True)
        ports = _free_ports(len(gpus) or 1)
        self.urls = tuple(f"http://127.0.0.1:{port}" for port in ports)
        self._logs = [logs / f"server-{place}.log" for place in range(len(ports))]
        places: list[str | None] = [*gpus] or [None]
        servers = [
            _description(model, settings, port, log, gpu)
            for port, log, gpu in zip(ports, self._logs, places, strict=True)
        ]
        self._keeper = _start_keeper({"parent": os.getpid(), "servers": servers}, logs / "keeper.log")
        with ExitStack() as stack:
            stack.callback(self.close)
            self._wait_until_up(settings.server_wait_s)
            stack.pop_all()

    def _wait_until_up(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        waiting = list(zip(self.urls, self._logs, strict=True))
        while waiting:
            if self._keeper.poll() is not None:
                raise EngineError(f"a vLLM server of this machine does not start:\n{self._last_words()}")
            if time.monotonic() > deadline:
                raise EngineError(
                    f"the vLLM server of {waiting[0][1]} was not up after {seconds:g} s; raise "
                    f"--engine_server_wait_s if it is only slow. The end of its log:\n{_tail(waiting[0][1])}"
                )
            waiting = [(url, log) for url, log in waiting if not _is_up(url)]
            time.sleep(_POLL_S if waiting else 0)

    def _last_words(self) -> str:
        return "\n".join(f"--- {log}\n{_tail(log)}" for log in self._logs)

    def close(self) -> None:
        """End the servers. Can be called twice."""
        self._keeper.send_signal(server_keeper.END)
        try:
            self._keeper.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._keeper.kill()  # and with it the servers
            self._keeper.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class GroupEngine(VllmServerEngine):
    """A client of the group of its machine; see `VllmServerEngine`. The first client loads and checks adapters, the
    others adopt them."""

    name = "vllm"

    def __init__(self, model: str, settings: EngineSettings, urls: tuple[str, ...], logs: Path) -> None:
        advice = f"its log is in {logs}, and why it was not started again; the same command goes on"
        super().__init__(model, replace(settings, urls=urls), advice)


class WholeGroupEngine(GroupEngine):
    """The only client of a group, which it starts on `gpus` and ends."""

    def __init__(self, model: str, settings: EngineSettings, gpus: Sequence[str], logs: Path) -> None:
        with ExitStack() as stack:
            self._group = stack.enter_context(ServerGroup(model, settings, logs, gpus))
            super().__init__(model, settings, self._group.urls, logs)
            stack.pop_all()

    def close(self) -> None:
        super().close()
        self._group.close()


def _description(model: str, settings: EngineSettings, port: int, log: Path, gpu: str | None) -> dict[str, Any]:
    """What the keeper needs to know of a server."""
    options = Namespace(
        model=model,
        host="127.0.0.1",
        port=port,
        max_lora_rank=settings.max_lora_rank,
        max_loras=1,
        max_model_length=settings.max_model_length,
        tensor_parallel_size=1,
        gpu_memory_utilization=settings.gpu_memory_utilization,
        dtype="auto",
    )
    command = server_command(options, on_gpu=gpu is not None)
    environment = {name: value for name, value in os.environ.items() if not _is_of_the_launch(name)}
    environment |= command.environment
    if gpu is not None:
        environment["CUDA_VISIBLE_DEVICES"] = gpu
    return {"arguments": command.arguments, "environment": environment, "log": str(log), "port": port}


def _is_of_the_launch(name: str) -> bool:
    """Whether an environment variable says which training process this is: a server is none."""
    return name in _OF_A_PROCESS_GROUP or name.startswith(_OF_A_LAUNCHER)


def _start_keeper(description: dict[str, Any], log: Path) -> subprocess.Popen[bytes]:
    with open(log, "ab") as file:
        keeper = subprocess.Popen(
            [sys.executable, "-P", server_keeper.__file__],
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=file,
            start_new_session=True,  # a Ctrl-C is for the run to deal with
        )
    assert keeper.stdin is not None
    with keeper.stdin as stdin:
        stdin.write(json.dumps(description).encode())
    return keeper


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:  # all open at once, so that no port comes twice
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _is_up(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:] if log.is_file() else "(it has no log)"
