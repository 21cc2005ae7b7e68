"""The pair pool: every scored completion as a side, and which of them can stand against which.

A side is stored once; a pair is two positions. What strategies look at lies in NumPy columns; texts and tokens lie in
a file, mapped into memory as a `datasets.Dataset`, and are read when a pair is trained on.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from datasets import Dataset

from rlcode.errors import DataError
from rlcode.types import Rollout
from sampling.choices import RULES
from sampling.distinct import find_distinct
from sampling.pairing import Pairing
from sampling.pool_options import PoolOptions
from sampling.pool_summary import PoolSummary, count_pairs
from sampling.side_collector import SideCollector
from sampling.sides import ERROR_TYPES, PASSED, Scored, Sides

if TYPE_CHECKING:
    from sampling.strategies.protocol import Draw

__all__ = ["ERROR_TYPES", "PASSED", "PairPool", "PoolOptions", "PoolSummary", "Scored", "Sides", "build_pair_pool"]


class PairPool:
    """The sides that pairs can be drawn from.

    `rejected` holds the positions in `sides` of all failures that can be rejected, ascending; a strategy's weights
    have its order. `error_types`, `kinds` and `problems` are the columns of `sides` at these positions, and
    `num_candidates` says how many sides can be chosen over each. `scored` has the completions that the sides stand for,
    and `summary` counts what was left out. Its files go when it does.
    """

    def __init__(
        self,
        sides: Sides,
        scored: Scored,
        rows: Dataset,
        pairing: Pairing,
        options: PoolOptions,
        summary: PoolSummary,
        folder: Path,
    ) -> None:
        self.sides = sides
        self.scored = scored
        self.rows = rows
        self.options = options
        self.summary = summary
        candidates = pairing.num_better()
        self.rejected = np.flatnonzero(candidates)
        self.num_candidates = candidates[self.rejected]
        self.error_types = sides.error_type[self.rejected]
        self.kinds = sides.kind[self.rejected]
        self.problems = sides.problem[self.rejected]
        self._tokens = rows.data.column("completion_ids")
        self._pairing = pairing
        self._rule = RULES[options.chosen]
        self._folder = folder
        weakref.finalize(self, _remove, folder, os.getpid())

    def candidates(self, rejected: int) -> np.ndarray:
        """The positions of the sides that can be chosen over `rejected`, passes first; never empty."""
        if not self.options.failure_pairs:
            return self._pairing.passes(rejected)
        return np.concatenate([self._pairing.passes(rejected), self._pairing.further(rejected)])

    def choose(self, rejected: int, random: np.random.Generator) -> int:
        """The side that is chosen over `rejected`, by the pool's rule."""
        candidates, share = self._pairing.passes(rejected), self.options.failure_pairs
        if share:
            further = self._pairing.further(rejected)
            if len(further) and (not len(candidates) or random.random() < share):
                candidates = further
        return self._rule(self, rejected, candidates, random)

    def token_ids(self, side: int) -> np.ndarray:
        """The tokens of a side's completion."""
        return self._tokens[int(self.sides.row[side])].values.to_numpy()

    def to_dataset(self, draws: Iterable[Draw], tokenizer: Any = None) -> Dataset:
        """One row for each drawn pair, with TRL's columns and ours (`sampling.pair_rows.SCHEMA`).

        It is mapped from a file of the pool's, so it takes no memory and is good as long as the pool is.

        Args:
            draws: which pairs.
            tokenizer: makes the prompts' text of their tokens; without one there is no column `prompt`.
        """
        from sampling.pair_rows import write_pairs

        with tempfile.NamedTemporaryFile(dir=self._folder, suffix=".arrow", delete=False) as file:
            return write_pairs(Path(file.name), self, draws, tokenizer)

    def __len__(self) -> int:
        """How many different pairs there are."""
        return self.summary.pairs


def build_pair_pool(
    rollouts: Iterable[Rollout], options: PoolOptions | None = None, *, cache_dir: Path | None = None
) -> PairPool:
    """Read rollouts, in any order and as a stream, and keep what can be part of a pair.

    Left out are the unscored, programs whose verdict was not the same each time, all but one of the same programs under
    one prompt (the newest policy's stays), and what has no partner.

    Args:
        options: the filters and the rule for `chosen`.
        cache_dir: where the folder with texts and tokens is made; none takes the system's for temporary files.
    Raises:
        DataError: there is no pair, or a number in a rollout is beyond all bounds.
    """
    options = options or PoolOptions()
    folder = Path(tempfile.mkdtemp(prefix="rlcode-pool-", dir=cache_dir))
    try:
        collector = SideCollector(folder / "sides.arrow")
        everything, rows = collector.add_all(rollouts)
        sides, scored, dropped = find_distinct(everything, options.max_side_tokens)
        pairing = Pairing(sides, options)
        counts = {"read": collector.read, "unscored": collector.unscored, **dropped, **count_pairs(sides, pairing)}
        summary = PoolSummary(**counts)
        if not summary.pairs:
            raise DataError(
                "no problem has both a passed and a failed completion that can stand in a pair, so there are no pairs "
                f"({summary}); draw more completions for each problem (--num_generations), or take easier problems"
            )
        return PairPool(sides, scored, rows, pairing, options, summary, folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _remove(folder: Path, made_by: int) -> None:
    if os.getpid() == made_by:  # a forked process has the pool too, and ends earlier
        shutil.rmtree(folder, ignore_errors=True)
