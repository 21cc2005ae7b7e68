"""GRPO on problems with unit tests: groups of completions, judged in the sandbox, rewarded by TRL.

    accelerate launch train/grpo.py --config configs/grpo.yaml

Each step draws `num_generations` completions for each of some problems from the policy as it is, judges them, and
updates the LoRA adapter with TRL's trainer. The error notebook decides which problems, and groups that teach nothing
are dropped and others drawn. Writes into `output_dir`: `adapter/`, `notebook.json`, `rollouts-rank*.jsonl` and TRL's
checkpoints. The algorithm, its loss and its schedule are TRL's own; with `--engine trl` the generation is too.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rlcode.cli import run_main
from rlcode.config import parse_config
from rlcode.run_directory import open_for_training
from rlcode.types import Problem
from train.arguments import GrpoArguments
from train.launcher import end_with_launcher
from train.one_gpu import take_one_gpu
from train.precision import with_precision


def _trl_configs() -> Sequence[type]:
    from trl import GRPOConfig, ModelConfig

    return [ModelConfig, GRPOConfig]


def main(argv: list[str]) -> int:
    from rlcode.data.registry import training_problems_from

    end_with_launcher()
    take_one_gpu()
    args, model_args, training_args = parse_config(
        [GrpoArguments], with_precision(argv), prog="train/grpo.py", others=_trl_configs
    )
    if args.dry_run:
        from train.dry_run import dry_run

        return dry_run("grpo", args, args, model_args, training_args)
    with open_for_training(Path(training_args.output_dir), "grpo", [args, model_args, training_args]):
        adapter = train_grpo(args, model_args, training_args, training_problems_from(args))
    if os.environ.get("RANK", "0") == "0":
        print(f"GRPO: {adapter.name} in {adapter}")
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
    """Train on `problems` and return the directory of the adapter, or with full fine-tuning of the model.

    `engine` and `sandbox`, where given, are used and left open; else new ones are opened as `args` says. With
    `callbacks`, no progress is shown here.
    """
    from train.trl_without_vllm import load_trl_without_vllm

    if args.engine != "trl":
        load_trl_without_vllm()  # before what imports TRL's trainer

    from datasets import Dataset

    from rewards.composite import CompositeReward
    from train.checkpoints import checkpoint_to_resume
    from train.faults import naming_faults
    from train.group_trainer import GroupTrainer
    from train.interrupt import run_training
    from train.observers import observed
    from train.policy import FOLDERS, leave_together, load_policy, load_tokenizer, save_policy
    from train.policy_kinds import check_kind
    from train.rollout_opening import open_rollouts
    from train.trl_generation import check_generation, first_version_of, open_trl_trainer

    check_kind(args, model_args, training_args, args)
    check_generation(args, training_args)
    checkpoint = checkpoint_to_resume(training_args)
    policy = load_policy(model_args, args.adapter, training_args.seed, full=args.full_finetuning)
    tokenizer = load_tokenizer(model_args)
    common = {"model": policy, "args": training_args, "processing_class": tokenizer, "callbacks": list(callbacks)}
    with ExitStack() as stack:
        if args.engine == "trl":
            rollouts = None
            trainer = open_trl_trainer(args, problems, sandbox, stack, common)
        else:
            rollouts = open_rollouts(args, model_args, training_args, problems, tokenizer, engine, sandbox, stack)
            groups = training_args.generation_batch_size // training_args.num_generations
            trainer = GroupTrainer(
                **common,
                reward_funcs=[CompositeReward.from_arguments(args, training_args.max_completion_length)],
                train_dataset=Dataset.from_list(rollouts.dataset_rows(at_least=groups)),
                rollouts=rollouts,
            )
        stack.enter_context(observed(trainer, "grpo", alarms=args.alarms, silent=bool(callbacks)))
        run_training(trainer, checkpoint)

    output_dir, final = Path(training_args.output_dir), Path(training_args.output_dir) / FOLDERS[args.full_finetuning]
    version = (rollouts.first_version if rollouts else first_version_of(args)) + trainer.state.global_step
    with naming_faults(trainer):
        if rollouts:
            rollouts.remember(trainer)  # a run that was resumed behind its last step drew nothing
        if rollouts and trainer.accelerator.is_main_process:
            rollouts.notebook.save(output_dir / "notebook.json")
            if not callbacks:
                print(f"GRPO: {rollouts.describe_groups()}")
        save_policy(trainer, final, str(model_args.model_name_or_path), version)  # last: it is over
    leave_together(trainer)
    return final


if __name__ == "__main__":
    sys.exit(run_main(main))
