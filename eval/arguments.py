"""The command line of `rlcode eval`."""

from __future__ import annotations

import argparse
from pathlib import Path

from rlcode.errors import ConfigError
from rlcode.limits import add_limit_options, limits_from
from rlcode.prompts import PromptFormat
from sampling.arguments import add_engine_options, add_prompt_options

_DESCRIPTION = """pass@k of a samples file or of a model, judged in the sandbox.

  rlcode eval --benchmark humaneval --samples samples.jsonl --k 1 10 --output_dir runs/eval
  rlcode eval --benchmark mbpp --split test --model Qwen/Qwen2.5-Coder-0.5B --num_samples 20 --k 1 10 --greedy \\
      --output_dir runs/eval

Exit code 0: report written. 1: the sandbox or the engine failed. 2: the input can't be used, nothing was judged."""


SWITCHES = ("require_all_tasks", "greedy", "cache_limit_failures", "overwrite")
"""Options that take no value."""


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    """The arguments, checked for what can be known before a file is opened.

    Raises:
        ConfigError: values that don't fit together. SystemExit: `--help`, or argparse's own refusal (code 2).
    """
    args = _parser().parse_args(argv)
    _check(args)
    args.k = sorted(set(args.k))
    return args


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rlcode eval",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_benchmark(parser.add_argument_group("benchmark"))
    _add_samples(parser.add_argument_group("what is judged: a samples file or a model"))
    _add_generation(parser.add_argument_group("how a model answers"))
    _add_sandbox(parser.add_argument_group("sandbox"))
    _add_report(parser.add_argument_group("report"))
    return parser


def _add_benchmark(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--benchmark", required=True, help="by name, or jsonl for problems of your own: docs/benchmarks.md"
    )
    group.add_argument("--benchmark_file", type=Path, help="local file in the benchmark's format; none: from the hub")
    group.add_argument("--split", help="part of the benchmark, such as test; of livecodebench release and dates")
    group.add_argument("--exclude", type=Path, help="file of task ids to leave out, such as `rlcode validate` writes")


def _add_samples(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--samples", type=Path, help="what any tool wrote: rows with task_id and completion or solution, and others"
    )
    group.add_argument("--require_all_tasks", action="store_true", help="refuse samples that leave out a task")
    group.add_argument("--model", help="a directory or a hub name")
    group.add_argument("--adapter", type=Path, help="LoRA adapter on the model")


def _add_generation(group: argparse._ArgumentGroup) -> None:
    add_engine_options(group)
    group.add_argument("--num_samples", type=int, default=10, help="samples for each task (default 10)")
    group.add_argument("--temperature", type=float, default=0.8, help="default 0.8; 0 is greedy")
    group.add_argument("--top_p", type=float, default=0.95, help="default 0.95; 1 is off")
    group.add_argument("--top_k", type=int, default=0, help="default 0: off")
    group.add_argument("--max_completion_length", type=int, default=512, help="in tokens (default 512)")
    group.add_argument("--greedy", action="store_true", help="judge one greedy answer of each task as well")
    add_prompt_options(group)


def _add_sandbox(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--sandbox", default="auto", choices=["auto", "docker", "local"], help="default auto")
    group.add_argument("--workers", type=int, help="programs judged at once; none: one for each core")
    add_limit_options(group, failure_limit=1)
    group.add_argument("--cache", type=Path, help="file that keeps verdicts, so that no program is judged twice")
    group.add_argument("--cache_limit_failures", action="store_true", help="keep time-outs and crashes in it as well")
    group.add_argument(
        "--max_unscored_share", type=float, default=0.1, help="stop when more can't be judged (default 0.1)"
    )


def _add_report(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--k", type=int, nargs="+", default=[1], metavar="K", help="the ks of pass@k (default 1)")
    group.add_argument("--output_dir", type=Path, required=True, help="gets report.json and verdicts.jsonl")
    group.add_argument("--overwrite", action="store_true", help="replace a report that is there")
    group.add_argument("--seed", type=int, default=0, help="of the samples and of the intervals (default 0)")


def _check(args: argparse.Namespace) -> None:
    if (args.samples is None) == (args.model is None):
        raise ConfigError("name either --samples FILE or --model PATH")
    if args.cache_limit_failures and args.cache is None:
        raise ConfigError("--cache_limit_failures needs --cache FILE")
    if args.model is None and (args.adapter is not None or args.greedy):
        raise ConfigError("--adapter and --greedy need --model; a samples file is judged as it is")
    for name in ("workers", "num_samples", "max_completion_length"):
        value = getattr(args, name)
        if value is not None and not value > 0:
            raise ConfigError(f"--{name} must be above 0, got {value}")
    limits_from(args)
    PromptFormat.from_arguments(args)
    if min(args.k) < 1:
        raise ConfigError(f"--k must be 1 or more, got {min(args.k)}")
    if args.temperature < 0 or not 0 < args.top_p <= 1 or args.top_k < 0:
        raise ConfigError("--temperature and --top_k must be 0 or more, --top_p above 0 and at most 1")
