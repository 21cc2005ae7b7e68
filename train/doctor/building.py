"""What DeepSpeed builds when it is first used: the compiler for that, and locks that a killed build left behind."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

from train.doctor.findings import Finding, State

COMPILE_LIMIT_S = 30.0
_SOURCE = "#include <Python.h>\n#include <vector>\nint main() { return std::vector<int>{0}[0]; }\n"
_BLOCKS = "DeepSpeed's first start, which builds its own kernels; single.yaml and fsdp2.yaml do without"
_PACKAGES = "sudo apt-get install g++ python3-dev"


def compiler() -> Iterator[Finding]:
    """A compiler for C++ that finds Python's headers (`CXX`, else `c++`, as torch takes it)."""
    name = os.environ.get("CXX", "c++")
    if shutil.which(name) is None:
        yield Finding("C++ compiler", State.LIMITS, f"there is no {name}", _BLOCKS, _PACKAGES)
    else:
        command = [name, "-x", "c++", "-fsyntax-only", "-I", sysconfig.get_path("include"), "-"]
        said = subprocess.run(
            command, input=_SOURCE, capture_output=True, text=True, timeout=COMPILE_LIMIT_S, check=False
        )
        if said.returncode == 0:
            yield Finding("C++ compiler", State.FINE, f"{shutil.which(name)}, with Python's headers")
        else:
            words = said.stderr.strip().splitlines() or [f"exit code {said.returncode}"]
            yield Finding("C++ compiler", State.LIMITS, f"{name} fails: {words[0]}", _BLOCKS, _PACKAGES)


def locks() -> Iterator[Finding]:
    """Locks of torch's builds. Whoever finds one waits for it without end, also when its owner was killed."""
    found = [lock for root in [_build_root()] for depth in ("*/lock", "*/*/lock") for lock in sorted(root.glob(depth))]
    stale = [lock for lock in found if not _is_held(lock)]
    if not stale:
        detail = "being built right now" if found else "none is left behind"
        yield Finding("build locks", State.FINE, detail, facts={"stale": []})
        return
    ages = ", ".join(f"{lock} ({_minutes_old(lock):.0f} minutes old)" for lock in stale)
    yield Finding(
        "build locks",
        State.LIMITS,
        f"held by no process here: {ages}",
        "every start with ZeRO, which waits for them without end",
        "rm " + " ".join(shlex.quote(str(lock)) for lock in stale),
        {"stale": [str(lock) for lock in stale]},
    )


def _build_root() -> Path:
    """Where torch builds extensions (`torch.utils.cpp_extension`)."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("TORCH_EXTENSIONS_DIR") or Path(cache) / "torch_extensions")


def _is_held(lock: Path) -> bool:
    """Whether a process has it open, as the one that builds does. Those of other users can't be looked into."""
    wanted = str(lock.resolve())
    for descriptors in Path("/proc").glob("[0-9]*/fd"):
        try:
            if any(os.readlink(one) == wanted for one in descriptors.iterdir()):
                return True
        except OSError:  # it ended meanwhile, or is another user's
            continue
    return False


def _minutes_old(lock: Path) -> float:
    return (time.time() - lock.stat().st_mtime) / 60
