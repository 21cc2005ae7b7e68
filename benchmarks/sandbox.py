"""What a verdict costs: CPU time per program in each sandbox, against the least that running a program can cost.

The limit is a warm interpreter that forks, compiles, executes and exits, with no isolation and no verdict, measured
with the same interpreter as the sandbox beside it. CPU time, not wall time: a container gets a scheduling share of its
own, so wall time flatters it on a busy machine. All systems take turns within each round, and a round's ratio compares
neighbours in time.

Beside them run what people use instead (`benchmarks.peers`), on fewer programs where they are slow; how many verdicts a
second real programs of a model get, with and without the cache; and what a container and queued jobs hold in memory.

Run: python -m benchmarks.sandbox --data FOLDER [--rounds 7] [--json FILE]
"""

from __future__ import annotations

import argparse
import ast
import gzip
import io
import itertools
import json
import platform
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

import docker
from rich.console import Console
from rich.table import Table

from benchmarks import peers
from benchmarks.measuring import spread
from benchmarks.queued_jobs import KINDS, memory_of_queued_jobs
from rlcode.data.registry import load_problems
from rlcode.run_directory import write_json
from rlcode.types import Limits, Problem, Program, Verdict
from sandbox import cpu_meter
from sandbox.cache import VerdictCache, open_cache
from sandbox.docker import connect
from sandbox.image import DEFAULT_IMAGE
from sandbox.keeper import CONTROL
from sandbox.pool import open_sandbox, usable_cores
from sandbox.protocol import Job, Sandbox

ENGINE_PROCESSES = ("dockerd", "containerd", "containerd-shim")
EVERY = {"docker exec": 8, "docker run": 16}
QUEUED = 100_000
PASSES = 5
"""Of a round over all programs, for the sandboxes and their limits: less than a second on the clock says little."""

# Reads [modules, sources]; prints the CPU and wall seconds that the sources took and how many failed.
BARE = """
import gc, json, os, resource, sys, time
modules, sources = json.load(open(sys.argv[1])) if len(sys.argv) > 1 else json.load(sys.stdin)
for name in modules:
    __import__(name)
gc.freeze()
def cpu():
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)
def run(source):
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1]
    status = 1
    try:
        exec(compile(source, "program", "exec"), {"__name__": "program"})
        status = 0
    finally:
        os._exit(status)
used, started = cpu(), time.monotonic()
failed = sum(run(source) != 0 for source in sources)
print(json.dumps([cpu() - used, time.monotonic() - started, failed]))
"""


@dataclass
class Measurement:
    """One system, round by round."""

    name: str
    limit: str
    """The bare system that it is compared with; its own name for a bare system."""
    programs: int
    """Run in each round."""
    workers_ms: list[float] = field(default_factory=list)
    """CPU time per program where the programs run."""
    host_ms: list[float] = field(default_factory=list)
    """In this process, which hands out jobs and reads verdicts."""
    engine_ms: list[float] = field(default_factory=list)
    """In the Docker engine, which carries the streams."""
    per_s: list[float] = field(default_factory=list)
    not_passed: int = 0

    @property
    def cpu_ms(self) -> list[float]:
        return [sum(parts) for parts in zip(self.workers_ms, self.host_ms, self.engine_ms, strict=True)]


@dataclass(frozen=True)
class Costs:
    """Seconds that a round took: processor time here and there, and on the clock."""

    workers: float
    host: float
    engine: float
    wall: float


Round = Callable[[], tuple[Costs, int]]
"""Runs all programs once; also gives how many did not pass."""


def main() -> None:
    arguments = parse_arguments()
    problems = load_problems("humaneval", arguments.data / "HumanEval.jsonl.gz")
    with ExitStack() as stack:
        systems = open_systems(stack, problems, arguments)
        measurements = measure(systems, arguments.rounds)
    report(measurements, arguments)
    figures = as_json(measurements, len(problems), arguments)
    if not arguments.costs_only:
        figures["real_programs"] = real_programs(problems, arguments)
        figures["memory"] = memory(arguments)
    if arguments.json:
        write_json(arguments.json, figures)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with HumanEval.jsonl.gz and the CodeGen file")
    parser.add_argument("--backends", nargs="+", default=["docker", "local"], choices=["docker", "local"])
    parser.add_argument("--peers", nargs="*", default=list(peers.NAMES), choices=peers.NAMES)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--workers", type=int, default=usable_cores())
    parser.add_argument("--costs_only", action="store_true", help="leave out real programs and memory")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    return parser.parse_args()


def open_systems(
    stack: ExitStack, problems: list[Problem], arguments: argparse.Namespace
) -> list[tuple[Measurement, Round]]:
    """The systems by turns: before each sandbox, the bare limit with its interpreter."""
    systems: list[tuple[Measurement, Round]] = []
    workers = arguments.workers
    for backend in arguments.backends:
        bare = f"bare, {backend}'s Python"
        programs = PASSES * len(problems)
        systems.append((Measurement(bare, bare, programs), bare_round(stack, backend, problems, workers)))
        sandbox = stack.enter_context(open_sandbox(backend, workers))
        systems.append((Measurement(backend, bare, programs), sandbox_round(sandbox, problems)))
    if arguments.peers:
        packages = peers.install(stack)
    for name in arguments.peers:
        limit = f"bare, {'docker' if name.startswith('docker') else 'local'}'s Python"
        systems.append(peer_system(stack, name, limit, packages, arguments))
    return systems


