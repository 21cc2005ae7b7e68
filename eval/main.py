"""`rlcode eval`: judge a samples file or a model on a benchmark and report pass@k.

All input is read and checked before anything is judged; the report is written at the end, whole or not at all. Samples
pass through one by one: memory does not grow with their number but for a few bytes each.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval.arguments import parse_arguments
from rlcode.errors import InputError
from rlcode.limits import limits_from
from rlcode.prompts import PromptFormat

if TYPE_CHECKING:
    from eval.judging import Judged
    from eval.report import ReportFiles
    from eval.samples import Sample
    from rlcode.run_directory import RunDirectory
    from rlcode.types import EvalReport, Problem
    from sampling.engine import Engine
    from sandbox.protocol import Sandbox


def main(argv: list[str]) -> int:
    """Run the command and return 0.

    Raises:
        InputError: the input can't be used. SandboxError, EngineError: judging or generating failed.
    """
    args = parse_arguments(argv)
    from eval.report import check_output_dir, print_report
    from rlcode.data.registry import problems_from

    check_output_dir(args.output_dir, args.overwrite, resumes=args.model is not None)
    if args.samples and args.samples.resolve().parent == args.output_dir.resolve():
        raise InputError(
            f"{args.samples} lies in {args.output_dir}, whose files are replaced; name another --output_dir"
        )
    problems = problems_from(args)
    report = evaluate_file(args, problems) if args.samples else evaluate_model(args, problems)
    print_report(report)
    print(f"report and verdicts are in {args.output_dir}")
    return 0


def evaluate_file(args: argparse.Namespace, problems: Sequence[Problem]) -> EvalReport:
    """Judge a samples file and write the report."""
    from eval.report import ReportFiles, remove_report
    from eval.samples import SamplesFile, tasks_without_samples
    from rlcode.data.registry import load_problems
    from rlcode.run_directory import file_hash

    # a list of generations has those of excluded tasks too, in their places
    everything = load_problems(args.benchmark, args.benchmark_file, args.split) if args.exclude else problems
    samples = SamplesFile(args.samples, everything, args.benchmark)
    known = {problem.task_id for problem in problems}
    counts = {task_id: count for task_id, count in samples.counts.items() if task_id in known}
    if not counts:
        raise InputError(f"{args.samples}: all of its tasks are excluded by {args.exclude}")
    missing = tasks_without_samples(counts, problems)
    if missing and args.require_all_tasks:
        raise InputError(f"{args.samples}: {len(missing)} tasks have no sample, {missing[0]} first; add them")
    check_ks(args.k, min(counts.values()))
    with ExitStack() as stack:
        sandbox = stack.enter_context(open_sandbox_for(args))
        without = _left_out(problems, sandbox)
        judged = [problem for problem in problems if problem.task_id not in without]
        wanted = known - without.keys()
        files = stack.enter_context(ReportFiles(args.output_dir, judged))
        policy = {"samples": str(args.samples), "sha256": file_hash(args.samples)}
        total = sum(count for task_id, count in counts.items() if task_id in wanted)
        some = (sample for sample in samples if sample.task_id in wanted)
        files.add_all(judge_all(args, some, judged, sandbox, total))
        report = make_report(args, files, judged, sandbox, policy, without)
        remove_report(args.output_dir)
        files.write(report)
    return report


def evaluate_model(args: argparse.Namespace, problems: Sequence[Problem]) -> EvalReport:
    """Let a model answer, judge what it wrote, and write the report and the samples. What was written before a kill is
    judged again and not drawn again."""
    from eval.report import is_done, remove_report
    from rlcode.run_directory import RunDirectory

    check_ks(args.k, args.num_samples)
    with ExitStack() as stack:
        directory = None
        if not is_done(args.output_dir):
            directory = stack.enter_context(RunDirectory(args.output_dir, "eval", run_config(args)))
        sandbox = stack.enter_context(open_sandbox_for(args))
        without = _left_out(problems, sandbox)
        judged = [problem for problem in problems if problem.task_id not in without]
        engine = stack.enter_context(open_engine_for(args))
        if directory is None:  # not before it is sure that there can be a new one
            remove_report(args.output_dir)
            directory = stack.enter_context(RunDirectory(args.output_dir, "eval", run_config(args)))
        return evaluate_policy(args, judged, directory, engine, sandbox, without)


def evaluate_policy(
    args: argparse.Namespace,
    problems: Sequence[Problem],
    directory: RunDirectory,
    engine: Engine,
    sandbox: Sandbox,
    without: Mapping[str, str] | None = None,
) -> EvalReport:
    """The same for the policy that `engine` holds, which `args` names. `without`: the tasks that were left out, each
    with the reason."""
    from eval.report import ReportFiles
    from sampling.provenance import made_with

    prompts = PromptFormat.from_arguments(args).for_model(engine.tokenizer)
    limits = replace(limits_from(args), failures=None)  # which changes no figure
    directory.bind(made_with(args.model, args.adapter, engine, problems, sandbox, limits))
    with ReportFiles(args.output_dir, problems, with_samples=True) as files:
        for is_greedy in (False, True) if args.greedy else (False,):
            total = len(problems) * (1 if is_greedy else args.num_samples)
            stream = answers(args, engine, problems, prompts, is_greedy=is_greedy)
            files.add_all(judge_all(args, stream, problems, sandbox, total), is_greedy=is_greedy)
        report = make_report(args, files, problems, sandbox, _policy(args, prompts), dict(without or {}))
        files.write(report)
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
    *,
    is_greedy: bool,
) -> Iterator[Sample]:
    """What the model writes for the problems: first what it wrote before the run was killed, then the rest."""
    from eval.drawn_samples import DRAWN, DRAWN_GREEDY, DrawnSamples
    from eval.generation import generate_samples
    from sampling.engine import SamplingParams

    temperature, num_samples = (0.0, 1) if is_greedy else (args.temperature, args.num_samples)
    params = SamplingParams(temperature, args.top_p, args.top_k, args.max_completion_length, seed=args.seed)
    with DrawnSamples(args.output_dir / (DRAWN_GREEDY if is_greedy else DRAWN), problems, num_samples) as drawn:
        yield from drawn
        for sample in generate_samples(
            engine, problems, params, num_samples=num_samples, prompts=prompts, done=drawn.keys
        ):
            yield drawn.append(sample)


def judge_all(
    args: argparse.Namespace, samples: Iterable[Sample], problems: Sequence[Problem], sandbox: Sandbox, total: int
) -> Iterator[Judged]:
    """Each of the `total` samples with its outcome, as they are judged; progress on stderr."""
    from eval.judging import checked, judge_again, judge_samples
    from rlcode.extraction_worker import Extractor
    from sandbox.terminal import with_progress

    by_id, limits = {problem.task_id: problem for problem in problems}, limits_from(args)
    with Extractor() as extractor:

        def judge(some: Iterable[Sample]) -> Iterator[Judged]:
            return judge_samples(some, by_id, sandbox=sandbox, extractor=extractor, limits=limits)

        judged = checked(judge(samples), total, args.max_unscored_share)
        yield from with_progress(judge_again(judged, judge), total)


def make_report(
    args: argparse.Namespace,
    files: ReportFiles,
    problems: Sequence[Problem],
    sandbox: Sandbox,
    policy: dict[str, Any],
    without: dict[str, str],
) -> EvalReport:
    """The figures of what was judged. `without`: the tasks that could not be, and why."""
    from eval.figures import by_part, difficulties, greedy_interval, pass_at_ks, tags
    from eval.samples import tasks_without_samples
    from rlcode.data.registry import data_version
    from rlcode.run_directory import package_versions
    from rlcode.types import EvalReport

    figures, greedy = files.figures.in_order(problems), files.greedy.in_order(problems)
    given, withheld = pass_at_ks(figures.results, args.k, args.seed)
    return EvalReport(
        benchmark=args.benchmark,
        num_tasks=len(problems),
        num_samples=figures.num_samples,
        pass_at_k=given,
        error_types=figures.error_types(),
        unscored=figures.unscored,
        withheld=withheld,
        tasks_without_samples=tasks_without_samples(figures.results, problems),
        greedy=greedy_interval(greedy.results),
        greedy_unscored=greedy.unscored,
        pass_at_k_base=pass_at_ks(figures.base, args.k, args.seed)[0],
        greedy_base=greedy_interval(greedy.base),
        by_difficulty=by_part(figures, difficulties(problems), args.k, args.seed),
        by_tag=by_part(figures, tags(problems), args.k, args.seed),
        seed=args.seed,
        backend=sandbox.backend,
        image_digest=sandbox.image_digest,
        policy=policy,
        data={
            "file": str(args.benchmark_file) if args.benchmark_file else None,
            "split": args.split,
            "exclude": str(args.exclude) if args.exclude else None,
            "version": data_version(args.benchmark, args.benchmark_file),
            "limits": vars(limits_from(args)),
        },
        versions=package_versions(),
        forgeable=any(problem.forgeable for problem in problems),
        left_out=without,
    )


def _left_out(problems: Sequence[Problem], sandbox: Sandbox) -> dict[str, str]:
    """The tasks that the sandbox lacks libraries for, which is said at once."""
    from eval.left_out import left_out, statement

    found = left_out(problems, sandbox)
    if found:
        print(statement(found, len(problems), sandbox.backend), file=sys.stderr)
    return found


def run_config(args: argparse.Namespace) -> dict[str, Any]:
    """What must be the same for an evaluation to go on."""
    from rlcode.run_directory import OPERATIONAL

    free = {
        *OPERATIONAL,
        "output_dir",
        "overwrite",
        "workers",
        "k",
        "samples",
        "require_all_tasks",
        "failure_limit",
        "cache_limit_failures",
    }
    return {name: value for name, value in vars(args).items() if name not in free}


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
def open_sandbox_for(args: argparse.Namespace) -> Iterator[Sandbox]:
    """The sandbox, with its cache where one is asked for; says at the end what that was good for."""
    from sandbox.cache import open_cache
    from sandbox.pool import open_sandbox

    with (
        open_cache(args.cache, keep_limit_failures=args.cache_limit_failures) as cache,
        open_sandbox(args.sandbox, workers=args.workers, cache=cache) as sandbox,
    ):
        yield sandbox
        if cache is not None:
            print(cache.summary())


def open_engine_for(args: argparse.Namespace) -> Engine:
    """The engine that `args` ask for, with their adapter in force."""
    from sampling.engine import EngineSettings, open_engine

    settings = EngineSettings.from_arguments(args)
    return open_engine(settings, args.model, args.adapter, run=args.output_dir)
