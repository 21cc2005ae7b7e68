"""What every trainer of ours has beside TRL's own."""

from __future__ import annotations

from trl import GRPOTrainer

from train.checkpoints import WholeCheckpoints
from train.finite import FiniteSteps
from train.policy_kinds import KeepsAdapter
from train.stopwatch import TimedTrainer


class RunTrainer(TimedTrainer, FiniteSteps, WholeCheckpoints, KeepsAdapter):
    """For a trainer of TRL's, before it in the list of bases: whole checkpoints, an end before NaN gets into one, the
    seconds of a step in the log, an adapter in 32 bits."""


class GrpoTrainer(RunTrainer, GRPOTrainer):
    """TRL's GRPO trainer, whoever generates."""

    def may_stop_here(self) -> bool:
        """Not while some of the completions that were drawn are still to be trained on: they are not saved."""
        return bool(self._step % (self.args.steps_per_generation * self.num_iterations) == 0)
