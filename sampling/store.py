"""Rollouts on disk: JSON lines, appended as they come, readable with `datasets.load_dataset("json", …)`.

One process writes. A last line that was cut off by a crash is set aside beside the file; the rest is kept.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from rlcode.errors import DataError
from rlcode.run_directory import write_json_lines
from rlcode.types import Rollout, from_json, to_json

logger = logging.getLogger(__name__)


class RolloutStore:
    """The file `path` of rollouts; opening it again after a crash goes on behind the last whole line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        _set_torn_line_aside(path)
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115 - closed by close()

    def keep_only(self, wanted: Callable[[Rollout], bool]) -> None:
        """Drop what is not wanted; the file is replaced whole."""
        kept = [to_json(rollout) for rollout in read_rollouts([self.path]) if wanted(rollout)]
        self._file.close()
        write_json_lines(self.path, kept)
        self._file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115 - closed by close()

    def append(self, rollout: Rollout) -> None:
        """Write one rollout; it is with the operating system when this returns."""
        self._file.write(json.dumps(to_json(rollout), ensure_ascii=True) + "\n")
        self._file.flush()

    def done(self) -> set[tuple[str, int]]:
        """Task and index of what is already here."""
        return {(r.completion.task_id, r.completion.index) for r in read_rollouts([self.path])}

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> RolloutStore:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def write_rollouts(path: Path, rollouts: Iterable[Rollout]) -> list[Rollout]:
    """Append all and return them."""
    kept = []
    with RolloutStore(path) as store:
        for rollout in rollouts:
            store.append(rollout)
            kept.append(rollout)
    return kept


def read_rollouts(paths: Iterable[Path]) -> Iterator[Rollout]:
    """Every rollout of the files, in order; a directory stands for the `rollouts*.jsonl` in it.

    Raises:
        DataError: a file is missing or a line is no rollout; file and line are named.
    """
    for path in _files(paths):
        with open(path, "rb") as file:
            for number, line in enumerate(file, start=1):
                yield _parse(line, path, number)


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        files = sorted(path.glob("rollouts*.jsonl")) if path.is_dir() else [path]
        if not files or not files[0].is_file():
            raise DataError(f"no rollouts at {path}; `rlcode rollout --output_dir {path}` writes them")
        yield from files


def _parse(line: bytes, path: Path, number: int) -> Rollout:
    try:
        return from_json(Rollout, json.loads(line))
    except ValueError as error:  # broken JSON, bytes that are not UTF-8 and wrong fields are all ValueErrors
        raise DataError(f"{path}, line {number}: not a rollout: {error}") from error


def _set_torn_line_aside(path: Path) -> None:
    if not path.exists():
        return
    data = path.read_bytes()
    end = data.rfind(b"\n") + 1
    if end == len(data):
        return
    torn = path.with_suffix(".torn")
    torn.write_bytes(data[end:])
    with open(path, "r+b") as file:
        file.truncate(end)
    logger.warning("the last line of %s was incomplete and was moved to %s; its rollout is drawn again", path, torn)
