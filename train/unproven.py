"""A directory that appears under its name only when all of it is there and was found right."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rlcode.errors import InputError
from train.faults import disk_error, is_of_disk


def require_new(output: Path) -> None:
    """
    Raises:
        InputError: `output` exists.
    """
    if output.exists():
        raise InputError(f"{output} exists; choose another --output or move it away")


@contextmanager
def unproven(output: Path) -> Iterator[Path]:
    """A hidden directory beside `output`, which becomes it in the end, or goes.

    Raises:
        DiskError: something can't be written.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=output.parent, prefix=f".{output.name}-unproven-"))
    try:
        yield part
        part.chmod(0o755)
        for file in part.iterdir():  # safetensors keeps others from reading what it writes
            file.chmod(0o644)
        part.rename(output)
    except BaseException as error:
        shutil.rmtree(part, ignore_errors=True)
        if isinstance(error, Exception) and is_of_disk(error):
            raise disk_error(output.parent, error) from error
        raise