def measure(systems: list[tuple[Measurement, Round]], rounds: int) -> list[Measurement]:
    """Run each system once to warm it up, then `rounds` times by turns."""
    for number in range(rounds + 1):
        for measurement, run in systems:
            costs, not_passed = run()
            measurement.not_passed += not_passed
            programs = measurement.programs
            if number:
                measurement.workers_ms.append(1000 * costs.workers / programs)
                measurement.host_ms.append(1000 * costs.host / programs)
                measurement.engine_ms.append(1000 * costs.engine / programs)
                measurement.per_s.append(programs / costs.wall)
    return [measurement for measurement, _ in systems]


# The limit.


def bare_round(stack: ExitStack, backend: str, problems: list[Problem], workers: int) -> Round:
    """Rounds of the bare limit, in as many processes at once as the sandbox has workers."""
    sources = [bare_source(problem) for problem in problems] * PASSES
    modules = sorted(set(itertools.chain.from_iterable(map(imported, sources))))
    shares = [json.dumps([modules, sources[start::workers]]) for start in range(workers)]
    run_share = run_on_host
    if backend == "docker":
        client = connect()
        stack.callback(client.close)

        def run_share(share: str) -> str:
            return run_in_container(client, share)

    def run() -> tuple[Costs, int]:
        with ThreadPoolExecutor(workers) as threads:
            results = [json.loads(output.splitlines()[-1]) for output in threads.map(run_share, shares)]
        cpu_s, wall_s, failed = zip(*results, strict=True)
        return Costs(sum(cpu_s), 0.0, 0.0, max(wall_s)), sum(failed)

    return run


def bare_source(problem: Problem) -> str:
    """Program and tests in one, as a sandbox without isolation would run them."""
    (test,) = problem.tests
    return f"{problem.reference_solution}\n{test.code}\ncheck({problem.entry_point})\n"


def imported(source: str) -> Iterator[str]:
    """Modules that the program imports; a warm interpreter has them already."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def run_on_host(share: str) -> str:
    command = [sys.executable, "-c", BARE]
    return subprocess.run(command, input=share, capture_output=True, text=True, check=True).stdout


def run_in_container(client: docker.DockerClient, share: str) -> str:
    """The same in a plain container of the sandbox's image."""
    container = client.containers.create(
        DEFAULT_IMAGE, ["python3", "-c", BARE, "/share.json"], network_mode="none", entrypoint=[]
    )
    try:
        container.put_archive("/", archive("share.json", share.encode()))
        container.start()
        container.wait(timeout=600)
        return str(container.logs(stdout=True, stderr=False).decode())
    finally:
        container.remove(force=True)


