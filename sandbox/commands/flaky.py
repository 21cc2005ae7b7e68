"""`rlcode sandbox flaky`: judge programs several times, and name those whose verdict changes."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rlcode.data.lines import read_json_lines
from rlcode.errors import DataError, InputError
from rlcode.extraction_worker import Extractor
from rlcode.run_directory import write_json
from rlcode.types import Answer, Problem, Program
from sandbox.commands import problem_arguments
from sandbox.commands.run import add_backend
from sandbox.flaky import RUNS, Reruns, find_flaky
from sandbox.judging import extract_programs
from sandbox.pool import open_sandbox
from sandbox.protocol import Job
from sandbox.terminal import one_line, with_progress

HELP = """\
Judge each program several times and name those whose verdict (passed, or the error type) differs between runs: they
use time, randomness, threads or the addresses of objects, or are close to a limit. Ends with 1 if there is one.

FILE is a file of samples (its name ends with .jsonl or .jsonl.gz) with a row for each, `task_id` and `solution` or
`completion`, or else one program. Every run starts from the same hash seed.
"""
EXAMPLES = """\
examples:
  rlcode sandbox flaky samples.jsonl --benchmark humaneval --runs 10
  rlcode sandbox flaky samples.jsonl.gz --problem problems.jsonl --json flaky.json
  rlcode sandbox flaky answer.py --benchmark humaneval --task HumanEval/0
"""


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    raw = argparse.RawDescriptionHelpFormatter
    command = commands.add_parser(
        "flaky", help="find programs whose verdict changes", description=HELP, epilog=EXAMPLES, formatter_class=raw
    )
    command.add_argument("programs", type=Path, metavar="FILE", help="samples, or one program; - is one on stdin")
    command.add_argument("--runs", type=int, default=RUNS, help="how often each is judged (%(default)s)")
    command.add_argument("--workers", type=int, help="programs judged at once (default: one for each core)")
    command.add_argument("--json", type=Path, metavar="FILE", help="write all distributions to this file")
    add_backend(command)
    problem_arguments.add_problem(command)
    problem_arguments.add_limits(command)
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Judge, and show the programs whose verdict changed; 1 if there is one.

    Raises:
        InputError: what was given can't be used. SandboxError: the sandbox can't go on.
    """
    found: list[dict[str, Any]] = []
    with open_sandbox(arguments.backend, arguments.workers, arguments.image) as sandbox:
        named, jobs = itertools.tee(_named_jobs(arguments))
        reruns = find_flaky((job for _, job in jobs), sandbox, arguments.runs)
        for (name, _), result in with_progress(zip(named, reruns, strict=True)):
            found.append(_row(name, result))
    if arguments.json:
        write_json(arguments.json, {"runs": arguments.runs, "backend": sandbox.backend, "programs": found})
    _show(found, arguments.runs)
    return 1 if any(row["flaky"] for row in found) else 0


def _named_jobs(arguments: argparse.Namespace) -> Iterator[tuple[str, Job]]:
    """Each program with a name for people."""
    if arguments.programs.name.endswith((".jsonl", ".jsonl.gz")):
        return _sample_jobs(arguments)
    problem = problem_arguments.find_problem(arguments)
    if problem is None:
        raise InputError("one program needs its problem: --benchmark and --task, --problem, or --stdin and --expect")
    program = problem_arguments.read_program(arguments.programs)
    return iter([(str(arguments.programs), problem_arguments.job_for(problem, program, arguments))])


def _sample_jobs(arguments: argparse.Namespace) -> Iterator[tuple[str, Job]]:
    problems = problem_arguments.problems_by_name(arguments)
    with Extractor() as extractor:
        for name, program, problem in _programs(arguments.programs, problems, extractor):
            yield name, problem_arguments.job_for(problem, program, arguments)


def _programs(file: Path, problems: dict[str, Problem], extractor: Extractor) -> Iterator[tuple[str, Program, Problem]]:
    """The programs of a samples file, those of solutions as they are, those in completions extracted."""
    rows = (_sample(row, f"{file}, line {number}", problems) for number, row in read_json_lines(file))
    for is_solution, run_of_rows in itertools.groupby(rows, key=lambda row: row[3]):
        if is_solution:
            yield from ((name, Program(text, "solution"), problem) for name, text, problem, _ in run_of_rows)
        else:
            yield from extract_programs(
                ((name, Answer(text, problem)) for name, text, problem, _ in run_of_rows), extractor
            )


def _sample(row: dict[str, Any], where: str, problems: dict[str, Problem]) -> tuple[str, str, Problem, bool]:
    """Name, text, problem of a row, and whether the text is a program as it stands."""
    task, solution = str(row.get("task_id")), row.get("solution")
    text = row.get("completion") if solution is None else solution
    if task not in problems:
        raise DataError(f"{where}: unknown task {task!r}; the problems are such as {next(iter(problems))!r}")
    if not isinstance(text, str):
        raise DataError(f"{where}: needs a text, `solution` or `completion`")
    return f"{where.rpartition(', ')[2]}, {task}", text, problems[task], solution is not None


def _row(name: str, result: Reruns) -> dict[str, Any]:
    return {"program": name, "flaky": result.is_flaky, "outcomes": result.outcomes, "unscored": result.unscored}


def _show(rows: list[dict[str, Any]], runs: int) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    flaky = [row for row in rows if row["flaky"]]
    console = Console(highlight=False)
    if flaky:
        table = Table("program", "verdicts")
        for row in flaky:
            shares = ", ".join(f"{outcome} {count}" for outcome, count in row["outcomes"].items())
            table.add_row(Text(one_line(row["program"])), shares)
        console.print(table)
    unscored = sum(row["unscored"] for row in rows)
    told = f"; {unscored} runs gave no verdict" if unscored else ""
    console.print(f"{len(flaky)} of {len(rows)} programs are flaky in {runs} runs{told}", markup=False)
