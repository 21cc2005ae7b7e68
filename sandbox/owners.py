"""Whose container is it? Labels that name the process which made one, so that what dead processes left is found."""

from __future__ import annotations

import os
from pathlib import Path

OWNER_LABEL = "rlcode.sandbox"
HOST_LABEL = "rlcode.sandbox.host"


def labels() -> dict[str, str]:
    """What a container of this process bears."""
    return {OWNER_LABEL: f"{os.getpid()}-{_started(os.getpid())}", HOST_LABEL: _host()}


def is_dead(owner: dict[str, str]) -> bool:
    """Whether the process that these labels name is known to be gone.

    Never true for a process of another machine or pid namespace that shares the engine: nothing is known of those.
    """
    if owner.get(HOST_LABEL) != _host():
        return False
    pid, _, started = owner.get(OWNER_LABEL, "").partition("-")
    return pid.isdigit() and str(_started(int(pid))) != started


def _host() -> str:
    """This boot of this machine, and this pid namespace: where a process number means something."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}/{os.stat('/proc/self/ns/pid').st_ino}"


def _started(pid: int) -> int | None:
    """When the process started, in clock ticks since boot; None where there is none. A zombie counts as gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()  # the name before it may hold spaces
    return None if fields[0] in "ZX" else int(fields[19])
