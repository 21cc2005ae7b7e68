"""The judge's hold on the fork server, and on the one program that runs at a time."""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import channel, namespaces
from .boxes import Remains
from .classify import CRASH, FORBIDDEN, MEMORY, NO_RESULT, OUTPUT, TIMEOUT, Failure, of_exit
from .clock import Clock, descendants
from .stops import SandboxBroken, Stopped

START_LIMIT_S = 30.0
"""For the fork server to come up, for a new process to say hello, and for a program to be cleared away."""
MAX_RECEIVED = 64 << 20
"""Bytes that one program may send to the judge in all."""
_PROGRAM_ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "PYTHONUTF8": "1",
    "PYTHONIOENCODING": "utf-8",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONHASHSEED": "0",  # the same program does the same thing each time
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
            self._expect("unshared")
            namespaces.map_ids(self._process.pid)
            self._tell({"mapped": True})
        self._expect("up")
        self.servers = frozenset(descendants(self._process.pid))
        """What it consists of beside its first process; no program runs yet."""
        self._out_of_memory = _OutOfMemory(mode)

    def run(self, limits: Limits, stdin: bytes) -> Execution:
        """Start a program's process, which then waits for its source.

        Raises:
            SandboxBroken: the process could not be made ready.
        """
        uid = self._ids.take() if self._ids else None
        self.ran_out_of_memory()  # what happened before is not this program's
        return Execution(self, limits, uid, stdin)

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

    def start(self, order: dict[str, Any], fds: list[int]) -> None:
        """Tell the server to fork, and hand over the descriptors."""
        self._tell({"run": order}, fds)

    def end(self) -> None:
        """Tell the server to kill the program."""
        self._tell({"end": True})

    def ended(self) -> tuple[Remains, bool]:
        """Wait until the program is cleared away; with whether it had to be killed."""
        report = self._expect("ended")
        killed = report.pop("killed")
        return Remains(**report), killed

    def ran_out_of_memory(self) -> bool:
        """Whether the kernel killed something for want of memory since the last time."""
        return self._out_of_memory.has_happened()

    def _tell(self, message: dict[str, Any], fds: list[int] | None = None) -> None:
        try:
            socket.send_fds(self._control, [json.dumps(message).encode()], fds or [])
        except OSError as error:
            raise SandboxBroken(f"the fork server is gone: {error}") from error

    def _expect(self, key: str) -> Any:
        try:
            data = self._control.recv(1 << 16)
        except OSError as error:
            raise SandboxBroken(f"the fork server did not say {key!r}: {error}") from error
        if not data:
            raise SandboxBroken(f"the fork server ended before it said {key!r}")
        message = json.loads(data)
        if key not in message:
            raise SandboxBroken(f"the fork server said {str(message)[:200]} instead of {key!r}")
        return message[key]


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


