"""One sandbox for several processes: what a client gets is what the sandbox says, and no end of either side hangs the
other."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rlcode.errors import DataError, SandboxError
from rlcode.types import ErrorType, Limits, Problem, Program, TestCase, TestKind, Verdict
from sandbox import service
from sandbox.cache import open_cache
from sandbox.pool import WorkerPool, open_sandbox
from sandbox.protocol import Job
from sandbox.service import SandboxClient, SandboxService
from tests.sandbox.fleet import PASSED, FakeWorker, Fleet, eventually, job, pool

ROOT = Path(__file__).resolve().parents[2]


def stdout_of_source(worker: FakeWorker, source: str) -> dict[str, Any]:
    return {"verdict": {**PASSED, "stdout": source}}


class Blocking:
    """Workers that judge nothing until they are let."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.judged: list[str] = []

    def __call__(self, worker: FakeWorker, source: str) -> dict[str, Any]:
        self.judged.append(source)
        assert self.release.wait(60)
        return stdout_of_source(worker, source)


@contextmanager
def serving(fleet: Fleet, **options: Any) -> Iterator[tuple[WorkerPool, SandboxService, SandboxClient]]:
    with (
        pool(fleet, **options) as sandbox,
        SandboxService(sandbox) as shared,
        SandboxClient(shared.address) as client,
    ):
        yield sandbox, shared, client


def outputs(sandbox: SandboxClient, sources: list[str]) -> list[str]:
    return [verdict.stdout for verdict in sandbox.judge(map(job, sources)) if isinstance(verdict, Verdict)]


def test_several_clients_get_the_verdicts_of_their_own_jobs_in_order() -> None:
    with pool(Fleet(stdout_of_source), workers=3) as sandbox, SandboxService(sandbox) as shared:

        def ask(client: int) -> bool:
            sources = [f"{client}/{number}" for number in range(500)]
            with SandboxClient(shared.address) as mine:
                return outputs(mine, sources) == sources

        with ThreadPoolExecutor(4) as threads:
            assert all(threads.map(ask, range(4)))


def test_a_client_says_what_the_sandbox_behind_it_is() -> None:
    with serving(Fleet(), workers=3) as (_, _, client):
        assert (client.backend, client.image_digest, client.workers) == ("fake", "sha256:1", 3)


def test_nobody_else_may_enter_the_directory_of_the_socket_and_nothing_of_it_stays() -> None:
    with pool(Fleet()) as sandbox:
        with SandboxService(sandbox) as shared:
            directory = Path(shared.address).parent
            assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        assert not directory.exists()


def test_a_program_that_two_clients_have_under_way_is_judged_once(tmp_path: Path) -> None:
    blocking = Blocking()
    with (
        open_cache(tmp_path / "cache") as cache,
        serving(Fleet(blocking), workers=2, cache=cache) as (_, shared, one),
        SandboxClient(shared.address) as other,
    ):
        futures = [client.submit(job("x = 2")) for client in (one, other)]
        assert cache is not None
        assert eventually(lambda: cache.shared == 1)
        blocking.release.set()
        assert [future.result(30).stdout for future in futures] == ["x = 2"] * 2
    assert blocking.judged == ["x = 2"]


def test_a_problem_that_can_not_be_judged_is_the_error_that_it_is_without_a_service() -> None:
    def refuse(worker: FakeWorker, source: str) -> dict[str, Any]:
        return {"error": "the tests do not compile"}

    with serving(Fleet(refuse)) as (_, _, client), pytest.raises(DataError, match="the tests do not compile"):
        list(client.judge([job("x = 1")]))


def test_a_job_that_is_cancelled_before_a_worker_took_it_is_not_judged() -> None:
    blocking = Blocking()
    with serving(Fleet(blocking)) as (_sandbox, _shared, client):
        first = client.submit(job("first"))
        assert eventually(lambda: blocking.judged == ["first"])
        second, third = client.submit(job("second")), client.submit(job("third"))
        assert second.cancel()
        client.submit(job(None)).result(30)  # whatever was sent before it has arrived
        blocking.release.set()
        assert third.result(30).stdout == "third"
        assert first.result(30).stdout == "first"
    assert blocking.judged == ["first", "third"]


