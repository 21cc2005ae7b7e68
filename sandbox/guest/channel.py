"""Frames between judge and candidate: four bytes of length (big-endian), then the body."""

from __future__ import annotations

import struct
from collections.abc import Callable

MAX_REPLY = 8 << 20
"""Bytes of the longest message that a candidate may send."""
_HEADER = struct.Struct(">I")
HEADER_SIZE = _HEADER.size


def frame(body: bytes) -> bytes:
    """`body` with its length before it."""
    return _HEADER.pack(len(body)) + body


def body_size(header: bytes | bytearray) -> int:
    """The length that the first four bytes of a frame announce."""
    size: int = _HEADER.unpack(header)[0]
    return size


def read_frame(receive: Callable[[int], bytes | bytearray]) -> bytes:
    """The body of the next frame, of any size; `receive(n)` gives at most n bytes, none at the end.

    Raises:
        EOFError: the other side is gone.
    """
    return _exactly(receive, body_size(_exactly(receive, HEADER_SIZE)))


def _exactly(receive: Callable[[int], bytes | bytearray], size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        part = receive(min(size - len(data), 1 << 20))
        if not part:
            raise EOFError("the other side is gone")
        data += part
    return bytes(data)