class Execution:
    """One program's process: messages to it and from it within its time, and its end."""

    def __init__(self, server: ForkServer, limits: Limits, uid: int | None, stdin: bytes) -> None:
        self._server = server
        self._limits = limits
        self._received = 0
        self._end: tuple[Remains, bool] | None = None
        self._link, theirs = socket.socketpair()
        self._out, self._err, given = (os.memfd_create(name) for name in ("stdout", "stderr", "stdin"))
        _write_all(given, stdin)
        os.lseek(given, 0, os.SEEK_SET)
        with theirs:
            server.start({**vars(limits), "uid": uid}, [theirs.fileno(), given, self._out, self._err])
        os.close(given)
        self._link.setblocking(False)
        self._reading = self._poll(self._link, select.POLLIN)
        self._clock = Clock(START_LIMIT_S, server.pid, server.servers)
        self._say_hello()
        self._clock = Clock(limits.time_s, server.pid, server.servers)

    def send(self, body: bytes) -> None:
        """Send a message to the program.

        Raises:
            Stopped: the program ended, or did not read in time.
        """
        data = memoryview(channel.frame(body))
        while data:
            try:
                data = data[self._link.send(data) :]
            except BlockingIOError:
                self._wait(self._poll(self._link, select.POLLOUT))
            except OSError:  # it closed its end
                raise self._hung_up() from None

    def receive(self) -> bytes:
        """The next message of the program.

        Raises:
            Stopped: the program ended, its time is up, or what it sends is no message.
        """
        size = channel.body_size(self._exactly(channel.HEADER_SIZE))
        if size > channel.MAX_REPLY:
            raise Stopped(Failure(FORBIDDEN, f"the program announced a message of {size} bytes"))
        self._received += size
        if self._received > MAX_RECEIVED:
            raise Stopped(Failure(OUTPUT, f"the program returned values of more than {MAX_RECEIVED >> 20} MiB"))
        return self._exactly(size)

    def wait_for_exit(self) -> Stopped:
        """Wait until the program has ended, or its time is up; which of these it was."""
        waiting = self._poll()
        try:
            while self._end is None:
                self._wait(waiting)
        except Stopped as stopped:
            return stopped
        status = self._end[0].status
        return Stopped(of_exit(status), finished=status == 0)

    def close(self) -> Remains:
        """Kill the program if need be, and wait until nothing of it is left. Can be called twice.

        Raises:
            SandboxBroken: that did not come about.
        """
        if self._end is None:
            self._server.end()
            self._end = self._server.ended()
        self._link.close()
        return self._end[0]

    def take_stdout(self) -> bytes:
        """What the program wrote to stdout. Only after `close`, and only once."""
        written = _drain(self._out)
        os.close(self._out)
        os.close(self._err)
        return written

    def consumed_s(self) -> float:
        """Time that the program took. Only after `close`."""
        return self._clock.consumed_s(self.close().cpu_s)

    def over_limits(self) -> Failure | None:
        """Limits that show only at the end. Only after `close`."""
        cpu_s = self.close().cpu_s
        if self.output_size() > self._limits.output_kb << 10:
            return Failure(OUTPUT, f"the program wrote more than {self._limits.output_kb} KiB")
        if cpu_s > self._limits.time_s:
            return Failure(TIMEOUT, f"the program took {cpu_s:.1f} s of processor time")
        return None

    def output_size(self) -> int:
        return os.fstat(self._out).st_size + os.fstat(self._err).st_size

    def true_cause(self, failure: Failure) -> Failure:
        """A program that waits for a child, or is gone, because the kernel had to make room failed for want of
        memory. Only after `close`, and only once."""
        if failure.error_type in (CRASH, NO_RESULT, TIMEOUT) and self._server.ran_out_of_memory():
            return Failure(MEMORY, f"memory ran out: {failure.detail}")
        return failure

    def _say_hello(self) -> None:
        try:
            self.receive()
        except Stopped as stopped:
            self.close()
            said = _drain(self._err).decode(errors="replace")[-1000:]
            raise SandboxBroken(f"a process for a program did not come up: {stopped} {said}") from None

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            self._wait(self._reading)
            try:
                part = self._link.recv(min(size - len(data), 1 << 20))
            except BlockingIOError:  # it was the fork server that spoke: the program has ended
                raise self._hung_up() from None
            except OSError:
                part = b""
            if not part:
                raise self._hung_up()
            data = data + part if data else part
        return data

    def _poll(self, link: socket.socket | None = None, events: int = 0) -> select.poll:
        """Waits for the fork server and for the host to hang up, and for the link if that is given."""
        poll = select.poll()
        poll.register(self._server.control, select.POLLIN)
        poll.register(self._server.host, 0)
        if link is not None:
            poll.register(link, events)
        return poll

    def _wait(self, poll: select.poll) -> None:
        """Until something is to be had, or the fork server says that the program has ended."""
        while True:
            started = time.monotonic()
            ready = [fd for fd, _ in poll.poll(math.ceil(self._clock.step_s * 1000))]
            self._clock.waited_s += time.monotonic() - started
            if self._server.host in ready:
                raise SandboxBroken("the host is gone")
            if self._end is None and self._server.control.fileno() in ready:
                self._end = self._server.ended()
            if self._clock.is_over():  # also where there is an answer: many short waits are a long one
                raise Stopped(Failure(TIMEOUT, f"no answer within {self._limits.time_s:g} s"))
            if ready:
                return

    def _hung_up(self) -> Stopped:
        """What became of a program whose end of the link is closed."""
        stopped = self.wait_for_exit()
        if self._end is None:  # it goes on
            return Stopped(Failure(FORBIDDEN, f"the program closed its link to the judge; then {stopped}"))
        return stopped


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _drain(fd: int) -> bytes:
    return os.pread(fd, os.fstat(fd).st_size, 0)
