"""The sandbox that everyone uses: several workers of one backend behind the contract of `sandbox.protocol`."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Self

from rlcode.errors import ConfigError, SandboxError, SandboxUnavailableError
from rlcode.types import ErrorType, Limits, Verdict
from sandbox.cache import VerdictCache, key_of
from sandbox.image import DEFAULT_IMAGE
from sandbox.keeper import MOST_AT_ONCE, RECYCLE_AFTER, Judgement, Keeper
from sandbox.ordered import Result, judge_in_order, settle
from sandbox.protocol import Job, Sandbox
from sandbox.spare import Spare
from sandbox.worker import Worker

log = logging.getLogger(__name__)

BACKENDS = ("auto", "docker", "local")
QUEUED_PER_WORKER = 2 * MOST_AT_ONCE
"""Jobs of one caller that are queued or running, for each worker: enough that no worker waits for the caller."""


@dataclass
class _Task:
    """A job that waits for a worker, its key in the cache, and those who wait for its result."""

    job: Job
    key: bytes | None
    waiters: list[Future[Result]]
    queued_at: float = field(default_factory=time.monotonic)

    def is_wanted(self) -> bool:
        return not all(future.cancelled() for future in self.waiters)


class WorkerPool:
    """Judges with `workers` workers at once; each is made by `make_worker`, for the limits that first need it."""

    def __init__(
        self,
        make_worker: Callable[[Limits], Worker],
        workers: int,
        *,
        backend: str,
        image_digest: str = "",
        runs_in: str = "",
        cache: VerdictCache | None = None,
        start_ahead: bool = False,
        recycle_after: int = RECYCLE_AFTER,
        backoff_s: float = 0.25,
    ) -> None:
        """`runs_in` names for the cache what programs run in, where there is no image. `start_ahead`: once workers
        need replacement, the next one is started in the background."""
        if workers < 1:
            raise ConfigError(f"a sandbox needs at least one worker, not {workers}")
        self.backend = backend
        self.image_digest = image_digest
        self.workers = workers
        self._runs_in = runs_in or image_digest
        self._cache = cache
        self._spare = Spare(make_worker) if start_ahead else None
        self._keepers = [
            Keeper(
                make_worker,
                backend=backend,
                image_digest=image_digest,
                spare=self._spare,
                recycle_after=recycle_after,
                backoff_s=backoff_s,
            )
            for _ in range(workers)
        ]
        self._idle = list(self._keepers)
        self._queue: deque[_Task] = deque()
        self._waited = (0, 0.0)
        self._under_way: dict[bytes, _Task] = {}
        self._is_closed = False
        self._running = 0  # threads that work the queue off, or are about to
        self._taking = threading.Lock()
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix=f"sandbox-{backend}")

    def judge(self, jobs: Iterable[Job]) -> Iterator[Result]:
        """See `sandbox.protocol.Sandbox.judge`; further raises DataError for a problem whose tests can't be run."""
        return judge_in_order(jobs, self.submit, QUEUED_PER_WORKER * self.workers)

    def submit(self, job: Job) -> Future[Result]:
        """See `sandbox.protocol.Sandbox.submit`. With a cache, only what is neither known nor under way is judged."""
        if job.program.source is None:
            return _known(self._no_code(job))
        if self._cache is None:
            return self._enqueue(job, None)
        key = key_of(job, self.backend, self._runs_in)
        with self._taking:
            twin = self._join_twin(key)
        if twin is not None:
            return twin
        if (verdict := self._cache.get(key)) is not None:
            return _known(verdict)
        return self._enqueue(job, key)

    @property
    def waited(self) -> tuple[int, float]:
        """How many jobs a worker took so far, and how many seconds they waited for one in all."""
        with self._taking:
            return self._waited

    def close(self) -> None:
        """Stop all workers and leave nothing behind; whoever still judges gets a SandboxError. Can be called twice."""
        with self._taking:
            self._is_closed = True
        self._stop_all()  # wakes the threads that wait for an answer
        if self._spare is not None:
            self._spare.close()
        self._threads.shutdown(wait=True, cancel_futures=True)
        while self._queue:
            for future in self._queue.popleft().waiters:
                future.cancel()
        self._stop_all()  # a worker that was being started meanwhile

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _join_twin(self, key: bytes) -> Future[Result] | None:
        """The result to come of an equal job that is under way, if there is one. Call it with the lock held."""
        task = self._under_way.get(key)
        if task is None or not task.is_wanted():
            return None
        future: Future[Result] = Future()
        task.waiters.append(future)
        if self._cache is not None:
            self._cache.count_shared()
        return future

    def _enqueue(self, job: Job, key: bytes | None) -> Future[Result]:
        future: Future[Result] = Future()
        task = _Task(job, key, [future])
        with self._taking:
            if self._is_closed:
                raise SandboxError("the sandbox is closed")
            if key is not None:
                if (twin := self._join_twin(key)) is not None:  # of another thread, since `submit` looked
                    return twin
                self._under_way[key] = task
            self._queue.append(task)
            self._wake_thread()
        return future

    def _wake_thread(self) -> None:
        """Have one thread more work the queue off, if there is one and we are open. Call it with the lock held."""
        if self._running < self.workers and not self._is_closed:
            self._threads.submit(self._work_off)
            self._running += 1

    def _work_off(self) -> None:
        """Judge what is first in the queue, until nothing is left."""
        while True:
            with self._taking:
                first = None if self._is_closed else self._first()
                if first is None:
                    self._running -= 1
                    return
                keeper = self._take(first.job.limits)
                tasks = self._first_tasks(keeper.at_once)
            self._judge_some(keeper, tasks)

    def _judge_some(self, keeper: Keeper, tasks: list[_Task]) -> None:
        try:
            try:
                judgements = keeper.judge([task.job for task in tasks])
            finally:
                self._idle.append(keeper)
            for task, judgement in zip(tasks, judgements, strict=False):
                self._note(task, judgement)
            self._put_back(tasks[len(judgements) :])
        except BaseException as error:  # noqa: BLE001  whatever it was: somebody waits for each result
            for task in tasks:
                self._finish(task, error)

    def _first(self) -> _Task | None:
        """The first of the queue that somebody still waits for."""
        while self._queue and not self._queue[0].is_wanted():
            self._queue.popleft()
        return self._queue[0] if self._queue else None

    def _first_tasks(self, most: int) -> list[_Task]:
        """Take the first of the queue, and those with the same limits after it; most are left to the other workers."""
        most = min(most, 1 + len(self._queue) // (2 * self.workers))
        tasks = [self._queue.popleft()]
        while len(tasks) < most and (next_one := self._first()) and next_one.job.limits == tasks[0].job.limits:
            tasks.append(self._queue.popleft())
        now, (jobs, seconds) = time.monotonic(), self._waited
        self._waited = jobs + len(tasks), seconds + sum(now - task.queued_at for task in tasks)
        return tasks

    def _put_back(self, tasks: list[_Task]) -> None:
        with self._taking:
            self._queue.extendleft(reversed(tasks))
            for task in tasks:
                task.queued_at = time.monotonic()  # it waits a second time
                self._wake_thread()

    def _note(self, task: _Task, judgement: Judgement) -> None:
        result = judgement.result
        if self._cache is not None and task.key is not None and judgement.is_clean and isinstance(result, Verdict):
            self._cache.put(task.key, result)
        self._finish(task, result)

    def _finish(self, task: _Task, result: Result | BaseException) -> None:
        with self._taking:  # from now on no twin joins
            if task.key is not None and self._under_way.get(task.key) is task:
                del self._under_way[task.key]
        for future in task.waiters:
            settle(future, result)

    def _take(self, limits: Limits) -> Keeper:
        """An idle keeper, which there is since they are as many as the threads: one whose worker suits, else one
        without a worker, else the one that was used last."""
        idle = self._idle
        best = max(range(len(idle)), key=lambda place: (idle[place].suits(limits), idle[place].is_vacant, place))
        return idle.pop(best)

    def _no_code(self, job: Job) -> Verdict:
        return Verdict(
            ErrorType.NO_CODE,
            tests_passed=0,
            tests_total=0,
            detail=job.program.how,
            backend=self.backend,
            image_digest=self.image_digest,
            limits=job.limits,
            forgeable=job.problem.forgeable,
        )

    def _stop_all(self) -> None:
        """Stop the workers side by side: to remove a container takes a while."""
        threads = [threading.Thread(target=keeper.stop) for keeper in self._keepers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def _known(result: Result) -> Future[Result]:
    future: Future[Result] = Future()
    future.set_result(result)
    return future


def certain_backends(name: str) -> list[str]:
    """The backends that one of `BACKENDS` may stand for: all for `auto`."""
    return [backend for backend in BACKENDS if backend != "auto"] if name == "auto" else [name]


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0))


