"""What goes wrong while a policy is trained, in the words of whoever has to mend it.

An error of ours says what failed; here it is told where that was and how to go on. A disk that is full speaks through
many libraries, each in its own way, and is named here. Any other error keeps its trace.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rlcode.errors import DISK_ERRNOS, DiskError, RlcodeError
from train.checkpoints import how_to_go_on

# torch and safetensors say it in words alone
_WORDS = ("No space left", "quota exceeded", "File too large", "PytorchStreamWriter failed", "file write failed")


@contextmanager
def naming_faults(trainer: Any) -> Iterator[None]:
    """Add to each error at which step it came and how to go on.

    Raises:
        DiskError: something can't be written.
    """
    try:
        yield
    except Exception as error:
        told = error
        if not isinstance(error, RlcodeError) and is_of_disk(error):
            told = disk_error(Path(trainer.args.output_dir), error)
        told.add_note(f"{_when(trainer.state)}: {how_to_go_on(trainer.args)}")
        if told is error:
            raise
        raise told from error


def _when(state: Any) -> str:
    if state.global_step >= state.max_steps:
        return "after the last step"
    return f"in step {state.global_step + 1} of {state.max_steps}"


def is_of_disk(error: BaseException) -> bool:
    """Whether it says that a disk takes no more."""
    if isinstance(error, OSError) and error.errno in DISK_ERRNOS:
        return True
    return any(word in str(error) for word in _WORDS)


def disk_error(directory: Path, error: BaseException) -> DiskError:
    """Names the file where `error` knows it, and what is free in `directory` and for temporary files."""
    path = getattr(error, "filename", None) or directory
    free = ", ".join(f"{_free_mib(one):,} MiB in {one}" for one in (directory, Path(tempfile.gettempdir())))
    said = getattr(error, "strerror", None) or str(error).strip().splitlines()[0]
    return DiskError(f"{path} can't be written: {said}. Free: {free}. Make room, and run the same command again")


def _free_mib(directory: Path) -> int:
    return shutil.disk_usage(directory).free >> 20
