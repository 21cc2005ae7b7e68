"""`rlcode data import`: problems of your own, out of the files that you have."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlcode.errors import ConfigError, DataError, InputError

if TYPE_CHECKING:
    from rlcode.data.importing.pytest_folder import LeftOut
    from rlcode.types import Problem

_DESCRIPTION = "Bring problems of your own."
_IMPORT = """Make a file of problems out of a data set, verl's or open-r1's rows, or a folder of pytest files.

  rlcode data import problems.parquet --map prompt=question tests=unit_tests --output problems.jsonl
  rlcode data import my-org/my-problems --split train --map task_id=id prompt=text inputs=io.in outputs=io.out \\
      --output problems.jsonl
  rlcode data import train.parquet --format verl --output problems.jsonl
  rlcode data import tests/ --format pytest --output problems.jsonl

SOURCE is a file (.jsonl, .json, .csv, .parquet), a folder, or a name on the hub. Each problem is judged before it is
written: its reference solution must pass, or at least its tests must run. Where something can't be used, all of it is
listed and nothing is written, unless --skip_unusable leaves it out.

Exit code 0: written. 1: the sandbox failed. 2: the input can't be used, nothing was written."""
_FORMATS = ("columns", "verl", "open-r1", "pytest")
_SHOWN = 20


def main(argv: list[str]) -> int:
    """Run the command and return 0.

    Raises:
        InputError: the input can't be used. SandboxError: the sandbox failed.
    """
    args = _parser().parse_args(argv)
    _check(args)
    if args.output.exists() and not args.overwrite:
        raise InputError(f"{args.output} is there already; choose another --output or add --overwrite")
    from rlcode.data import jsonl
    from rlcode.run_directory import write_json_lines

    problems, left_out = _convert(args)
    if args.sandbox != "none":
        problems, unfit = _judged(args, problems)
        left_out += unfit
    _tell(left_out)
    if left_out and not args.skip_unusable:
        raise DataError(
            f"{len(left_out)} of {len(left_out) + len(problems)} can't be used, and nothing was written; mend them, or "
            "leave them out with --skip_unusable"
        )
    if not problems:
        raise DataError(f"{args.input} has no problem that can be used; nothing was written")
    if left_out:
        rows = [{"where": one.where, "reason": one.reason} for one in left_out]
        write_json_lines(args.output.with_name(f"{args.output.name}.left_out.jsonl"), rows)
    jsonl.save(problems, args.output)
    referenced = sum(1 for problem in problems if problem.reference_solution)
    print(f"{len(problems)} problems, {referenced} with a reference solution, are in {args.output}")
    return 0


def _convert(args: argparse.Namespace) -> tuple[list[Problem], list[LeftOut]]:
    """The problems in the source, checked one by one, and what is none."""
    from rlcode.data import jsonl
    from rlcode.data.importing.pytest_folder import LeftOut, read_pytest_folder

    if args.format == "pytest":
        found, left_out = read_pytest_folder(Path(args.input), args.module)
        read: Iterable[tuple[str, Callable[[], Problem]]] = [(p.task_id, partial(_as_it_is, p)) for p in found]
    else:
        read, left_out = _rows(args), []
    problems: dict[str, Problem] = {}
    for where, make in read:
        try:
            problem = make()
            jsonl.check(problem, where)
            if problem.task_id in problems:
                raise DataError(f"{where}: task {problem.task_id!r} is there twice")
            problems[problem.task_id] = problem
        except DataError as error:
            left_out.append(LeftOut(where, str(error).removeprefix(f"{where}: ")))
    return list(problems.values()), left_out


def _as_it_is(problem: Problem) -> Problem:
    return problem


def _rows(args: argparse.Namespace) -> Iterator[tuple[str, Callable[[], Problem]]]:
    """For each row where it is from, and what makes a problem of it."""
    from rlcode.data.importing import columns, open_r1, sources, verl

    mapping = columns.parse_mapping(args.map) if args.format == "columns" else {}
    needed = {"verl": verl.COLUMNS, "open-r1": open_r1.COLUMNS}.get(args.format, ())
    source = args.source or Path(args.input).name.partition(".")[0]
    for number, (where, row) in enumerate(sources.read_rows(args.input, args.name, args.split)):
        if number == 0:
            columns.check_columns(mapping or {column: column for column in needed}, row)
        yield where, _maker(args, row, mapping, number, source, where)