def open_sandbox(
    backend: str = "auto",
    workers: int | None = None,
    image: str = DEFAULT_IMAGE,
    cache: VerdictCache | None = None,
) -> Sandbox:
    """A sandbox with `workers` workers (by default one for each usable core); close it, or use it in a `with`.

    `docker` needs an engine and the image of `rlcode sandbox build`, `local` needs user namespaces. `auto` takes
    Docker where it can and says so in the log where it can't. With a `cache`, which stays the caller's to close, no
    job is judged that was judged before, and of equal jobs that are under way only one.

    Raises:
        ConfigError: there is no such backend, or less than one worker was asked for.
        SandboxUnavailableError: this machine can't run it; the message names the command that would change that.
    """
    count = usable_cores() if workers is None else workers
    if backend == "docker":
        return _open_docker(count, image, cache)
    if backend == "local":
        return _open_local(count, cache)
    if backend == "auto":
        return _open_any(count, image, cache)
    raise ConfigError(f"no sandbox backend {backend!r}; known: {', '.join(BACKENDS)}")


def _open_any(workers: int, image: str, cache: VerdictCache | None) -> Sandbox:
    try:
        return _open_docker(workers, image, cache)
    except SandboxUnavailableError as error:
        no_docker = error
    try:
        sandbox = _open_local(workers, cache)
    except SandboxUnavailableError as no_local:
        raise SandboxUnavailableError(
            f"no sandbox can run here. Docker: {no_docker}. Local: {no_local}. See `rlcode doctor`"
        ) from no_local
    log.warning("judging in the local sandbox instead of Docker: %s", no_docker)
    return sandbox


def _open_docker(workers: int, image: str, cache: VerdictCache | None) -> Sandbox:
    from sandbox.docker import DockerSandbox  # here, so that the local backend does without the SDK

    return DockerSandbox(workers, image, cache)


def _open_local(workers: int, cache: VerdictCache | None) -> Sandbox:
    from sandbox.local import LocalWorker, open_check, runs_in

    open_check()
    return WorkerPool(
        lambda limits: LocalWorker(), workers, backend="local", runs_in=runs_in(), cache=cache, start_ahead=True
    )
