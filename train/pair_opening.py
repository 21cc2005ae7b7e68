"""Opens what DPO's script trains with: the pool that pairs are drawn from, and the trainer with its sampler."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from rlcode.errors import ConfigError
from sampling.adapters import start_version
from sampling.notebook import ErrorNotebook
from sampling.pool import PairPool, build_pair_pool
from sampling.store import read_rollouts
from sampling.strategies import make_strategy
from sampling.strategies.protocol import Strategy
from train.arguments import PairArguments, PolicyArguments
from train.checkpoints import steps_before
from train.draw_log import FILE_NAME, DrawLog
from train.pair_sampler import PairSampler, StepPlan
from train.pair_trainer import PairTrainer, snapshots_in
from train.policy import check_tokens, load_policy, load_reference, load_tokenizer


def step_plan(pair_args: PairArguments, training_args: Any) -> StepPlan:
    """Which draws the optimizer steps of this run are made of.

    Raises:
        ConfigError: more is read ahead than the delay of a quiz allows.
    """
    delay = pair_args.quiz_delay if pair_args.quiz_steps else None
    return StepPlan.from_arguments(training_args, pair_args.num_pairs, delay)


def strategy_of(pair_args: PairArguments) -> Strategy:
    """The strategy that pairs are drawn by.

    Raises:
        ConfigError: there is no such strategy, or it has no such options.
    """
    return make_strategy(pair_args.strategy, **cast(dict[str, Any], pair_args.strategy_options))


def newest_version(policy_args: PolicyArguments, notebook: ErrorNotebook) -> int:
    """Of all policies that were seen. The start of this run is a policy of its own, the next one; each optimizer step
    makes another."""
    return max([*notebook.versions(), start_version(policy_args.adapter)])


def make_trainer(
    pair_args: PairArguments,
    policy_args: PolicyArguments,
    model_args: Any,
    training_args: Any,
    pool: PairPool,
    notebook: ErrorNotebook,
    callbacks: Sequence = (),
    checkpoint: Path | None = None,
) -> PairTrainer:
    """The trainer with its sampler, as it was when `checkpoint` was written."""
    strategy = strategy_of(pair_args)
    tokenizer = load_tokenizer(model_args)
    check_tokens(pool.rows, tokenizer)
    plan = step_plan(pair_args, training_args)
    draw_log = DrawLog(Path(training_args.output_dir) / FILE_NAME, pool, writes=training_args.process_index == 0)
    draw_log.go_on_from(steps_before(checkpoint), plan.draws_per_step)
    full, of_base = policy_args.full_finetuning, policy_args.adapter is None or pair_args.reference == "base"
    trainer = PairTrainer(
        model=load_policy(model_args, policy_args.adapter, training_args.seed, full=full),
        ref_model=load_reference(model_args, None if of_base else policy_args.adapter) if full else None,
        args=training_args,
        sampler=PairSampler(pool, strategy, snapshots_in(checkpoint, notebook), plan, seed=training_args.seed),
        draw_log=draw_log,
        processing_class=tokenizer,
        callbacks=list(callbacks),
    )
    if of_base and not full:
        trainer.model.delete_adapter("ref")  # TRL then takes the model without adapter as the reference
    return trainer


def build_pool(pair_args: PairArguments) -> tuple[PairPool, ErrorNotebook]:
    """What pairs are drawn from, and the notebook after its rollouts.

    Raises:
        ConfigError: no rollouts were named.
        DataError: the rollouts can't be read or have no pairs in them.
    """
    if not pair_args.rollouts:
        raise ConfigError("no rollouts: name what `rlcode rollout` wrote with --rollouts")
    notebook = ErrorNotebook.load(Path(pair_args.notebook)) if pair_args.notebook else ErrorNotebook()
    rollouts = notebook.watched(read_rollouts(map(Path, pair_args.rollouts), logprobs=False))
    return build_pair_pool(rollouts, pair_args.pool_options()), notebook
