"""Keeps the vLLM servers of a run going, and ends them with it: a process of its own, so that they end however the run
does.

Launched by its path with a JSON description on stdin (`sampling.server_group` writes it); the standard library alone.
A server that dies is started again, a bounded number of times; one that never came up ends all at once. The exit code
is 1 where a server is given up. `keeper.log` of the group says what happened.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from typing import Any

MOST_RESTARTS = 5
"""Of one server."""
END = signal.SIGUSR1
"""Ends it. SIGTERM is no affair of its own: a batch system sends it to every process of a run, which then finishes its
step with the servers."""
LOOK_S = 0.3
GRACE_S = 5.0
"""Between the request to end and the end."""
_SET_DEATH_SIGNAL, _SET_SUBREAPER = 1, 36  # of prctl(2)

_libc = ctypes.CDLL(None)


class Server:
    """One server: a session of its own, which is killed as a whole."""

    def __init__(self, arguments: list[str], environment: dict[str, str], log: str, port: int) -> None:
        self.log = log
        self.restarts = -1
        self._arguments, self._environment, self._port = arguments, environment, port
        self._was_up = False
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.restarts += 1
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(
                self._arguments,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )

    def look(self) -> str | None:
        """Why the server is given up; None while it is not."""
        assert self._process is not None
        code = self._process.poll()
        if code is None:
            self._was_up = self._was_up or _answers(self._port)
            return None
        self.end()
        if not self._was_up:
            return f"it ended with {code} before it was up"
        if self.restarts >= MOST_RESTARTS:
            return f"it ended {MOST_RESTARTS + 1} times, at last with {code}"
        _say(f"the server of {self.log} ended with {code}; it is started again")
        self.start()
        return None

    def ask_to_end(self) -> None:
        if self._process is not None:
            _signal_session(self._process.pid, signal.SIGTERM)

    def end(self) -> None:
        """Kill whatever is left of it. Its number is not given again while there is a process of its session."""
        if self._process is not None:
            _signal_session(self._process.pid, signal.SIGKILL)
            self._process.wait()

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None


def keep(servers: list[Server], parent: int) -> int:
    """Keep the servers going as long as `parent` lives; returns the exit code."""
    while os.getppid() == parent:
        for server in servers:
            reason = server.look()
            if reason is not None:
                _say(f"the server of {server.log} is given up: {reason}")
                return 1
        time.sleep(LOOK_S)
    return 0


def end_all(servers: list[Server]) -> None:
    for server in servers:
        server.ask_to_end()
    deadline = time.monotonic() + GRACE_S
    while any(server.is_running for server in servers) and time.monotonic() < deadline:
        time.sleep(LOOK_S / 3)
    for server in servers:
        server.end()


def _signal_session(leader: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(leader, number)


def _die_with_parent() -> None:
    _libc.prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)


def _answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _leave(number: int, frame: Any) -> None:
    raise SystemExit(0)


def main() -> int:
    description = json.load(sys.stdin)
    _libc.prctl(_SET_SUBREAPER, 1)
    servers = [Server(**server) for server in description["servers"]]
    for number in (signal.SIGINT, signal.SIGTERM):  # the run decides
        signal.signal(number, signal.SIG_IGN)
    signal.signal(END, _leave)
    try:
        for server in servers:
            server.start()
        return keep(servers, description["parent"])
    finally:
        signal.signal(END, signal.SIG_IGN)
        end_all(servers)


if __name__ == "__main__":
    sys.exit(main())
