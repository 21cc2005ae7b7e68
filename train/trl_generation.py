"""GRPO with TRL's own generation (`--engine trl`): TRL asks the prompts of the problems, by its own fields, and the
same reward judges what it gets.

TRL decides which problems come when, so there is no prompt sampler, no group filter, no held-back tests and no store of
rollouts; fields of these that were set are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import fields
from typing import Any, Self

from datasets import Dataset

from rewards.composite import CompositeReward
from rlcode.errors import ConfigError
from rlcode.limits import limits_from
from rlcode.prompts import PromptFormat, build_prompt
from rlcode.types import Problem
from sampling.adapters import start_version
from sampling.arguments import EngineArguments
from sandbox.judging import UnscoredShare
from sandbox.protocol import Sandbox
from train.arguments import GrpoArguments
from train.grpo_trainer import GrpoTrainer
from train.policy_sync import open_training_sandbox

_OURS_ALONE = (
    *("exploration", "error_type_power", "notebook", "group_band", "max_refills", "held_back_tests"),
    *(field.name for field in fields(EngineArguments) if field.name != "engine"),
)
"""Fields that mean nothing where TRL generates. `prompt_sampling` and `group_filter`, whose defaults are on, too."""


def check_generation(args: GrpoArguments, training_args: Any) -> None:
    """Make sure that the fields are those of whoever generates.

    Raises:
        ConfigError: `use_vllm` without `--engine trl`, with it a field that would have no effect, or a loss that does
            not go with the correction for vLLM.
    """
    corrects = training_args.vllm_importance_sampling_correction and args.engine in ("vllm", "vllm-server")
    mode = training_args.vllm_importance_sampling_mode
    if corrects and training_args.loss_type == "vespo" and not mode.startswith("token_"):
        raise ConfigError(
            f"the loss vespo needs vllm_importance_sampling_mode token_truncate or token_mask, not {mode}"
        )
    if args.engine != "trl":
        if training_args.use_vllm:
            raise ConfigError(
                f"use_vllm has TRL generate, and --engine {args.engine} has rlcode do it; choose --engine trl for the "
                "former, --engine vllm for the latter"
            )
        return
    defaults = {field.name: field for field in fields(GrpoArguments)}
    ignored = [name for name in _OURS_ALONE if getattr(args, name) != _default(defaults[name])]
    if ignored:
        raise ConfigError(
            f"with --engine trl these fields have no effect: {', '.join(ignored)}; remove them, or choose another "
            "engine"
        )


def _default(field: Any) -> Any:
    return field.default_factory() if callable(field.default_factory) else field.default


class WatchedReward(CompositeReward):
    """Stops the run where too many completions of a batch could not be judged."""

    max_unscored_share: float = 1.0

    @classmethod
    def watching(cls, args: Any, max_completion_length: int, problems: Sequence[Problem], sandbox: Sandbox) -> Self:
        """From an instance of `GrpoArguments` or `AsyncGrpoArguments`."""
        reward = cls(
            args.reward_terms,
            problems,
            sandbox,
            limits_from(args),
            ladder=args.ladder,
            max_completion_length=max_completion_length,
            overlong_share=args.overlong_share,
        )
        reward.max_unscored_share = args.max_unscored_share
        return reward

    def __call__(self, *args: Any, **columns: Any) -> list[float | None]:
        rewards = super().__call__(*args, **columns)
        share = UnscoredShare(self.max_unscored_share, len(rewards))
        for reward in rewards:
            share.count("the sandbox failed on it, see the log" if reward is None else None)
        return rewards


def open_trl_trainer(
    args: GrpoArguments,
    problems: Sequence[Problem],
    sandbox: Sandbox | None,
    stack: ExitStack,
    common: dict[str, Any],
) -> GrpoTrainer:
    """TRL's trainer, which generates by itself; `common` are its arguments for the policy. What is opened here is
    closed by `stack`."""
    training_args = common["args"]
    sandbox = sandbox or open_training_sandbox(args, stack, by_all=True)
    reward = WatchedReward.watching(args, training_args.max_completion_length, problems, sandbox)
    stack.callback(reward.close)
    if args.enable_thinking is not None:
        kwargs = training_args.chat_template_kwargs or {}
        training_args.chat_template_kwargs = {**kwargs, "enable_thinking": args.enable_thinking}
    rows = prompt_rows(problems, PromptFormat.from_arguments(args).for_model(common["processing_class"]))
    return GrpoTrainer(**common, reward_funcs=[reward], train_dataset=Dataset.from_list(rows))


def prompt_rows(problems: Sequence[Problem], prompts: PromptFormat) -> list[dict[str, Any]]:
    """A row for each problem, as a stock TRL script would have it: `prompt` and `task_id`."""
    return [{"prompt": build_prompt(problem, prompts), "task_id": problem.task_id} for problem in problems]


def first_version_of(args: GrpoArguments) -> int:
    """The policy version that the run begins with."""
    return 1 + start_version(args.adapter)
