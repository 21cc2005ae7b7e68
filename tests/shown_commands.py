"""The commands that the documentation shows, and what the parsers of the commands themselves say of them."""

from __future__ import annotations

import argparse
import ast
import contextlib
import functools
import importlib
import io
import re
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from accelerate.commands.launch import launch_command_parser
from trl import TrlParser

from rlcode.cli import COMMANDS
from rlcode.errors import RlcodeError

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "AGENTS.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "benchmarks/README.md"]
ROOMS = ("rlcode", "sandbox", "rewards", "sampling", "eval", "train")
FIRST_WORDS = ("rlcode", "accelerate", "make", "python", "sbatch", "pip")
ON_A_CPU = ("--use_cpu", "true", "--bf16", "false")
SCRIPTS = ("dpo", "grpo", "sft", "async_grpo")
SUBCOMMANDS = {"rollout": ("show",)}
"""Commands that look at the first word by themselves."""


STANDS_FOR = {"my.yaml": "configs/tiny/grpo.yaml"}
"""A file of the reader's, for which one of ours is taken."""


@dataclass(frozen=True)
class Shown:
    """One command on a page."""

    page: str
    line: int
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {shlex.join(self.words)}"


class Parsed(BaseException):
    """A parser was reached, and understood the line. Not an `Exception`, so that nobody on the way takes it."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self.parser = parser


@functools.cache
def shown_commands() -> list[Shown]:
    """Those in code blocks of the pages and of modules' docstrings, and at the head of configurations."""
    modules = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
    texts = {path: path.read_text(encoding="utf-8") for path in PAGES}
    texts |= {path: ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "" for path in modules}
    heads = sorted([*(ROOT / "configs").rglob("*.yaml"), *(ROOT / "configs").rglob("*.sbatch")])
    texts |= {path: _comments_as_code(path.read_text(encoding="utf-8")) for path in heads}
    return [
        Shown(str(path.relative_to(ROOT)), number, words)
        for path, text in texts.items()
        for number, line in code_lines(text)
        for words in commands_in(line)
    ]


def code_lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines of fenced and indented code with their numbers; one that ends in a backslash goes on with the next."""
    fence, pending, start = "", "", 0
    blank_before = in_block = False
    for number, line in enumerate(text.splitlines(), 1):
        mark = re.match(r" *(`{3,})", line)
        if mark and (not fence or mark[1] == fence):
            fence = "" if fence else mark[1]
            continue
        in_block = line.startswith("    ") and (blank_before or in_block or number == 1)
        blank_before = not line.strip() or (blank_before and in_block)
        if not (fence or in_block or pending):
            continue
        start = start if pending else number
        pending += line.strip()
        if pending.endswith("\\"):
            pending = pending[:-1]
            continue
        yield start, pending
        pending = ""


def commands_in(line: str) -> Iterator[tuple[str, ...]]:
    """The commands of a line as the shell would part it, without variables before them and words left out (`…`). A
    variable in it is a number."""
    if set("`→") & set(line):  # what a command printed, or a drawing
        return
    line = re.sub(r"\$\(\(.*?\)\)|\"?\$[A-Z_]+\"?", "1", line.removeprefix("$ "))
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;")
    lexer.whitespace_split = True
    try:
        words = list(lexer)
    except ValueError:  # a quotation mark alone: no command
        return
    command: list[str] = []
    for word in [*words, ";"]:
        if not set(word) <= set("|&;"):
            command.append(word)
            continue
        while command and re.fullmatch(r"[A-Z_]+=.*", command[0]):
            command.pop(0)
        if command and command[0] in FIRST_WORDS and len(command) > 1:
            yield tuple(_plain(word) for word in command if word not in ("…", "..."))
        command = []


def _plain(word: str) -> str:
    """A word without the brackets that mark an option as one that may be left out."""
    word = word.removeprefix("[") if word.startswith("[--") else word
    return STANDS_FOR.get(word, word if "[" in word else word.removesuffix("]"))


def problem_with(command: Shown) -> str | None:
    """What is wrong with a command, told by its own parser; None where it is understood."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            _understand(command.words)
    except RlcodeError as error:
        return str(error)
    except SystemExit as end:
        return None if end.code == 0 else said.getvalue().strip().splitlines()[-1]
    return None


def _understand(words: Sequence[str]) -> None:
    first, *rest = words
    if first == "rlcode":
        _parse(COMMANDS[rest[0]][0] if rest[0] in COMMANDS else _unknown(rest[0], COMMANDS), rest[1:])
    elif first == "accelerate":
        _understand_launch(rest)
    elif first == "sbatch":
        script = next(position for position, word in enumerate(rest) if word.endswith(".sbatch"))
        _existing(rest[script])
        _parse("train.dpo", [*rest[script + 1 :], *ON_A_CPU])
    elif first == "python" and rest[0] == "-m" and rest[1].startswith("benchmarks."):
        _parse(rest[1], rest[2:])
    elif first == "make":
        known = re.findall(r"^([\w-]+)(?::| \?=)", (ROOT / "Makefile").read_text(), re.M)
        for word in rest:
            word.partition("=")[0] in known or _unknown(word, known)
    elif first == "pip":
        extras = re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text(), re.M)
        for name in (name for word in rest for group in re.findall(r"\[(.*)\]", word) for name in group.split(",")):
            name in extras or _unknown(name, extras)


