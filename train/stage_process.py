"""A stage of the loop as a session of its own, which ends with the loop, or is ended by the next one.

What a stage holds (a GPU's memory, a model, containers) is free when it is over, and what it writes survives a kill.
All processes of a stage bear its mark in their environment, those too that a launcher gives sessions of their own; so
none is forgotten, and none that got a number of theirs later, after a reboot say, is taken for one.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from rlcode.errors import RlcodeError
from rlcode.run_directory import write_json

GRACE_S = 300.0
"""How long a stage that was asked to stop may take to save what it has."""
_LAUNCHER_S = 60.0
"""How much longer its launcher may take, which then ends the others."""
_FILE = "running.json"
_MARK = "RLCODE_STAGE"


class StageFailedError(RlcodeError):
    """A stage ended with an error of its own, which it has told."""


class LoopStoppedError(RlcodeError):
    """Somebody asked the loop to stop; the stage under way was asked likewise, and has ended."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + number


class _Asked(BaseException):
    """A signal came; nothing on the way may take it for an error of its own."""

    def __init__(self, number: int) -> None:
        self.number = number


def run_stage(command: Sequence[str], directory: Path, name: str) -> None:
    """Run `command` to its end. SIGINT and SIGTERM are handed on to it.

    Raises:
        StageFailedError: it ended with another code than 0. LoopStoppedError: a signal came.
    """
    before: dict[int, Any] = {number: signal.signal(number, _ask) for number in (signal.SIGINT, signal.SIGTERM)}
    process: subprocess.Popen[bytes] | None = None
    mark = secrets.token_hex(16)
    try:
        process = subprocess.Popen(command, env=_environment(mark), start_new_session=True)
        write_json(directory / _FILE, {"mark": mark, "session": process.pid, "stage": name})
        code = process.wait()
    except _Asked as asked:
        _restore(before)  # whoever asks twice does not want to wait
        if process is not None:
            _end(mark, process.pid, asked.number)
            process.wait()
        raise LoopStoppedError(f"stopped during {name}; the same command goes on from there", asked.number) from None
    finally:
        _restore(before)
        if process is None or process.poll() is not None:
            (directory / _FILE).unlink(missing_ok=True)
    if code:
        raise StageFailedError(
            f"{name} ended with {code}; mend what it says above, and the same command goes on from there. It was: "
            + " ".join(command)
        )


def end_leftover(directory: Path) -> str | None:
    """End what a loop that was killed left running in `directory`, and give the name of that stage."""
    try:
        left = json.loads((directory / _FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    mark = left.get("mark", "none")
    running = bool(_members(mark))
    if running:
        _end(mark, left["session"], signal.SIGTERM)
    (directory / _FILE).unlink()
    return str(left["stage"]) if running else None


def _environment(mark: str) -> dict[str, str]:
    # torch's launcher of several processes gives them 30 s, too little for the step under way
    return {"TORCH_ELASTIC_SHUTDOWN_TIMEOUT": f"{GRACE_S:.0f}", **os.environ, _MARK: mark}


def _restore(handlers: Mapping[int, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)


def _ask(number: int, frame: FrameType | None) -> None:
    raise _Asked(number)


def _end(mark: str, session: int, number: int) -> None:
    """Ask a stage to stop, and when it had its time, make all its processes end."""
    for pid in _to_ask(_members(mark), session):
        _send(pid, number)
    deadline = time.monotonic() + GRACE_S + _LAUNCHER_S
    while (left := _members(mark)) and time.monotonic() < deadline:
        time.sleep(0.1)
    for pid in left:
        _send(pid, signal.SIGKILL)


@dataclass(frozen=True)
class _Member:
    parent: int
    session: int


def _to_ask(members: Mapping[int, _Member], session: int) -> list[int]:
    """The first process of a stage and its children in its session; all where it is gone. The children's children
    (those that load data, say) are theirs to end, and are needed until then; so are those that a launcher gave
    sessions."""
    first = [pid for pid, one in members.items() if one.session == session and session in (pid, one.parent)]
    return first or list(members)


def _send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has ended
        os.kill(pid, number)


def _members(mark: str) -> dict[int, _Member]:
    """The processes of a stage that have not ended."""
    entry, found = f"{_MARK}={mark}".encode(), {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if entry not in Path(f"/proc/{name}/environ").read_bytes().split(b"\0"):
                    continue
                fields = Path(f"/proc/{name}/stat").read_text(errors="replace").rpartition(")")[2].split()
            except OSError:  # it has ended, or is somebody else's
                continue
            if fields[0] not in ("Z", "X"):
                found[int(name)] = _Member(int(fields[1]), int(fields[3]))
    return found