def archive(name: str, data: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        entry = tarfile.TarInfo(name)
        entry.size = len(data)
        tar.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


# The sandboxes.


def sandbox_round(sandbox: Sandbox, problems: list[Problem]) -> Round:
    """Rounds of a sandbox."""
    jobs = [Job(problem, Program(problem.reference_solution, "reference"), Limits()) for problem in problems] * PASSES
    in_docker = sandbox.backend == "docker"
    workers_cpu = cpu_meter.workers_meter(sandbox.backend)

    def run() -> tuple[Costs, int]:
        others = workers_cpu(), engine_cpu() if in_docker else 0.0
        host, started = time.process_time(), time.monotonic()
        results = list(sandbox.judge(jobs))
        wall, host = time.monotonic() - started, time.process_time() - host
        workers, engine = workers_cpu() - others[0], (engine_cpu() if in_docker else 0.0) - others[1]
        passed = sum(isinstance(result, Verdict) and result.passed for result in results)
        return Costs(workers, host, engine, wall), len(results) - passed

    return run


def engine_cpu(*, with_children: bool = False) -> float:
    """CPU seconds of the engine's own processes, which carry the streams; none are seen where it is remote."""
    engine = [fields for _, name, fields in cpu_meter.processes() if name.startswith(ENGINE_PROCESSES)]
    return sum(cpu_meter.used_s(fields, with_children=with_children) for fields in engine)


# The peers.


def peer_system(
    stack: ExitStack, name: str, limit: str, packages: Path, arguments: argparse.Namespace
) -> tuple[Measurement, Round]:
    """A peer. Slow ones run every n-th program only; which these are matters little, their own cost is far greater."""
    with gzip.open(arguments.data / "HumanEval.jsonl.gz", "rt") as file:
        rows = [json.loads(line) for line in file][:: EVERY.get(name, 1)]
    peer = peers.Peer(name, rows, packages, DEFAULT_IMAGE)
    stack.callback(peer.close)

    def run() -> tuple[Costs, int]:
        engine = engine_cpu(with_children=True)
        found = peer.run()
        engine = engine_cpu(with_children=True) - engine if name.startswith("docker") else 0.0
        return Costs(found.cpu_s, 0.0, engine, found.wall_s), found.not_passed

    return Measurement(name, limit, len(rows)), run


# Programs that a model wrote.


def real_programs(problems: list[Problem], arguments: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Verdicts per second on 3,280 programs: each judged; twins judged once; all found in the cache."""
    by_id = {problem.task_id: problem for problem in problems}
    with gzip.open(arguments.data / "humaneval_codegen16b_n20.jsonl.gz", "rt") as file:
        rows = [json.loads(line) for line in file]
    jobs = [Job(by_id[row["task_id"]], Program(row["prompt"] + row["completion"], "sample"), Limits()) for row in rows]
    figures = {}
    table = Table(title=f"{len(jobs)} programs of CodeGen-16B, {arguments.workers} workers: verdicts per second")
    for heading in ("backend", "each judged", "twins once", "from the cache", "not judged again"):
        table.add_column(heading, justify="right")
    for backend in arguments.backends:
        with tempfile.TemporaryDirectory() as folder, open_cache(Path(folder) / "verdicts") as cache:
            found = {"each": rate(jobs, backend, arguments, None)}
            found |= {"twins once": rate(jobs, backend, arguments, cache)}
            found |= {"shared": (cache.hits + cache.shared) / len(jobs) if cache else 0.0}
            found |= {"cached": rate(jobs, backend, arguments, cache)}
        figures[backend] = found
        rates = [f"{found[key]:.0f}" for key in ("each", "twins once", "cached")]
        table.add_row(backend, *rates, f"{found['shared']:.0%}")
    Console(width=140).print(table)
    return figures


def rate(jobs: list[Job], backend: str, arguments: argparse.Namespace, cache: VerdictCache | None) -> float:
    """Verdicts per second."""
    with open_sandbox(backend, arguments.workers, cache=cache) as sandbox:
        list(sandbox.judge(jobs[:1]))
        started = time.monotonic()
        results = list(sandbox.judge(jobs))
        seconds = time.monotonic() - started
    assert all(isinstance(result, Verdict) for result in results)
    return len(jobs) / seconds


# Memory.


def memory(arguments: argparse.Namespace) -> dict[str, float]:
    """MiB of a container after a hundred programs, and of the host process with 100,000 jobs queued."""
    figures = {}
    if "docker" in arguments.backends:
        figures["container"] = container_mb()
    for kind in KINDS:
        figures[f"{QUEUED} jobs {kind}"] = memory_of_queued_jobs(QUEUED, kind)
    table = Table(title="Memory")
    table.add_column("what")
    table.add_column("MiB", justify="right")
    for what, size in figures.items():
        table.add_row(what, f"{size:.1f}")
    Console(width=140).print(table)
    return figures


def container_mb() -> float:
    """MiB that the kernel accounts to a container after a hundred programs, without the page cache."""
    client = connect()
    try:
        with open_sandbox("docker", 1) as sandbox:
            list(sandbox.judge([CONTROL] * 100))
            (container,) = cpu_meter.own_containers(client)
            found = container.stats(stream=False, one_shot=True)["memory_stats"]
            return (found["usage"] - found["stats"].get("inactive_file", 0)) / (1 << 20)
    finally:
        client.close()


# The report.


def ratios(measurement: Measurement, measurements: list[Measurement]) -> list[float]:
    """The limit's CPU time over the system's, round by round: 1.00 is the limit."""
    (limit,) = [other for other in measurements if other.name == measurement.limit]
    return [least / own for least, own in zip(limit.cpu_ms, measurement.cpu_ms, strict=True)]


def report(measurements: list[Measurement], arguments: argparse.Namespace) -> None:
    table = Table(title=f"HumanEval reference programs, {arguments.workers} workers, {arguments.rounds} rounds")
    table.add_column("system")
    for heading in (
        "CPU ms per program",
        "worker + host + engine",
        "ratio to bare",
        "programs per second",
        "programs",
        "not passed",
    ):
        table.add_column(heading, justify="right")
    for one in measurements:
        parts = " + ".join(f"{statistics.median(part):.2f}" for part in (one.workers_ms, one.host_ms, one.engine_ms))
        compared = spread(ratios(one, measurements), 2) if one.limit != one.name else "1.00"
        cpu_ms, per_s = spread(one.cpu_ms, 2), spread(one.per_s, 0)
        table.add_row(one.name, cpu_ms, parts, compared, per_s, str(one.programs), str(one.not_passed))
    Console(width=140).print(table)


def as_json(measurements: list[Measurement], programs: int, arguments: argparse.Namespace) -> dict[str, object]:
    return {
        "programs": programs,
        "workers": arguments.workers,
        "cores": usable_cores(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "image": DEFAULT_IMAGE,
        "systems": [{**asdict(one), "cpu_ms": one.cpu_ms, "ratio": ratios(one, measurements)} for one in measurements],
    }


if __name__ == "__main__":
    main()
