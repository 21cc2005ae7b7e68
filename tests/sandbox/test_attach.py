"""The framing of an attached stream, fed byte by byte over a socket pair."""

from __future__ import annotations

import itertools
import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest

from sandbox.attach import AttachedStream
from sandbox.guest import wire

STDOUT, STDERR = 1, 2


@pytest.fixture
def ends() -> Iterator[tuple[AttachedStream, socket.socket]]:
    """The host's stream, and the engine's end of it."""
    host, engine = socket.socketpair()
    stream = AttachedStream(host)
    stream.within(5)
    yield stream, engine
    stream.close()
    engine.close()


def chunk(kind: int, data: bytes) -> bytes:
    return struct.pack(">BxxxL", kind, len(data)) + data


def cut(data: bytes, *sizes: int) -> Iterator[bytes]:
    """The data in pieces of these sizes, over and over."""
    start = 0
    for size in itertools.cycle(sizes):
        if start >= len(data):
            return
        yield data[start : start + size]
        start += size


@pytest.mark.parametrize("sizes", [(1,), (3, 1, 7), (100_000,)])
def test_a_message_survives_any_cutting_on_both_levels(
    ends: tuple[AttachedStream, socket.socket], sizes: tuple[int, ...]
) -> None:
    stream, engine = ends
    message = {"id": 1, "verdict": {"stdout": "é" * 50}}
    chunks = b"".join(chunk(STDOUT, piece) for piece in cut(wire.encode(message), *sizes))

    def feed() -> None:
        for piece in cut(chunks, *sizes):
            engine.sendall(piece)

    feeder = threading.Thread(target=feed)
    feeder.start()
    assert wire.read(stream.receive) == message
    feeder.join()


def test_two_messages_in_one_chunk_are_two(ends: tuple[AttachedStream, socket.socket]) -> None:
    stream, engine = ends
    engine.sendall(chunk(STDOUT, wire.encode({"id": 1}) + wire.encode({"id": 2})))
    assert [wire.read(stream.receive)["id"] for _ in range(2)] == [1, 2]


def test_stderr_goes_aside_and_its_end_is_kept(ends: tuple[AttachedStream, socket.socket]) -> None:
    stream, engine = ends
    whole = wire.encode({"id": 1})
    noise = b"x" * 9000 + b"Traceback: the end"
    engine.sendall(chunk(STDOUT, whole[:3]) + chunk(STDERR, noise) + chunk(STDOUT, b"") + chunk(STDOUT, whole[3:]))
    assert wire.read(stream.receive) == {"id": 1}
    assert stream.last_words().endswith("Traceback: the end")
    assert len(stream.last_words()) < 5000


@pytest.mark.parametrize("sent", [b"", b"\x01\0\0", chunk(STDOUT, b"\0\0")[:-1], chunk(STDOUT, b"\0\0")])
def test_a_stream_that_ends_early_ends_the_message(ends: tuple[AttachedStream, socket.socket], sent: bytes) -> None:
    stream, engine = ends
    engine.sendall(sent)
    engine.close()
    with pytest.raises(wire.WireError, match="the stream ended"):
        wire.read(stream.receive)


def test_silence_ends_with_the_deadline(ends: tuple[AttachedStream, socket.socket]) -> None:
    stream, _ = ends
    stream.within(0.1)
    with pytest.raises(TimeoutError):
        stream.receive(1)


def test_a_trickle_does_not_move_the_deadline(ends: tuple[AttachedStream, socket.socket]) -> None:
    stream, engine = ends
    stop = threading.Event()

    def trickle() -> None:
        while not stop.wait(0.02):
            engine.sendall(chunk(STDERR, b"still here"))

    feeder = threading.Thread(target=trickle)
    feeder.start()
    started = time.monotonic()
    stream.within(0.3)
    with pytest.raises(TimeoutError):
        stream.receive(1)
    assert time.monotonic() - started < 3
    stop.set()
    feeder.join()


def test_sending_to_who_does_not_read_ends_with_the_deadline(ends: tuple[AttachedStream, socket.socket]) -> None:
    stream, _ = ends
    stream.within(0.1)
    with pytest.raises(TimeoutError):
        stream.send(b"x" * (64 << 20))


def test_sending_to_who_left_fails_at_once(ends: tuple[AttachedStream, socket.socket]) -> None:
    stream, engine = ends
    engine.shutdown(socket.SHUT_WR)
    with pytest.raises(ConnectionError):
        stream.send(b"x" * (64 << 20))


def test_waking_ends_the_wait_of_who_waits(ends: tuple[AttachedStream, socket.socket]) -> None:
    stream, _ = ends
    threading.Timer(0.1, stream.wake).start()
    assert stream.receive(1) == b""
