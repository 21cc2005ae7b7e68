"""The local worker: it works for any user, ends with its host, and leaves nothing behind."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlcode.errors import DataError, SandboxError, SandboxUnavailableError
from rlcode.types import Limits, Program, Verdict
from sandbox import local
from sandbox.guest import wire
from sandbox.keeper import CONTROL, request_for
from sandbox.local import LocalWorker, local_available
from sandbox.pool import open_sandbox
from sandbox.protocol import Job
from sandbox.worker import WorkerLost
from tests.sandbox.programs import asserts

ROOT = Path(__file__).resolve().parents[2]
LOOP = Job(asserts("assert f(1)"), Program("def f(x):\n    while True: pass", "test"), Limits(time_s=60.0))
# A host process that judges something endless and says when it has begun.
HOST = """
import sys, threading
sys.path.insert(0, {root!r})
from sandbox.keeper import request_for
from sandbox.local import LocalWorker
from tests.sandbox.test_local import LOOP
worker = LocalWorker()
worker.start()
print(worker._process.pid, flush=True)
worker.ask(request_for(1, LOOP), 100)
"""


@pytest.fixture
def worker() -> Iterator[LocalWorker]:
    started = LocalWorker()
    started.start()
    yield started
    started.kill()


def family(group: int) -> list[int]:
    """Living processes that a judge with this process group has started, and itself."""
    parents: dict[int, int] = {}
    found = set()
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                fields = Path(f"/proc/{name}/stat").read_text(errors="replace").rpartition(")")[2].split()
            except OSError:
                continue
            if fields[0] not in "ZX":
                parents[int(name)] = int(fields[1])
                if int(fields[2]) == group:
                    found.add(int(name))
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return sorted(found)


def wait_until_gone(processes: list[int], seconds: float) -> list[int]:
    """Those of the processes that still live after this time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        processes = [pid for pid in processes if is_alive(pid)]
        if not processes:
            break
        time.sleep(0.02)
    return processes


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_the_control_program_passes(worker: LocalWorker) -> None:
    answer = worker.ask(request_for(3, CONTROL), 30)
    assert answer["id"] == 3
    assert answer["verdict"]["error_type"] is None
    assert answer["anomaly"] is None


def test_several_requests_come_in_one_frame_and_a_slow_program_holds_up_none_after_it(worker: LocalWorker) -> None:
    several = [request_for(number, CONTROL) for number in range(4)]
    answers = worker.ask({"requests": several}, 30)["answers"]
    assert [answer["id"] for answer in answers] == list(range(4))[: len(answers)]
    assert all(answer["verdict"]["tests_passed"] == 1 for answer in answers)
    slow = Job(
        asserts("assert f(1) == 1"), Program("import time\ntime.sleep(0.3)\ndef f(x): return x", "test"), Limits()
    )
    answers = worker.ask({"requests": [request_for(7, slow), *several]}, 30)["answers"]
    assert [answer["id"] for answer in answers] == [7]


def test_tests_that_can_not_be_run_are_an_error_of_the_problem(worker: LocalWorker) -> None:
    bad = Job(asserts("assert True"), Program("def f(x): return x", "test"), Limits())
    assert "no assert" in worker.ask(request_for(1, bad), 30)["error"]
    unknown = Job(asserts("assert f(1) == nobody_knows"), Program("def f(x): return x", "test"), Limits())
    assert "nobody_knows" in worker.ask(request_for(2, unknown), 30)["error"]
    assert worker.ask(request_for(3, CONTROL), 30)["verdict"]["error_type"] is None


def test_a_worker_that_is_too_slow_is_lost_and_kill_leaves_nothing() -> None:
    worker = LocalWorker()
    worker.start()
    assert worker._process is not None
    with pytest.raises(WorkerLost, match=r"in time|timed out"):
        worker.ask(request_for(1, LOOP), 1.0)
    processes = family(worker._process.pid)
    assert len(processes) >= 4  # judge, launcher, fork server, program
    worker.kill()
    worker.kill()
    assert not wait_until_gone(processes, 2)
    with pytest.raises(WorkerLost):
        worker.ask(request_for(1, CONTROL), 1.0)


