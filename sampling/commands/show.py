"""`rlcode rollout show`: page through the rollouts of a run, with their verdicts, for a person to look at."""

from __future__ import annotations

import argparse
import itertools
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.console import Console, RenderableType
from rich.rule import Rule
from rich.text import Text

from rlcode.data.registry import load_problems
from rlcode.errors import RlcodeError
from rlcode.run_directory import RunDirectory
from rlcode.types import ErrorType, Problem, Rollout
from sampling.store import read_rollouts
from sandbox.commands.verdict_view import view
from sandbox.protocol import Job
from sandbox.terminal import harmless, one_line

_DESCRIPTION = """\
Show the rollouts of a run: the end of the prompt, what the policy wrote, the program that was found in it, the verdict.
On a terminal they are paged.
"""
_EXAMPLES = """\
examples:
  rlcode rollout show runs/r1 --failed --limit 20
  rlcode rollout show runs/r1 --task Mbpp/601 --error_type wrong_answer
"""
_PROMPT_LINES = 12


def main(argv: list[str]) -> int:
    """Show what the arguments ask for and return 0.

    Raises:
        InputError: there is no such run, or a line of it is damaged.
    """
    arguments = _parser().parse_args(argv)
    chosen = (rollout for rollout in read_rollouts([arguments.run]) if _is_wanted(rollout, arguments))
    problems = _problems_of(arguments.run)
    shown = 0
    with _paged() as console:
        for rollout in itertools.islice(chosen, arguments.limit):
            for part in _view(rollout, problems.get(rollout.completion.task_id)):
                console.print(part, soft_wrap=True)
            shown += 1
    if not shown:
        print("no rollout is as asked for", file=sys.stderr)
    return 0


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="rlcode rollout show", description=_DESCRIPTION, epilog=_EXAMPLES, formatter_class=raw
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="run directory, or a file of rollouts")
    parser.add_argument("--task", metavar="ID", help="of this problem alone")
    parser.add_argument(
        "--error_type", type=ErrorType, metavar="TYPE", help="failed in this way: " + ", ".join(ErrorType)
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--passed", action="store_true", help="those that passed")
    which.add_argument("--failed", action="store_true", help="those that failed")
    parser.add_argument("--limit", type=int, metavar="N", help="the first N of them")
    return parser


def _is_wanted(rollout: Rollout, arguments: argparse.Namespace) -> bool:
    verdict = rollout.verdict
    if arguments.task is not None and rollout.completion.task_id != arguments.task:
        return False
    if arguments.error_type is not None and (verdict is None or verdict.error_type != arguments.error_type):
        return False
    if arguments.passed or arguments.failed:
        return verdict is not None and verdict.passed == arguments.passed
    return True


def _problems_of(run: Path) -> dict[str, Problem]:
    """The run's problems by task, where they are still to be had."""
    if not run.is_dir():
        return {}
    try:
        config = RunDirectory.read(run)["config"]
        file = Path(config["benchmark_file"]) if config["benchmark_file"] else None
        return {problem.task_id: problem for problem in load_problems(config["benchmark"], file, config["split"])}
    except (RlcodeError, KeyError) as error:
        print(f"prompts are not shown: {error}", file=sys.stderr)
        return {}


def _view(rollout: Rollout, problem: Problem | None) -> Iterator[RenderableType]:
    completion, program, verdict = rollout.completion, rollout.program, rollout.verdict
    yield Rule(Text(f"{one_line(completion.task_id)}  {completion.index}", "bold"))
    if problem is not None:
        lines = harmless(problem.prompt).rstrip("\n").split("\n")
        yield from _part(
            "prompt" if len(lines) <= _PROMPT_LINES else "prompt (its end)", "\n".join(lines[-_PROMPT_LINES:])
        )
    about = (
        f"{len(completion.token_ids)} tokens, ended by {completion.finish_reason}, policy {completion.policy_version}"
    )
    yield from _part(f"completion ({about})", harmless(completion.text))
    if program.source is not None and program.source.strip() != completion.text.strip():
        yield from _part(f"program ({one_line(program.how)})", harmless(program.source))
    yield Text("")
    if verdict is None:
        yield Text(f"? unscored: {one_line(rollout.unscored_reason or '')}", "bold yellow")
    else:
        yield from view(Job(problem or Problem(completion.task_id, "", ()), program, verdict.limits), verdict)
    yield Text("")


def _part(title: str, text: str) -> Iterator[RenderableType]:
    yield Text(title, "bold cyan")
    yield Text(text)


class _Page(Console):
    def on_broken_pipe(self) -> None:
        """Whoever reads may have seen enough before the end; what is still in the buffer then goes nowhere."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())
        raise _ReaderLeft


class _ReaderLeft(Exception):  # noqa: N818 - no error
    pass


@contextmanager
def _paged() -> Iterator[Console]:
    """A console into the terminal's pager; straight to stdout where that is no terminal, or there is no pager."""
    command = shlex.split(os.environ.get("PAGER", "less"))
    with suppress(_ReaderLeft):
        if not sys.stdout.isatty() or not command or shutil.which(command[0]) is None:
            yield _Page(highlight=False)
            return
        environment = {**os.environ, "LESS": os.environ.get("LESS", "-RFX")}
        with subprocess.Popen(command, stdin=subprocess.PIPE, text=True, env=environment) as pager:
            assert pager.stdin is not None
            yield _Page(file=pager.stdin, force_terminal=True, highlight=False)
