"""The fork server: a warm interpreter that makes a process for each program and clears up after it.

It never sees a test, a source or a result: only limits and file descriptors, which it hands to the new process.
Started by the judge, as `python -m <package>.fork_server MODE FD` where FD is its socket.

    judge → fork server   {"run": {"limits", "uid", "core"}} with the descriptors: link, stdin, stdout, stderr
                          {"end": true}            the judge has had enough; not needed where the program ended
                          {"disk_mb": n}           MiB of the work folder from now on; only without a container
    fork server → judge   what `boxes.pack` makes of the end of a program

What can be done once is done before the fork: a new process has but its own limits to set and its rights to give up.
Nor does the fork server do more than it must from one fork to the next: each page of memory that it writes to has to be
copied. So orders are in the form of `marshal`, which is read without a line of Python.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` names each number: much work for a process that is new
import contextlib
import fcntl
import gc
import importlib
import json
import marshal
import math
import os
import random
import resource
import select
import signal
import socket
import struct
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from . import candidate, immortal, kernel, namespaces, seccomp
from .boxes import UNSHARED, UP, Box, ContainerBox, NamespaceBox, pack

CANDIDATE_FD = 3
_PLACES = (CANDIDATE_FD, 0, 1, 2)
_FDS = struct.Struct(f"@{len(_PLACES)}i")
_SPACE_FOR_FDS = socket.CMSG_LEN(_FDS.size)
MAX_MESSAGE = 1 << 16
_MOST_FILES = 256
_CPU_SLACK_S = 2
_GARBAGE_THRESHOLD = 10_000
"""New objects before the collector looks for cycles: short programs do without it, long ones hardly notice."""
_WORN = 3
"""Exit code of a fork server that is to be replaced by a fresh one."""
# What programs import most; each is loaded once instead of in every program. The rest would cost each fork more than
# the few programs that use it gain.
_WARM = (  # noqa: SIM905
    "abc array base64 bisect cmath collections collections.abc contextlib copy datetime decimal enum "
    "fractions functools heapq io itertools json math numbers operator os random re statistics string struct "
    "textwrap threading time types typing unicodedata"
).split()


_Limits = list[tuple[int, tuple[int, int]]]
"""What to hand to `resource.setrlimit`, one call after the other."""


class ForkServer:
    """Runs one program after another, in the way that `box` knows."""

    def __init__(self, control: socket.socket, box: Box) -> None:
        self._control = control
        self._box = box
        self._link = candidate.Link(CANDIDATE_FD)  # what is made before the fork is not made for each program
        null = os.open(os.devnull, os.O_RDWR)
        self._own = (null, null, null, os.dup(2))
        self._core = -1
        self._wanted: dict[str, Any] = {}
        self._bounds: _Limits = []
        self._waiting = select.poll()
        self._waiting.register(control, select.POLLIN)

    def serve(self) -> int | None:
        """Until the work folder must be replaced; the MiB that the new one is to hold, None for as many as now.

        Raises:
            EOFError: the judge is gone.
        """
        while not self._box.is_worn:
            message, fds = _receive(self._control)
            if "disk_mb" in message:
                return int(message["disk_mb"])
            if "run" in message:  # the judge may have said `end` of a program that ended meanwhile
                self._run(message["run"], fds)
        return None

    def _run(self, order: dict[str, Any], fds: Sequence[int]) -> None:
        limits = self._limits_for(order["limits"])
        _place(fds)
        for fd in fds:
            os.close(fd)
        if order["core"] != self._core:
            self._core = order["core"]
            os.sched_setaffinity(0, {self._core})
        random.seed()  # no program is to repeat another's dice
        self._box.open(order)
        pid = kernel.fork()
        if pid == 0:
            self._become_candidate(limits)
        self._box.forked()
        _place(self._own)
        killed = self._wait(pid)
        self._control.send(pack(self._box.close(pid), killed))

    def _limits_for(self, wanted: dict[str, Any]) -> _Limits:
        if wanted != self._wanted:
            self._wanted, self._bounds = wanted, _limits(wanted, self._box.extra_processes)
        return self._bounds

    def _wait(self, pid: int) -> bool:
        """Until the program ended (False) or the judge says so (True)."""
        pidfd = os.pidfd_open(pid)
        try:
            self._waiting.register(pidfd, select.POLLIN)
            ready = [fd for fd, _ in self._waiting.poll()]
            self._waiting.unregister(pidfd)
        finally:
            os.close(pidfd)
        if pidfd in ready:
            return False
        _receive(self._control)
        return True

    def _become_candidate(self, limits: _Limits) -> NoReturn:
        try:
            os.setsid()
            _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
            self._box.enter()
            os.closerange(CANDIDATE_FD + 1, _MOST_FILES)
            for limit, bounds in limits:
                resource.setrlimit(limit, bounds)
            gc.enable()
            candidate.run(self._link)
        except BaseException:  # whatever it was: this process must never go on as a fork server
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(1)


def _receive(control: socket.socket) -> tuple[dict[str, Any], Sequence[int]]:
    data, passed, _, _ = control.recvmsg(MAX_MESSAGE, _SPACE_FOR_FDS)
    if not data:
        raise EOFError("the judge is gone")
    return marshal.loads(data), _FDS.unpack(passed[0][2]) if passed else ()


def _place(fds: Sequence[int]) -> None:
    """Copy a program's four descriptors to where it expects them."""
    for fd, number in zip(fds, _PLACES, strict=True):
        os.dup2(fd, number)


