"""What keeps a run's vLLM servers going, shown with servers that are a few lines: they end however the run does."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sampling import server_keeper
from tests.sandbox.fleet import eventually

LISTENS = """
import os, socket, subprocess, sys
here = sys.argv[1]
core = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])  # as vLLM has one
open(here, "a").write(f"{os.getpid()} {core.pid}\\n")
with socket.create_server(("127.0.0.1", int(sys.argv[2]))) as server:
    while True:
        server.accept()[0].close()
"""
DIES = "import sys; sys.exit(3)"

RUN = """
import json, os, subprocess, sys, time
keeper = subprocess.Popen([sys.executable, "-P", sys.argv[1]], stdin=subprocess.PIPE, text=True)
json.dump({"parent": os.getpid(), "servers": json.loads(sys.argv[2])}, keeper.stdin)
keeper.stdin.close()
print(keeper.pid, flush=True)
sys.exit(keeper.wait())
"""


class Run:
    """A process that has a keeper, with one server."""

    def __init__(self, directory: Path, code: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.started = directory / "started"
        self.started.touch()
        arguments = [sys.executable, "-c", code, str(self.started), str(self.port)]
        server = {"arguments": arguments, "environment": dict(os.environ), "log": str(directory / "log")}
        servers = json.dumps([{**server, "port": self.port}])
        line = [sys.executable, "-c", RUN, server_keeper.__file__, servers]
        self.process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.keeper = int(self.process.stdout.readline())

    def starts(self) -> list[list[int]]:
        """The processes of each start of the server."""
        return [[int(pid) for pid in line.split()] for line in self.started.read_text().splitlines()]

    def kill_server(self) -> list[int]:
        """Kill the server of the last start, once the keeper has seen it up."""
        time.sleep(4 * server_keeper.LOOK_S)
        os.kill(self.starts()[-1][0], signal.SIGKILL)
        return self.starts()[-1]

    def is_up(self, starts: int = 1) -> bool:
        with socket.socket() as caller:
            return len(self.starts()) == starts and caller.connect_ex(("127.0.0.1", self.port)) == 0


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    run = Run(tmp_path, LISTENS)
    assert eventually(run.is_up)
    yield run
    run.process.kill()
    run.process.communicate()


@pytest.mark.parametrize("victim", ["run", "keeper"])
def test_a_kill_of_the_run_or_of_the_keeper_ends_the_server_with_all_its_processes(run: Run, victim: str) -> None:
    (pids,) = run.starts()
    assert all(map(running, pids))
    os.kill(run.process.pid if victim == "run" else run.keeper, signal.SIGKILL)
    left = pids if victim == "run" else pids[:1]  # without its keeper a server can only die by itself
    assert eventually(lambda: not any(map(running, left)))
    for pid in filter(running, pids):
        os.kill(pid, signal.SIGKILL)


def test_the_end_of_the_keeper_is_the_end_of_the_server(run: Run) -> None:
    (pids,) = run.starts()
    os.kill(run.keeper, server_keeper.END)
    assert run.process.wait(30) == 0
    assert not any(map(running, pids))


def test_a_signal_that_a_batch_system_sends_to_all_processes_leaves_the_server_to_the_run(run: Run) -> None:
    (pids,) = run.starts()
    for number in (signal.SIGTERM, signal.SIGINT):
        os.kill(run.keeper, number)
    time.sleep(4 * server_keeper.LOOK_S)
    assert all(map(running, pids))
    assert run.process.poll() is None


def test_a_server_that_is_killed_is_started_again_with_nothing_left_of_it(run: Run) -> None:
    first = run.kill_server()
    assert eventually(lambda: run.is_up(starts=2))
    assert not any(map(running, first))


def test_a_server_that_dies_again_and_again_is_given_up(run: Run) -> None:
    for starts in range(1, server_keeper.MOST_RESTARTS + 2):
        assert eventually(lambda starts=starts: run.is_up(starts))
        run.kill_server()
    assert run.process.wait(30) == 1
    assert run.process.stderr is not None
    assert f"ended {server_keeper.MOST_RESTARTS + 1} times, at last with -9" in run.process.stderr.read()


def test_a_server_that_never_comes_up_ends_all_at_once(tmp_path: Path) -> None:
    run = Run(tmp_path, DIES)
    _, said = run.process.communicate(timeout=30)
    assert run.process.returncode == 1
    assert "it ended with 3 before it was up" in said
