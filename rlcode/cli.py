"""The console command `rlcode`: finds the module of a subcommand by name and hands it the rest of the line.

Nothing heavy is imported before the subcommand is known, so `rlcode --help` answers at once.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Callable

from rlcode import __version__, load_sibling
from rlcode.errors import DISK_ERRNOS, RlcodeError

_STDOUT = 1

# name: (module with `main(argv) -> exit code`, one line of help)
COMMANDS = {
    "quickstart": ("train.quickstart", "the whole loop on a tiny model: no GPU, no Docker, no download needed"),
    "doctor": ("train.doctor.main", "what this machine can do, what is missing, and the command that mends it"),
    "run": ("train.loop", "rounds of rollouts, training and validation, each from the last one's adapter"),
    "eval": ("eval.main", "pass@k of a model or of a samples file, judged in the sandbox"),
    "report": ("eval.commands.report", "one HTML page of all that a run directory holds, for people"),
    "compare": ("eval.commands.compare", "is one evaluation better than another, and on which problems?"),
    "validate": ("eval.commands.validate", "the data doctor: problems that can't be solved, are trivial, or leak"),
    "data": ("eval.commands.data", "bring problems of your own: `rlcode data import`"),
    "rollout": ("sampling.main", "write and judge completions, the input of DPO; `rollout show` to look at them"),
    "notebook": ("sampling.commands.notebook", "what the policy gets wrong: error types, trends, worst problems"),
    "pairs": ("sampling.commands.pairs", "preference pairs from rollouts, as a data set for any DPO trainer"),
    "plan": ("train.plan", "what a training run will take: memory, steps, tokens, disk; no GPU needed"),
    "serve": ("sampling.serve", "start a vLLM server that writes completions for --engine vllm-server"),
    "merge-adapters": (
        "train.merge_adapters",
        "make one LoRA adapter of several, with weights or by a search for them",
    ),
    "export": ("train.export", "merge a LoRA adapter into its base model, prove the result, upload it"),
    "sandbox": ("sandbox.main", "judge programs; build, check and measure the sandbox"),
}


def main(argv: list[str] | None = None) -> int:
    """Run `rlcode ARGV…` and return the exit code: 0 done, 1 failed, 2 the input can't be used."""
    return run_main(_answer, argv)


def _answer(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(help_text())
        return 0
    if arguments[0] == "--version":
        print(f"rlcode {__version__}")
        return 0
    if arguments[0] not in COMMANDS:
        print(f"error: no command {arguments[0]!r}; known: {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    return run(COMMANDS[arguments[0]][0], arguments[1:])


def run(module: str, argv: list[str]) -> int:
    """Call `main(argv)` of the module."""
    return run_main(lambda arguments: load_sibling(module).main(arguments), argv)


def run_main(main: Callable[[list[str]], int], argv: list[str] | None = None) -> int:
    """Call `main`; our own errors become a message on stderr and an exit code. The training scripts start here too."""
    try:
        code = main(sys.argv[1:] if argv is None else argv)
        if sys.stdout is not None:  # as it is where somebody closed it
            sys.stdout.flush()
        return code
    except BrokenPipeError:
        if not _reader_is_gone():
            raise
        return 128 + signal.SIGPIPE
    except RlcodeError as error:
        print("\n".join([f"error: {error}", *getattr(error, "__notes__", ())]), file=sys.stderr)
        return error.exit_code
    except OSError as error:
        if error.errno not in DISK_ERRNOS:
            raise
        path = error.filename or "a file"
        print(f"error: {path} can't be written: {error.strerror}; make room, and run the same command", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _reader_is_gone() -> bool:
    """Whether nobody reads what is printed any more, such as `head` when it has seen enough; then nothing more is."""
    stdout = select.poll()
    stdout.register(_STDOUT, select.POLLOUT)
    is_gone = any(events & select.POLLERR for _, events in stdout.poll(0))
    if is_gone:
        os.dup2(os.open(os.devnull, os.O_WRONLY), _STDOUT)
    return is_gone


def help_text() -> str:
    lines = [f"  {name:<16}{text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: rlcode COMMAND [options]        (rlcode COMMAND --help for its options)",
            "",
            "commands:",
            *lines,
            "",
            "training:",
            "  accelerate launch train/sft.py --config configs/sft.yaml --rollouts runs/r1 --output_dir runs/sft-1",
            "  accelerate launch train/dpo.py --config configs/dpo.yaml --rollouts runs/r1 --output_dir runs/dpo-1",
            "  accelerate launch train/grpo.py --config configs/grpo.yaml --output_dir runs/grpo-1",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
