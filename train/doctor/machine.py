"""Python, cores, memory, shared memory and disks."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sandbox.pool import usable_cores
from train.doctor.findings import Finding, State

OLDEST_PYTHON = (3, 11)
GIB = 1 << 30
LEAST_MEMORY = 4 * GIB
"""Below that the quickstart beside a sandbox of two workers is at the border."""
LEAST_SHARED_MEMORY = 1 * GIB
"""Docker gives a container 64 MiB."""
LEAST_FREE = 1 * GIB
"""For checkpoints of an adapter, and rollouts."""
LEAST_FOR_MODELS = 20 * GIB
"""A model of seven billion parameters is a download of 15 GB."""


def system() -> Iterator[Finding]:
    """Which Python runs this, and on what."""
    version = platform.python_version()
    new = sys.version_info >= OLDEST_PYTHON
    yield Finding(
        "Python",
        State.FINE if new else State.BLOCKS,
        f"{version} at {sys.executable}",
        "" if new else "everything: rlcode needs Python 3.11",
        "" if new else "make setup PYTHON=python3.11",
        {"version": version, "executable": sys.executable},
    )
    linux = sys.platform == "linux"
    yield Finding(
        "system",
        State.FINE if linux else State.BLOCKS,
        f"{platform.system()} {platform.release()} {platform.machine()}",
        "" if linux else "everything: the sandbox and the training scripts need Linux",
    )


def cores(cgroups: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> Iterator[Finding]:
    """Cores that this process may use. A quota of its control group is told beside them: it does not show in their
    number, and each of them has a sandbox worker."""
    usable, quota = usable_cores(), _core_quota(cgroups, own)
    facts = {"usable": usable, "present": os.cpu_count(), "quota": quota}
    detail = f"{usable} of {os.cpu_count()} usable"
    if quota is None or quota >= usable:
        yield Finding("cores", State.FINE, detail, facts=facts)
        return
    blocks = f"the full use of {usable} workers: the control group gives {quota:g} cores' time"
    mend = f"--sandbox_workers {max(1, int(quota))}"
    yield Finding("cores", State.LIMITS, f"{detail}, with the time of {quota:g}", blocks, mend, facts)


def memory(
    cgroups: Path = Path("/sys/fs/cgroup"),
    own: Path = Path("/proc/self/cgroup"),
    meminfo: Path = Path("/proc/meminfo"),
) -> Iterator[Finding]:
    """Memory of the machine, what of it is free, and the limit of the control group, where that is lower."""
    lines = (line.split() for line in meminfo.read_text().splitlines())
    kib = {words[0].rstrip(":"): int(words[1]) for words in lines if len(words) > 1}
    total, available = kib["MemTotal"] << 10, kib["MemAvailable"] << 10
    limit = _memory_limit(cgroups, own, total)
    facts = {"total": total, "available": available, "limit": limit}
    detail = f"{_gib(total)}, {_gib(available)} of it free"
    if limit is not None:
        detail += f"; this control group may have {_gib(limit)}"
    enough = min(available, limit or available) >= LEAST_MEMORY
    yield Finding(
        "memory",
        State.FINE if enough else State.LIMITS,
        detail,
        "" if enough else f"models: less than {_gib(LEAST_MEMORY)} is little beside a sandbox",
        facts=facts,
    )


def shared_memory(folder: Path = Path("/dev/shm")) -> Iterator[Finding]:
    """What processes share by memory: several training processes, and data loader workers, need it."""
    usage = shutil.disk_usage(folder) if folder.is_dir() else None
    size = usage.total if usage else 0
    enough = size >= LEAST_SHARED_MEMORY
    yield Finding(
        "shared memory",
        State.FINE if enough else State.LIMITS,
        f"{_gib(size)} at {folder}" if usage else f"there is no {folder}",
        "" if enough else "several training processes, vLLM and data loader workers, which may die with a bus error",
        "" if enough else f"in a container: docker run --shm-size 8g; else as root: mount -o remount,size=8G {folder}",
        {"size": size},
    )


def disks(runs: Path, least: int = LEAST_FREE) -> Iterator[Finding]:
    """Room where runs are written (`runs`), and where temporary files are; `least` bytes are needed in each."""
    blocks = "training and rollouts"
    yield _room("disk: runs", runs, least, State.BLOCKS, blocks, "--output_dir on another disk")
    folder, blocks = Path(tempfile.gettempdir()), "--dry_run, the sandbox without Docker"
    yield _room("disk: temporary files", folder, least, State.LIMITS, blocks, "export TMPDIR=DIR, on another disk")


def model_cache(least: int = LEAST_FOR_MODELS) -> Iterator[Finding]:
    """Room where models and data are downloaded to; `least` in bytes."""
    from huggingface_hub import constants

    folder, blocks = Path(constants.HF_HUB_CACHE), "the download of larger models"
    yield _room("disk: models", folder, least, State.LIMITS, blocks, "export HF_HOME=DIR, on another disk")


def _room(name: str, folder: Path, least: int, state: State, blocks: str, mend: str) -> Finding:
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free
    facts = {"folder": str(folder), "free": free}
    if not os.access(there, os.W_OK):
        return Finding(name, state, f"{folder} can't be written", blocks, mend, facts)
    if free < least:
        return Finding(name, state, f"{_gib(free)} free in {folder}, less than {_gib(least)}", blocks, mend, facts)
    return Finding(name, State.FINE, f"{_gib(free)} free in {folder}", facts=facts)


def _core_quota(cgroups: Path, own: Path) -> float | None:
    """How many cores' time the control group may use; None: all."""
    quotas = []
    for folder in _groups(cgroups, own, "cpu"):
        if (file := folder / "cpu.max").is_file():
            quota, period = file.read_text().split()
        elif (file := folder / "cpu.cfs_quota_us").is_file():
            quota, period = file.read_text().strip(), (folder / "cpu.cfs_period_us").read_text()
        else:
            continue
        if quota not in ("max", "-1"):
            quotas.append(int(quota) / int(period))
    return min(quotas, default=None)


def _memory_limit(cgroups: Path, own: Path, total: int) -> int | None:
    """Bytes that the control group may have; None: all `total` of them. Version 1 says a huge number for all."""
    limits = []
    for folder in _groups(cgroups, own, "memory"):
        for file in (folder / "memory.max", folder / "memory.limit_in_bytes"):
            if file.is_file() and (text := file.read_text().strip()) != "max":
                limits.append(int(text))
    return min((limit for limit in limits if limit < total), default=None)


def _groups(cgroups: Path, own: Path, controller: str) -> Iterator[Path]:
    """Folders of the control groups that this process is in, with all above them, which bound it as well. In a
    container the path that the kernel tells is often that of the host; then what is mounted is the container's."""
    for line in own.read_text().splitlines() if own.is_file() else ():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = cgroups / controller if controllers else cgroups
        folder = root / path.lstrip("/")
        yield from (group for group in (folder, *folder.parents) if group.is_relative_to(root) and group.is_dir())


def _gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB"
