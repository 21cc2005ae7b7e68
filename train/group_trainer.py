"""TRL's GRPO trainer on slots that the rollout function fills with groups of its own choice."""

from __future__ import annotations

from typing import Any

from sampling.transformers_engine import TransformersEngine
from train.grpo_trainer import GrpoTrainer
from train.policy_rollouts import PolicyRollouts


class GroupTrainer(GrpoTrainer):
    """Differs from `GrpoTrainer` in what rewards and logs see: the prompts of the problems that the rollout function
    chose (its extra field `prompt`), not those of the data set's rows, which are slots. What `rollouts` counted is
    logged too."""

    _task_ids: tuple[str, ...] = ()

    def __init__(self, *, rollouts: PolicyRollouts, **kwargs: Any) -> None:
        self._rollouts = rollouts
        super().__init__(rollout_func=rollouts, stopwatch=rollouts.stopwatch, **kwargs)
        # so TRL corrects for what an engine computes otherwise than the trainer (`vllm_importance_sampling_…`)
        self.use_vllm = not isinstance(rollouts.engine, TransformersEngine)

    def _generate(self, prompts: list[Any]) -> Any:
        self._last_loaded_step = self.state.global_step  # else TRL would bring the policy to an engine of its own
        return super()._generate(prompts)

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        loss = super().training_step(*args, **kwargs)
        self._rollouts.metrics.trained(self._rollouts.first_version + self.state.global_step)
        return loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if self.model.training:
            logs.update(self._rollouts.metrics.take())
        super().log(logs, start_time)

    def task_ids_in_step(self) -> list[str]:
        """Of the batch of completions that the step is taken from."""
        return list(self._task_ids)

    def _calculate_rewards(self, inputs: Any, prompts: list[Any], *args: Any, **kwargs: Any) -> Any:
        self._task_ids = tuple(row["task_id"] for row in inputs)
        prompts[:] = [row["prompt"] for row in inputs]  # the very list that TRL logs
        return super()._calculate_rewards(inputs, prompts, *args, **kwargs)
