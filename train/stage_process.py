"""A stage of the loop as a process group of its own, which ends with the loop, or is ended by the next one.

What a stage holds (a GPU's memory, a model, containers) is free when it is over, and what it writes survives a kill.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from rlcode.errors import RlcodeError
from rlcode.run_directory import write_json

GRACE_S = 300.0
"""How long a stage that was asked to stop may take to save what it has."""
_FILE = "running.json"


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
    try:
        process = subprocess.Popen(command, env=_environment(), start_new_session=True)
        write_json(directory / _FILE, {"session": process.pid, "stage": name})
        code = process.wait()
    except _Asked as asked:
        _restore(before)  # whoever asks twice does not want to wait
        if process is not None:
            _end(process.pid, asked.number)
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
    running = any(_members(left["session"]))
    if running:
        _end(left["session"], signal.SIGTERM)
    (directory / _FILE).unlink()
    return str(left["stage"]) if running else None


def _environment() -> dict[str, str]:
    # torch's launcher of several processes gives them 30 s, too little for the step under way
    return {"TORCH_ELASTIC_SHUTDOWN_TIMEOUT": f"{GRACE_S:.0f}", **os.environ}


def _restore(handlers: Mapping[int, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)


def _ask(number: int, frame: FrameType | None) -> None:
    raise _Asked(number)


def _end(session: int, number: int) -> None:
    """Ask a session to stop, and after `GRACE_S` make all its processes end."""
    for pid in _to_ask(session):
        _send(pid, number)
    deadline = time.monotonic() + GRACE_S
    while any(_members(session)) and time.monotonic() < deadline:
        time.sleep(0.1)
    for pid in _members(session):
        _send(pid, signal.SIGKILL)


def _to_ask(session: int) -> list[int]:
    """The first process of a session and its children. The children's children (those that load data, say) are theirs
    to end, and are needed until then."""
    parents = _parents_of(session)
    return [pid for pid, parent in parents.items() if session in (pid, parent)] or list(parents)


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _members(session: int) -> Iterator[int]:
    """The processes of a session that have not ended. Its number is not given again while there is one."""
    yield from _parents_of(session)


def _parents_of(session: int) -> dict[int, int]:
    """Each of them with its parent."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                fields = Path(f"/proc/{name}/stat").read_text(errors="replace").rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[3]) == session and fields[0] not in ("Z", "X"):
                found[int(name)] = int(fields[1])
    return found
