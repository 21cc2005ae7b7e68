"""What every trainer of ours has beside TRL's own."""

from __future__ import annotations

from train.checkpoints import WholeCheckpoints
from train.finite import FiniteSteps
from train.policy_kinds import KeepsAdapter
from train.stopwatch import TimedTrainer


class RunTrainer(TimedTrainer, FiniteSteps, WholeCheckpoints, KeepsAdapter):
    """For a trainer of TRL's, before it in the list of bases: whole checkpoints, an end before NaN gets into one, the
    seconds of a step in the log, an adapter in 32 bits."""
