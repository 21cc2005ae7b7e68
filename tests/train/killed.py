"""Runs that are killed: in this process, as if they were, and others with all of their processes."""

from __future__ import annotations

import contextlib
import subprocess

import psutil
from transformers import TrainerCallback, TrainerState


class Killed(TrainerCallback):
    """Ends the run when its first `steps` steps are done and the next one begins."""

    def __init__(self, steps: int) -> None:
        self._steps = steps

    def on_step_begin(self, args: object, state: TrainerState, control: object, **kwargs: object) -> None:
        if state.global_step == self._steps:
            raise KeyboardInterrupt


def kill_all(launcher: subprocess.Popen[bytes]) -> None:
    """SIGKILL a launcher and what it started, which leads sessions of its own, and wait for the end of all."""
    started = psutil.Process(launcher.pid).children(recursive=True)
    for one in (launcher, *started):
        with contextlib.suppress(psutil.NoSuchProcess):  # the end of another may have been its own
            one.kill()
    psutil.wait_procs(started, timeout=30)
