"""Pairs as rows of a data set: TRL's columns, and where both sides come from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from datasets import Dataset

from sampling.arrow_file import TOKEN_IDS, ArrowFile
from sampling.sides import ERROR_TYPES, PASSED

if TYPE_CHECKING:
    from sampling.pool import PairPool
    from sampling.strategies.protocol import Draw

_SIDE = {
    "index": pa.int64(),
    "policy_version": pa.int64(),
    "seed": pa.int64(),
    "error_type": pa.string(),
    "tests_passed": pa.int64(),
    "tests_total": pa.int64(),
}
SCHEMA = pa.schema(
    {
        "prompt": pa.string(),
        "chosen": pa.string(),
        "rejected": pa.string(),
        "prompt_ids": TOKEN_IDS,
        "chosen_ids": TOKEN_IDS,
        "rejected_ids": TOKEN_IDS,
        "task_id": pa.string(),
        "part": pa.string(),
        "chosen_passed": pa.bool_(),
        **{f"chosen_{name}": kind for name, kind in _SIDE.items()},
        **{f"rejected_{name}": kind for name, kind in _SIDE.items()},
    }
)
"""`part` is the part of the strategy's plan that drew the pair. An `error_type` is empty where the side passed: the
chosen one did, except in pairs between two failures."""
_PIECE = 512
"""Pairs that are held at once."""


def write_pairs(path: Path, pool: PairPool, draws: Iterable[Draw], tokenizer: Any = None) -> Dataset:
    """Write a row for each draw to the file `path`; without a tokenizer there is no column `prompt`."""
    schema = SCHEMA if tokenizer is not None else SCHEMA.remove(SCHEMA.get_field_index("prompt"))
    file = ArrowFile(path, schema)
    with closing(file):
        for piece in _pieces(draws):
            columns = _columns(pool, piece)
            if tokenizer is not None:
                columns["prompt"] = pa.array(_texts(columns["prompt_ids"], tokenizer), type=pa.string())
            file.append([columns[name] for name in schema.names])
        return file.finish()


def _pieces(draws: Iterable[Draw]) -> Iterator[list[Draw]]:
    stream = iter(draws)
    while piece := list(islice(stream, _PIECE)):
        yield piece


def _columns(pool: PairPool, draws: list[Draw]) -> dict[str, pa.Array]:
    chosen = np.array([draw.chosen for draw in draws])
    rejected = np.array([draw.rejected for draw in draws])
    rows = {"chosen": _rows(pool, chosen), "rejected": _rows(pool, rejected)}
    texts = {side: table.column("text") for side, table in rows.items()}
    tokens = {f"{side}_ids": table.column("completion_ids") for side, table in rows.items()}
    return {
        "prompt_ids": _flat(rows["rejected"].column("prompt_ids")),
        "task_id": _flat(rows["rejected"].column("task_id")),
        **{name: _flat(column) for name, column in (texts | tokens).items()},
        "part": pa.array([draw.part for draw in draws], type=pa.string()),
        "chosen_passed": pa.array(pool.sides.error_type[chosen] == PASSED),
        **_provenance(pool, "chosen", chosen),
        **_provenance(pool, "rejected", rejected),
    }


def _rows(pool: PairPool, sides: np.ndarray) -> pa.Table:
    return pool.rows.select(pool.sides.row[sides]).with_format("arrow")[:]


def _flat(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks()


def _provenance(pool: PairPool, side: str, positions: np.ndarray) -> dict[str, pa.Array]:
    names = np.array([*ERROR_TYPES, ""], dtype=object)  # PASSED is the last one
    numbers = {name: getattr(pool.sides, name)[positions] for name in _SIDE if name != "error_type"}
    columns = {**numbers, "error_type": names[pool.sides.error_type[positions]]}
    return {f"{side}_{name}": pa.array(columns[name], type=kind) for name, kind in _SIDE.items()}


def _texts(prompts: pa.Array, tokenizer: Any) -> list[str]:
    """The prompts' text, of which the tokenizer makes these tokens again: it adds its own first one by itself."""
    added = tokenizer("")["input_ids"][:1]
    rows = [ids[1:] if added and ids[:1] == added else ids for ids in prompts.to_pylist()]
    return [tokenizer.decode(ids, clean_up_tokenization_spaces=False) for ids in rows]