def _understand_launch(words: Sequence[str]) -> None:
    if words[0] != "launch":
        _unknown(words[0], ["launch"])
    parser = launch_command_parser()
    options = parser.parse_args(words[1:])
    if options.config_file:
        _existing(options.config_file)
    script = _existing(options.training_script).relative_to(ROOT).with_suffix("")
    _parse(".".join(script.parts), [*options.training_script_args, *ON_A_CPU])


def _existing(file: str) -> Path:
    path = ROOT / file
    return path if path.exists() else _unknown(file, ["a file of this repository"])


def _unknown(word: str, known: Iterable[str]) -> str | Path:
    raise SystemExit(_complain(f"{word!r} is none of {', '.join(known)}"))


def _complain(message: str) -> int:
    print(message, file=sys.stderr)
    return 2


def _parse(module: str, argv: Sequence[str]) -> None:
    """Call the module's `main` as far as its parser."""
    with contextlib.suppress(Parsed):
        _reach_parser(module, argv, understand=True)


def _reach_parser(module: str, argv: Sequence[str], *, understand: bool) -> None:
    real_argparse, real_trl = argparse.ArgumentParser.parse_args, TrlParser.parse_args_and_config
    real_known = argparse.ArgumentParser.parse_known_args
    the_parsers_own = mock.patch.object(argparse.ArgumentParser, "parse_known_args", real_known)

    def parse_args(
        parser: argparse.ArgumentParser, args: Sequence[str] | None = None, namespace: object = None
    ) -> None:
        if understand:
            with the_parsers_own:
                real_argparse(parser, args, namespace)
        raise Parsed(parser)

    def parse_known_args(parser: argparse.ArgumentParser, args: Sequence[str]) -> None:
        """Of a command that hands the rest on to `rlcode eval`."""
        if understand:
            _, rest = real_known(parser, args)
            known = _options(_parser_of(COMMANDS["eval"][0], []))
            for word in rest:
                word.startswith("--") and word not in known and _unknown(word, known)
        raise Parsed(parser)

    def parse_args_and_config(parser: TrlParser, *args: object, **options: object) -> None:
        if understand:
            with the_parsers_own:
                real_trl(parser, *args, **options)
        raise Parsed(parser)

    main = importlib.import_module(module).main
    with (
        mock.patch.object(argparse.ArgumentParser, "parse_args", parse_args),
        mock.patch.object(argparse.ArgumentParser, "parse_known_args", parse_known_args),
        mock.patch.object(argparse.ArgumentParser, "_get_option_tuples", return_value=[]),  # no option cut short
        mock.patch.object(TrlParser, "parse_args_and_config", parse_args_and_config),
        mock.patch.object(sys, "argv", [module, *argv]),
        contextlib.chdir(ROOT),
    ):
        main() if module.startswith("benchmarks.") else main([*argv])


def known_options() -> dict[str, set[str]]:
    """By command (`rlcode eval`, `train/dpo.py`, …) the options that it has in any of its subcommands."""
    found = {}
    for name, (module, _) in COMMANDS.items():
        lines = [["--method", "dpo"] if name == "plan" else [], *([word] for word in SUBCOMMANDS.get(name, ()))]
        found[f"rlcode {name}"] = set().union(*(_options(_parser_of(module, line)) for line in lines))
    found |= {f"train/{name}.py": _options(_parser_of(f"train.{name}", ON_A_CPU)) for name in SCRIPTS}
    for path in sorted((ROOT / "benchmarks").glob("*.py")):
        if "parse_args()" in path.read_text(encoding="utf-8"):
            found[f"benchmarks.{path.stem}"] = _options(_parser_of(f"benchmarks.{path.stem}", []))
    found["accelerate launch"] = _options(launch_command_parser())
    return found


def _parser_of(module: str, argv: Sequence[str]) -> argparse.ArgumentParser:
    try:
        _reach_parser(module, argv, understand=False)
    except Parsed as reached:
        return reached.parser
    raise AssertionError(f"{module} has no parser")


def _options(parser: argparse.ArgumentParser) -> set[str]:
    options = {*parser._option_string_actions, "--help_all", "--config"}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            options |= set().union(*map(_options, action.choices.values()))
    return options


def _comments_as_code(text: str) -> str:
    """The comments at the head of a configuration, of which each line may be a command."""
    return "\n".join(
        f"    {line.lstrip('#').strip()}" for line in text.splitlines() if line.startswith("# ") or line == "#"
    )
