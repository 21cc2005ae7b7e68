"""Rows of data sets, each with a name for errors: from a local file, or from where the data set is published.

Data sets that the Hugging Face hub keeps as tables are read through `datasets`. Some it keeps as scripts, which
`datasets` does not run any more; of those the raw files are fetched. evalplus publishes its own elsewhere.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from rlcode.data.lines import read_json_rows
from rlcode.errors import DataError
from rlcode.run_directory import file_hash

logger = logging.getLogger(__name__)

T = TypeVar("T")

Rows = Iterator[tuple[str, dict[str, Any]]]
"""Pairs of a row's name for errors and the row."""


@dataclass(frozen=True)
class Table:
    """A split of a data set that `datasets` can read."""

    name: str
    split: str
    config: str | None = None


@dataclass(frozen=True)
class RawFiles:
    """Files of JSON lines in a data set's repository."""

    name: str
    files: tuple[str, ...]


@dataclass(frozen=True)
class Release:
    """A file of JSON lines behind a URL that never changes."""

    url: str


Source = Table | RawFiles | Release


def rows(file: Path | None, source: Source) -> Rows:
    """The rows of `file`, or without one those that are published.

    Raises:
        DataError: they can't be had.
    """
    if file is not None:
        return read_json_rows(file)
    if isinstance(source, Release):
        return _release_rows(source)
    return _table_rows(source) if isinstance(source, Table) else _raw_rows(source)


def _table_rows(table: Table) -> Rows:
    from datasets import load_dataset
    from httpx import HTTPError

    try:
        loaded = load_dataset(table.name, table.config, split=table.split, revision=revision(table.name))
    except (OSError, ValueError, HTTPError) as error:
        raise _unreachable(table.name, error) from error
    for number, row in enumerate(loaded, start=1):
        yield f"{table.name}, split {table.split}, row {number}", dict(row)


def _raw_rows(raw: RawFiles) -> Rows:
    from httpx import HTTPError
    from huggingface_hub import hf_hub_download

    for name in raw.files:
        try:
            path = hf_hub_download(raw.name, name, repo_type="dataset", revision=revision(raw.name))
        except (OSError, ValueError, HTTPError) as error:
            raise _unreachable(raw.name, error) from error
        for where, row in read_json_rows(Path(path)):
            yield where.replace(path, f"{raw.name}/{name}"), row


def _release_rows(release: Release) -> Rows:
    from datasets import DownloadManager
    from httpx import HTTPError

    try:
        path = str(DownloadManager().download(release.url))
    except (OSError, ValueError, HTTPError) as error:
        raise _unreachable(release.url, error) from error
    for where, row in read_json_rows(Path(path)):
        yield where.replace(path, release.url), row


def _unreachable(name: str, error: Exception) -> DataError:
    return DataError(f"{name} can't be had ({error}); fetch it yourself and name it as --benchmark_file")


@functools.cache
def revision(name: str) -> str | None:
    """The commit of a data set on the hub that this process reads; None where the hub can't be asked, and what an
    earlier download left is read."""
    from httpx import HTTPError
    from huggingface_hub import HfApi

    try:
        return HfApi().dataset_info(name, timeout=10).sha
    except (OSError, ValueError, HTTPError) as error:
        logger.warning("the hub does not say which version of %s is the latest: %s", name, error)
        return None


def version(file: Path | None, source: Source | None) -> dict[str, Any]:
    """What tells one version of the data from another: the hash of a file, the commit on the hub, or the URL."""
    if file is not None:
        return {"sha256": file_hash(file)}
    if isinstance(source, Release):
        return {"url": source.url}
    return {"hub": source.name, "revision": revision(source.name)} if source else {}


def with_tests(problems: Iterable[T | None], name: str) -> Iterator[T]:
    """The problems that are not None, and a warning that counts the others: rows without tests that can be judged."""
    left_out = 0
    for problem in problems:
        if problem is None:
            left_out += 1
        else:
            yield problem
    if left_out:
        logger.warning("%d problems of %s come without tests that can be judged and are left out", left_out, name)