def _limits(wanted: dict[str, Any], extra_processes: int) -> _Limits:
    seconds = math.ceil(wanted["time_s"]) + _CPU_SLACK_S  # the judge's clock is exact; this is for when it is late
    return [
        _bounded(resource.RLIMIT_AS, wanted["memory_mb"] << 20),
        _bounded(resource.RLIMIT_FSIZE, (wanted["output_kb"] << 10) + 1),  # one byte over it shows that it was met
        _bounded(resource.RLIMIT_NPROC, wanted["processes"] + extra_processes),
        _bounded(resource.RLIMIT_NOFILE, wanted["open_files"]),
        _bounded(resource.RLIMIT_CPU, seconds, spare=1),  # the first sends SIGXCPU, which tells, the second SIGKILL
    ]


def _bounded(limit: int, most: int, spare: int = 0) -> tuple[int, tuple[int, int]]:
    """What to set `limit` to, within the bounds that this process has itself."""
    _, hard = resource.getrlimit(limit)
    if hard == resource.RLIM_INFINITY or hard > most + spare:
        hard = most + spare
    return limit, (min(most, hard), hard)


def _lower(limit: int, most: int) -> None:
    resource.setrlimit(*_bounded(limit, most))


def _die_with_parent() -> None:
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)


def _enter_namespaces(control: socket.socket) -> None:
    """Become the first process of a PID namespace within new namespaces; the process that was stays as its parent."""
    namespaces.unshare()
    control.send(UNSHARED)
    _receive(control)  # the judge has mapped our ids
    namespaces.enter()
    _die_with_parent()  # the change of ids undid it
    pid = os.fork()
    if pid:
        control.close()
        os.waitpid(pid, 0)
        os._exit(0)
    _die_with_parent()


def _stay_behind() -> int:
    """Return in a child that may give its rights up; whenever it ends since it is worn, this process replaces the work
    folder and makes the next child. To the descriptor returned the child writes what `ForkServer.serve` gives."""
    disk_mb = namespaces.DISK_MB
    wanted, want = os.pipe()
    while True:
        pid = os.fork()
        if pid == 0:
            _die_with_parent()
            return want
        _, status = os.waitpid(pid, 0)
        if os.waitstatus_to_exitcode(status) != _WORN:
            os._exit(0)
        disk_mb = json.loads(os.read(wanted, MAX_MESSAGE)) or disk_mb
        namespaces.renew_work(disk_mb)


def _make_ready() -> None:
    """Load what programs will want, and forget where we came from."""
    for name in _WARM:
        importlib.import_module(name)
    own = {"", os.getcwd(), *os.environ.pop("PYTHONPATH", "").split(os.pathsep)}
    sys.path[:] = [path for path in sys.path if path not in own]
    os.environ.pop("LD_BIND_NOW", None)  # it was for this process
    sys.argv[:] = ["program.py"]
    _lower(resource.RLIMIT_NOFILE, _MOST_FILES)
    for limit in (resource.RLIMIT_CORE, resource.RLIMIT_MEMLOCK, resource.RLIMIT_MSGQUEUE):
        _lower(limit, 0)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, (signal.SIGINT,))  # see `kernel.NamespaceInit`
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGHUP, signal.SIGQUIT):  # `nohup` and a shell's background jobs leave them ignored
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # too much output is to end a program, not to raise in it
    os.environ["HOME"] = os.environ["TMPDIR"] = namespaces.WORK
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)


def main() -> None:
    """Serve until the judge is gone."""
    mode, fd = sys.argv[1:]
    _die_with_parent()
    control = socket.socket(fileno=fcntl.fcntl(int(fd), fcntl.F_DUPFD_CLOEXEC, CANDIDATE_FD + 1))
    os.dup2(0, CANDIDATE_FD)  # from here on the number is taken
    _make_ready()
    if mode == "userns":
        _enter_namespaces(control)
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)  # programs may run under our user id
    candidate.rehearse()
    gc.set_threshold(_GARBAGE_THRESHOLD)
    gc.collect()
    immortal.freeze()
    gc.freeze()
    gc.disable()
    control.send(UP)
    want = _stay_behind() if mode == "userns" else 0
    box = NamespaceBox() if mode == "userns" else ContainerBox()
    seccomp.restrict()
    with contextlib.suppress(EOFError):
        disk_mb = ForkServer(control, box).serve()
        os.write(want, json.dumps(disk_mb).encode())
        os._exit(_WORN)


if __name__ == "__main__":
    main()
