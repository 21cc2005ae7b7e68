"""A benchmark of three tasks, and a sandbox that reads its verdict off the program."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Self

import pytest

from rlcode.types import ErrorType, Unscored, Verdict
from sandbox.protocol import Job


class ScriptedSandbox:
    """`pass` in the source's last line passes, `lost` is unscored, anything else is a wrong answer."""

    backend = "scripted"
    image_digest = "sha256:0"
    workers = 1

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.closed = False

    def submit(self, job: Job) -> Future[Verdict | Unscored]:
        self.jobs.append(job)
        future: Future[Verdict | Unscored] = Future()
        future.set_result(self._outcome(job))
        return future

    def judge(self, jobs: Iterable[Job]) -> Iterator[Verdict | Unscored]:
        return (self.submit(job).result() for job in jobs)

    def _outcome(self, job: Job) -> Verdict | Unscored:
        if job.program.source is None:
            return Verdict(ErrorType.NO_CODE, 0, 0, detail=job.program.how)
        last = job.program.source.strip().rpartition("\n")[2]
        if "lost" in last:
            return Unscored("the engine is gone")
        if "pass" in last:
            return Verdict(None, 3, 3, time_s=0.1)
        return Verdict(ErrorType.WRONG_ANSWER, 1, 3, exception="AssertionError", line=4, first_failing_test="check")

    def close(self) -> None:
        self.closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> ScriptedSandbox:
    """The sandbox that `rlcode eval` opens."""
    scripted = ScriptedSandbox()
    monkeypatch.setattr("sandbox.pool.open_sandbox", lambda *arguments, **options: scripted)
    return scripted


@pytest.fixture
def lines(tmp_path: Path) -> Callable[..., Path]:
    """Write rows to a file and return its path."""

    def write(name: str, *rows: Any) -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path

    return write


@pytest.fixture
def benchmark_file(lines: Callable[..., Path]) -> Path:
    """Three tasks `T/0`, `T/1`, `T/2` in HumanEval's format."""
    return lines(
        "benchmark.jsonl",
        *(
            {
                "task_id": f"T/{number}",
                "prompt": f'def f{number}(x):\n    """ Say {number}. """\n',
                "entry_point": f"f{number}",
                "canonical_solution": f"    return {number}\n",
                "test": f"def check(candidate):\n    assert candidate(0) == {number}\n",
            }
            for number in range(3)
        ),
    )
