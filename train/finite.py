"""NaN and infinity end a run before they get into a checkpoint.

transformers takes the average of earlier losses for a loss that is NaN, updates the weights by it, and saves them.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from accelerate.utils import gather_object

from rlcode.errors import NonFiniteError
from train.collective import largest

_MOST_TASKS = 16


class FiniteSteps:
    """For a trainer of TRL's, before it in the list of bases: looks at loss and gradient of each optimizer step, before
    the weights are updated (with DeepSpeed, which updates them in the backward pass, before they are saved)."""

    _step_loss: Any = 0.0

    def task_ids_in_step(self) -> list[str]:
        """The tasks that this process trains on in the step under way, for an error message."""
        return []

    def training_step(self: Any, *args: Any, **kwargs: Any) -> Any:
        loss = super().training_step(*args, **kwargs)  # type: ignore[misc]
        self._step_loss = self._step_loss + loss.detach()
        return loss

    def _get_grad_norm(self: Any, *args: Any, **kwargs: Any) -> Any:
        norm = super()._get_grad_norm(*args, **kwargs)  # type: ignore[misc]
        loss, self._step_loss = float(self._step_loss), 0.0
        bad = not math.isfinite(loss) or not (norm is None or self.args.fp16 or _is_norm(norm))
        if largest(self.accelerator, int(bad)):
            raise self._not_finite(loss, norm if bad else None)
        return norm

    def _not_finite(self: Any, loss: float, norm: Any) -> NonFiniteError:
        """Every process must call this; one where nothing is wrong brings no `norm`."""
        found = {"loss": loss, "norm": norm, "tasks": self.task_ids_in_step(), "process": self.args.process_index}
        where = [one for one in gather_object([found]) if one["norm"] is not None]
        culprits = [one for one in where if not math.isfinite(one["loss"])] or where
        told = "; ".join(_describe(one) for one in culprits)
        return NonFiniteError(
            f"step {self.state.global_step + 1}: {told}. Nothing of this step was saved. If the machine was at fault, "
            "the same command will do; if it comes here again, train in another --output_dir with a lower "
            "learning_rate, in bf16 or 32 bits instead of fp16, or without what is wrong in these tasks"
        )


def require_finite_weights(trainer: Any) -> None:
    """Make sure that what is in training can be saved. Every process must call this.

    Raises:
        NonFiniteError: a weight is NaN or infinite; nothing is to be saved.
    """
    bad = any(not _is_finite(weight) for weight in trainer.model.parameters() if weight.requires_grad)
    if largest(trainer.accelerator, int(bad)):
        raise NonFiniteError(
            f"after step {trainer.state.global_step} there are weights that are NaN or infinite, so nothing is saved. "
            "An update was too large: train in another --output_dir with a lower learning_rate"
        )


def _is_finite(weight: Any) -> bool:
    """Whether this process's part of it is."""
    part = getattr(weight, "ds_tensor", weight).detach()  # ZeRO 3's
    part = part.to_local() if hasattr(part, "to_local") else part  # FSDP2's
    return bool(torch.isfinite(part).all())


def _is_norm(norm: Any) -> bool:
    """DeepSpeed says -1 for what is not finite."""
    return math.isfinite(float(norm)) and float(norm) >= 0


def _describe(found: dict[str, Any]) -> str:
    tasks = list(dict.fromkeys(found["tasks"]))
    names = ", ".join(tasks[:_MOST_TASKS]) + (f" and {len(tasks) - _MOST_TASKS} more" if tasks[_MOST_TASKS:] else "")
    norm = float(found["norm"])
    return (
        f"on process {found['process']} the loss is {found['loss']:g} and the norm of the gradient "
        f"{norm if norm >= 0 else math.nan:g}, with these tasks in the batch: {names or 'unknown'}"
    )
