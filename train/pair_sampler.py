"""Which pair of the pool is trained on at which place of the run.

Positions count over all epochs and all processes: optimizer step s is made of the positions from s * B on, B pairs. The
sampler draws them one after the other; accelerate hands each process its part of the one sequence. What is drawn goes
by the snapshot in force at its position, and a new snapshot is announced for a step that nobody has read of.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from torch.utils.data import Dataset, Sampler

from rlcode.errors import ConfigError
from sampling.draws import PairSequence
from sampling.notebook import ErrorNotebook
from sampling.pool import PairPool
from sampling.snapshots import QuizResult, Snapshot, SnapshotHistory
from sampling.strategies.protocol import Draw, Strategy

_PREFETCH_FACTOR = 2
"""PyTorch's own, for a data loader with workers."""


@dataclass(frozen=True)
class PlacedDraw:
    """What the sampler yields: all that a data loader's worker needs to read the pair."""

    position: int
    draw: Draw


@dataclass(frozen=True)
class StepPlan:
    """Which draws an optimizer step is made of. All steps have the same number, so an epoch is rounded up."""

    draws_per_step: int
    steps_per_epoch: int
    num_steps: int
    delay: int
    """A snapshot that is made when g steps are done counts from step g + `delay` on."""

    @classmethod
    def from_arguments(cls, args: Any, num_pairs: int, delay: int | None = None) -> Self:
        """Of a run with the `TrainingArguments` `args` and at least `num_pairs` draws in each epoch. Without a `delay`
        it is the least that can be.

        Raises:
            ConfigError: more is read ahead than `delay` allows.
        """
        draws_per_step = args.per_device_train_batch_size * args.world_size * args.gradient_accumulation_steps
        steps_per_epoch = math.ceil(num_pairs / draws_per_step)
        least = _steps_ahead(args)
        if delay is not None and delay < least:
            raise ConfigError(
                f"quiz_delay={delay} is too short: with dataloader_num_workers={args.dataloader_num_workers} pairs of "
                f"{least} steps are read ahead; raise quiz_delay to {least}, or take fewer workers"
            )
        return cls(
            draws_per_step=draws_per_step,
            steps_per_epoch=steps_per_epoch,
            num_steps=args.max_steps if args.max_steps > 0 else math.ceil(args.num_train_epochs * steps_per_epoch),
            delay=least if delay is None else delay,
        )

    @property
    def draws_per_epoch(self) -> int:
        return self.draws_per_step * self.steps_per_epoch

    @property
    def num_draws(self) -> int:
        """Of the whole run."""
        return self.draws_per_step * self.num_steps

    def first_after(self, step: int) -> int:
        """The first position that a snapshot counts for which is made when `step` steps are done."""
        return (step + self.delay) * self.draws_per_step


def _steps_ahead(args: Any) -> int:
    """Steps of which something was read when a step ends."""
    # accelerate looks for the end one batch ahead; each worker is given some batches in advance
    batches = 1 + args.dataloader_num_workers * (args.dataloader_prefetch_factor or _PREFETCH_FACTOR)
    return math.ceil(batches / args.gradient_accumulation_steps)


class PairSampler(Sampler[PlacedDraw]):
    """Yields the draws of one epoch after the other.

    Every process has one with the same state. It has no place of its own: `epoch` tells where an iteration begins, so
    whoever skips what was trained on before a resume skips it once.
    """

    def __init__(
        self, pool: PairPool, strategy: Strategy, history: SnapshotHistory, plan: StepPlan, *, seed: int
    ) -> None:
        self.pool = pool
        self.plan = plan
        self.epoch: Callable[[], int] = lambda: 0
        """The epoch that an iteration which begins now is of; the trainer says it."""
        self.read = 0
        """Positions that were read, from 0 on."""
        self._strategy = strategy
        self._seed = seed
        self._sequence = self._sequence_by(history)

    @property
    def history(self) -> SnapshotHistory:
        """The snapshots that draws go by."""
        return self._sequence.history

    def __iter__(self) -> Iterator[PlacedDraw]:
        first = self.epoch() * len(self)
        for position in range(first, min(first + len(self), self.plan.num_draws)):
            self.read = max(self.read, position + 1)
            yield PlacedDraw(position, self._sequence.draw(position))

    def __len__(self) -> int:
        return self.plan.draws_per_epoch

    def begin_with(self, notebook: ErrorNotebook, quiz: QuizResult) -> None:
        """Go by this from the first draw on.

        Raises:
            RuntimeError: something was drawn already.
        """
        self._require_unread(0)
        self._sequence = self._sequence_by(SnapshotHistory(Snapshot(0, notebook, quiz)))

    def announce(self, notebook: ErrorNotebook, quiz: QuizResult) -> Snapshot:
        """Go by this as soon as the plan says; `quiz.step` steps are done.

        Raises:
            RuntimeError: something there was read although it should not have been.
        """
        snapshot = Snapshot(self.plan.first_after(quiz.step), notebook, quiz)
        self._require_unread(snapshot.from_position)
        self.history.announce(snapshot)
        return snapshot

    def _require_unread(self, position: int) -> None:
        if position < self.read:
            raise RuntimeError(
                f"a snapshot from position {position} comes too late: draws were read up to {self.read}; the data "
                "loader reads further ahead than StepPlan says"
            )

    def _sequence_by(self, history: SnapshotHistory) -> PairSequence:
        return PairSequence(self.pool, self._strategy, history, length=self.plan.num_draws, seed=self._seed)


class PairDataset(Dataset):
    """The pairs of a pool as token ids, asked for by draws. Sides are stored once and read when they are asked for."""

    def __init__(self, pool: PairPool, length: int) -> None:
        self._rows = pool.rows
        self._row_of = pool.sides.row
        self._length = length

    def __len__(self) -> int:
        """Draws in an epoch."""
        return self._length

    def __getitem__(self, placed: PlacedDraw) -> dict[str, Any]:
        """`prompt_ids`, `chosen_ids`, `rejected_ids` as they were sampled, and the draw itself."""
        draw = placed.draw
        return {
            "prompt_ids": self._token_ids("prompt_ids", draw.chosen),
            "chosen_ids": self._token_ids("completion_ids", draw.chosen),
            "rejected_ids": self._token_ids("completion_ids", draw.rejected),
            "draw": placed,
        }

    def _token_ids(self, column: str, side: int) -> list[int]:
        # from the Arrow table itself: formatting a row as `datasets` does takes ten times as long
        ids: list[int] = self._rows.data.column(column)[int(self._row_of[side])].values.to_numpy().tolist()
        return ids


class DrawCollator:
    """Makes a batch as `collate` does, with the `draws` that it is made of."""

    def __init__(self, collate: Callable[[Sequence[Mapping[str, Any]]], Mapping[str, Any]]) -> None:
        self._collate = collate

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        return {**self._collate(examples), "draws": [example["draw"] for example in examples]}
