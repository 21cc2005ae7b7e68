"""Rollouts on disk, in a run directory:

    rollouts-00000.jsonl, rollouts-00001.jsonl, …   judged, one a line; all but the last are never written to again
    unscored.jsonl                                   could not be judged; emptied for another try when the run goes on
    rollouts-00001.torn                              what a crash left of the last lines, set aside

JSON lines and not Parquet: a line that was written is there whatever happens next, a crash tears the last one at most,
and `tail -f` shows a run at work; a Parquet file is unreadable until its footer is written. `datasets` reads them with
`load_dataset("json", data_files="RUN/rollouts-*.jsonl")`. One process writes (see `rlcode.run_directory`).
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rlcode.errors import DataError, StoreError
from rlcode.run_directory import write_atomically
from rlcode.types import Rollout
from sampling.rollout_lines import Outcome, decode, encode, outcome_of

logger = logging.getLogger(__name__)

SHARD_BYTES = 64 << 20
"""A shard is sealed once it has this size."""


class RolloutStore:
    """The rollouts in `directory`; opening it again after a crash goes on behind the last whole line.

    Several processes that write to one directory have a `suffix` each: `-rank1` makes `rollouts-rank1-00000.jsonl`.

    Raises:
        DataError: the last shard is damaged, and not at its end.
        StoreError: nothing can be written here.
    """

    def __init__(self, directory: Path, suffix: str = "", *, shard_bytes: int = SHARD_BYTES) -> None:
        self.directory = directory
        self.appended = 0
        """Rollouts since it was opened."""
        self._suffix = suffix
        self._shard_bytes = shard_bytes
        with _told(directory, 0):
            directory.mkdir(parents=True, exist_ok=True)
            if shards := self._shards():
                _set_tail_aside(shards[-1])
            _set_tail_aside(self._unscored)
        self._shard: _LineFile | None = None
        self._lost: _LineFile | None = None

    def append(self, rollout: Rollout) -> None:
        """Write one rollout; it is with the operating system when this returns.

        Raises:
            StoreError: it can't be written. No part of it stays, and all before it is whole.
        """
        with _told(self.directory, self.appended):
            if rollout.verdict is None:
                self._lost = self._lost or _LineFile(self._unscored)
                self._lost.append(encode(rollout))
            else:
                self._shard = self._shard or _LineFile(self._current_shard())
                self._shard.append(encode(rollout))
                self._seal_when_full()
        self.appended += 1

    def outcomes(self) -> Iterator[Outcome]:
        """What became of each sample that is here, without reading all of it.

        Raises:
            DataError: a line is no rollout; file and line are named.
        """
        for path in [*self._shards(), *self._existing(self._unscored)]:
            for number, line in _lines(path):
                with _named(path, number):
                    outcome = outcome_of(line)
                yield outcome

    def forget_unscored(self) -> None:
        """Make room for another try of what could not be judged."""
        self._close_files()
        self._unscored.unlink(missing_ok=True)

    def keep_only(self, wanted: Callable[[Rollout], bool]) -> None:
        """Drop what is not wanted. Each file is replaced whole, so after a crash the same call goes on."""
        self._close_files()
        for path in [*self._existing(self._unscored), *self._shards()]:
            _keep_lines(path, wanted)

    def close(self) -> None:
        """Bring everything to the disk itself. Can be called twice."""
        with _told(self.directory, self.appended):
            self._close_files()

    def __enter__(self) -> RolloutStore:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def _unscored(self) -> Path:
        return self.directory / f"unscored{self._suffix}.jsonl"

    def _shards(self) -> list[Path]:
        return sorted(self.directory.glob(f"rollouts{self._suffix}-{'[0-9]' * 5}.jsonl"))

    @staticmethod
    def _existing(path: Path) -> list[Path]:
        return [path] if path.exists() else []

    def _current_shard(self) -> Path:
        """The last shard, or the next one where that is full."""
        shards = self._shards()
        if shards and shards[-1].stat().st_size < self._shard_bytes:
            return shards[-1]
        number = _number(shards[-1]) + 1 if shards else 0
        return self.directory / f"rollouts{self._suffix}-{number:05d}.jsonl"

    def _seal_when_full(self) -> None:
        if self._shard is not None and self._shard.size >= self._shard_bytes:
            self._shard.close()
            self._shard = None

    def _close_files(self) -> None:
        for file in (self._shard, self._lost):
            if file is not None:
                file.close()
        self._shard = self._lost = None


class _LineFile:
    """A file that grows by whole lines."""

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self.size = os.fstat(self._handle).st_size
        _sync_directory(path.parent)

    def append(self, line: bytes) -> None:
        try:
            rest = memoryview(line)
            while rest:  # a disk that gets full takes a part first
                rest = rest[os.write(self._handle, rest) :]
        except OSError:
            os.ftruncate(self._handle, self.size)
            raise
        self.size += len(line)

    def close(self) -> None:
        try:
            os.fsync(self._handle)
        finally:
            os.close(self._handle)


def write_rollouts(path: Path, rollouts: Iterable[Rollout]) -> None:
    """Write all to the file `path`, whole or not at all."""
    write_atomically(path, b"".join(map(encode, rollouts)).decode())


def read_rollouts(paths: Iterable[Path], *, logprobs: bool = True) -> Iterator[Rollout]:
    """Every rollout of the files, in order; a directory stands for what a `RolloutStore` has in it. Without `logprobs`
    these are empty, and reading is faster.

    A last line that is still being written, or was torn by a crash, is left out with a warning.

    Raises:
        DataError: a file is missing or a line is no rollout; file and line are named.
    """
    for path in _files(paths):
        for number, line in _lines(path):
            with _named(path, number):
                rollout = decode(line, logprobs=logprobs)
            yield rollout


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        in_directory = (
            file for pattern in ("rollouts*.jsonl", "unscored*.jsonl") for file in sorted(path.glob(pattern))
        )
        files = list(in_directory) if path.is_dir() else [path]
        if not files or not files[0].is_file():
            raise DataError(f"no rollouts at {path}; `rlcode rollout --output_dir {path}` writes them")
        yield from files


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a file with their numbers, without an unfinished one at the end of a last shard."""
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n") and not _next_shard(path).exists():
                logger.warning("%s, line %d is not finished and is left out", path, number)
                return
            yield number, line


