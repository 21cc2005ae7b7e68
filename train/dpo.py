"""One round of DPO: pairs drawn from judged rollouts, weighted toward the errors that are frequent now.

    accelerate launch train/dpo.py --config configs/dpo.yaml --rollouts runs/r1

Reads rollouts that `rlcode rollout` wrote, takes them down in the error notebook, draws pairs by the strategy, and
trains a LoRA adapter on them with TRL. Writes into `output_dir`: `adapter/`, `notebook.json`, `pairs.jsonl`.
It does not generate, and judges nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlcode.cli import run_main
from rlcode.config import parse_config
from rlcode.errors import ConfigError, DataError
from rlcode.run_directory import open_for_training, write_json_lines
from sampling.notebook import ErrorNotebook
from sampling.pool import ERROR_TYPES, PairPool
from sampling.strategies.protocol import Draw
from train.arguments import PairArguments, PolicyArguments


def _trl_configs() -> Sequence[type]:
    from trl import DPOConfig, ModelConfig

    return [ModelConfig, DPOConfig]


def main(argv: list[str]) -> int:
    pair_args, policy_args, model_args, training_args = parse_config(
        [PairArguments, PolicyArguments], argv, prog="train/dpo.py", others=_trl_configs
    )
    with open_for_training(Path(training_args.output_dir), "dpo", [pair_args, policy_args, model_args, training_args]):
        adapter = train_dpo(pair_args, policy_args, model_args, training_args)
    if os.environ.get("RANK", "0") == "0":
        print(f"DPO: adapter in {adapter}, pairs in {adapter.parent / 'pairs.jsonl'}")
    return 0


def train_dpo(
    pair_args: PairArguments,
    policy_args: PolicyArguments,
    model_args: Any,
    training_args: Any,
    callbacks: Sequence = (),
) -> Path:
    """Train one round and return the directory of the adapter. With `callbacks`, the trainer prints nothing itself."""
    from transformers import PrinterCallback

    from sampling.adapters import adapter_version
    from train.pair_trainer import PairTrainer, pairs_to_dataset
    from train.policy import checkpoint_to_resume, leave_together, load_policy, load_tokenizer, save_policy

    if pair_args.reference == "base" and policy_args.adapter and training_args.precompute_ref_log_probs:
        raise ConfigError(
            "precompute_ref_log_probs takes --adapter as the reference; leave it out with reference: base"
        )
    pool, draws, notebook = draw_training_pairs(pair_args, training_args.seed)
    tokenizer = load_tokenizer(model_args)
    check_tokens(pool, tokenizer)
    trainer = PairTrainer(
        model=load_policy(model_args, policy_args.adapter, training_args.seed),
        args=training_args,
        train_dataset=pairs_to_dataset(pool, draws),
        processing_class=tokenizer,
        callbacks=list(callbacks),
    )
    if policy_args.adapter is None or pair_args.reference == "base":
        trainer.model.delete_adapter("ref")  # TRL then takes the model without adapter as the reference
    if callbacks:
        trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=checkpoint_to_resume(training_args))

    output_dir = Path(training_args.output_dir)
    version = 1 + max(
        adapter_version(Path(policy_args.adapter)) if policy_args.adapter else 0,
        int(pool.sides.policy_version.max()),
    )
    save_policy(trainer, output_dir / "adapter", model_args.model_name_or_path, version)
    if trainer.accelerator.is_main_process:
        notebook.save(output_dir / "notebook.json")
        write_json_lines(output_dir / "pairs.jsonl", (describe_draw(pool, draw) for draw in draws))
    leave_together(trainer)
    return output_dir / "adapter"


def check_tokens(pool: PairPool, tokenizer: Any) -> None:
    """Make sure that the tokens of the rollouts are this tokenizer's.

    Raises:
        DataError: they say something else than their text: the rollouts are of another model.
    """
    for row in pool.rows.select(range(min(8, len(pool.rows)))):
        if not tokenizer.decode(row["completion_ids"], skip_special_tokens=True).startswith(row["text"]):
            raise DataError(
                f"the tokens of completion {row['index']} of task {row['task_id']} are not its text in this "
                "model's tokenizer; the rollouts must come from the model that is trained"
            )


def draw_training_pairs(pair_args: PairArguments, seed: int) -> tuple[PairPool, list[Draw], ErrorNotebook]:
    """The pool, the pairs of this run and the notebook after its rollouts.

    Raises:
        ConfigError: no rollouts were named, or the strategy is unknown.
        DataError: the rollouts can't be read or have no pairs in them.
    """
    from sampling.draws import PairSequence
    from sampling.notebook import ErrorNotebook
    from sampling.pool import build_pair_pool
    from sampling.snapshots import Snapshot, SnapshotHistory
    from sampling.store import read_rollouts
    from sampling.strategies import make_strategy

    if not pair_args.rollouts:
        raise ConfigError("no rollouts: name what `rlcode rollout` wrote with --rollouts")
    options = {"power": pair_args.strategy_power} if pair_args.strategy == "frequency" else {}
    strategy = make_strategy(pair_args.strategy, **options)
    rollouts = list(read_rollouts(map(Path, pair_args.rollouts)))
    notebook = ErrorNotebook.load(Path(pair_args.notebook)) if pair_args.notebook else ErrorNotebook()
    notebook.observe(rollouts)
    pool = build_pair_pool(rollouts)
    sequence = PairSequence(
        pool, strategy, SnapshotHistory(Snapshot(0, notebook)), length=pair_args.num_pairs, seed=seed
    )
    return pool, [sequence.draw(position) for position in range(pair_args.num_pairs)], notebook


def describe_draw(pool: PairPool, draw: Draw) -> dict[str, Any]:
    """A drawn pair for people and scripts: what failed how, and which completions its sides are."""
    sides = pool.sides
    return {
        "task_id": sides.task_ids[sides.problem[draw.rejected]],
        "error_type": ERROR_TYPES[sides.error_type[draw.rejected]],
        "part": draw.part,
        **{
            side: {"index": int(sides.index[at]), "policy_version": int(sides.policy_version[at])}
            for side, at in (("chosen", draw.chosen), ("rejected", draw.rejected))
        },
    }


if __name__ == "__main__":
    sys.exit(run_main(main))
