"""Containers of the sandbox: shut in as promised, never left behind, never sharing a user id."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from typing import Any

import docker
import pytest
from docker.models.containers import Container

from rlcode.errors import ConfigError, SandboxError, SandboxUnavailableError
from rlcode.types import ErrorType, Limits, Problem, Program, TestCase, TestKind, Unscored, Verdict
from sandbox import image as images
from sandbox import losses, owners, pool
from sandbox.docker import (
    DockerSandbox,
    DockerWorker,
    UidSpace,
    remove_leftovers,
)
from sandbox.keeper import CONTROL, request_for
from sandbox.protocol import Job
from sandbox.worker import WorkerLost
from tests.sandbox.fleet import eventually

CHECK = TestCase(TestKind.CHECK, code="def check(candidate):\n    assert candidate() == 1\n")
PROBLEM = Problem("test/1", "", (CHECK,), entry_point="f")


@pytest.fixture
def worker(engine: docker.DockerClient) -> Iterator[DockerWorker]:
    started = DockerWorker(engine, images.find(engine), UidSpace.of(engine))
    started.start()
    yield started
    started.kill()


def containers(engine: docker.DockerClient, owner: str | None = None) -> list[Container]:
    """Containers of one owner (this process by default), whatever their state."""
    label = f"{owners.OWNER_LABEL}={owner or owners.labels()[owners.OWNER_LABEL]}"
    return engine.containers.list(all=True, filters={"label": label}, ignore_removed=True)


def kill_running(engine: docker.DockerClient) -> None:
    """Kill the containers of this process."""
    for container in containers(engine):
        with contextlib.suppress(docker.errors.APIError):  # it ended meanwhile, or did not begin yet
            container.kill()


def uid_range(container: Container) -> range:
    command = " ".join(container.attrs["Config"]["Cmd"])
    found = re.search(r"--uid_base (\d+) --uid_count (\d+)", command)
    assert found, command
    first, count = map(int, found.groups())
    return range(first, first + count)


def program(body: str, limits: Limits | None = None) -> Job:
    """A job whose program runs `body` and then returns what the test wants."""
    source = "def f():\n" + textwrap.indent(textwrap.dedent(body), "    ") + "\n    return 1\n"
    return Job(PROBLEM, Program(source, "test"), limits or Limits())


def judged(sandbox: DockerSandbox, *jobs: Job) -> list[Verdict]:
    results = list(sandbox.judge(jobs))
    assert not [result for result in results if isinstance(result, Unscored)]
    return [result for result in results if isinstance(result, Verdict)]


def printed(sandbox: DockerSandbox, body: str) -> str:
    (verdict,) = judged(sandbox, program(body))
    assert verdict.passed, (verdict.error_type, verdict.detail)
    return verdict.stdout.strip()


# What a container is allowed, from the outside.


def test_the_engine_was_told_to_shut_the_container_in(engine: docker.DockerClient, worker: DockerWorker) -> None:
    attributes = engine.containers.get(worker.container_id).attrs
    host = attributes["HostConfig"]
    expected = {
        "NetworkMode": "none",
        "ReadonlyRootfs": True,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges"],
        "IpcMode": "none",
        "Privileged": False,
        "Binds": None,
        "AutoRemove": True,
        "PidsLimit": 256,
        "Memory": 1536 << 20,
        "MemorySwap": 1536 << 20,
        "NanoCpus": 10**9,
        "UsernsMode": "",
        "PidMode": "",
    }
    assert {key: host[key] for key in expected} == expected
    assert {name.removeprefix("CAP_") for name in host["CapAdd"]} == {"SETUID", "SETGID", "KILL"}
    assert host["LogConfig"]["Type"] == "none"
    assert set(host["Sysctls"]) == {"kernel.shmmni", "kernel.msgmni", "kernel.sem", "fs.mqueue.queues_max"}
    assert {"noexec", "nosuid", "nodev", "mode=0711"} <= set(host["Tmpfs"]["/w"].split(","))
    assert not attributes["Mounts"] or [mount["Destination"] for mount in attributes["Mounts"]] == ["/w"]
    assert attributes["Config"]["StdinOnce"]
    assert attributes["Image"] == images.find(engine)


# What a container is allowed, from the inside.


@pytest.fixture(scope="module")
def sandbox(engine: docker.DockerClient) -> Iterator[DockerSandbox]:
    with DockerSandbox(1) as opened:
        yield opened


REACH = """
import socket
print(*[name for _, name in socket.if_nameindex()])
for address in ("172.17.0.1", "169.254.169.254", "8.8.8.8"):
    try:
        socket.create_connection((address, 80), timeout=1)
        print("connected")
    except OSError as error:
        print(error.errno)
