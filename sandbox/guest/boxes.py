"""Where a program runs: what a fork server does before, in and after the process of each program.

Both kinds promise the same: when `close` returns without a leftover, nothing of the program exists any more.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import resource
import signal
import struct
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from . import kernel, landlock, namespaces

CLEAN_LIMIT_S = 10.0
UNSHARED, UP = b"unshared", b"up"
"""What a fork server says while it comes up."""
_MOVED = "moved up by the fork server "


class Remains(NamedTuple):
    """What is known of a program once it is gone."""

    status: int
    """As `os.wait` gives it."""
    cpu_s: float
    memory_mb: float
    """Most that its first process held at one time."""
    leftover: str | None
    """What could not be cleared away; None when nothing is left."""


_FORM = struct.Struct("=i?dd")


def pack(remains: Remains, killed: bool) -> bytes:
    """What the fork server tells the judge of the end of a program; `killed`: it did not end by itself."""
    leftover = (remains.leftover or "").encode(errors="replace")
    return _FORM.pack(remains.status, killed, remains.cpu_s, remains.memory_mb) + leftover


def unpack(message: bytes) -> tuple[Remains, bool]:
    """What `pack` was given."""
    status, killed, cpu_s, memory_mb = _FORM.unpack_from(message)
    return Remains(status, cpu_s, memory_mb, message[_FORM.size :].decode() or None), killed


class Box(Protocol):
    extra_processes: int
    """Processes with the program's user id that are not the program's."""

    @property
    def is_worn(self) -> bool:
        """Whether it must be replaced before the next program."""
        ...

    def open(self, order: dict[str, Any]) -> None:
        """Before the fork."""
        ...

    def forked(self) -> None:
        """After the fork, in the fork server."""
        ...

    def enter(self) -> None:
        """After the fork, in the new process: give up every right that the program must not have."""
        ...

    def close(self, pid: int) -> Remains:
        """Kill what is left of the program and wait until it is gone; its folder is empty then."""
        ...


class ContainerBox:
    """In a container: a user id of its own for each program, never used again, and a folder of its own in /w."""

    extra_processes = 0
    is_worn = False

    def __init__(self) -> None:
        os.umask(0)  # the folders are for other user ids
        os.setgroups([])
        kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
            file.write("500")  # when memory runs out, the judge goes last
        self._uid = 0

    def open(self, order: dict[str, Any]) -> None:
        self._uid = order["uid"]
        os.mkdir(self._folder, 0o777)

    def forked(self) -> None:
        pass

    def enter(self) -> None:
        os.environ["HOME"] = os.environ["TMPDIR"] = self._folder
        os.chdir(self._folder)
        os.umask(0o022)
        os.setresgid(self._uid, self._uid, self._uid)
        os.setresuid(self._uid, self._uid, self._uid)

    def close(self, pid: int) -> Remains:
        os.kill(pid, signal.SIGKILL)
        _, status, usage = os.wait4(pid, 0)
        leftover = _kill_the_rest() or self._remove_folder()
        return _remains(status, usage, leftover)

    @property
    def _folder(self) -> str:
        return f"{namespaces.WORK}/{self._uid}"

    def _remove_folder(self) -> str | None:
        try:
            os.rmdir(self._folder)
        except OSError:
            self._as_program(_empty, self._folder)
            try:
                os.rmdir(self._folder)
            except OSError as error:
                return f"the work folder could not be removed: {error}"
        return None

    def _as_program(self, act: Callable[[str], None], folder: str) -> None:
        """Without the right to override permissions, only the owner can clear folders that it closed to others."""
        os.setegid(self._uid)
        os.seteuid(self._uid)
        try:
            act(folder)
        finally:
            os.seteuid(0)
            os.setegid(0)


class NamespaceBox:
    """Without a container: a PID namespace for each program, and one folder that is to be replaced once touched."""

    extra_processes = 4
    """The launcher, the keeper, the fork server and the namespace's first process."""

    def __init__(self) -> None:
        self._home = os.pidfd_open(os.getpid())
        self._inits = kernel.NamespaceInit()
        self._init = 0
        os.chdir(namespaces.WORK)
        fence = namespaces.fence()
        if fence is not None:
            landlock.restrict(fence)
            os.close(fence)
        self._untouched = _fingerprint(namespaces.WORK)

    @property
    def is_worn(self) -> bool:
        """Whether a program left its marks on the folder."""
        return _fingerprint(namespaces.WORK) != self._untouched or bool(os.listdir(namespaces.WORK))

    def open(self, order: dict[str, Any]) -> None:
        self._init = self._inits.start()

    def forked(self) -> None:
        kernel.enter_pid_namespace(self._home)

    def enter(self) -> None:
        kernel.drop_capabilities()

    def close(self, pid: int) -> Remains:
        os.kill(self._init, signal.SIGKILL)  # the kernel kills the whole namespace with it
        _, status, usage = os.wait4(pid, 0)
        while os.waitpid(-1, 0)[0] != self._init:  # the program can make further children of ours (CLONE_PARENT)
            continue
        return _remains(status, usage, None)


def _remains(status: int, usage: resource.struct_rusage, leftover: str | None) -> Remains:
    return Remains(status, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, leftover)


def _kill_the_rest() -> str | None:
    """Kill every process but this one and the judge (the first of the namespace), and wait until they are gone.

    They become our children as their parents die, so nothing is left once we have no child.
    """
    deadline = time.monotonic() + CLEAN_LIMIT_S
    while time.monotonic() < deadline:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return None
        if pid == 0:
            with contextlib.suppress(ProcessLookupError):
                os.kill(-1, signal.SIGKILL)
            time.sleep(0.0005)
    return "processes of the program could not be killed"


def _empty(folder: str) -> None:
    """Remove all in a folder, however deep: what lies in a folder of it is first moved up.

    What resists stays, for whoever then finds the folder not empty.
    """
    names = itertools.count()
    with contextlib.suppress(OSError):
        while entries := list(os.scandir(folder)):
            for entry in entries:
                if not entry.is_dir(follow_symlinks=False):
                    os.unlink(entry.path)
                    continue
                os.chmod(entry.path, 0o700)
                for inner in list(os.scandir(entry.path)):
                    os.rename(inner.path, f"{folder}/{_MOVED}{next(names)}")
                os.rmdir(entry.path)


def _fingerprint(folder: str) -> tuple[int, ...]:
    """Changes with whatever a program does to the folder itself; the times can't be set back without that showing."""
    found = os.stat(folder)
    return (found.st_mode, found.st_uid, found.st_gid, found.st_nlink, found.st_mtime_ns, found.st_ctime_ns)
