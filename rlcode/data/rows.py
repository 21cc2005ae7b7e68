"""Typed fields of a data row, with errors that name the row."""

from __future__ import annotations

import ast
import json
import warnings
from typing import Any

from rlcode.errors import DataError


class LongNumber(DataError):  # noqa: N818 - a DataError, and named for what it says
    """A number of more digits than Python reads, and than the judge does."""


def text_field(row: dict[str, Any], name: str, where: str, *, required: bool = True) -> str:
    """The string `row[name]`; an absent optional one is empty.

    Raises:
        DataError: it is missing though required, or no string.
    """
    value = row.get(name)
    if value is None and not required:
        return ""
    if name not in row:
        raise DataError(f"{where}: field {name!r} is missing")
    if not isinstance(value, str):
        raise DataError(f"{where}: field {name!r} must be a string, got {type(value).__name__}")
    return value


def json_field(row: dict[str, Any], name: str, where: str) -> Any:
    """The value whose JSON text the string `row[name]` is.

    Raises:
        DataError: it is missing, no string or no JSON. LongNumber: it holds a number that can't be read.
    """
    try:
        return json.loads(text_field(row, name, where))
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{where}: field {name!r} is not JSON text: {error}") from error
    except ValueError as error:
        raise LongNumber(f"{where}: field {name!r}: {error}") from error


def unix_newlines(text: str) -> str:
    """`text` with every CRLF as LF."""
    return text.replace("\r\n", "\n")


def parse_field(code: str, name: str, where: str) -> ast.Module:
    """The trusted Python `code` of the field `name`, parsed.

    Raises:
        DataError: it is not Python.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a regular expression in a plain string is no concern of the reader's
            return ast.parse(code)
    except SyntaxError as error:
        raise DataError(f"{where}: field {name!r} is not Python: {error}") from error
