"""One sandbox for several processes of a machine: the first one opens and serves it, the others are its clients.

Both sides are processes of one run and one user. They talk through a Unix socket in a directory that nobody else may
enter, and send pickles of our own types; of a program and its output these hold text alone, so nothing that a model
wrote decides what is unpickled.
"""

from __future__ import annotations

import itertools
import os
import pickle
import queue
import socket
import tempfile
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

from rlcode.errors import RlcodeError, SandboxError
from sandbox.ordered import Result, judge_in_order, settle
from sandbox.pool import QUEUED_PER_WORKER
from sandbox.protocol import Job, Sandbox

BEAT_S = 5.0
"""A service says so often that it is alive."""
SILENCE_S = 300.0
"""A service that says nothing for so long is lost."""

_LOST = (OSError, EOFError, pickle.UnpicklingError)


@dataclass(frozen=True)
class _Hello:
    """The first thing that a client hears."""

    backend: str
    image_digest: str
    workers: int
    pid: int


class _Channel:
    """A connected socket on which pickles go both ways; one thread reads, any may write. Who waits for the other side
    longer than `timeout_s` (None: as long as it takes) gets a TimeoutError."""

    def __init__(self, connection: socket.socket, timeout_s: float | None) -> None:
        connection.settimeout(timeout_s)
        self._connection = connection
        self._source = connection.makefile("rb")
        self._writing = threading.Lock()

    def send(self, message: Any) -> None:
        frame = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        with self._writing:
            self._connection.sendall(frame)

    def receive(self) -> Any:
        return pickle.load(self._source)

    def hang_up(self) -> None:
        """Wake whoever reads or writes at either end. Can be called twice."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._source.close()
        self._connection.close()


class SandboxService:
    """Lends `sandbox`, which stays the caller's to close, to other processes of this machine and user."""

    def __init__(self, sandbox: Sandbox) -> None:
        """
        Raises:
            SandboxError: there can't be a socket in the directory for temporary files.
        """
        self._sandbox = sandbox
        self._directory = tempfile.TemporaryDirectory(prefix="rlcode-sandbox-")  # mode 0700
        self.address = str(Path(self._directory.name) / "socket")
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.bind(self.address)
            self._socket.listen(64)
        except OSError as error:
            self._socket.close()
            self._directory.cleanup()
            raise SandboxError(
                f"no socket for the sandbox service at {self.address}: {error}; let TMPDIR name another directory, "
                "with a short path"
            ) from error
        self._is_closed = False
        self._guests: list[_Guest] = []
        self._accepting = threading.Thread(target=self._accept, name="sandbox-service", daemon=True)
        self._accepting.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            if self._is_closed:
                connection.close()
                return
            self._guests.append(_Guest(self._sandbox, _Channel(connection, None)))

    def close(self) -> None:
        """Hang up on all clients, which get a SandboxError. Can be called twice."""
        if self._is_closed:
            return
        self._is_closed = True
        with suppress(OSError), socket.socket(socket.AF_UNIX) as caller:
            caller.connect(self.address)  # wakes `_accept`
        self._accepting.join()
        self._socket.close()
        for guest in self._guests:
            guest.close()
        self._directory.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class _Guest:
    """A client as the service sees it: a thread that takes its jobs, and one that sends what came of them, so that no
    worker of the sandbox waits for a client that does not read."""

    def __init__(self, sandbox: Sandbox, channel: _Channel) -> None:
        self._sandbox = sandbox
        self._channel = channel
        self._judging: dict[int, Future[Result]] = {}
        self._outbox: queue.SimpleQueue[tuple[int, Result | BaseException | None] | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=work, name="sandbox-service", daemon=True) for work in (self._read, self._write)
        ]
        for thread in self._threads:
            thread.start()

    def _read(self) -> None:
        with suppress(*_LOST):
            while True:
                self._take(*self._channel.receive())
        for future in list(self._judging.values()):
            future.cancel()
        self._outbox.put(None)

    def _take(self, number: int, job: Job | None) -> None:
        """Submit a job; None cancels the one that has the number."""
        if job is None:
            if number in self._judging:
                self._judging[number].cancel()
            return
        try:
            future = self._sandbox.submit(job)
        except RlcodeError as error:
            self._outbox.put((number, error))
            return
        self._judging[number] = future
        future.add_done_callback(partial(self._finished, number))

    def _finished(self, number: int, future: Future[Result]) -> None:
        self._judging.pop(number, None)
        if future.cancelled():
            self._outbox.put((number, None))
        else:
            self._outbox.put((number, future.exception() or future.result()))

    def _write(self) -> None:
        sandbox = self._sandbox
        with suppress(*_LOST):
            self._channel.send(_Hello(sandbox.backend, sandbox.image_digest, sandbox.workers, os.getpid()))
            while (answers := self._answers()) is not None:
                self._channel.send(answers)
        self._channel.hang_up()

    def _answers(self) -> list[tuple[int, Any]] | None:
        """All that is there to be sent, after a wait of `BEAT_S` at most; None: it is over."""
        answers = []
        with suppress(queue.Empty):
            answer = self._outbox.get(timeout=BEAT_S)
            while answer is not None:
                answers.append((answer[0], _portable(answer[1])))
                answer = self._outbox.get_nowait()
            return None
        return answers

    def close(self) -> None:
        self._channel.hang_up()
        for thread in self._threads:
            thread.join()
        self._channel.close()


