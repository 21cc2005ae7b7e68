"""`draws.jsonl`, the pairs that were trained on, one a line in their order; and their shares for the trainer's log."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from accelerate.utils import gather_object

from rlcode.errors import RunDirectoryError
from rlcode.run_directory import read_json_lines, write_json_lines
from sampling.pool import ERROR_TYPES, PairPool
from sampling.strategies.protocol import Draw
from train.pair_sampler import PlacedDraw

FILE_NAME = "draws.jsonl"


class DrawLog:
    """Takes down each draw that a process trains on; the first process (`writes`) writes down those of all.

    Lines are written at every logging step and before every checkpoint, so a run that resumes has all that came before.
    """

    def __init__(self, path: Path, pool: PairPool, *, writes: bool) -> None:
        self._path = path
        self._pool = pool
        self._writes = writes
        self._types = np.unique(pool.error_types)
        self._taken: list[tuple[int, PlacedDraw]] = []
        self._unlogged: list[PlacedDraw] = []
        self._parts: set[str] = set()
        self._pairs: set[tuple[int, int]] = set()

    def go_on_from(self, step: int, draws_per_step: int) -> None:
        """Drop what a run that is resumed at `step` draws again, and count on from the rest.

        Raises:
            RunDirectoryError: what was trained on is not what a run with `draws_per_step` has behind it there, or not
                of this pool.
        """
        if not self._writes or not (step or self._path.exists()):
            return
        kept = [line for line in read_json_lines(self._path) if line["step"] < step]
        if [line["position"] for line in kept] != list(range(step * draws_per_step)):
            raise RunDirectoryError(
                f"{self._path} does not hold the {step} x {draws_per_step} draws before step {step}: a run goes on "
                "with as many processes and pairs a step as it was begun with"
            )
        if not all(self._is_of_this_pool(line) for line in kept):
            raise RunDirectoryError(
                f"the pairs in {self._path} are not those of these rollouts: they have changed since the run began; "
                "restore them, or choose another directory"
            )
        write_json_lines(self._path, kept)
        self._pairs = {(line["rejected"]["side"], line["chosen"]["side"]) for line in kept}
        self._parts = {line["part"] for line in kept}

    def _is_of_this_pool(self, line: dict[str, Any]) -> bool:
        chosen, rejected = line["chosen"]["side"], line["rejected"]["side"]
        if max(chosen, rejected) >= len(self._pool.sides):
            return False
        return self._describe(line["step"], PlacedDraw(line["position"], Draw(rejected, chosen, line["part"]))) == line

    def take(self, step: int, draws: Sequence[PlacedDraw]) -> None:
        """This process trains on `draws` in `step`, counted from 0."""
        self._taken += [(step, placed) for placed in draws]

    def task_ids(self, step: int) -> list[str]:
        """Of what this process trains on in the step under way."""
        sides = self._pool.sides
        return [sides.task_ids[sides.problem[one.draw.rejected]] for taken, one in self._taken if taken == step]

    def write(self) -> None:
        """Append what was taken since the last time. Every process must call this."""
        taken = sorted(gather_object(self._taken), key=lambda one: one[1].position)
        self._taken = []
        if self._writes and taken:
            with open(self._path, "a", encoding="utf-8") as file:
                file.writelines(json.dumps(self._describe(step, placed)) + "\n" for step, placed in taken)
        self._unlogged += [placed for _, placed in taken]

    def metrics(self) -> dict[str, float]:
        """Shares of the draws since the last call by error type and part, and how many different ones there were so
        far; nothing where nothing was drawn. Every process must call this."""
        self.write()
        draws, self._unlogged = [placed.draw for placed in self._unlogged], []
        if not draws:
            return {}
        self._pairs |= {(draw.rejected, draw.chosen) for draw in draws}
        self._parts |= {draw.part for draw in draws}
        types = Counter(int(self._pool.sides.error_type[draw.rejected]) for draw in draws)
        parts = Counter(draw.part for draw in draws)
        return {
            **{f"draws/type/{ERROR_TYPES[t]}": types[int(t)] / len(draws) for t in self._types},
            **{f"draws/part/{part}": parts[part] / len(draws) for part in sorted(self._parts)},
            "draws/distinct_pairs": float(len(self._pairs)),
            "draws/distinct_rejected": float(len({rejected for rejected, _ in self._pairs})),
        }

    def _describe(self, step: int, placed: PlacedDraw) -> dict[str, Any]:
        sides, draw = self._pool.sides, placed.draw
        return {
            "position": placed.position,
            "step": step,
            "task_id": sides.task_ids[sides.problem[draw.rejected]],
            "error_type": ERROR_TYPES[sides.error_type[draw.rejected]],
            "part": draw.part,
            **{
                name: {
                    "side": side,
                    "index": int(sides.index[side]),
                    "policy_version": int(sides.policy_version[side]),
                }
                for name, side in (("chosen", draw.chosen), ("rejected", draw.rejected))
            },
        }
