"""TRL's GRPO trainer on slots that the rollout function fills with groups of its own choice."""

from __future__ import annotations

from typing import Any

from trl import GRPOTrainer

from train.checkpoints import WholeCheckpoints
from train.policy_kinds import KeepsAdapter


class GroupTrainer(WholeCheckpoints, KeepsAdapter, GRPOTrainer):
    """Differs from `GRPOTrainer` in its checkpoints, and in what rewards and logs see: the prompts of the problems that
    the rollout function chose (its extra field `prompt`), not those of the data set's rows, which are slots."""

    def _calculate_rewards(self, inputs: Any, prompts: list[Any], *args: Any, **kwargs: Any) -> Any:
        prompts[:] = [row["prompt"] for row in inputs]  # the very list that TRL logs
        return super()._calculate_rewards(inputs, prompts, *args, **kwargs)
