"""A run that ends at once, as if it were killed, but in this process."""

from __future__ import annotations

from transformers import TrainerCallback, TrainerState


class Killed(TrainerCallback):
    """Ends the run when its first `steps` steps are done and the next one begins."""

    def __init__(self, steps: int) -> None:
        self._steps = steps

    def on_step_begin(self, args: object, state: TrainerState, control: object, **kwargs: object) -> None:
        if state.global_step == self._steps:
            raise KeyboardInterrupt
