"""GRPO on problems with unit tests: groups of completions, judged in the sandbox, rewarded by TRL.

    accelerate launch train/grpo.py --config configs/grpo.yaml

Each step draws `num_generations` completions for each of some problems from the policy as it is, judges them, and
updates the LoRA adapter with TRL's trainer. The error notebook decides which problems, and groups that teach nothing
are dropped and others drawn. Writes into `output_dir`: `adapter/`, `notebook.json`, `rollouts-rank*.jsonl` and TRL's
checkpoints. The algorithm, its loss and its schedule are TRL's own.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rlcode.cli import run_main
from rlcode.config import parse_config
from rlcode.limits import limits_from
from rlcode.prompts import PromptFormat
from rlcode.run_directory import open_for_training
from rlcode.types import Problem
from train.arguments import GrpoArguments


def _trl_configs() -> Sequence[type]:
    from trl import GRPOConfig, ModelConfig

    return [ModelConfig, GRPOConfig]


def main(argv: list[str]) -> int:
    from rlcode.data.registry import load_problems

    args, model_args, training_args = parse_config([GrpoArguments], argv, prog="train/grpo.py", others=_trl_configs)
    file = Path(args.benchmark_file) if args.benchmark_file else None
    exclude = Path(args.exclude) if args.exclude else None
    with open_for_training(Path(training_args.output_dir), "grpo", [args, model_args, training_args]):
        problems = load_problems(args.benchmark, file, args.split, exclude)
        adapter = train_grpo(args, model_args, training_args, problems)
    if os.environ.get("RANK", "0") == "0":
        print(f"GRPO: adapter in {adapter}")
    return 0


def train_grpo(
    args: GrpoArguments,
    model_args: Any,
    training_args: Any,
    problems: Sequence[Problem],
    callbacks: Sequence = (),
    engine: Any = None,
    sandbox: Any = None,
) -> Path:
    """Train on `problems` and return the directory of the adapter.

    `engine` and `sandbox`, where given, are used and left open; else new ones are opened as `args` says. With
    `callbacks`, the trainer prints nothing itself.
    """
    from datasets import Dataset
    from transformers import PrinterCallback

    from rewards.composite import CompositeReward
    from train.checkpoints import checkpoint_to_resume
    from train.group_trainer import GroupTrainer
    from train.policy import leave_together, load_policy, load_tokenizer, save_policy

    checkpoint = checkpoint_to_resume(training_args)
    policy = load_policy(model_args, args.adapter, training_args.seed)
    tokenizer = load_tokenizer(model_args)
    with ExitStack() as stack:
        rollouts = open_rollouts(args, model_args, training_args, problems, tokenizer, engine, sandbox, stack)
        groups = training_args.generation_batch_size // training_args.num_generations
        trainer = GroupTrainer(
            model=policy,
            reward_funcs=[CompositeReward.from_arguments(args, training_args.max_completion_length)],
            args=training_args,
            train_dataset=Dataset.from_list(rollouts.dataset_rows(at_least=groups)),
            processing_class=tokenizer,
            rollout_func=rollouts,
            callbacks=list(callbacks),
        )
        if callbacks:
            trainer.remove_callback(PrinterCallback)
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)

    output_dir = Path(training_args.output_dir)
    version = rollouts.first_version + trainer.state.global_step
    save_policy(trainer, output_dir / "adapter", str(model_args.model_name_or_path), version)
    if trainer.accelerator.is_main_process:
        rollouts.notebook.save(output_dir / "notebook.json")
        if not callbacks:
            print(f"GRPO: {rollouts.describe_groups()}")
    leave_together(trainer)
    return output_dir / "adapter"


def open_rollouts(
    args: GrpoArguments,
    model_args: Any,
    training_args: Any,
    problems: Sequence[Problem],
    tokenizer: Any,
    engine: Any,
    sandbox: Any,
    stack: ExitStack,
) -> Any:
    """The rollout function with what it needs; what is opened here is closed by `stack`."""
    from rewards.held_back import split_problems
    from rlcode.extraction_worker import Extractor
    from sampling.adapters import adapter_version
    from sampling.notebook import ErrorNotebook
    from sampling.prompt_sampler import PromptSampler, PromptSampling
    from sampling.store import RolloutStore
    from train.groups import GroupFilter
    from train.held_back import HeldBackTests
    from train.policy_rollouts import PolicyRollouts
    from train.policy_sync import open_training_engine, open_training_sandbox

    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")  # TRL warns at every start that rollout_func is young
    rank = int(os.environ.get("RANK", "0"))
    notebook = ErrorNotebook.load(Path(args.notebook)) if args.notebook else ErrorNotebook()
    earlier = [*notebook.versions(), adapter_version(Path(args.adapter)) if args.adapter else 0]
    splits = split_problems(problems, args.held_back_tests, training_args.seed)
    return PolicyRollouts(
        problems=[split.shown for split in splits],
        held_back=HeldBackTests(split.held_back for split in splits if split.held_back),
        prompts=PromptFormat.from_arguments(args),
        engine=engine or stack.enter_context(open_training_engine(args, model_args, tokenizer)),
        sandbox=sandbox or open_training_sandbox(args, stack),
        extractor=stack.enter_context(Extractor()),
        limits=limits_from(args),
        store=stack.enter_context(RolloutStore(Path(training_args.output_dir), f"-rank{rank}")),
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


if __name__ == "__main__":
    sys.exit(run_main(main))
