"""Extraction of programs from hostile text, in a worker process that can be killed.

The calling process never parses what a model wrote. The worker has bounded memory, and bounded CPU time for each text;
where it dies of one, a fresh worker tries that text once more, and then the text holds no program: a bad text is data.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Self

from rlcode.errors import ExtractionError
from rlcode.extraction import MAX_CHARACTERS, NoCode, too_long
from rlcode.types import Answer, Program

_GUEST = Path(__file__).with_name("extraction_guest.py")
_START_SECONDS = 60.0
_BATCH = 32
_LOST = Program(None, f"{NoCode.FAILED}: the text exhausts the parser's time or memory, or breaks it")


class Extractor:
    """Takes programs out of completions. Safe to call from several threads; use it as a context manager or `close` it.

    Args:
        max_characters: longer texts hold no program (`Program.how` says so).
        cpu_seconds: CPU time that one text may take. What decides is CPU time, so a busy machine changes nothing.
        wall_seconds: when to give up a worker that does not answer at all (it was stopped, say).
        memory_mb: address space of the worker.
    """

    def __init__(
        self,
        *,
        max_characters: int = MAX_CHARACTERS,
        cpu_seconds: int = 2,
        wall_seconds: float = 60.0,
        memory_mb: int = 512,
    ) -> None:
        self._max_characters = max_characters
        self._command = [sys.executable, "-I", "-S", str(_GUEST), str(cpu_seconds), str(memory_mb)]
        self._wall_seconds = wall_seconds
        self._lock = threading.Lock()
        self._worker: subprocess.Popen[str] | None = None

    def extract(self, answer: Answer) -> Program:
        """The program in an answer.

        Raises:
            ExtractionError: the worker can't be started at all.
        """
        return self._batch([answer])[0]

    def extract_many(self, answers: Iterable[Answer]) -> Iterator[Program]:
        """Yield the program of each answer, in order; faster than one by one. `answers` is read in batches."""
        stream = iter(answers)
        while batch := list(itertools.islice(stream, _BATCH)):
            yield from self._batch(batch)

    def _batch(self, answers: list[Answer]) -> list[Program]:
        refusals = [too_long(answer.text, self._max_characters) for answer in answers]
        requests = [_request(answer) for answer, refusal in zip(answers, refusals, strict=True) if not refusal]
        found = iter(self._answers(requests))
        return [refusal or next(found) for refusal in refusals]

    def _answers(self, requests: list[dict[str, Any]]) -> list[Program]:
        with self._lock:
            together = self._ask(requests) if requests else []
            if together is not None:
                return together
            # one of them ended the worker: each gets a try of its own
            return [(self._ask([request]) or [_LOST])[0] for request in requests]

    def close(self) -> None:
        """End the worker. Can be called twice; a later `extract` starts a new one."""
        with self._lock:
            self._stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _ask(self, requests: list[dict[str, Any]]) -> list[Program] | None:
        """The worker's answers, or None if it died of a request."""
        worker = self._worker or self._start()
        reply = _exchange(worker, requests, self._wall_seconds)
        if reply is None:
            self._stop()
            return None
        return [Program(source, how) for source, how in reply]

    def _start(self) -> subprocess.Popen[str]:
        # a session of its own: Ctrl-C in the terminal is the caller's to handle
        worker = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="ascii",
            start_new_session=True,
        )
        self._worker = worker
        if _exchange(worker, None, _START_SECONDS) != "ready":
            self._stop()
            raise ExtractionError(
                f"the extraction worker does not start; its error output is above. Command: {' '.join(self._command)}"
            )
        return worker

    def _stop(self) -> None:
        worker, self._worker = self._worker, None
        if worker:
            worker.kill()
            worker.communicate()


def _request(answer: Answer) -> dict[str, Any]:
    return {
        "text": answer.text,
        "prompt": answer.problem.prompt,
        "entry_point": answer.problem.entry_point,
        "declares": answer.problem.declares,
        "prompt_is_code": answer.problem.prompt_is_code,
        "kinds": sorted({test.kind for test in answer.problem.tests}),
        "trim": answer.cut_off,
    }


def _exchange(worker: subprocess.Popen[str], request: Any, seconds: float) -> Any:
    """Send `request`, where there is one, and return what the worker answers; None if it died or is out of time."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    watchdog = threading.Timer(seconds, worker.kill)
    watchdog.start()
    try:
        if request is not None:
            worker.stdin.write(json.dumps(request) + "\n")
            worker.stdin.flush()
        line = worker.stdout.readline()
    except BrokenPipeError:
        return None
    finally:
        watchdog.cancel()
    return json.loads(line) if line.endswith("\n") else None
