"""Frames between the host and the judge: four bytes of length (big-endian), then one JSON object in UTF-8.

The judge first sends `{"ready": {"python": "3.11.2", "mode": "container"}}`. Then, for each request

    {"id": 7, "source": "...", "problem": {...}, "limits": {...}}

(`problem` with the fields `entry_point, declares, test_setup, tests, comparison, tolerance, checker` of
`rlcode.types.Problem`, each test without its empty fields) it answers, in order, with

    {"id": 7, "verdict": {...}, "anomaly": null}

`verdict` has the fields of `rlcode.types.Verdict` that a judge can know (all but `backend`, `image_digest` and
`limits`). `anomaly` is a sentence when something was left over that could not be cleaned: the verdict counts, but
the host must replace the worker. A judge that can't judge (a test that does not compile, say) answers with
`{"id": 7, "error": "..."}`: that is the problem's fault, not the program's.

Several requests may come in one frame, `{"requests": [...]}`, and are answered in one, `{"answers": [...]}`: the first
of them at least. The judge leaves out what comes after a program that took long or left something over.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

MAX_FRAME = 64 << 20


class WireError(Exception):
    """The other side is gone or does not speak frames."""


class TooLong(Exception):  # noqa: N818
    """A message does not fit a frame."""


def encode(message: dict[str, Any]) -> bytes:
    """The frame of a message.

    Raises:
        TooLong: it is longer than `MAX_FRAME`.
    """
    body = json.dumps(message, separators=(",", ":")).encode()
    if len(body) > MAX_FRAME:
        raise TooLong(f"{len(body):,} bytes, where a frame holds {MAX_FRAME:,}")
    return struct.pack(">I", len(body)) + body


def read(receive: Callable[[int], bytes]) -> dict[str, Any]:
    """One message; `receive(n)` gives at most n bytes, none at the end of the stream."""
    (size,) = struct.unpack(">I", _exactly(receive, 4))
    if size > MAX_FRAME:
        raise WireError(f"a frame of {size} bytes was announced; the limit is {MAX_FRAME}")
    message = json.loads(_exactly(receive, size))
    if not isinstance(message, dict):
        raise WireError("a frame holds no JSON object")
    return message


def _exactly(receive: Callable[[int], bytes], size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        part = receive(size - len(data))
        if not part:
            raise WireError("the stream ended inside a frame" if data else "the stream ended")
        data += part
    return bytes(data)
