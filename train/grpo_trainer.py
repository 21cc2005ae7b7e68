"""TRL's GRPO trainer with what every trainer of ours has."""

from __future__ import annotations

from trl import GRPOTrainer

from train.run_trainer import RunTrainer


class GrpoTrainer(RunTrainer, GRPOTrainer):
    """TRL's GRPO trainer, whoever generates."""

    def may_stop_here(self) -> bool:
        """Not while some of the completions that were drawn are still to be trained on: they are not saved."""
        return bool(self._step % (self.args.steps_per_generation * self.num_iterations) == 0)
