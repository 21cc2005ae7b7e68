"""TRL's DPO trainer on pairs that are tokens already, in the order that the sampler drew them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from datasets import Dataset
from torch.utils.data import Sampler, SequentialSampler
from trl import DPOTrainer

from sampling.pool import PairPool
from sampling.strategies.protocol import Draw


def pairs_to_dataset(pool: PairPool, draws: Sequence[Draw]) -> Dataset:
    """One row for each pair, with the token ids as they were sampled: `prompt_ids`, `chosen_ids`, `rejected_ids`."""
    chosen = pool.rows.select([pool.sides.row[draw.chosen] for draw in draws])
    rejected = pool.rows.select([pool.sides.row[draw.rejected] for draw in draws])
    return Dataset.from_dict(
        {
            "prompt_ids": list(chosen["prompt_ids"]),
            "chosen_ids": list(chosen["completion_ids"]),
            "rejected_ids": list(rejected["completion_ids"]),
        }
    )


class PairTrainer(DPOTrainer):
    """Differs from `DPOTrainer` in two ways: it takes tokens as they are (TRL would tokenise the text again and end
    every completion with EOS, also one that was cut off), and it keeps the order of the data set."""

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        return dataset

    def _get_train_sampler(self, dataset: Any = None) -> Sampler:
        return SequentialSampler(self.train_dataset if dataset is None else dataset)
