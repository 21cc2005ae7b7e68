"""`rlcode eval`: judge a samples file or a model on a benchmark and report pass@k.

All input is read and checked before anything is judged; the report is written at the end, whole or not at all.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from eval.arguments import parse_arguments
from rlcode.errors import InputError
from rlcode.limits import limits_from
from rlcode.prompts import PromptFormat

if TYPE_CHECKING:
    from eval.judging import Judged
    from eval.samples import Sample
    from rlcode.types import EvalReport, Problem
    from sampling.engine import Engine
    from sandbox.protocol import Sandbox

T = TypeVar("T")


def main(argv: list[str]) -> int:
    """Run the command and return 0.

    Raises:
        InputError: the input can't be used. SandboxError, EngineError: judging or generating failed.
    """
    args = parse_arguments(argv)
    from eval.report import check_output_dir, print_report
    from rlcode.data.registry import load_problems

    check_output_dir(args.output_dir, args.overwrite)
    problems = load_problems(args.benchmark, args.benchmark_file, args.split)
    report = evaluate_file(args, problems) if args.samples else evaluate_model(args, problems)
    print_report(report)
    print(f"report and verdicts are in {args.output_dir}")
    return 0


def evaluate_file(args: argparse.Namespace, problems: Sequence[Problem]) -> EvalReport:
    """Judge a samples file and write the report."""
    from eval.report import write_report
    from eval.samples import read_samples, tasks_without_samples

    samples = read_samples(args.samples, problems, args.benchmark)
    missing = tasks_without_samples(samples, problems)
    if missing and args.require_all_tasks:
        raise InputError(f"{args.samples}: {len(missing)} tasks have no sample, {missing[0]} first; add them")
    check_ks(args.k, min(Counter(sample.task_id for sample in samples).values()))
    with _open_sandbox(args) as sandbox:
        args.output_dir.mkdir(parents=True, exist_ok=True)
        judged = judge_all(args, samples, problems, sandbox, [(sample.task_id, sample.index) for sample in samples])
        policy = {"samples": str(args.samples), "sha256": hashlib.sha256(args.samples.read_bytes()).hexdigest()}
        report = make_report(args, judged, problems, sandbox, policy)
    write_report(args.output_dir, report, judged)
    return report


def evaluate_model(args: argparse.Namespace, problems: Sequence[Problem]) -> EvalReport:
    """Let a model answer, judge what it wrote, and write the report and the samples."""
    from eval.report import write_report

    check_ks(args.k, args.num_samples)
    with ExitStack() as stack:
        sandbox = stack.enter_context(_open_sandbox(args))
        engine = stack.enter_context(_open_engine(args))
        args.output_dir.mkdir(parents=True, exist_ok=True)
        prompts = PromptFormat.from_arguments(args).for_model(engine.tokenizer)
        stream = answers(args, engine, problems, prompts, args.temperature, args.num_samples)
        judged = judge_all(args, stream, problems, sandbox, _keys(problems, args.num_samples))
        greedy = answers(args, engine, problems, prompts, 0.0, 1) if args.greedy else ()
        judged_greedy = judge_all(args, greedy, problems, sandbox, _keys(problems, 1) if args.greedy else [])
        report = make_report(args, judged, problems, sandbox, _policy(args, prompts), judged_greedy)
    write_report(args.output_dir, report, judged, [item.sample for item in judged], judged_greedy)
    return report


def check_ks(ks: Sequence[int], fewest: int) -> None:
    """Refuse when no k of `ks` can be had with `fewest` samples of some task.

    Raises:
        InputError: that is so.
    """
    if min(ks) > fewest:
        raise InputError(
            f"pass@{min(ks)} needs {min(ks)} samples of each task, and one has {fewest}; lower --k or add samples"
        )


def answers(
    args: argparse.Namespace,
    engine: Engine,
    problems: Sequence[Problem],
    prompts: PromptFormat,
    temperature: float,
    num_samples: int,
) -> Iterator[Sample]:
    """What the model writes for the problems."""
    from eval.generation import generate_samples
    from sampling.engine import SamplingParams

    params = SamplingParams(temperature, args.top_p, args.top_k, args.max_completion_length, seed=args.seed)
    return generate_samples(engine, problems, params, num_samples=num_samples, prompts=prompts)


def _keys(problems: Sequence[Problem], num_samples: int) -> list[tuple[str, int]]:
    return [(problem.task_id, index) for problem in problems for index in range(num_samples)]


def judge_all(
    args: argparse.Namespace,
    samples: Iterable[Sample],
    problems: Sequence[Problem],
    sandbox: Sandbox,
    keys: Sequence[tuple[str, int]],
) -> list[Judged]:
    """Every sample with its outcome, in the order of `keys` (task and index of each); progress on stderr."""
    from eval.judging import checked, in_order, judge_samples
    from rlcode.extraction_worker import Extractor

    with Extractor() as extractor:
        stream = judge_samples(
            samples,
            {problem.task_id: problem for problem in problems},
            sandbox=sandbox,
            extractor=extractor,
            limits=limits_from(args),
        )
        judged = checked(stream, len(keys), args.max_unscored_share)
        return in_order(_with_progress(judged, len(keys)), keys)


def make_report(
    args: argparse.Namespace,
    judged: Sequence[Judged],
    problems: Sequence[Problem],
    sandbox: Sandbox,
    policy: dict[str, Any],
    greedy: Sequence[Judged] = (),
) -> EvalReport:
    """The figures of what was judged."""
    from eval import report
    from eval.samples import tasks_without_samples
    from rlcode.run_directory import package_versions
    from rlcode.types import EvalReport

    given, withheld = report.pass_at_ks(report.results_by_task(judged), args.k, args.seed)
    return EvalReport(
        benchmark=args.benchmark,
        num_tasks=len(problems),
        num_samples=len(judged),
        pass_at_k=given,
        error_types=report.error_counts(judged),
        unscored=report.count_unscored(judged),
        withheld=withheld,
        tasks_without_samples=tasks_without_samples([item.sample for item in judged], problems),
        greedy=report.greedy_interval(greedy),
        greedy_unscored=report.count_unscored(greedy),
        seed=args.seed,
        backend=sandbox.backend,
        image_digest=sandbox.image_digest,
        policy=policy,
        data={
            "file": str(args.benchmark_file) if args.benchmark_file else None,
            "split": args.split,
            "limits": vars(limits_from(args)),
        },
        versions=package_versions(),
    )


def _policy(args: argparse.Namespace, prompts: PromptFormat) -> dict[str, Any]:
    names = ("model", "engine", "num_samples", "temperature", "top_p", "top_k", "max_completion_length")
    adapter: Path | None = args.adapter
    return {
        **{name: getattr(args, name) for name in names},
        "adapter": str(adapter) if adapter else None,
        "prompt_style": prompts.style,
        "system_prompt": prompts.system_prompt,
        "num_shots": prompts.num_shots,
        "enable_thinking": prompts.enable_thinking,
    }


@contextmanager
def _open_sandbox(args: argparse.Namespace) -> Iterator[Sandbox]:
    """The sandbox, with its cache where one is asked for; says at the end what that was good for."""
    from sandbox.cache import open_cache
    from sandbox.pool import open_sandbox

    with open_cache(args.cache) as cache, open_sandbox(args.sandbox, workers=args.workers, cache=cache) as sandbox:
        yield sandbox
        if cache is not None:
            print(cache.summary())


def _open_engine(args: argparse.Namespace) -> Engine:
    from sampling.engine import EngineSettings, open_engine

    return open_engine(EngineSettings.from_arguments(args), args.model, args.adapter)


def _with_progress(items: Iterable[T], total: int) -> Iterator[T]:
    """A progress bar on stderr, where that is a terminal."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return iter(track(items, total=total, description="judging", console=console, disable=not sys.stderr.isatty()))
