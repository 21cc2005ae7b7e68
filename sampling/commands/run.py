"""Draw and judge the samples of a run; what is there already stays."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rlcode.config import parse_config
from rlcode.data.registry import training_problems_from
from rlcode.errors import ConfigError
from rlcode.limits import limits_from
from rlcode.prompts import PromptFormat, opened_thinking
from rlcode.run_directory import OPERATIONAL, RunDirectory
from rlcode.types import Completion, Problem
from sampling.arguments import RolloutArguments
from sampling.commands.progress import Progress
from sampling.commands.stopping import Stopping
from sampling.commands.summary import summary_table
from sampling.tally import SampleKeys, Tally

if TYPE_CHECKING:
    from sampling.engine import Engine
    from sampling.store import RolloutStore
    from sandbox.judging import Judged


def main(argv: list[str]) -> int:
    """Run the command; 0 when all rollouts are there, 128 and the signal when it was stopped before.

    Raises:
        InputError: the input can't be used. SandboxError, EngineError: judging or generating failed.
        RunDirectoryError: the directory is of another run. StoreError: rollouts can't be written.
    """
    (args,) = parse_config([RolloutArguments], argv, prog="rlcode rollout")
    if not args.model or not args.output_dir:
        raise ConfigError("rlcode rollout needs --model and --output_dir")
    problems = training_problems_from(args)
    config = {key: value for key, value in asdict(args).items() if key not in ("output_dir", *OPERATIONAL)}
    output_dir, tally, stopping = Path(args.output_dir), Tally(len(problems) * args.num_generations), Stopping()
    with RunDirectory(output_dir, "rollout", config) as run_directory:
        write_run(args, problems, run_directory, tally, stopping)
    _print_summary(tally, output_dir, stopping)
    return stopping.exit_code


def write_run(
    args: RolloutArguments, problems: Sequence[Problem], directory: RunDirectory, tally: Tally, stopping: Stopping
) -> None:
    """Draw and judge what the run directory does not hold yet, until all is there or a stop is asked for."""
    from rlcode.extraction_worker import Extractor
    from sampling.engine import EngineSettings, open_engine
    from sampling.provenance import made_with
    from sampling.rollouts import answers_to
    from sampling.store import RolloutStore
    from sandbox.cache import open_cache
    from sandbox.judging import Judging
    from sandbox.pool import open_sandbox

    limits, adapter = limits_from(args), Path(args.adapter) if args.adapter else None
    with ExitStack() as stack:
        cache = stack.enter_context(open_cache(args.cache))
        sandbox = stack.enter_context(open_sandbox(args.sandbox, workers=args.sandbox_workers, cache=cache))
        extractor = stack.enter_context(Extractor())
        settings = EngineSettings.from_arguments(args)
        engine = stack.enter_context(open_engine(settings, str(args.model), adapter, run=directory.path))
        prompts = PromptFormat.from_arguments(args).for_model(engine.tokenizer)
        print(f"engine {engine.name}, prompts {prompts.style}, sandbox {sandbox.backend}", file=sys.stderr)
        directory.bind(made_with(str(args.model), adapter, engine, problems, sandbox, limits))
        store = stack.enter_context(RolloutStore(directory.path))
        done = find_done(store, tally)
        judging: Judging[Completion] = stack.enter_context(Judging(sandbox=sandbox, extractor=extractor, limits=limits))
        with stopping, Progress(tally, judging, lambda: stopping.signal is not None):
            drawn = stopping.until_asked(_draw(args, problems, engine, prompts, done, tally))
            by_id = {problem.task_id: problem for problem in problems}
            answers = answers_to(by_id, drawn, opened_thinking(prompts, engine.tokenizer))
            _store_judged(judging.judge(answers, stopping.deadline), store, tally, args.max_unscored_share)
        if cache is not None:
            print(cache.summary(), file=sys.stderr)


def find_done(store: RolloutStore, tally: Tally) -> SampleKeys:
    """What is there already; what could not be judged gets another try."""
    store.forget_unscored()
    done = SampleKeys()
    for outcome in store.outcomes():
        done.add(outcome.task_id, outcome.index)
        tally.count_found(outcome)
    return done


def _draw(
    args: RolloutArguments,
    problems: Sequence[Problem],
    engine: Engine,
    prompts: PromptFormat,
    done: SampleKeys,
    tally: Tally,
) -> Iterator[Completion]:
    """The completions that are missing, as the engine finishes them."""
    from sampling.engine import SamplingParams
    from sampling.rollouts import key_of, make_requests, unfinished_blocks

    params = SamplingParams(args.temperature, args.top_p, args.top_k, args.max_completion_length, seed=args.seed)
    plan = make_requests(problems, engine, args.num_generations, prompts)
    for completion in engine.generate(unfinished_blocks(plan, done, engine.block_size), params):
        tally.count_drawn(completion)
        if key_of(completion) not in done:
            yield completion


def _store_judged(
    judged: Iterable[Judged[Completion]], store: RolloutStore, tally: Tally, max_unscored_share: float
) -> None:
    from sampling.rollout_lines import outcome_from
    from sampling.rollouts import rollout_of
    from sandbox.judging import UnscoredShare

    advice = "mend the sandbox and run the same command again: it goes on from here"
    share = UnscoredShare(max_unscored_share, tally.total, advice)
    for rollout in map(rollout_of, judged):
        store.append(rollout)
        tally.count_judged(outcome_from(rollout))
        share.count(rollout.unscored_reason)


def _print_summary(tally: Tally, output_dir: Path, stopping: Stopping) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    console.print(f"{tally.rollouts} rollouts in {output_dir}", markup=False, soft_wrap=True)
    console.print(summary_table(tally))
    if stopping.signal is not None:
        missing = tally.total - tally.rollouts
        console.print(f"stopped with {missing} to go; the same command goes on from here")
