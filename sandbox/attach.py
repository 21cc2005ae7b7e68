"""The attached stream of a container: bytes for its stdin one way, its stdout and stderr in one framing the other.

Does not know of the frames inside; `guest.wire` reads those from `receive`.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import time
from typing import Any

_HEADER = struct.Struct(">BxxxL")
_STDERR = 2
_STDERR_KEPT = 4000
_PIECE = 1 << 16


class AttachedStream:
    """Talks over the socket of an attach without a terminal, each step before a deadline that `within` sets.

    `attached` is what the SDK's `attach_socket` gives: over a Unix socket or plain TCP a file object around the
    socket, which knows no time-outs; else the socket itself.
    """

    def __init__(self, attached: Any) -> None:
        self._attached = attached
        self._sock: socket.socket = getattr(attached, "_sock", attached)
        self._poll = select.poll()
        self._poll.register(self._sock, select.POLLOUT | select.POLLRDHUP)
        self._buffer = bytearray()
        self._left = 0  # bytes of the current stdout chunk that are still to come
        self._deadline = 0.0
        self._stderr = b""

    def within(self, seconds: float) -> None:
        """What follows must be done within `seconds` from now."""
        self._deadline = time.monotonic() + seconds

    def send(self, data: bytes) -> None:
        """Write to the container's stdin.

        Raises:
            OSError: the stream is broken; TimeoutError when the deadline has passed.
        """
        view = memoryview(data)
        while view:
            self._wait_for_room()
            view = view[self._sock.send(view[:_PIECE]) :]

    def receive(self, size: int) -> bytes:
        """At most `size` bytes of stdout; none once the container has ended.

        Raises:
            OSError: the stream is broken; TimeoutError when the deadline has passed.
        """
        while not self._left:
            if not self._next_chunk():
                return b""
        data = self._take(min(size, self._left))
        self._left -= len(data)
        return data

    def last_words(self) -> str:
        """The end of what was written to stderr so far."""
        return self._stderr.decode(errors="replace").strip()

    def wake(self) -> None:
        """End the stream for both sides; a thread that waits on it gets its end. May come from any thread."""
        with contextlib.suppress(OSError):  # the other side was faster
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the socket. Only when no thread waits on it: the number of a closed file is soon another's."""
        self._sock.close()
        self._attached.close()

    def _wait_for_room(self) -> None:
        """Until more can be sent. An engine goes on holding the stream of a dead container but reads it no more, so a
        plain send would wait for the deadline."""
        self._sock.settimeout(self._remaining())
        events = self._poll.poll(self._remaining() * 1000)
        if not events:
            raise TimeoutError("no room in time")
        if events[0][1] & (select.POLLRDHUP | select.POLLHUP | select.POLLERR):
            raise ConnectionError("the stream ended")

    def _next_chunk(self) -> bool:
        """Read up to the start of the next chunk; False at the end of the stream."""
        header = self._take(_HEADER.size)
        if len(header) < _HEADER.size:
            return False
        stream, size = _HEADER.unpack(header)
        if stream == _STDERR:
            self._stderr = (self._stderr + self._take(size))[-_STDERR_KEPT:]
        else:
            self._left = size
        return True

    def _take(self, size: int) -> bytes:
        """Exactly `size` bytes, fewer only at the end of the stream."""
        while len(self._buffer) < size:
            self._sock.settimeout(self._remaining())
            part = self._sock.recv(_PIECE)
            if not part:
                break
            self._buffer += part
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def _remaining(self) -> float:
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("no answer in time")
        return remaining
