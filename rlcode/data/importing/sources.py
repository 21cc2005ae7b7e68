"""Rows of a data set: a file (JSON lines or a JSON array, CSV, parquet), a folder that `datasets` wrote, or a name on
the hub."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rlcode.data.lines import read_json_rows
from rlcode.errors import DataError, InputError

Rows = Iterator[tuple[str, dict[str, Any]]]
"""Each row with where it is from, for errors."""


def read_rows(name: str, config: str | None = None, split: str | None = None) -> Rows:
    """The rows of the data set `name`, of its configuration and split where it has them (by default `train`).

    Raises:
        InputError: there is no such data set, configuration or split. DataError: a file that can't be read, or no rows.
    """
    path = Path(name)
    rows = _file_rows(path, split) if path.is_file() else _dataset_rows(name, config, split)
    first = next(rows, None)
    if first is None:
        raise DataError(f"{name} has no rows")
    return itertools.chain([first], rows)


def _file_rows(path: Path, split: str | None) -> Rows:
    if split is not None:
        raise InputError(f"{path} is one file and has no splits; leave {split!r} away")
    suffix = path.name.removesuffix(".gz").rpartition(".")[2].lower()
    readers = {"parquet": _parquet, "csv": _csv}
    if suffix in readers:
        return _numbered(readers[suffix](path), f"{path}, row")
    return read_json_rows(path)


def _numbered(rows: Iterable[dict[str, Any]], where: str) -> Rows:
    return ((f"{where} {number}", row) for number, row in enumerate(rows, start=1))


def _parquet(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow
    import pyarrow.parquet

    try:
        for batch in pyarrow.parquet.ParquetFile(path).iter_batches(batch_size=256):
            yield from batch.to_pylist()
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"{path} is no parquet file that can be read: {error}") from error


def _csv(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            yield from csv.DictReader(file)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is no CSV file that can be read: {error}") from error


def _dataset_rows(name: str, config: str | None, split: str | None) -> Rows:
    data = _loaded(name, config, split or "train")
    return _numbered(map(dict, data), f"{name}, split {split or 'train'}, row")


def _loaded(name: str, config: str | None, split: str) -> Any:
    from datasets import load_dataset, load_from_disk
    from httpx import HTTPError

    path = Path(name)
    try:
        if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
            data = load_from_disk(name)
        else:
            data = load_dataset(name, config)
    except (OSError, ValueError, RuntimeError, HTTPError) as error:  # of `datasets` and of the hub's client
        raise InputError(f"the data set {name} can't be loaded: {error}") from error
    if not hasattr(data, "keys"):
        return data
    if split not in data:
        raise InputError(f"{name} has no split {split!r}; it has {', '.join(map(str, data))}: choose with --split")
    return data[split]
