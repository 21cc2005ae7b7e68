"""The benchmarks by name."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from rlcode.data import humaneval, jsonl, mbpp, mbpp_ap2o
from rlcode.data.exclusion import without_excluded
from rlcode.errors import DataError, InputError
from rlcode.types import Problem

BENCHMARKS: dict[str, ModuleType] = {"humaneval": humaneval, "mbpp": mbpp, "mbpp_ap2o": mbpp_ap2o, "jsonl": jsonl}
"""Name → module with `load(file, split)` and `aliases(task_id)`."""


def load_problems(
    benchmark: str, file: Path | None = None, split: str | None = None, exclude: Path | None = None
) -> list[Problem]:
    """The problems of `benchmark`, from `file` in the benchmark's own format or, without one, from the hub; without
    those that the file `exclude` names.

    Without `split`: all of HumanEval; all of an MBPP file, or MBPP's `test` from the hub; all of a jsonl file.

    Raises:
        InputError: an unknown benchmark or split, or no file for `jsonl`.
        DataError: a row that can't be used, the same task twice, or no problem that is not excluded.
    """
    problems: list[Problem] = _module(benchmark).load(file, split)
    _check_unique(problems, str(file or benchmark))
    return without_excluded(problems, exclude, lambda task_id: task_names(benchmark, task_id)) if exclude else problems


def task_names(benchmark: str, task_id: str) -> tuple[str, ...]:
    """Every name under which a samples file may speak of the task, the project's own first.

    `Mbpp/601`, `601` and `MBPP/601` are one task.
    """
    return (task_id, *_module(benchmark).aliases(task_id))


def _module(benchmark: str) -> ModuleType:
    if benchmark not in BENCHMARKS:
        raise InputError(f"unknown benchmark {benchmark!r}; known: {', '.join(BENCHMARKS)}")
    return BENCHMARKS[benchmark]


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
