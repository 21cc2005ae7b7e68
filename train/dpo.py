"""One round of DPO: pairs drawn from judged rollouts, weighted toward the errors that are frequent now.

    accelerate launch train/dpo.py --config configs/dpo.yaml --rollouts runs/r1

Reads rollouts that `rlcode rollout` or GRPO wrote, takes them down in the error notebook, draws pairs by the strategy
as training goes on, and trains a LoRA adapter on them with TRL. With `quiz_steps`, the policy answers validation
problems meanwhile, and draws go by what it gets wrong now. Writes into `output_dir`: `adapter/`, `notebook.json`,
`draws.jsonl`, `quiz/`, `best_adapter` and TRL's checkpoints. A run that was killed goes on with the same command and
draws the same pairs.
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
from train.arguments import PairArguments, PolicyArguments
from train.launcher import end_with_launcher
from train.one_gpu import take_one_gpu
from train.precision import with_precision


def _trl_configs() -> Sequence[type]:
    from trl import DPOConfig, ModelConfig

    return [ModelConfig, DPOConfig]


def main(argv: list[str]) -> int:
    end_with_launcher()
    take_one_gpu()
    pair_args, policy_args, model_args, training_args = parse_config(
        [PairArguments, PolicyArguments], with_precision(argv), prog="train/dpo.py", others=_trl_configs
    )
    if policy_args.dry_run:
        from train.dry_run import dry_run

        return dry_run("dpo", pair_args, policy_args, model_args, training_args)
    with open_for_training(Path(training_args.output_dir), "dpo", [pair_args, policy_args, model_args, training_args]):
        adapter = train_dpo(pair_args, policy_args, model_args, training_args)
    if os.environ.get("RANK", "0") == "0":
        print(f"DPO: {adapter.name} in {adapter}, its pairs in {adapter.parent / 'draws.jsonl'}")
    return 0


def train_dpo(
    pair_args: PairArguments,
    policy_args: PolicyArguments,
    model_args: Any,
    training_args: Any,
    callbacks: Sequence = (),
    engine: Any = None,
    sandbox: Any = None,
) -> Path:
    """Train one round and return the directory of the adapter, or with full fine-tuning of the model.

    `engine` and `sandbox`, where given, serve the quiz and are left open; else new ones are opened as `pair_args` says.
    With `callbacks`, no progress is shown here.
    """
    from train.checkpoints import checkpoint_to_resume
    from train.faults import naming_faults
    from train.interrupt import run_training
    from train.observers import observed
    from train.pair_opening import build_pool, make_trainer, newest_version, step_plan, strategy_of
    from train.pair_trainer import check_arguments
    from train.policy import FOLDERS, leave_together, save_policy
    from train.policy_kinds import check_kind

    check_arguments(training_args)
    check_kind(policy_args, model_args, training_args, pair_args if pair_args.quiz_steps else None)
    step_plan(pair_args, training_args)  # both refuse what can't be before the rollouts are read
    strategy_of(pair_args)
    output_dir, checkpoint = Path(training_args.output_dir), checkpoint_to_resume(training_args)
    pool, notebook = build_pool(pair_args)
    first_version = 1 + newest_version(policy_args, notebook)
    trainer = make_trainer(pair_args, policy_args, model_args, training_args, pool, notebook, callbacks, checkpoint)
    with ExitStack() as stack:
        if pair_args.quiz_steps:
            from train.quiz import add_quiz

            add_quiz(
                trainer,
                pair_args,
                model_args,
                first_version=first_version,
                resumed_from=checkpoint,
                stack=stack,
                engine=engine,
                sandbox=sandbox,
            )
        stack.enter_context(observed(trainer, "dpo", alarms=policy_args.alarms, silent=bool(callbacks)))
        run_training(trainer, checkpoint)

    version = first_version + trainer.state.global_step
    final = output_dir / FOLDERS[policy_args.full_finetuning]
    with naming_faults(trainer):
        if trainer.accelerator.is_main_process:
            trainer.sampler.history.last.notebook.save(output_dir / "notebook.json")
        save_policy(trainer, final, model_args.model_name_or_path, version)  # last: the run is over
    leave_together(trainer)
    return final


if __name__ == "__main__":
    sys.exit(run_main(main))
