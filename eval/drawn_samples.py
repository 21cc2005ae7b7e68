"""What a model has written so far, on disk: an evaluation that was killed draws only what is missing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Self

from eval.samples import Sample
from rlcode.run_directory import read_json_lines
from rlcode.types import Problem

DRAWN, DRAWN_GREEDY = "drawn.jsonl", "drawn_greedy.jsonl"


class DrawnSamples:
    """The file `path` of samples in the order in which they were drawn, one a line; a torn last line is cut off.

    A sample's place is that of its task among `problems`, and of its index among the task's `num_samples`.
    """

    def __init__(self, path: Path, problems: Sequence[Problem], num_samples: int) -> None:
        self.path = path
        self.keys: set[tuple[str, int]] = set()
        """Task and index of each sample that was there when it was read."""
        self._first_places = {problem.task_id: at * num_samples for at, problem in enumerate(problems)}
        self._file = _open_whole(path)

    def __iter__(self) -> Iterator[Sample]:
        """The samples that are there."""
        for row in read_json_lines(self.path):
            self.keys.add((row["task_id"], row["index"]))
            yield self._placed(Sample(row["task_id"], row["index"], row["completion"], cut_off=row["cut_off"]))

    def append(self, sample: Sample) -> Sample:
        """Write one sample, which is with the operating system when this returns, and give it with its place."""
        row = {
            "task_id": sample.task_id,
            "index": sample.index,
            "completion": sample.text,
            "cut_off": sample.cut_off,
        }
        self._file.write(json.dumps(row).encode() + b"\n")
        return self._placed(sample)

    def _placed(self, sample: Sample) -> Sample:
        return replace(sample, place=self._first_places[sample.task_id] + sample.index)

    def close(self) -> None:
        """Can be called twice."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _open_whole(path: Path) -> BinaryIO:
    """The file for appending, without what a crash left behind its last whole line."""
    file = open(path, "ab+", buffering=0)  # noqa: SIM115 - held as long as the run
    file.seek(0)
    end = 0
    for line in file:
        if line.endswith(b"\n"):
            end += len(line)
    file.truncate(end)
    return file
