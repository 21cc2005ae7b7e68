"""Frames between judge and candidate: four bytes of length (big-endian), then the body."""

from __future__ import annotations

import struct
from collections.abc import Callable

MAX_REPLY = 8 << 20
"""Bytes of the longest message that a candidate may send."""
CHUNK = 1 << 16
_HEADER = struct.Struct(">I")


class TooLong(Exception):  # noqa: N818
    """A message was announced that is longer than allowed."""


def frame(body: bytes) -> bytes:
    """`body` with its length before it."""
    return _HEADER.pack(len(body)) + body


class Frames:
    """Takes a stream of bytes apart; most frames come in one piece."""

    def __init__(self, receive: Callable[[], bytes], limit: int | None = None) -> None:
        """`receive()` gives some bytes, none at the end; `limit` is the most that a body may hold."""
        self._receive = receive
        self._limit = limit
        self._buffer = bytearray()

    def next(self) -> bytes:
        """The body of the next frame.

        Raises:
            EOFError: the stream has ended. TooLong: the body is.
        """
        self._fill(_HEADER.size)
        end = _HEADER.size + int(_HEADER.unpack_from(self._buffer)[0])
        if self._limit is not None and end > self._limit + _HEADER.size:
            raise TooLong(f"a message of {end - _HEADER.size} bytes")
        self._fill(end)
        body = bytes(self._buffer[_HEADER.size : end])
        del self._buffer[:end]
        return body

    def _fill(self, size: int) -> None:
        while len(self._buffer) < size:
            part = self._receive()
            if not part:
                raise EOFError("the other side is gone")
            self._buffer += part
