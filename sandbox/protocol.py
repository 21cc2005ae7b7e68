"""What a sandbox is: jobs in, verdicts out. Every backend keeps this contract."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol, Self

from rlcode.types import Limits, Problem, Program, Unscored, Verdict


@dataclass(frozen=True)
class Job:
    """A program to be judged against the tests of a problem, within limits."""

    problem: Problem
    program: Program
    limits: Limits


class Sandbox(Protocol):
    """A pool of isolated workers that judge programs.

    A bad program is data: whatever it does, it gets a `Verdict`. A broken sandbox is an error: it is retried with
    a bound, and what stays without a verdict comes back as `Unscored`, never as a failure.
    """

    backend: str
    """`docker` or `local`."""
    image_digest: str
    """What the programs ran in; empty where there is no image."""
    workers: int

    def submit(self, job: Job) -> Future[Verdict | Unscored]:
        """Queue one job and give its result to come. One that is cancelled before a worker took it is not judged.

        How many are queued is the caller's to bound. The result raises what `judge` raises, and CancelledError when the
        sandbox is closed. Safe to call from several threads at once.

        Raises:
            SandboxError: the sandbox is closed.
        """
        ...

    def judge(self, jobs: Iterable[Job]) -> Iterator[Verdict | Unscored]:
        """Yield one result for each job, in the order of the jobs, while later ones run.

        `jobs` is consumed only as workers become free, so a long stream needs little memory. Safe to call from
        several threads at once.

        Raises:
            SandboxError: the sandbox can't be kept alive at all (the engine is gone, say).
        """
        ...

    def close(self) -> None:
        """Stop all workers and leave nothing behind. Can be called twice."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...
