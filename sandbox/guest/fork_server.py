"""The fork server: a warm interpreter that makes a process for each program and clears up after it.

It never sees a test, a source or a result: only limits and file descriptors, which it hands to the new process.
Started by the judge, as `python -m <package>.fork_server MODE FD` where FD is its socket.

    judge → fork server   {"run": {limits, "uid"}} with the descriptors: candidate's socket, stdin, stdout, stderr
                          {"end": true}            the judge has had enough; not needed where the program ended
    fork server → judge   {"ended": {"status", "killed", "cpu_s", "memory_mb", "leftover"}}
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import math
import os
import resource
import select
import signal
import socket
import sys
import traceback
from typing import Any, NoReturn

from . import candidate, kernel, namespaces, seccomp
from .boxes import Box, ContainerBox, NamespaceBox

CANDIDATE_FD = 3
MAX_MESSAGE = 1 << 16
_MOST_FILES = 256
_CPU_SLACK_S = 2
# What programs import most; each is loaded once instead of in every program. The rest would cost each fork more than
# the few programs that use it gain.
_WARM = (  # noqa: SIM905
    "abc array base64 bisect cmath collections collections.abc contextlib copy dataclasses datetime decimal enum "
    "fractions functools hashlib heapq io itertools json math numbers operator os random re statistics string struct "
    "textwrap threading time traceback types typing unicodedata"
).split()


class ForkServer:
    """Runs one program after another, in the way that `box` knows."""

    def __init__(self, control: socket.socket, box: Box) -> None:
        self._control = control
        self._box = box
        self._filter = seccomp.Filter()
        self._link = candidate.Link(CANDIDATE_FD)  # what is made before the fork is not made for each program

    def serve(self) -> None:
        """Until the judge is gone."""
        self._control.send(json.dumps({"up": True}).encode())
        while True:
            message, fds = _receive(self._control)
            if "run" in message:
                self._run(message["run"], fds)

    def _run(self, order: dict[str, Any], fds: list[int]) -> None:
        self._box.open(order)
        pid = os.fork()
        if pid == 0:
            self._become_candidate(order, fds)
        self._box.forked()
        for fd in fds:
            os.close(fd)
        killed = self._wait(pid)
        remains = self._box.close(pid)
        self._control.send(json.dumps({"ended": {**vars(remains), "killed": killed}}).encode())

    def _wait(self, pid: int) -> bool:
        """Until the program ended (False) or the judge says so (True)."""
        pidfd = os.pidfd_open(pid)
        try:
            waiting = select.poll()
            waiting.register(pidfd, select.POLLIN)
            waiting.register(self._control, select.POLLIN)
            ready = [fd for fd, _ in waiting.poll()]
        finally:
            os.close(pidfd)
        if pidfd in ready:
            return False
        _receive(self._control)
        return True

    def _become_candidate(self, order: dict[str, Any], fds: list[int]) -> NoReturn:
        try:
            os.setsid()
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self._box.enter()
            _take_descriptors(fds)
            _limit(order, self._box.extra_processes)
            self._filter.apply()
            gc.enable()
            candidate.run(self._link)
        except BaseException:  # whatever it was: this process must never go on as a fork server
            traceback.print_exc()
        finally:
            os._exit(1)


def _receive(control: socket.socket) -> tuple[dict[str, Any], list[int]]:
    data, fds, _, _ = socket.recv_fds(control, MAX_MESSAGE, 4)
    if not data:
        raise EOFError("the judge is gone")
    return json.loads(data), fds


def _take_descriptors(fds: list[int]) -> None:
    """Keep the four that were handed over, at 3, 0, 1 and 2, and no other."""
    link, *standard = fds
    for number, fd in enumerate(standard):
        os.dup2(fd, number)
    if link != CANDIDATE_FD:  # to itself it can't be copied
        os.dup2(link, CANDIDATE_FD, inheritable=False)
    os.closerange(CANDIDATE_FD + 1, _MOST_FILES)


def _limit(order: dict[str, Any], extra_processes: int) -> None:
    seconds = math.ceil(order["time_s"]) + _CPU_SLACK_S  # the judge's clock is exact; this is for when it is late
    _lower(resource.RLIMIT_AS, order["memory_mb"] << 20)
    _lower(resource.RLIMIT_FSIZE, (order["output_kb"] << 10) + 1)  # one byte over the limit shows that it was met
    _lower(resource.RLIMIT_NPROC, order["processes"] + extra_processes)
    _lower(resource.RLIMIT_NOFILE, order["open_files"])
    _lower(resource.RLIMIT_CPU, seconds, spare=1)  # the first limit sends SIGXCPU, which tells, the second SIGKILL


def _lower(limit: int, most: int, spare: int = 0) -> None:
    _, hard = resource.getrlimit(limit)
    if hard == resource.RLIM_INFINITY or hard > most + spare:
        hard = most + spare
    resource.setrlimit(limit, (min(most, hard), hard))


def _die_with_parent() -> None:
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)


def _enter_namespaces(control: socket.socket) -> None:
    """Become the first process of a PID namespace within new namespaces; the process that was stays as its parent."""
    namespaces.unshare()
    control.send(json.dumps({"unshared": True}).encode())
    _receive(control)  # the judge has mapped our ids
    namespaces.enter()
    _die_with_parent()  # the change of ids undid it
    pid = os.fork()
    if pid:
        control.close()
        os.waitpid(pid, 0)
        os._exit(0)
    _die_with_parent()


def _make_ready() -> None:
    """Load what programs will want, and forget where we came from."""
    for name in _WARM:
        importlib.import_module(name)
    own = {"", os.getcwd(), *os.environ.pop("PYTHONPATH", "").split(os.pathsep)}
    sys.path[:] = [path for path in sys.path if path not in own]
    sys.argv[:] = ["program.py"]
    _lower(resource.RLIMIT_NOFILE, _MOST_FILES)
    for limit in (resource.RLIMIT_CORE, resource.RLIMIT_MEMLOCK, resource.RLIMIT_MSGQUEUE):
        _lower(limit, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process of a program's namespace shares our handlers
    for number in (signal.SIGHUP, signal.SIGQUIT):  # `nohup` and a shell's background jobs leave them ignored
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # too much output is to end a program, not to raise in it
    os.environ["HOME"] = os.environ["TMPDIR"] = namespaces.WORK
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)


def main() -> None:
    """Serve until the judge is gone."""
    mode, fd = sys.argv[1:]
    _die_with_parent()
    control = socket.socket(fileno=int(fd))
    _make_ready()
    if mode == "userns":
        _enter_namespaces(control)
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)  # programs may run under our user id
    server = ForkServer(control, NamespaceBox() if mode == "userns" else ContainerBox())
    candidate.rehearse()
    gc.collect()
    gc.freeze()
    gc.disable()
    with contextlib.suppress(EOFError):
        server.serve()


if __name__ == "__main__":
    main()
