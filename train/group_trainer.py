"""TRL's GRPO trainer on slots that the rollout function fills with groups of its own choice."""

from __future__ import annotations

from typing import Any

from trl import GRPOTrainer

from train.checkpoints import WholeCheckpoints
from train.finite import FiniteSteps
from train.policy_kinds import KeepsAdapter


class GroupTrainer(FiniteSteps, WholeCheckpoints, KeepsAdapter, GRPOTrainer):
    """Differs from `GRPOTrainer` in its checkpoints, and in what rewards and logs see: the prompts of the problems that
    the rollout function chose (its extra field `prompt`), not those of the data set's rows, which are slots."""

    _task_ids: tuple[str, ...] = ()

    def task_ids_in_step(self) -> list[str]:
        """Of the batch of completions that the step is taken from."""
        return list(self._task_ids)

    def may_stop_here(self) -> bool:
        """Not while some of the completions that were drawn are still to be trained on: they are not saved."""
        return bool(self._step % (self.args.steps_per_generation * self.num_iterations) == 0)

    def _calculate_rewards(self, inputs: Any, prompts: list[Any], *args: Any, **kwargs: Any) -> Any:
        self._task_ids = tuple(row["task_id"] for row in inputs)
        prompts[:] = [row["prompt"] for row in inputs]  # the very list that TRL logs
        return super()._calculate_rewards(inputs, prompts, *args, **kwargs)