"""


def test_even_root_in_a_container_reaches_no_network(engine: docker.DockerClient, worker: DockerWorker) -> None:
    found = engine.containers.get(worker.container_id).exec_run(["python3", "-c", REACH])
    assert found.output.split() == [b"lo", b"101", b"101", b"101"]


def test_a_program_has_no_sockets(sandbox: DockerSandbox) -> None:
    (verdict,) = judged(sandbox, program(REACH))
    assert (verdict.error_type, verdict.exception) == (ErrorType.OS, "PermissionError")


def test_a_program_writes_nowhere_but_in_its_own_folder(sandbox: DockerSandbox) -> None:
    found = printed(
        sandbox,
        """
        import os
        open("mine", "w").write("x")
        written = []
        for folder in ["/w"] + [where for where, _, _ in os.walk("/") if not where.startswith(("/proc", "/sys"))]:
            if folder == os.getcwd():
                continue
            try:
                open(os.path.join(folder, "left-behind"), "w")
                written.append(folder)
            except OSError:
                pass
        print(os.path.dirname(os.getcwd()), written)
        """,
    )
    assert found == "/w []"


def test_a_program_has_no_rights_and_gains_none(sandbox: DockerSandbox) -> None:
    found = printed(
        sandbox,
        """
        status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
        print(*[int(status[key], 16) for key in ("CapInh", "CapPrm", "CapEff", "CapAmb")])
        print(status["NoNewPrivs"].strip(), status["Seccomp"].strip())
        """,
    )
    assert found.split() == ["0", "0", "0", "0", "1", "2"]


def test_a_program_finds_no_shared_memory_and_no_queue(sandbox: DockerSandbox) -> None:
    found = printed(
        sandbox,
        """
        import ctypes, os
        libc = ctypes.CDLL(None)
        print(libc.shmget(0, 4096, 0o1600), libc.msgget(0, 0o1600), libc.semget(0, 1, 0o1600))
        print(os.path.exists("/dev/shm"), os.path.exists("/var/run/docker.sock"))
        """,
    )
    assert found.split() == ["-1", "-1", "-1", "False", "False"]


def test_a_program_has_a_user_id_of_its_containers_range(engine: docker.DockerClient, sandbox: DockerSandbox) -> None:
    seen = [int(printed(sandbox, "import os; print(os.getuid())")) for _ in range(5)]
    ranges = [uid_range(container) for container in containers(engine)]
    assert len(set(seen)) == len(seen)
    assert all(any(uid in one for one in ranges) for uid in seen)


def test_a_program_may_use_the_memory_that_its_limits_give_even_above_the_usual(sandbox: DockerSandbox) -> None:
    takes = program("kept = b'x' * (1600 << 20)")
    roomy = Job(takes.problem, takes.program, Limits(memory_mb=2048))
    too_much, enough = judged(sandbox, takes, roomy)
    assert too_much.error_type is ErrorType.MEMORY
    assert enough.passed, enough.detail


def test_more_processes_than_a_container_has_are_refused(sandbox: DockerSandbox) -> None:
    with pytest.raises(ConfigError, match=r"limits\.processes"):
        judged(sandbox, program("pass", Limits(processes=10_000)))


def test_a_verdict_names_the_image(engine: docker.DockerClient, sandbox: DockerSandbox) -> None:
    (verdict,) = judged(sandbox, program("pass"))
    assert (verdict.backend, verdict.image_digest) == ("docker", images.find(engine))


# Nothing is left behind.


HOST = """
import os, signal, sys
from sandbox.docker import DockerSandbox
from sandbox.keeper import CONTROL
from sandbox import owners
sandbox = DockerSandbox(2)
for verdict in sandbox.judge([CONTROL] * 8):
    assert verdict.passed, verdict
