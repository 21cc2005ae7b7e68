"""vLLM servers as `rlcode serve` starts them, to be asked, killed and started again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

_STARTS_WITHIN_S = 240


class Server:
    """One server for `model` on a free port; `options` of `rlcode serve`, `environment` over what it sets."""

    def __init__(self, model: Path, log: Path, *options: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = log
        self._options = ("--model", str(model), "--port", str(self.port), "--max_model_length", "128", *options)
        self._process: subprocess.Popen | None = None
        self.begin()

    def begin(self) -> None:
        command = [sys.executable, "-m", "rlcode.cli", "serve", *self._options]
        with open(self._log, "ab") as log:
            environment = {**os.environ, "OMP_WAIT_POLICY": "passive"}
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)

    def wait(self) -> Server:
        """Until it answers."""
        assert self._process is not None
        deadline = time.monotonic() + _STARTS_WITHIN_S
        while time.monotonic() < deadline:
            assert self._process.poll() is None, self._log.read_text()[-3000:]
            try:
                if httpx.get(f"{self.url}/health", trust_env=False).status_code == 200:
                    return self
            except httpx.TransportError:
                time.sleep(0.3)
        raise AssertionError(self._log.read_text()[-3000:])

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """It takes connections and answers nothing, as one that is stuck does."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self._process.pid, signal.SIGCONT)

    def kill(self) -> None:
        """End it at once, its core too, as a lost machine does."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