def _number(shard: Path) -> int:
    return int(shard.stem.rpartition("-")[2])


def _next_shard(path: Path) -> Path:
    series, _, number = path.stem.rpartition("-")
    return path.with_name(f"{series}-{int(number) + 1:05d}.jsonl") if number.isdecimal() else path / "none"


@contextmanager
def _named(path: Path, number: int) -> Iterator[None]:
    try:
        yield
    except ValueError as error:  # broken JSON, bytes that are not UTF-8 and wrong fields are all ValueErrors
        raise DataError(
            f"{path}, line {number}: not a rollout: {error}. Delete the line (keep a copy of the file); "
            "the command that wrote it draws that rollout again"
        ) from error


@contextmanager
def _told(directory: Path, written: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"no more rollouts can be written to {directory}: {error.strerror or error}; the {written} that were "
            "written since the start of this command are whole, and so are all before. Make room and run the same "
            "command again: it goes on from there"
        ) from error


def _keep_lines(path: Path, wanted: Callable[[Rollout], bool]) -> None:
    """Replace the file by its wanted lines, or remove it where there is none; one that is all wanted stays."""
    part = path.with_name(f".{path.name}.part")
    dropped = kept = 0
    with open(part, "wb") as file:
        for number, line in _lines(path):
            with _named(path, number):
                rollout = decode(line)
            if wanted(rollout):
                file.write(line)
                kept += 1
            else:
                dropped += 1
        file.flush()
        os.fsync(file.fileno())
    if not dropped:
        part.unlink()
    elif kept:
        os.replace(part, path)
    else:
        path.unlink()
        part.unlink()
    _sync_directory(path.parent)


def _sync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _set_tail_aside(path: Path) -> None:
    """Move what a crash left behind the last whole rollout to a file beside.

    Raises:
        DataError: a rollout follows what can't be read, so that no crash explains it.
    """
    if not path.exists():
        return
    end, bad, first_bad = _whole_part(path)
    if not bad:
        return
    torn = path.with_suffix(".torn")
    with open(path, "r+b") as file, open(torn, "ab") as aside:
        file.seek(end)
        aside.write(file.read())
        aside.flush()
        os.fsync(aside.fileno())
        file.truncate(end)
    logger.warning(
        "%s ended in %d line%s that %s not whole (from line %d on), as a crash leaves it; moved to %s, and drawn again",
        path,
        bad,
        "" if bad == 1 else "s",
        "is" if bad == 1 else "are",
        first_bad,
        torn,
    )


def _whole_part(path: Path) -> tuple[int, int, int]:
    """Where the whole lines at the start end, how many follow, and the number of the first of these."""
    end = bad = first_bad = 0
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            if not _is_whole(line):
                bad, first_bad = bad + 1, first_bad or number
            elif bad:
                raise DataError(
                    f"{path}, line {first_bad}: not a rollout, though rollouts follow it: the file was damaged. Delete "
                    "the line (keep a copy of the file) and run the same command again: it draws that rollout again"
                )
            else:
                end += len(line)
    return end, bad, first_bad


def _is_whole(line: bytes) -> bool:
    try:
        json.loads(line)
        outcome_of(line)
    except ValueError:
        return False
    return True
