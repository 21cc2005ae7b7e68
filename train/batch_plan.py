"""How many sequences, steps, tokens and bytes on disk a run comes to: arithmetic of its configuration alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rlcode.errors import ConfigError

ROLLOUT_BYTES_PER_TOKEN = 60
"""Of a rollout's line in a store, for each token of its completion: measured on the quickstart's rollouts."""
DRAW_BYTES = 250
"""Of a line in `draws.jsonl`: measured likewise."""


@dataclass(frozen=True)
class BatchPlan:
    """What one optimizer step is made of: pairs for DPO, completions for GRPO."""

    unit: str
    """`pairs` or `completions`."""
    per_device: int
    accumulation: int
    processes: int
    num_generations: int | None = None
    """GRPO: completions in a group."""
    generated: int | None = None
    """GRPO: completions drawn together, where that is not what one step takes."""

    @property
    def per_step(self) -> int:
        return self.per_device * self.accumulation * self.processes

    @property
    def groups(self) -> int:
        """GRPO: problems in what is drawn together.

        Raises:
            ConfigError: a group would be torn.
        """
        together, size = self.generated or self.per_step, self.num_generations or 1
        if together % size:
            raise ConfigError(
                f"{together} completions are no whole groups of num_generations={size}: per_device_train_batch_size × "
                f"gradient_accumulation_steps × processes must be a multiple of it"
            )
        return together // size

    def describe(self) -> str:
        """The arithmetic in one line."""
        factors = f"{self.per_device} × {self.accumulation} × {self.processes}"
        text = f"per device × accumulation × processes: {factors} = {self.per_step} {self.unit} a step"
        if self.num_generations:
            text += f"; {self.groups} groups of {self.num_generations} drawn together"
        return text


@dataclass(frozen=True)
class RunLength:
    """How long a run is and what it leaves behind. Figures are upper bounds: every sequence as long as it may be."""

    steps: int
    tokens: int
    """Trained on, prompts included."""
    generated_tokens: int
    """Written by the policy."""
    checkpoints: int
    checkpoint_bytes: int
    """Of one."""
    log_bytes: int
    """Of rollouts, or of the log of draws."""

    @property
    def disk(self) -> int:
        """Bytes in the end, the final adapter included in the number of checkpoints."""
        return self.checkpoints * self.checkpoint_bytes + self.log_bytes


def steps_of_pairs(num_pairs: int, per_step: int, epochs: float, max_steps: int) -> int:
    """Optimizer steps of DPO, whose epochs are rounded up to whole steps."""
    return max_steps if max_steps > 0 else math.ceil(epochs * math.ceil(num_pairs / per_step))


def checkpoints_of(steps: int, every: float | None, limit: int | None) -> int:
    """Checkpoints that are there at the end, the final adapter among them; `every` below 1 is a share of the run."""
    if not every:
        return 1
    interval = max(1, math.ceil(steps * every) if every < 1 else int(every))
    saved = math.ceil(steps / interval)
    return 1 + (min(saved, limit) if limit else saved)
