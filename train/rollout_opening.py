"""Opens what GRPO's trainer asks for completions: our rollout function, with its engine, sandbox and notebook."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rewards.held_back import split_problems
from rlcode.extraction_worker import Extractor
from rlcode.limits import limits_from
from rlcode.prompts import PromptFormat
from rlcode.types import Problem
from sampling.adapters import start_version
from sampling.notebook import ErrorNotebook
from sampling.prompt_sampler import PromptSampler, PromptSampling
from sampling.store import RolloutStore
from train.arguments import GrpoArguments
from train.groups import GroupFilter
from train.held_back import HeldBackTests
from train.policy_rollouts import PolicyRollouts
from train.policy_sync import open_training_engine, open_training_sandbox


def open_rollouts(
    args: GrpoArguments,
    model_args: Any,
    training_args: Any,
    problems: Sequence[Problem],
    tokenizer: Any,
    engine: Any,
    sandbox: Any,
    stack: ExitStack,
) -> PolicyRollouts:
    """The rollout function with what it needs; what is opened here is closed by `stack`."""
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")  # TRL warns at every start that rollout_func is young
    rank, run = int(os.environ.get("RANK", "0")), Path(training_args.output_dir)
    notebook = ErrorNotebook.load(Path(args.notebook)) if args.notebook else ErrorNotebook()
    earlier = [*notebook.versions(), start_version(args.adapter)]
    splits = split_problems(problems, args.held_back_tests, training_args.seed)
    return PolicyRollouts(
        problems=[split.shown for split in splits],
        held_back=HeldBackTests(split.held_back for split in splits if split.held_back),
        prompts=PromptFormat.from_arguments(args),
        engine=engine or open_training_engine(args, model_args, tokenizer, run, stack),
        sandbox=sandbox or open_training_sandbox(args, stack, by_all=True),
        extractor=stack.enter_context(Extractor()),
        limits=limits_from(args),
        store=stack.enter_context(RolloutStore(run, f"-rank{rank}")),
        adapters=Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rlcode-adapters-"))),
        base_model=str(model_args.model_name_or_path),
        # version 0 is the base; the start of a new adapter is a policy of its own, newer than all that were seen
        first_version=1 + max(earlier),
        max_unscored_share=args.max_unscored_share,
        sampler=PromptSampler(
            [problem.task_id for problem in problems],
            PromptSampling.from_arguments(args, training_args.num_generations),
        ),
        in_trainers_order=args.prompt_sampling == "uniform",
        group_filter=GroupFilter.from_arguments(args),
        notebook=notebook,
    )
