"""Rows that come in any order and are written in theirs, without being kept in memory."""

from __future__ import annotations

import json
import os
import tempfile
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rlcode.run_directory import replacing

_ABSENT = -1


class OrderedRows:
    """Gathers rows in a file without a name, and remembers where each lies: eight bytes for each place."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - held until `close`
        self._starts = array("q")

    def add(self, place: int, row: dict[str, Any]) -> None:
        """Take the row of a place from 0; a later row of the same place counts."""
        missing = place + 1 - len(self._starts)
        self._starts.extend([_ABSENT] * missing)
        self._starts[place] = self._file.seek(0, os.SEEK_END)
        # in ASCII: a program may hold a lone surrogate, which UTF-8 has no bytes for
        self._file.write(json.dumps(row).encode() + b"\n")

    def __len__(self) -> int:
        return sum(start != _ABSENT for start in self._starts)

    def write(self, path: Path) -> None:
        """Write the rows to `path` in the order of their places, whole or not at all."""
        with replacing(path) as handle:
            for line in self._lines():
                handle.write(line)

    def close(self) -> None:
        """Give the disk space back."""
        self._file.close()

    def _lines(self) -> Iterator[bytes]:
        for start in self._starts:
            if start != _ABSENT:
                self._file.seek(start)
                yield self._file.readline()
