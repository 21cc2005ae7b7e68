"""`rlcode notebook show`: the error notebook over judged rollouts, as tables."""

from __future__ import annotations

import argparse
from pathlib import Path

DESCRIPTION = """\
The error notebook: what the policy gets wrong, now and in the long run.
"""
SHOW = """\
Reads what `rlcode rollout`, train/grpo.py or the quickstart wrote and shows error types by frequency, whether they
become more or less frequent, the problems that fail most, and a program with its error for each type.
"""
EXAMPLES = """\
examples:
  rlcode notebook show runs/r1
  rlcode notebook show runs/r1 runs/r2 --examples 0 --output notebook.json
"""


def main(argv: list[str]) -> int:
    """Run `rlcode notebook ARGV…`; returns the exit code."""
    arguments = parser().parse_args(argv)
    return int(arguments.run(arguments))


def parser() -> argparse.ArgumentParser:
    """The parser; nothing heavy is imported for it."""
    raw = argparse.RawDescriptionHelpFormatter
    whole = argparse.ArgumentParser(prog="rlcode notebook", description=DESCRIPTION, formatter_class=raw)
    commands = whole.add_subparsers(required=True, metavar="COMMAND")
    show = commands.add_parser(
        "show", help="tables of one or several runs", description=SHOW, epilog=EXAMPLES, formatter_class=raw
    )
    show.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run directory, or a file of rollouts")
    show.add_argument("--signatures", type=int, default=2, help="messages shown for each type (%(default)s)")
    show.add_argument("--problems", type=int, default=8, help="problems shown, the worst first (%(default)s)")
    show.add_argument("--examples", type=int, default=5, help="types shown with a program (%(default)s)")
    show.add_argument("--short_half_life", type=float, default=1_000, help="in samples (%(default)g)")
    show.add_argument("--long_half_life", type=float, default=20_000, help="in samples (%(default)g)")
    show.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="write the notebook too, for --notebook of training and of rlcode pairs",
    )
    show.set_defaults(run=run_show)
    return whole


def run_show(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from rlcode.errors import DataError, InputError
    from sampling.notebook import ErrorNotebook
    from sampling.notebook_view import Examples, view
    from sampling.store import read_rollouts

    try:
        notebook = ErrorNotebook(arguments.short_half_life, arguments.long_half_life)
    except ValueError as error:
        raise InputError(str(error)) from error
    examples = Examples()
    notebook.observe(examples.watched(read_rollouts(arguments.runs)))
    if not notebook.scored:
        raise DataError(f"no rollout in {', '.join(map(str, arguments.runs))} was judged; there is nothing to show")
    if arguments.output:
        notebook.save(arguments.output)
    parts = view(
        notebook,
        examples,
        signatures=arguments.signatures,
        problems=arguments.problems,
        shown_examples=arguments.examples,
    )
    console = Console(highlight=False)
    for part in parts:
        console.print(part)
    return 0
