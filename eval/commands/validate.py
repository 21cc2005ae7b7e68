"""`rlcode validate`: the data doctor. Judges reference solutions and trivial programs, looks for names that nothing
defines, duplicates and contamination, and writes the ids of what should not be trained on."""

from __future__ import annotations

import argparse
import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlcode.errors import ConfigError, InputError
from rlcode.limits import add_limit_options, limits_from

if TYPE_CHECKING:
    from eval.validation.findings import Finding
    from rlcode.types import Problem

_DESCRIPTION = """Look for what is wrong with a set of problems, before anything is trained on it or measured by it.

  rlcode validate --benchmark mbpp --split train --against humaneval mbpp:test --output_dir runs/validate
  rlcode rollout --benchmark mbpp --split train --exclude runs/validate/exclude.txt …

Every reference solution is judged against its own tests, several times; so are programs that do nothing or always
answer alike. Names that nothing defines, duplicates, and problems that are in a set that is held back are found
without running anything. A set is named NAME[:SPLIT][=FILE]: humaneval, mbpp:test, mbpp:test=mbpp.jsonl.gz.

Writes report.json, with every finding, and exclude.txt, the ids of the problems that should not be trained on.

Exit code 0: no problem is spoilt. 1: some are; or the sandbox failed. 2: the input can't be used."""
_EXAMPLES = 3
_RUNS = 3


def main(argv: list[str]) -> int:
    """Run the command; 1 if a problem should not be trained on.

    Raises:
        InputError: the input can't be used. SandboxError: the sandbox failed.
    """
    args = _parse(argv)
    from eval.validation.findings import in_order, spoilt
    from eval.validation.static import static_findings
    from rlcode.data.registry import load_named, problems_from

    _check_output_dir(args.output_dir, args.overwrite)
    problems = problems_from(args)
    against = {name.partition("=")[0]: load_named(name) for name in args.against}
    if args.references:
        problems = with_references(problems, args.benchmark, load_named(args.references))
    found = static_findings(problems, against, args.least_share)
    backend = "none"
    if not args.static:
        judged, backend = _judge(args, problems)
        found += _unexplained(judged, found)
    findings = in_order(found, problems)
    _write(args, problems, findings, backend)
    _show(problems, findings, args.output_dir)
    return 1 if spoilt(findings) else 0


def with_references(problems: Sequence[Problem], benchmark: str, others: Sequence[Problem]) -> list[Problem]:
    """The problems; those without a reference solution get the one of the same task in `others`."""
    from rlcode.data.registry import task_names

    solutions = {problem.task_id: problem.reference_solution for problem in others}

    def completed(problem: Problem) -> Problem:
        names = (name for name in task_names(benchmark, problem.task_id) if name in solutions)
        solution = problem.reference_solution or solutions.get(next(names, ""), "")
        return dataclasses.replace(problem, reference_solution=solution)

    return [completed(problem) for problem in problems]


def _judge(args: argparse.Namespace, problems: Sequence[Problem]) -> tuple[list[Finding], str]:
    """What the sandbox finds, and its name."""
    from eval.validation.judging import flaky_findings, judged_findings, trials
    from eval.validation.progress import progress
    from sandbox.cache import open_cache
    from sandbox.pool import open_sandbox

    limits = limits_from(args)
    with open_cache(args.cache) as cache, open_sandbox(args.sandbox, workers=args.workers, cache=cache) as sandbox:
        with progress("judging", sum(1 for _ in trials(problems))) as seen:
            findings, passed = judged_findings(
                problems, sandbox, limits, max_unscored_share=args.max_unscored_share, seen=seen
            )
        backend = sandbox.backend
        if cache is not None:
            print(cache.summary())
    if args.runs > 1 and passed:
        with open_sandbox(args.sandbox, workers=args.workers) as fresh, progress("again", len(passed)) as seen:
            findings += flaky_findings(passed, fresh, limits, args.runs, seen)
    return findings, backend


def _unexplained(judged: Sequence[Finding], known: Sequence[Finding]) -> list[Finding]:
    """Without what says in other words that a name is not defined."""
    from eval.validation.findings import Kind

    explained = {finding.task_id for finding in known if finding.kind is Kind.UNDEFINED_NAME}
    return [one for one in judged if not (one.kind is Kind.BAD_TESTS and one.task_id in explained)]


def _check_output_dir(path: Path, overwrite: bool) -> None:
    if path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file; name a directory for --output_dir")
    if (path / "report.json").exists() and not overwrite:
        raise InputError(f"{path} holds a report already; choose another --output_dir or add --overwrite")


