"""SIGTERM and Ctrl-C while a policy is trained: the step under way is finished, a checkpoint is saved, the run ends.

A signal may reach one process of several, or their launcher alone. So all processes agree at the end of each optimizer
step whether to stop there. Before training has begun (a model is being loaded, say) a signal ends the process at once.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from types import FrameType
from typing import Any, Self

from transformers import TrainerCallback

from rlcode.signals import is_echo
from train.checkpoints import how_to_go_on
from train.collective import largest
from train.faults import naming_faults
from train.finite import require_finite_weights
from train.launcher import ENDED
from train.policy import leave_together
from train.precision import keep_outputs_exact

_STDERR = 2


def run_training(trainer: Any, checkpoint: Path | None) -> None:
    """Train to the end, from `checkpoint` on where there is one.

    Raises:
        SystemExit: a signal asked for a stop and a checkpoint was saved; the code is 128 and the signal.
        RlcodeError: something failed that can be named. Any other error bears a note that says how to go on.
    """
    keep_outputs_exact(trainer.accelerator)
    with Interruption(trainer) as interruption, naming_faults(trainer):
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        if interruption.stopped_by:
            _leave(trainer, interruption.stopped_by)
        require_finite_weights(trainer)
        trainer.save_state()  # its log stays, also where no checkpoint is kept


class Interruption(TrainerCallback):
    """Takes SIGINT and SIGTERM while it is entered, and the end of the launcher. The first one lets the step under way
    finish; the second, if it is no echo of the first, ends this process at once, with what the last checkpoint has.

    It must be the last callback: a stop is decided when the others are done with the step.
    """

    def __init__(self, trainer: Any) -> None:
        self.stopped_by: int | None = None
        """The signal for which training was stopped before its end, in all processes alike."""
        self._trainer = trainer
        self._signal = 0
        self._since = 0.0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._trainer.add_callback(self)
        self._before = {number: signal.signal(number, self._take) for number in (signal.SIGINT, signal.SIGTERM, ENDED)}
        return self

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler or signal.SIG_DFL)
        self._trainer.remove_callback(self)

    def _take(self, number: int, frame: FrameType | None) -> None:
        if number == ENDED:  # the launcher may have got the very signal that this process got before
            if not self._signal:
                self._signal, self._since = signal.SIGTERM, time.monotonic()
        elif not self._signal:
            self._signal, self._since = number, time.monotonic()
            _say("will stop after this optimizer step; another signal ends the run at once")
        elif not is_echo(number, self._since):
            raise SystemExit(128 + number)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Save and stop where a process was asked to, unless this was the last step anyway."""
        number = largest(self._trainer.accelerator, self._signal)
        if number and state.global_step < state.max_steps and self._trainer.may_stop_here():
            self.stopped_by = number
            args.save_only_model = False  # nothing could go on from that
            control.should_save = control.should_training_stop = True

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """A stop ends the loop over the epoch too, which is no reason to save again."""
        if self.stopped_by:
            control.should_save = False


def _leave(trainer: Any, number: int) -> None:
    state, name = trainer.state, signal.Signals(number).name
    _say(f"stopped at step {state.global_step} of {state.max_steps} by {name}; {how_to_go_on(trainer.args)}")
    leave_together(trainer)
    raise SystemExit(128 + number)


def _say(text: str) -> None:
    """Tell people from the first process. A signal handler may call this in the middle of a print."""
    if os.environ.get("RANK", "0") == "0":
        os.write(_STDERR, f"{text}\n".encode())