print(owners.labels()[owners.OWNER_LABEL], flush=True)
sys.stdin.read()
{ending}
"""


def host_process(ending: str = "sandbox.close()") -> subprocess.Popen[str]:
    code = HOST.format(ending=ending)
    return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def owner_of(host: subprocess.Popen[str]) -> str:
    assert host.stdout is not None
    owner = host.stdout.readline().strip()
    assert owner, "the host process did not come up"
    return owner


def end(host: subprocess.Popen[str]) -> None:
    host.communicate(timeout=60)


def test_closing_leaves_no_container(engine: docker.DockerClient) -> None:
    # a process of its own: a sandbox of this one may be starting a spare container just now
    host = host_process("sandbox.close(); print('closed', flush=True); signal.pause()")
    owner = owner_of(host)
    assert len(containers(engine, owner)) == 2
    assert host.stdin is not None
    assert host.stdout is not None
    host.stdin.close()
    assert host.stdout.readline() == "closed\n"
    assert not containers(engine, owner)
    host.kill()
    host.wait(timeout=60)


@pytest.mark.parametrize("ending", ["os.kill(os.getpid(), signal.SIGKILL)", "os._exit(1)", "sys.exit(0)", "1 / 0"])
def test_containers_end_with_their_host_however_it_ends(engine: docker.DockerClient, ending: str) -> None:
    host = host_process(ending)
    owner = owner_of(host)
    assert containers(engine, owner)
    end(host)
    assert eventually(lambda: not containers(engine, owner))


def test_containers_end_with_a_host_that_dies_while_a_program_runs(engine: docker.DockerClient) -> None:
    host = host_process("list(sandbox.judge([CONTROL] * 10**6))")
    owner = owner_of(host)
    assert host.stdin is not None
    host.stdin.close()
    time.sleep(0.3)
    host.send_signal(signal.SIGKILL)
    host.wait(timeout=60)
    assert eventually(lambda: not containers(engine, owner))


def never_started(engine: docker.DockerClient, labels: dict[str, str], index: int) -> Container:
    """What a host leaves that dies between making a container and starting it."""
    space = UidSpace.of(engine)
    return engine.containers.create(
        images.find(engine), ["true"], name=f"rlcode-uids-{space.ranges - 1 - index}", labels=labels, auto_remove=True
    )


def test_leftovers_of_dead_processes_are_removed_and_of_others_are_not(engine: docker.DockerClient) -> None:
    mine = owners.labels()
    gone = subprocess.Popen(["true"])
    gone.wait()
    dead = never_started(engine, {**mine, owners.OWNER_LABEL: f"{gone.pid}-1"}, 0)
    reused = never_started(engine, {**mine, owners.OWNER_LABEL: f"{os.getpid()}-1"}, 1)
    alive = never_started(engine, mine, 2)
    elsewhere = never_started(engine, {owners.OWNER_LABEL: f"{gone.pid}-1", owners.HOST_LABEL: "another/1"}, 3)
    foreign = engine.containers.create(images.find(engine), ["true"])
    try:
        assert remove_leftovers(engine) >= 2
        left = {container.id for container in engine.containers.list(all=True, sparse=True)}
        assert {alive.id, elsewhere.id, foreign.id} <= left
        assert not {dead.id, reused.id} & left
    finally:
        for container in (alive, elsewhere, foreign):
            container.remove(force=True)


# User ids.


def test_two_hosts_at_once_share_no_user_id(engine: docker.DockerClient) -> None:
    hosts = [host_process(), host_process()]
    found = [container for host in hosts for container in containers(engine, owner_of(host))]
    for host in hosts:
        end(host)
    assert len(found) >= 2
    ranges = [uid_range(container) for container in found]
    for one, other in itertools.combinations(ranges, 2):
        assert one.stop <= other.start or other.stop <= one.start


def test_workers_that_start_at_the_same_moment_get_ranges_of_their_own(engine: docker.DockerClient) -> None:
    workers = [DockerWorker(engine, images.find(engine), UidSpace.of(engine)) for _ in range(6)]
    threads = [threading.Thread(target=worker.start) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        ranges = [uid_range(engine.containers.get(worker.container_id)) for worker in workers]
        assert len({one.start for one in ranges}) == len(workers)
    finally:
        for worker in workers:
            worker.kill()


def test_a_range_that_another_process_took_meanwhile_is_left_to_it(
    engine: docker.DockerClient, worker: DockerWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = int(engine.containers.get(worker.container_id).name.rpartition("-")[2])
    second = DockerWorker(engine, images.find(engine), UidSpace.of(engine))
    monkeypatch.setattr(UidSpace, "free", lambda self, client: iter([held]))
    with pytest.raises(SandboxError, match=r"all \d+ ranges of user ids"):
        second.start()
    monkeypatch.setattr(UidSpace, "free", lambda self, client: iter([held, held + 100]))
    second.start()
    other = engine.containers.get(second.container_id)
    second.kill()
    assert other.name == f"rlcode-uids-{held + 100}"


def test_an_engine_that_maps_user_ids_gets_a_space_that_fits() -> None:
    class Mapped:
        def info(self) -> dict[str, Any]:
            return {"SecurityOptions": ["name=seccomp,profile=default", "name=rootless"]}

    space = UidSpace.of(Mapped())  # type: ignore[arg-type]
    assert space.base(space.ranges - 1) + space.count <= 1 << 16


BOMB = program("import os\nwhile True:\n    os.fork()", Limits(time_s=0.5, processes=200))
FORKS = program(
    """
    import os
    for _ in range(10):
        pid = os.fork()
        if pid == 0:
            os._exit(0)
    for _ in range(10):
        os.wait()
    """
)


def test_hosts_that_come_bomb_and_die_disturb_nobody_else_on_the_engine(engine: docker.DockerClient) -> None:
    code = "from sandbox.docker import DockerSandbox\nfrom tests.sandbox.test_docker import BOMB\n"
    code += "sandbox = DockerSandbox(1)\nfor _ in sandbox.judge([BOMB] * 10**6):\n    print('judged', flush=True)"
    with DockerSandbox(1) as sandbox:
        mine = judged(sandbox, FORKS)
        for _ in range(2):
            bomber = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
            assert bomber.stdout is not None
            assert bomber.stdout.readline().strip() == "judged"
            mine += judged(sandbox, *[FORKS] * 10)
            bomber.kill()
            bomber.communicate()
            remove_leftovers(engine)
        mine += judged(sandbox, FORKS)
    assert all(verdict.passed for verdict in mine), [verdict.detail for verdict in mine if not verdict.passed]
    assert len(mine) == 22


# Faults.


def test_a_container_that_is_killed_is_a_lost_worker(engine: docker.DockerClient, worker: DockerWorker) -> None:
    engine.containers.get(worker.container_id).kill()
    with pytest.raises(WorkerLost):
        worker.ask(request_for(1, CONTROL), 30)


def test_the_loss_of_a_container_that_was_told_to_die_is_known_to_come_from_outside(
    engine: docker.DockerClient, worker: DockerWorker
) -> None:
    engine.containers.get(worker.container_id).kill()
    with pytest.raises(WorkerLost) as raised:
        worker.ask(request_for(1, CONTROL), 30)
    assert raised.value.from_outside


def test_the_loss_of_a_container_whose_judge_ends_by_itself_is_not(
    engine: docker.DockerClient, worker: DockerWorker
) -> None:
    kill_all_else = "import os, signal; os.kill(-1, signal.SIGKILL)"  # without its fork server a judge gives up
    engine.containers.get(worker.container_id).exec_run(["python3", "-c", kill_all_else])
    with pytest.raises(WorkerLost) as raised:
        worker.ask(request_for(1, CONTROL), 30)
    assert not raised.value.from_outside


def test_a_container_that_the_engine_has_forgotten_was_lost_with_the_engine(engine: docker.DockerClient) -> None:
    forgotten = Container(attrs={"Id": "f" * 64}, client=engine)
    assert losses.was_killed(engine, forgotten)


def test_programs_are_not_blamed_for_containers_that_are_killed_with_them(engine: docker.DockerClient) -> None:
    waits = program("import time; time.sleep(0.8)")
    stop = threading.Event()

    def kill_now_and_then() -> None:
        while not stop.wait(0.5):
            kill_running(engine)

    killer = threading.Thread(target=kill_now_and_then)
    with DockerSandbox(1) as sandbox:
        results = sandbox.judge([program("pass"), waits, waits])
        next(results)
        killer.start()
        threading.Timer(4.0, stop.set).start()
        rest = list(results)
        stop.set()
        killer.join()
    assert all(isinstance(result, Verdict) and result.passed for result in rest), rest


def test_a_container_that_does_not_answer_is_a_lost_worker_and_is_removed(
    engine: docker.DockerClient, worker: DockerWorker
) -> None:
    name = worker.container_id
    engine.containers.get(name).pause()
    started = time.monotonic()
    with pytest.raises(WorkerLost, match="no answer within 1 s") as raised:
        worker.ask(request_for(1, CONTROL), 1.0)
    assert raised.value.from_outside  # it was paused
    assert time.monotonic() - started < 5
    worker.kill()
    assert name not in [container.id for container in containers(engine)]


def test_a_container_that_could_answer_and_does_not_was_not_frozen(worker: DockerWorker) -> None:
    loop = program("while True: pass", Limits(time_s=60.0))
    with pytest.raises(WorkerLost, match="no answer within 1 s") as raised:
        worker.ask(request_for(1, loop), 1.0)
    assert not raised.value.from_outside


def test_the_pool_goes_on_when_containers_are_killed_under_it(engine: docker.DockerClient) -> None:
    with DockerSandbox(2) as sandbox:
        results = sandbox.judge(program("pass") for _ in range(300))
        first = next(results)
        kill_running(engine)
        rest = list(results)
    assert all(isinstance(result, Verdict) and result.passed for result in [first, *rest])


def test_a_worker_can_be_killed_twice_and_before_it_started(engine: docker.DockerClient) -> None:
    worker = DockerWorker(engine, images.find(engine), UidSpace.of(engine))
    worker.kill()
    with pytest.raises(WorkerLost, match="not running"):
        worker.ask(request_for(1, CONTROL), 1)
    worker.start()
    worker.kill()
    worker.kill()


def test_an_image_that_is_no_judge_does_not_start_and_leaves_nothing(
    engine: docker.DockerClient, base_image: str
) -> None:
    before = {container.id for container in containers(engine)}
    with pytest.raises(SandboxError, match=r"did not start.*guest"):
        DockerWorker(engine, engine.images.get(base_image).id, UidSpace.of(engine)).start()
    assert {container.id for container in containers(engine)} == before


def test_a_large_program_gets_through(sandbox: DockerSandbox) -> None:
    padded = "# " + "x" * (8 << 20) + "\n" + (program("pass").program.source or "")
    (verdict,) = judged(sandbox, Job(PROBLEM, Program(padded, "test"), Limits()))
    assert verdict.passed, verdict.detail


def test_a_large_program_for_a_dead_container_does_not_wait_for_the_watchdog(
    engine: docker.DockerClient, worker: DockerWorker
) -> None:
    engine.containers.get(worker.container_id).kill()
    request = request_for(1, Job(PROBLEM, Program("#" * (8 << 20), "test"), Limits()))
    started = time.monotonic()
    with pytest.raises(WorkerLost):
        worker.ask(request, 60)
    assert time.monotonic() - started < 10


# What the user is told.


def test_a_missing_engine_is_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    with pytest.raises(SandboxUnavailableError, match="DOCKER_HOST") as raised:
        pool.open_sandbox("docker")
    assert raised.value.exit_code == 2
    assert "unix:///nowhere/docker.sock" in str(raised.value)


def test_auto_takes_docker_where_it_can(engine: docker.DockerClient) -> None:
    with pool.open_sandbox("auto", workers=1) as opened:
        assert opened.backend == "docker"


def test_auto_without_the_image_goes_local_and_names_the_command(
    engine: docker.DockerClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    local = object()
    monkeypatch.setattr(pool, "_open_local", lambda *arguments: local)
    assert pool.open_sandbox("auto", image="rlcode-nothing:1") is local
    assert "rlcode sandbox build --tag rlcode-nothing:1" in caplog.text


def test_where_nothing_works_both_reasons_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_local(*arguments: object) -> None:
        raise SandboxUnavailableError("no user namespaces; run sysctl")

    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    monkeypatch.setattr(pool, "_open_local", no_local)
    with pytest.raises(SandboxUnavailableError, match=r"(?s)DOCKER_HOST.*run sysctl.*rlcode doctor"):
        pool.open_sandbox("auto")


def test_labels_are_plain_enough_for_a_filter() -> None:
    assert re.fullmatch(r"\d+-\d+", owners.labels()[owners.OWNER_LABEL])
    assert json.dumps(owners.labels()).isascii()