def _maker(
    args: argparse.Namespace, row: dict[str, Any], mapping: dict[str, str], number: int, source: str, where: str
) -> Callable[[], Problem]:
    from rlcode.data.importing import columns, open_r1, verl

    if args.format == "verl":
        return lambda: verl.problem_from_row(row, number, where)
    if args.format == "open-r1":
        return lambda: open_r1.problem_from_row(row, number, where)
    return lambda: columns.problem_from_columns(row, mapping, number, source, where, prompt_is_code=args.prompt_is_code)


def _judged(args: argparse.Namespace, problems: Sequence[Problem]) -> tuple[list[Problem], list[LeftOut]]:
    """The problems whose reference solution passes or, without one, whose tests can be run; and the others."""
    from eval.validation.judging import Trial, failure, judge_trials
    from eval.validation.progress import progress
    from eval.validation.trivial import trivial_programs
    from rlcode.data.importing.pytest_folder import LeftOut
    from rlcode.errors import SandboxError
    from rlcode.types import PartialLimits, Program, Unscored
    from sandbox.pool import open_sandbox

    def trial(problem: Problem) -> Trial:
        if problem.reference_solution:
            return Trial(problem, Program(problem.reference_solution, "reference"))
        *_, last = trivial_programs(problem)
        return Trial(problem, last.program, last)

    good, bad = [], []
    with (
        open_sandbox(args.sandbox, workers=args.workers) as sandbox,
        progress("judging", len(problems)) as seen,
    ):
        for tried, outcome in judge_trials(map(trial, problems), sandbox, PartialLimits()):
            seen()
            task_id = tried.problem.task_id
            if isinstance(outcome, Unscored):
                raise SandboxError(f"{task_id} could not be judged: {outcome.reason}")
            if isinstance(outcome, DataError):
                bad.append(LeftOut(task_id, str(outcome)))
            elif tried.trivial is None and not outcome.passed:
                bad.append(LeftOut(task_id, f"its reference solution does not pass: {failure(outcome)}"))
            else:
                good.append(tried.problem)
    return good, bad


def _tell(left_out: Sequence[LeftOut]) -> None:
    from sandbox.terminal import one_line

    for one in left_out[:_SHOWN]:
        print(one_line(f"{one.where}: {one.reason}", 300), file=sys.stderr)
    if len(left_out) > _SHOWN:
        print(f"… and {len(left_out) - _SHOWN} more", file=sys.stderr)


def _check(args: argparse.Namespace) -> None:
    if args.format == "columns" and not args.map:
        raise ConfigError("name the columns with --map prompt=… tests=…, or the --format of the rows")
    if args.format != "columns" and (args.map or args.prompt_is_code):
        raise ConfigError(f"--map and --prompt_is_code are for columns; {args.format} says itself what is where")
    if args.format == "pytest" and (args.name or args.split):
        raise ConfigError("--name and --split are of data sets; a folder of pytest files has neither")
    if args.format != "pytest" and args.module:
        raise ConfigError("--module is for --format pytest")


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    whole = argparse.ArgumentParser(prog="rlcode data", description=_DESCRIPTION, allow_abbrev=False)
    commands = whole.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser(
        "import", help="from data sets, verl, open-r1, pytest", description=_IMPORT, formatter_class=raw
    )
    add = command.add_argument
    add("input", metavar="SOURCE", help="file, folder, or name on the hub")
    add("--format", default="columns", choices=_FORMATS, help="what the rows are (default columns: see --map)")
    add("--map", nargs="+", default=[], metavar="FIELD=COLUMN", help="which column is which field of a problem")
    add("--prompt_is_code", action="store_true", help="the prompt is the head of a program, not words")
    add("--name", help="configuration of the data set, where it has several")
    add("--split", help="part of the data set (default train)")
    add("--source", help="name of the data set in the problems and their task ids (default: that of the file)")
    add("--module", nargs="+", default=[], help="pytest: modules under test that do not lie beside the tests")
    add("--output", type=Path, required=True, metavar="FILE", help="JSONL file to write")
    add("--overwrite", action="store_true", help="replace a file that is there")
    add("--skip_unusable", action="store_true", help="leave out what can't be used; FILE.left_out.jsonl names it")
    add("--sandbox", default="auto", choices=["auto", "docker", "local", "none"], help="none: judge nothing")
    add("--workers", type=int, help="programs judged at once; none: one for each core")
    return whole
