"""What a probe found, and probes side by side, none of which can take the others with it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from queue import Empty, SimpleQueue
from typing import Any

IMPORT_LIMIT_S = 60.0
"""How long an import in a process of its own may take: torch's, from a cold disk."""
PROBE_LIMIT_S = 75.0
"""How long all probes may take together."""


class State(StrEnum):
    """What a finding means for the main job, which is to train and to judge."""

    FINE = "fine"
    LIMITS = "limits"
    """The main job is possible; something else is not, or not as it should be."""
    BLOCKS = "blocks"
    """The main job is not possible."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    name: str
    state: State
    detail: str
    """What is there, or why nothing is."""
    blocks: str = ""
    """What can't be done with it, and what can be done instead."""
    mend: str = ""
    """The command that would change it."""
    facts: dict[str, Any] = field(default_factory=dict)
    """The same for machines; sizes in bytes."""


Probe = Callable[[], Iterable[Finding]]


def examine(
    probes: Mapping[str, Probe], needed: Collection[str] = (), limit_s: float = PROBE_LIMIT_S
) -> dict[str, list[Finding]]:
    """What each probe finds, all of them at once. One that fails, or says nothing for `limit_s` seconds, is a finding
    itself, and blocks if it is among those that are `needed`. Its thread is left behind and ends with the process."""
    answers: SimpleQueue[tuple[str, list[Finding]]] = SimpleQueue()
    failed = {name: State.BLOCKS if name in needed else State.LIMITS for name in probes}

    def ask(name: str, probe: Probe) -> None:
        try:
            findings = list(probe())
        except Exception as error:  # noqa: BLE001  whatever is wrong with this machine is what was asked for
            said = f"it could not be looked at: {type(error).__name__}: {error}"
            findings = [Finding(name, failed[name], said)]
        answers.put((name, findings))

    for name, probe in probes.items():
        threading.Thread(target=ask, args=(name, probe), daemon=True).start()
    found: dict[str, list[Finding]] = {}
    deadline = time.monotonic() + limit_s
    for _ in probes:
        try:
            name, findings = answers.get(timeout=max(deadline - time.monotonic(), 0.0))
        except Empty:
            break
        found[name] = findings
    silent = f"no answer within {limit_s:g} s"
    return {name: found.get(name, [Finding(name, failed[name], silent)]) for name in probes}


def run_python(code: str, limit_s: float = IMPORT_LIMIT_S) -> Any:
    """What `code` prints as JSON in an interpreter of its own: a library may hang, or take its process with it.

    Raises:
        RuntimeError: it ended otherwise; the message has its last words.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=limit_s, check=False, errors="replace"
        )
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"no answer within {limit_s:.0f} s") from None
    if done.returncode != 0:
        raise RuntimeError(_end(done.returncode, done.stderr))
    return json.loads(done.stdout.strip().splitlines()[-1])


def _end(exit_code: int, stderr: str) -> str:
    """The last line of a traceback, or the signal that ended the process."""
    if exit_code < 0:
        return f"it was ended by {signal.Signals(-exit_code).name}"
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    return lines[-1][:400] if lines else f"it ended with exit code {exit_code}"