def test_a_judge_that_is_killed_takes_all_with_it() -> None:
    worker = LocalWorker()
    worker.start()
    assert worker._process is not None
    with pytest.raises(WorkerLost):
        worker.ask(request_for(1, LOOP), 0.5)
    processes = family(worker._process.pid)
    os.kill(worker._process.pid, signal.SIGKILL)
    worker._process.wait()
    assert not wait_until_gone(processes, 5)
    worker.kill()


def test_a_host_that_is_killed_leaves_nothing_running() -> None:
    command = [sys.executable, "-c", HOST.format(root=str(ROOT))]
    host = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert host.stdout is not None
    group = int(host.stdout.readline())
    time.sleep(0.5)
    processes = family(group)
    assert len(processes) >= 4
    host.kill()
    host.wait()
    assert not wait_until_gone(processes, 10)


def test_a_user_without_rights_can_run_it(tmp_path: Path) -> None:
    python = "/usr/bin/python3"
    if os.geteuid() != 0 or not shutil.which("setpriv") or not os.path.exists(python):
        pytest.fail("this test needs root, setpriv and a python3 that everyone may run")
    for package in ("rlcode", "sandbox", "tests"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(["chmod", "-R", "a+rX", tmp_path], check=True)
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(folder.stat().st_mode | 0o055)
    code = (
        "from sandbox.keeper import CONTROL, request_for\nfrom sandbox.local import LocalWorker\nimport os\n"
        "w = LocalWorker(); w.start(); a = w.ask(request_for(1, CONTROL), 30); w.kill()\n"
        "print(os.geteuid(), a['verdict']['error_type'], a['verdict']['tests_passed'])"
    )
    drop = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    ran = subprocess.run([*drop, python, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert ran.stdout.split() == ["65534", "None", "1"], ran.stderr


def test_where_it_can_not_run_the_reason_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert local_available() is None
    monkeypatch.setattr(local, "_interpreter", lambda: "/bin/false")
    local_available.cache_clear()
    try:
        with pytest.raises(SandboxUnavailableError, match="user namespaces"):
            local.open_check()
        with pytest.raises(SandboxError, match="did not start"):
            LocalWorker().start()
    finally:
        local_available.cache_clear()


def test_tests_that_can_not_be_run_leave_no_descriptors_open(worker: LocalWorker) -> None:
    assert worker._process is not None
    resource.prlimit(worker._process.pid, resource.RLIMIT_NOFILE, (64, 64))
    bad = Job(asserts("import no_such\nassert f(1) == 1"), Program("def f(x): return 1", "test"), Limits())
    for number in range(40):
        assert "ModuleNotFoundError" in worker.ask(request_for(number, bad), 20)["error"]
    assert worker.ask(request_for(99, CONTROL), 20)["verdict"]["error_type"] is None


def test_tests_that_no_frame_holds_are_the_problems_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_FRAME", 5000)
    program = Program("def f(x): return x", "test")
    with open_sandbox("local", workers=1) as sandbox:
        with pytest.raises(DataError, match="asserts can't be judged: its tests and the program take 5,"):
            list(sandbox.judge([Job(asserts(f"assert f({'1' * 5000})"), program, Limits())]))
        (verdict,) = sandbox.judge([CONTROL])
        assert isinstance(verdict, Verdict)
        assert verdict.passed


def test_tests_throw_the_same_dice_for_every_program() -> None:
    test = "import random\nassert f(random.random(), *{'a', 'b', 'c', 'd'}) == 1"
    job = Job(asserts(test), Program("def f(*thrown): return thrown", "test"), Limits())
    said = set()
    for _ in range(2):
        with open_sandbox("local", workers=1) as sandbox:
            said |= {verdict.detail for verdict in sandbox.judge([job, job])}
    assert len(said) == 1
