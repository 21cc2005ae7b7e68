"""A training process ends with the launcher that started it.

`accelerate launch` starts the script as a child and hands no signal on to it where there is one process only, so a
launcher that is stopped or killed would leave a process behind that trains on and holds the run directory.
"""

from __future__ import annotations

import ctypes
import os
import signal
from pathlib import Path

ENDED = signal.SIGUSR2
"""What a training process gets when its launcher is gone. Ends it, unless `train.interrupt` takes it."""
_COMMANDS = ("accelerate", "accelerate-launch", "torchrun")
_MODULES = ("accelerate.commands.launch", "torch.distributed.run", "deepspeed.launcher.launch")
_PR_SET_PDEATHSIG = 1


def end_with_launcher() -> None:
    """Have the kernel send `ENDED` when the launcher ends; does nothing in a process that no launcher started."""
    launcher = os.getppid()
    if not _is_launcher(launcher):
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, ENDED)
    if os.getppid() != launcher:  # it ended before the kernel was asked
        os.kill(os.getpid(), ENDED)


def _is_launcher(pid: int) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:  # it is gone, or no Linux
        return False
    return any(word in _MODULES or Path(word).name in _COMMANDS for word in words)
