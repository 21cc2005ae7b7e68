"""The benchmarks by name."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

from rlcode.data.exclusion import without_excluded
from rlcode.data.forgeable import refuse_forgeable
from rlcode.data.lines import read_json_rows
from rlcode.errors import DataError, InputError
from rlcode.types import Problem

BENCHMARKS = (
    "humaneval",
    "humanevalplus",
    "mbpp",
    "mbpp_ap2o",
    "mbpp_sanitized",
    "mbppplus",
    "livecodebench",
    "apps",
    "codecontests",
    "bigcodebench",
    "bigcodebench_hard",
    "jsonl",
)
"""Each is the module `rlcode.data.NAME`:

`load(file, split)`   the problems
`aliases(task_id)`    other names that a samples file may use for a task
`version(file)`       what tells one version of the data from another, for reports
`FIELDS`              columns by which its files are told from those of the others
`SPLITS`              its parts, where they have names
"""


def load_problems(
    benchmark: str, file: Path | None = None, split: str | None = None, exclude: Path | None = None
) -> list[Problem]:
    """The problems of `benchmark`, from `file` in the benchmark's own format or, without one, from the hub; without
    those that the file `exclude` names.

    Without `split`: all of a file or of a benchmark that has one split; else the hub's `test`.

    Raises:
        InputError: an unknown benchmark or split, or no file for `jsonl`.
        DataError: a row that can't be used, a file in the format of another benchmark, the same task twice, or no
            problem that is not excluded.
    """
    module = _module(benchmark)
    if file is not None:
        _check_format(benchmark, file)
    problems: list[Problem] = module.load(file, split)
    _check_unique(problems, str(file or benchmark))
    return without_excluded(problems, exclude, lambda task_id: task_names(benchmark, task_id)) if exclude else problems


def problems_from(args: Any, prefix: str = "") -> list[Problem]:
    """The problems that the fields `benchmark`, `benchmark_file`, `split` and `exclude` of a configuration name, each
    with `prefix` before it. Without a benchmark they are `jsonl`.

    Raises:
        InputError, DataError: see `load_problems`.
    """
    names = ("benchmark", "benchmark_file", "split", "exclude")
    benchmark, file, split, exclude = (getattr(args, prefix + name) for name in names)
    return load_problems(benchmark or "jsonl", Path(file) if file else None, split, Path(exclude) if exclude else None)


def training_problems_from(args: Any, prefix: str = "") -> list[Problem]:
    """`problems_from`, for whoever trains on what becomes of programs for them.

    Raises:
        InputError, DataError: see `load_problems`; or a program could forge its verdict, or no split is named where
            there would be test problems among them.
    """
    _require_split(args, prefix)
    problems = problems_from(args, prefix)
    refuse_forgeable(problems)
    return problems


def _require_split(args: Any, prefix: str) -> None:
    benchmark, file, split = (getattr(args, prefix + name) for name in ("benchmark", "benchmark_file", "split"))
    known = getattr(_module(benchmark or "jsonl"), "SPLITS", ())
    if split is None and "train" in known and (file is None or _has_test_problems(benchmark, Path(file))):
        raise InputError(
            f"without a split {benchmark} has its test problems among those to train on or to choose by; name one: "
            f"--{prefix}split train, or else {', '.join(name for name in known if name != 'train')}"
        )


def _has_test_problems(benchmark: str, file: Path) -> bool:
    """Whether the file has a benchmark's test problems beside those to train on. Files of other benchmarks than MBPP
    have one split."""
    if benchmark == "mbpp_ap2o":
        return True
    if benchmark not in ("mbpp", "mbpp_sanitized"):
        return False
    splits, numbers = _module(benchmark).SPLITS, {row.get("task_id") for _, row in read_json_rows(file)}
    return all(any(number in splits[name] for number in numbers) for name in ("train", "test"))


def task_names(benchmark: str, task_id: str) -> tuple[str, ...]:
    """Every name under which a samples file may speak of the task, the project's own first.

    `Mbpp/601`, `601` and `MBPP/601` are one task.
    """
    return (task_id, *_module(benchmark).aliases(task_id))


def data_version(benchmark: str, file: Path | None) -> dict[str, Any]:
    """What tells one version of a benchmark's data from another."""
    version: dict[str, Any] = _module(benchmark).version(file)
    return version


def _module(benchmark: str) -> ModuleType:
    if benchmark not in BENCHMARKS:
        raise InputError(f"unknown benchmark {benchmark!r}; known: {', '.join(BENCHMARKS)}")
    return importlib.import_module(f"rlcode.data.{benchmark}")


def _check_format(benchmark: str, file: Path) -> None:
    """Name the benchmark whose format the first row has, where that is another one's."""
    _, row = next(iter(read_json_rows(file)))
    if row.keys() >= set(_module(benchmark).FIELDS):
        return
    others = [name for name in BENCHMARKS if row.keys() >= set(_module(name).FIELDS)]
    if others:
        more = " or ".join(others)
        raise DataError(
            f"{file} is no file of {benchmark}: its rows have the fields of {more}; use --benchmark {others[0]}"
        )


def _check_unique(problems: list[Problem], where: str) -> None:
    seen: set[str] = set()
    for problem in problems:
        if problem.task_id in seen:
            raise DataError(f"{where}: task {problem.task_id!r} is there twice; keep one of them")
        seen.add(problem.task_id)


def load_named(text: str) -> list[Problem]:
    """The problems of a set that is named in one word, as `NAME[:SPLIT][=FILE]`: `humaneval`, `mbpp:test`,
    `mbpp:test=mbpp.jsonl.gz`.

    Raises:
        InputError, DataError: see `load_problems`.
    """
    name, _, file = text.partition("=")
    benchmark, _, split = name.partition(":")
    return load_problems(benchmark, Path(file) if file else None, split or None)
