"""Supervised fine-tuning on programs that pass: the policy's own (rejection sampling), or reference solutions.

    accelerate launch train/sft.py --config configs/sft.yaml --rollouts runs/r1
    accelerate launch train/sft.py --config configs/sft.yaml --benchmark mbpp --split train

Reads rollouts that `rlcode rollout` or GRPO wrote and takes different programs of each problem that passed, as the
tokens that were sampled; or takes the reference solutions of problems as answers to the prompts that our engines would
ask, after they were judged (a warm start). Trains a LoRA adapter on them with TRL, with the loss on the completions.
Writes into `output_dir`: `adapter/`, `examples.jsonl`, `references.jsonl` and TRL's checkpoints. A run that was killed
goes on with the same command and trains on the same examples in the same order. It weights nothing by error type.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlcode.cli import run_main
from rlcode.config import parse_config
from rlcode.run_directory import open_for_training
from train.arguments import PolicyArguments, SftArguments
from train.launcher import end_with_launcher
from train.one_gpu import take_one_gpu
from train.precision import with_precision

if TYPE_CHECKING:
    from train.example_trainer import ExampleTrainer
    from train.sft_examples import ExampleSet


def _trl_configs() -> Sequence[type]:
    from trl import ModelConfig, SFTConfig

    return [ModelConfig, SFTConfig]


def main(argv: list[str]) -> int:
    end_with_launcher()
    take_one_gpu()
    sft_args, policy_args, model_args, training_args = parse_config(
        [SftArguments, PolicyArguments], with_precision(argv), prog="train/sft.py", others=_trl_configs
    )
    if policy_args.dry_run:
        from train.dry_run import dry_run

        return dry_run("sft", sft_args, policy_args, model_args, training_args)
    with open_for_training(Path(training_args.output_dir), "sft", [sft_args, policy_args, model_args, training_args]):
        adapter = train_sft(sft_args, policy_args, model_args, training_args)
    if os.environ.get("RANK", "0") == "0":
        print(f"SFT: {adapter.name} in {adapter}, what it was trained on in {adapter.parent / 'examples.jsonl'}")
    return 0


def train_sft(
    sft_args: SftArguments,
    policy_args: PolicyArguments,
    model_args: Any,
    training_args: Any,
    callbacks: Sequence = (),
    sandbox: Any = None,
) -> Path:
    """Train on one source of programs and return the directory of the adapter, or with full fine-tuning of the model.

    `sandbox`, where given, judges the reference solutions and is left open; else a new one is opened as `sft_args`
    says. With `callbacks`, nothing is printed here.

    Raises:
        ConfigError: not exactly one source was named, or an option of TRL's would change what is trained on.
        DataError: there is nothing to train on, or it is not what a run that goes on began with.
    """
    from train.checkpoints import checkpoint_to_resume
    from train.example_trainer import check_arguments
    from train.faults import naming_faults
    from train.interrupt import run_training
    from train.observers import observed
    from train.policy import FOLDERS, leave_together, load_tokenizer, save_policy
    from train.policy_kinds import check_kind
    from train.sft_examples import FILE_NAME, record_examples

    sft_args.check_source()
    check_arguments(training_args)
    check_kind(policy_args, model_args, training_args)
    output_dir, checkpoint = Path(training_args.output_dir), checkpoint_to_resume(training_args)
    is_first = training_args.process_index == 0
    with tempfile.TemporaryDirectory(prefix="rlcode-sft-") as folder:
        examples = make_examples(sft_args, training_args, load_tokenizer(model_args), Path(folder), sandbox)
        if is_first:
            record_examples(output_dir / FILE_NAME, examples.rows, resumed=checkpoint is not None)
        if is_first and not callbacks:
            print(f"SFT: {examples.summary}")
        first_version = 1 + newest_version(policy_args, examples)
        trainer = make_trainer(policy_args, model_args, training_args, examples, callbacks)
        with observed(trainer, "sft", alarms=policy_args.alarms, silent=bool(callbacks)):
            run_training(trainer, checkpoint)

    version = first_version + trainer.state.global_step
    final = output_dir / FOLDERS[policy_args.full_finetuning]
    with naming_faults(trainer):
        save_policy(trainer, final, str(model_args.model_name_or_path), version)
    leave_together(trainer)
    return final


def make_examples(
    sft_args: SftArguments, training_args: Any, tokenizer: Any, folder: Path, sandbox: Any = None
) -> ExampleSet:
    """What is trained on, the same in every process; its files go to `folder`.

    Raises:
        DataError: nothing is left to train on.
    """
    from train.references import reference_examples
    from train.sft_examples import rollout_examples

    if sft_args.rollouts:
        return rollout_examples(sft_args, training_args, tokenizer, folder)
    return reference_examples(sft_args, training_args, tokenizer, folder, sandbox)


def newest_version(policy_args: PolicyArguments, examples: ExampleSet) -> int:
    """Of all policies that were seen. The start of this run is a policy of its own, the next one; each optimizer step
    makes another."""
    from sampling.adapters import start_version

    return max(examples.newest_version, start_version(policy_args.adapter))


def make_trainer(
    policy_args: PolicyArguments, model_args: Any, training_args: Any, examples: ExampleSet, callbacks: Sequence = ()
) -> ExampleTrainer:
    """The trainer of the policy on these examples."""
    from train.example_trainer import ExampleTrainer
    from train.policy import load_policy, load_tokenizer

    return ExampleTrainer(
        model=load_policy(model_args, policy_args.adapter, training_args.seed, full=policy_args.full_finetuning),
        args=training_args,
        examples=examples.rows,
        processing_class=load_tokenizer(model_args),
        callbacks=list(callbacks),
    )


if __name__ == "__main__":
    sys.exit(run_main(main))