def _write(args: argparse.Namespace, problems: Sequence[Problem], findings: Sequence[Finding], backend: str) -> None:
    from eval.validation.findings import counts, spoilt
    from rlcode.data.exclusion import read_excluded, write_excluded
    from rlcode.run_directory import package_versions, write_json

    excluded = spoilt(findings)
    report = {
        "benchmark": args.benchmark,
        "file": str(args.benchmark_file) if args.benchmark_file else None,
        "split": args.split,
        "against": args.against,
        "runs": args.runs,
        "backend": backend,
        "num_problems": len(problems),
        "num_spoilt": len(excluded),
        "counts": counts(findings),
        "findings": [{**dataclasses.asdict(one), "spoils": one.kind.spoils} for one in findings],
        "versions": package_versions(),
    }
    before = sorted(read_excluded(args.exclude)) if args.exclude else []
    about = f"{len(excluded)} of {len(problems)} problems of {args.benchmark} that should not be trained on"
    if before:
        about += f", and the {len(before)} of {args.exclude}"
    write_excluded(args.output_dir / "exclude.txt", dict.fromkeys([*excluded, *before]), about)
    write_json(args.output_dir / "report.json", report)


def _show(problems: Sequence[Problem], findings: Sequence[Finding], output_dir: Path) -> None:
    from rich.console import Console

    from eval.validation.findings import counts, spoilt

    console = Console(highlight=False)
    console.print(_table(findings, counts(findings)))
    console.print(
        f"{len(spoilt(findings))} of {len(problems)} problems should not be trained on: "
        f"{output_dir / 'exclude.txt'}; all findings are in {output_dir / 'report.json'}",
        markup=False,
    )


def _table(findings: Sequence[Finding], found: Mapping[Any, int]) -> Any:
    from rich.table import Table
    from rich.text import Text

    from sandbox.terminal import one_line

    table = Table("finding", "problems", "excluded", "for example")
    for kind, count in found.items():
        examples = [one for one in findings if one.kind is kind][:_EXAMPLES]
        lines = [one_line(f"{one.task_id}  {one.detail}", 100) for one in examples]
        table.add_row(f"{kind}\n{kind.meaning}", str(count), "yes" if kind.spoils else "", Text("\n".join(lines)))
    return table


def _parse(argv: list[str]) -> argparse.Namespace:
    args = _parser().parse_args(argv)
    limits_from(args)
    if args.runs < 1:
        raise ConfigError(f"--runs must be 1 or more, got {args.runs}")
    if not 0 < args.least_share <= 1:
        raise ConfigError(f"--least_share must be above 0 and at most 1, got {args.least_share:g}")
    if args.workers is not None and args.workers < 1:
        raise ConfigError(f"--workers must be above 0, got {args.workers}")
    twice = [name for name, count in Counter(name.partition("=")[0] for name in args.against).items() if count > 1]
    if twice:
        raise ConfigError(f"--against names {twice[0]} twice")
    return args


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rlcode validate",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_problems(parser.add_argument_group("problems"))
    _add_sandbox(parser.add_argument_group("sandbox"))
    return parser


def _add_problems(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--benchmark", required=True, help="name of the benchmark, or jsonl for problems of your own")
    group.add_argument("--benchmark_file", type=Path, help="local file in the benchmark's format; none: from the hub")
    group.add_argument("--split", help="part of the benchmark, where it has parts")
    group.add_argument("--exclude", type=Path, help="file of task ids that are known to be bad")
    group.add_argument("--references", metavar="SET", help="where problems without a reference solution get theirs")
    group.add_argument("--against", nargs="+", default=[], metavar="SET", help="sets that must not be in this one")
    group.add_argument(
        "--least_share", type=float, default=0.6, help="share of n-grams that makes two texts alike (default 0.6)"
    )
    group.add_argument("--output_dir", type=Path, required=True, help="gets report.json and exclude.txt")
    group.add_argument("--overwrite", action="store_true", help="replace a report that is there")


def _add_sandbox(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--static", action="store_true", help="run nothing: names, duplicates and contamination alone")
    group.add_argument("--runs", type=int, default=_RUNS, help=f"runs of each reference (default {_RUNS}; 1: one)")
    group.add_argument("--sandbox", default="auto", choices=["auto", "docker", "local"], help="default auto")
    group.add_argument("--workers", type=int, help="programs judged at once; none: one for each core")
    add_limit_options(group)
    group.add_argument("--cache", type=Path, help="file that keeps verdicts, so that no program is judged twice")
    group.add_argument(
        "--max_unscored_share", type=float, default=0.1, help="stop when more can't be judged (default 0.1)"
    )
