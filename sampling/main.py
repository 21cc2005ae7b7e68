"""`rlcode rollout`: write completions of a policy and judge them. What DPO trains on.

Each rollout is on disk as soon as it is judged; the same command again goes on where it stopped.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rlcode.config import parse_config
from rlcode.data.registry import load_problems
from rlcode.errors import ConfigError
from rlcode.limits import limits_from
from rlcode.prompts import PromptFormat, opened_thinking
from rlcode.run_directory import OPERATIONAL, RunDirectory
from rlcode.types import Problem, Rollout
from sampling.arguments import RolloutArguments
from sampling.notebook import ErrorNotebook


def main(argv: list[str]) -> int:
    (args,) = parse_config([RolloutArguments], argv, prog="rlcode rollout")
    if not args.model or not args.output_dir:
        raise ConfigError("rlcode rollout needs --model and --output_dir")
    file = Path(args.benchmark_file) if args.benchmark_file else None
    problems = load_problems(args.benchmark, file, args.split)
    config = {key: value for key, value in asdict(args).items() if key not in ("output_dir", *OPERATIONAL)}
    with RunDirectory(Path(args.output_dir), "rollout", config):
        rollouts = write_run(args, problems)
    print(summary(rollouts, Path(args.output_dir)))
    return 0


def write_run(args: RolloutArguments, problems: Sequence[Problem]) -> list[Rollout]:
    """Draw and judge what the run directory does not hold yet; returns all of its rollouts."""
    from rich.progress import track

    from rlcode.extraction_worker import Extractor
    from sampling.engine import EngineSettings, SamplingParams, open_engine
    from sampling.rollouts import make_requests, roll_out
    from sampling.store import RolloutStore, read_rollouts
    from sandbox.cache import open_cache
    from sandbox.judging import UnscoredShare
    from sandbox.pool import open_sandbox

    path = Path(str(args.output_dir)) / "rollouts.jsonl"
    params = SamplingParams(args.temperature, args.top_p, args.top_k, args.max_completion_length, seed=args.seed)
    with (
        open_cache(args.cache) as cache,
        open_sandbox(args.sandbox, workers=args.sandbox_workers, cache=cache) as sandbox,
        Extractor() as extractor,
        open_engine(
            EngineSettings.from_arguments(args), str(args.model), Path(args.adapter) if args.adapter else None
        ) as engine,
        RolloutStore(path) as store,
    ):
        prompts = PromptFormat.from_arguments(args).for_model(engine.tokenizer)
        print(f"engine {engine.name}, prompts {prompts.style}, sandbox {sandbox.backend}", file=sys.stderr)
        store.keep_only(lambda rollout: rollout.verdict is not None)  # what could not be judged gets another try
        done = store.done()
        requests = make_requests(problems, engine, args.num_generations, prompts)
        missing = [request for request in requests if (request.task_id, request.index) not in done]
        stream = roll_out(
            missing,
            problems,
            engine=engine,
            params=params,
            sandbox=sandbox,
            extractor=extractor,
            limits=limits_from(args),
            opened=opened_thinking(prompts, engine.tokenizer),
        )
        advice = "mend the sandbox and run the same command again: it goes on from here"
        share = UnscoredShare(args.max_unscored_share, len(requests), advice)
        for rollout in track(stream, total=len(missing), description="rollouts"):
            store.append(rollout)
            share.count(rollout.unscored_reason)
        if cache is not None:
            print(cache.summary(), file=sys.stderr)
    return list(read_rollouts([path]))


def summary(rollouts: Sequence[Rollout], output_dir: Path) -> str:
    """Pass rate and error types, in a few lines."""
    notebook = ErrorNotebook()
    notebook.observe(rollouts)
    scored = [rollout for rollout in rollouts if rollout.verdict is not None]
    passed = sum(rollout.verdict.passed for rollout in scored if rollout.verdict)
    errors = ", ".join(f"{error_type} {share:.1%}" for error_type, share in notebook.frequencies("long").items())
    return (
        f"{len(rollouts)} rollouts in {output_dir}: {passed} passed, {len(scored) - passed} failed, "
        f"{len(rollouts) - len(scored)} unscored\nshare of error types: {errors or 'none'}"
    )
