"""The samples that the page can show one by one: all of them, or where that would be too much a fair part.

Fair means: of each problem and each way to end equally many at most, chosen by a hash of the sample's key, so that
neither the order in which verdicts came nor what the programs say decides. Where even `_LEAST_CAP` of each are too
many, problems are left out, by a hash too. Samples in pairs that the page shows are kept in any case.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import defaultdict
from collections.abc import Container, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from eval.run_report.samples_of import JudgedSample

MOST_BYTES = 24 << 20
"""Of different texts, and of rows at `_ROW_BYTES` each: what the page unpacks and searches."""
MOST_CHARACTERS = 6_000
"""Of one text; what is longer is cut, and says so."""
_ROW_BYTES = 60
_SLACK = 1.25
"""What may be held meanwhile, so that room is not made at every sample."""
_FIRST_CAP, _LEAST_CAP = 64, 4
_TEXTS = ("program", "completion", "test", "detail", "stdout")

Key = tuple[str, int, int]
"""Problem, policy version, index."""


class KeptSample(NamedTuple):
    """A sample of the set with the number `set_number`."""

    set_number: int
    sample: JudgedSample


class _Entry(NamedTuple):
    """Ordered so that a heap's first one goes first."""

    rank: int
    number: int
    kept: KeptSample


class KeptSamples:
    """Takes samples as they come and keeps no more than `most_bytes` of texts and rows, but for `always`."""

    def __init__(self, always: Container[Key] = (), most_bytes: int = MOST_BYTES) -> None:
        self.cap: int | None = None
        """Samples of each problem and outcome at most; None: all are here."""
        self.one_in = 1
        """Of so many problems one has samples here; a power of two."""
        self._always = always
        self._most = most_bytes
        self._pairs: list[KeptSample] = []
        self._cells: defaultdict[tuple[str, str], list[_Entry]] = defaultdict(list)
        self._texts: dict[str, str] = {}
        self._bytes = 0
        self._number = 0

    def add(self, set_number: int, sample: JudgedSample) -> None:
        """Keep a sample, or let it or another one go."""
        if (sample.task_id, sample.version, sample.index) in self._always:
            self._pairs.append(KeptSample(set_number, self._shared(sample)))
            return
        if self._is_left_out(sample.task_id):
            return
        self._number += 1
        cell = self._cells[sample.task_id, sample.outcome]
        rank = -_hash(f"{set_number} {sample.task_id} {sample.version} {sample.index}")
        if self.cap is not None and len(cell) >= self.cap and rank <= cell[0].rank:
            return
        heapq.heappush(cell, _Entry(rank, self._number, KeptSample(set_number, self._shared(sample))))
        if self.cap is not None and len(cell) > self.cap:
            heapq.heappop(cell)
        if self._bytes > _SLACK * self._most:
            self._make_room()

    def in_order(self) -> list[KeptSample]:
        """By set, problem, policy and index. Room is made once more, so that it does not matter when it was before."""
        self._make_room()
        kept = [*self._pairs, *(entry.kept for cell in self._cells.values() for entry in cell)]
        return sorted(kept, key=lambda one: (one.set_number, one.sample.task_id, one.sample.version, one.sample.index))

    def _make_room(self) -> None:
        self._count_again()  # what was let go of still counted
        while self._bytes > self._most and self._cells:
            if self.cap == _LEAST_CAP:
                self._leave_problems_out()
            else:
                self.cap = _FIRST_CAP if self.cap is None else max(_LEAST_CAP, self.cap * 3 // 4)
                for cell in self._cells.values():
                    while len(cell) > self.cap:
                        heapq.heappop(cell)
            self._count_again()

    def _leave_problems_out(self) -> None:
        self.one_in *= 2
        for key in [key for key in self._cells if self._is_left_out(key[0])]:
            del self._cells[key]

    def _is_left_out(self, task_id: str) -> bool:
        return self.one_in > 1 and _hash(task_id) % self.one_in != 0

    def _count_again(self) -> None:
        self._texts, self._bytes = {}, 0
        for one in self._every():
            self._bytes += _ROW_BYTES
            for name in _TEXTS:
                self._share(getattr(one.sample, name))

    def _every(self) -> Iterator[KeptSample]:
        yield from self._pairs
        for cell in self._cells.values():
            yield from (entry.kept for entry in cell)

    def _shared(self, sample: JudgedSample) -> JudgedSample:
        """The sample with its texts cut, equal ones of different samples being one."""
        self._bytes += _ROW_BYTES
        texts: dict[str, Any] = {name: self._share(_cut(getattr(sample, name))) for name in _TEXTS}
        return replace(sample, **texts)

    def _share(self, text: str) -> str:
        if text not in self._texts:
            self._texts[text] = text
            self._bytes += len(text)
        return self._texts[text]


def _cut(text: str) -> str:
    left = len(text) - MOST_CHARACTERS
    return text if left <= 0 else f"{text[:MOST_CHARACTERS]}\n… {left:,} more characters are in the run directory"


def _hash(key: str) -> int:
    return int.from_bytes(hashlib.blake2b(key.encode(errors="replace"), digest_size=8).digest(), "big")
