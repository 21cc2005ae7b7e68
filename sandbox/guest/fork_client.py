"""The judge's hold on the fork server: starts it, hands it orders, and ends with it."""

from __future__ import annotations

import contextlib
import marshal
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import namespaces
from .boxes import UNSHARED, UP, Remains, unpack
from .seat import Seat
from .stops import SandboxBroken

START_LIMIT_S = 30.0
"""For the fork server to come up, and for a program to be cleared away."""
_PROGRAM_ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "PYTHONUTF8": "1",
    "PYTHONIOENCODING": "utf-8",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONHASHSEED": "0",  # the same program does the same thing each time
    "LD_BIND_NOW": "1",  # else each process looks up anew what the fork server has not called before
    **{f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB_MAXIMUM", "BLIS")},
}


@dataclass(frozen=True)
class Limits:
    """The limits of `rlcode.types.Limits`."""

    time_s: float
    memory_mb: int
    output_kb: int
    processes: int
    open_files: int
    disk_mb: int
    failures: int


class UserIds:
    """User ids for programs; none is given twice."""

    def __init__(self, first: int, count: int) -> None:
        self._next = first
        self._end = first + count
        self._reserve = min(count // 4, 512)

    def take(self) -> int:
        """Raises SandboxBroken when all were used."""
        if self._next >= self._end:
            raise SandboxBroken("all user ids of this worker are used up")
        self._next += 1
        return self._next - 1

    @property
    def are_low(self) -> bool:
        """Whether it is time to replace the worker, before it must stop in the middle of a problem."""
        return self._end - self._next <= self._reserve


class ForkServer:
    """Starts the fork server and has it run programs, one at a time."""

    def __init__(self, mode: str, ids: UserIds | None, host: int) -> None:
        """`host` is a descriptor that hangs up when the host process is gone.

        Raises:
            SandboxBroken: the fork server does not come up.
        """
        self._ids = ids
        self._disk_mb = namespaces.DISK_MB
        self._seat = Seat()
        self.host = host
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.settimeout(START_LIMIT_S)
        root = Path(__file__).resolve().parents[len(str(__package__).split("."))]
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-s", "-m", f"{__package__}.fork_server", mode, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                cwd="/",
                env={**_PROGRAM_ENVIRONMENT, "PYTHONPATH": str(root)},
            )
        if mode == "userns":
            self._expect(UNSHARED)
            namespaces.map_ids(self._process.pid)
            self._tell({"mapped": True})
        self._expect(UP)
        self.generations = 3 if mode == "userns" else 1
        """Of its processes: launcher, keeper and server of one namespace, or one alone. Programs are below them."""
        self._out_of_memory = _OutOfMemory(mode)

    @property
    def is_worn(self) -> bool:
        """Whether the worker should be replaced soon."""
        return self._ids is not None and self._ids.are_low

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def control(self) -> socket.socket:
        return self._control

    def start(self, limits: Limits, fds: list[int]) -> None:
        """Have a process made for a program, which then waits for its source.

        `fds` are the process's end of its link, its stdin, stdout and stderr.
        """
        uid = self._ids.take() if self._ids else None
        self.ran_out_of_memory()  # what happened before is not this program's
        if self._ids is None and limits.disk_mb != self._disk_mb:  # a container has the one that it was made with
            self._disk_mb = limits.disk_mb
            self._tell({"disk_mb": limits.disk_mb})
        self._tell({"run": {"limits": vars(limits), "uid": uid, "core": self._seat.core()}}, fds)

    def end(self) -> None:
        """Tell the server to kill the program."""
        self._tell({"end": True})

    def ended(self) -> tuple[Remains, bool]:
        """Wait until the program is cleared away; with whether it had to be killed."""
        return unpack(self._receive("how a program ended"))

    def ran_out_of_memory(self) -> bool:
        """Whether the kernel killed something for want of memory since the last time."""
        return self._out_of_memory.has_happened()

    def _tell(self, message: dict[str, Any], fds: list[int] | None = None) -> None:
        try:
            socket.send_fds(self._control, [marshal.dumps(message)], fds or [])
        except OSError as error:
            raise SandboxBroken(f"the fork server is gone: {error}") from error

    def _expect(self, word: bytes) -> None:
        said = self._receive(repr(word))
        if said != word:
            raise SandboxBroken(f"the fork server said {said[:200]!r} instead of {word!r}")

    def _receive(self, what: str) -> bytes:
        try:
            data = self._control.recv(1 << 16)
        except OSError as error:
            raise SandboxBroken(f"the fork server did not say {what}: {error}") from error
        if not data:
            raise SandboxBroken(f"the fork server ended before it said {what}")
        return data


class _OutOfMemory:
    """Reads the count of kills for want of memory of this container."""

    def __init__(self, mode: str) -> None:
        self._file: int | None = None
        paths = ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")
        for path in paths if mode == "container" else ():
            with contextlib.suppress(OSError):  # the other version of control groups, or none
                self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._seen = self._count()

    def has_happened(self) -> bool:
        before, self._seen = self._seen, self._count()
        return self._seen > before

    def _count(self) -> int:
        if self._file is None:
            return 0
        words = os.pread(self._file, 4096, 0).decode().split()
        return int(words[words.index("oom_kill") + 1]) if "oom_kill" in words else 0