def _portable(outcome: Result | BaseException | None) -> Result | BaseException | None:
    """Errors of ours arrive as they are; of any other, which may not be fit for a pickle, what it says."""
    if isinstance(outcome, BaseException) and not isinstance(outcome, RlcodeError):
        return SandboxError(f"the sandbox service failed on a job: {outcome!r}")
    return outcome


class SandboxClient:
    """A sandbox (`sandbox.protocol`) that another process of this machine serves."""

    def __init__(self, address: str) -> None:
        """Connect to the service at `address`.

        Raises:
            SandboxError: it does not answer.
        """
        connection = socket.socket(socket.AF_UNIX)
        self._channel = _Channel(connection, SILENCE_S)
        try:
            connection.connect(address)
            hello = self._channel.receive()
        except _LOST as error:
            self._channel.close()
            raise SandboxError(f"no sandbox service answers at {address}: {error}") from error
        self.backend: str = hello.backend
        self.image_digest: str = hello.image_digest
        self.workers: int = hello.workers
        self._address = address
        self._service = f"the sandbox service (process {hello.pid} of this machine)"
        self._numbers = itertools.count()
        self._waiting: dict[int, Future[Result]] = {}
        self._end: str | None = None
        """Why nothing can be judged any more."""
        self._ending = threading.Lock()
        self._reading = threading.Thread(target=self._read, name="sandbox-client", daemon=True)
        self._reading.start()

    def submit(self, job: Job) -> Future[Result]:
        """See `sandbox.protocol.Sandbox.submit`."""
        future: Future[Result] = Future()
        number = next(self._numbers)
        with self._ending:
            if self._end is not None:
                raise SandboxError(self._end)
            self._waiting[number] = future
        try:
            self._channel.send((number, job))
        except OSError as error:
            self._finish_all(f"{self._service} is gone: {error}")
            raise SandboxError(str(self._end)) from error
        future.add_done_callback(partial(self._give_up, number))
        return future

    def judge(self, jobs: Iterable[Job]) -> Iterator[Result]:
        """See `sandbox.protocol.Sandbox.judge`."""
        return judge_in_order(jobs, self.submit, QUEUED_PER_WORKER * self.workers)

    def close(self) -> None:
        """Hang up; the sandbox goes on for others. What was still waited for is cancelled. Can be called twice."""
        waiting = self._no_more("the sandbox is closed")
        for future in waiting:
            future.cancel()
        self._channel.hang_up()
        self._reading.join()
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[type[SandboxClient], tuple[str]]:
        """In another process it is a client of its own."""
        return SandboxClient, (self._address,)

    def _give_up(self, number: int, future: Future[Result]) -> None:
        if future.cancelled() and self._waiting.pop(number, None) is not None:
            with suppress(OSError):
                self._channel.send((number, None))

    def _read(self) -> None:
        try:
            while True:
                for number, outcome in self._channel.receive():
                    self._finish(number, outcome)
        except TimeoutError:
            self._finish_all(f"{self._service} said nothing for {SILENCE_S:.0f} s")
        except _LOST:
            self._finish_all(f"{self._service} is gone; what ended it is in what that process said last")

    def _finish(self, number: int, outcome: Result | BaseException | None) -> None:
        future = self._waiting.pop(number, None)
        if future is None:
            return
        if outcome is None:
            future.cancel()
        else:
            settle(future, outcome)

    def _finish_all(self, reason: str) -> None:
        for future in self._no_more(reason):
            settle(future, SandboxError(reason))

    def _no_more(self, reason: str) -> list[Future[Result]]:
        """Take no more jobs, and give those to come that nobody will bring."""
        with self._ending:
            self._end = self._end or reason
            waiting = list(self._waiting.values())
            self._waiting.clear()
        return waiting