def test_a_client_that_leaves_takes_its_waiting_jobs_along_and_disturbs_no_other() -> None:
    blocking = Blocking()
    with serving(Fleet(blocking)) as (sandbox, shared, stays):
        with SandboxClient(shared.address) as leaves:
            under_way = stays.submit(job("under way"))
            assert eventually(lambda: blocking.judged == ["under way"])
            abandoned = [leaves.submit(job(f"abandoned {number}")) for number in range(5)]
            leaves.submit(job(None)).result(30)
        assert all(future.cancelled() for future in abandoned)
        with pytest.raises(SandboxError, match="closed"):
            leaves.submit(job("late"))
        assert eventually(lambda: not any(task.is_wanted() for task in sandbox._queue))
        blocking.release.set()
        assert stays.submit(job("after")).result(30).stdout == "after"
        assert under_way.result(30).stdout == "under way"
    assert blocking.judged == ["under way", "after"]


def test_when_the_service_is_closed_whoever_waits_gets_an_error() -> None:
    blocking = Blocking()
    with serving(Fleet(blocking)) as (_sandbox, shared, client):
        future = client.submit(job("x = 1"))
        shared.close()
        with pytest.raises(SandboxError, match="is gone"):
            future.result(30)
        with pytest.raises(SandboxError, match="is gone"):
            client.submit(job("x = 2"))
        blocking.release.set()


def test_when_the_sandbox_is_closed_whoever_waits_is_told() -> None:
    blocking = Blocking()
    with serving(Fleet(blocking)) as (sandbox, _shared, client):
        client.submit(job("first"))
        assert eventually(lambda: blocking.judged == ["first"])
        queued = client.submit(job("second"))
        closing = threading.Thread(target=sandbox.close)
        closing.start()
        assert eventually(lambda: sandbox._is_closed)
        blocking.release.set()
        with pytest.raises((CancelledError, SandboxError)):
            queued.result(30)
        closing.join()
        late = client.submit(job("third"))
        with pytest.raises(SandboxError, match="closed"):
            late.result(30)


def test_no_service_at_an_address_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match=r"no sandbox service answers at .*nobody"):
        SandboxClient(str(tmp_path / "nobody"))


SERVE = """
import sys
from sandbox import service
from sandbox.pool import open_sandbox
from sandbox.service import SandboxService

service.BEAT_S = 0.2
with open_sandbox("local", 1) as sandbox, SandboxService(sandbox) as shared:
    print(shared.address, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def process() -> Iterator[subprocess.Popen[str]]:
    """Another process that serves a real sandbox."""
    line = [sys.executable, "-c", SERVE]
    with subprocess.Popen(line, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as serving:
        yield serving
        serving.kill()


def address_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def program(body: str) -> Job:
    test = TestCase(TestKind.ASSERTS, code="assert f() == 1")
    return Job(Problem("t/1", "", (test,), entry_point="f"), Program(f"def f():\n    {body}\n", "fence"), Limits())


def test_verdicts_of_another_process_are_those_of_a_sandbox_of_ones_own(process: subprocess.Popen[str]) -> None:
    jobs = [program(body) for body in ("return 1", "return 2", "return one", "import os; os._exit(0)")]
    with SandboxClient(address_of(process)) as client, open_sandbox("local", 1) as own:
        errors = [verdict.error_type for verdict in client.judge(jobs)]
        assert errors == [verdict.error_type for verdict in own.judge(jobs)]
        assert errors[:3] == [None, ErrorType.WRONG_ANSWER, ErrorType.NAME]


def test_when_the_process_of_the_service_is_killed_whoever_waits_gets_an_error(process: subprocess.Popen[str]) -> None:
    with SandboxClient(address_of(process)) as client:
        slow = client.submit(program("while True: pass"))
        time.sleep(0.2)
        os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(SandboxError, match=rf"sandbox service \(process {process.pid} of this machine\) is gone"):
            slow.result(30)


def test_a_service_that_stops_answering_is_lost_after_a_bounded_time(
    process: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "SILENCE_S", 3.0)
    with SandboxClient(address_of(process)) as client:
        time.sleep(3.5)  # there is nothing to judge, and it is there all the same
        assert client.submit(program("return 1")).result(30).error_type is None
        os.kill(process.pid, signal.SIGSTOP)
        with pytest.raises(SandboxError, match="said nothing for 3 s"):
            client.submit(program("return 1")).result(60)
