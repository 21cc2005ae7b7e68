"""The sides that pairs are made of: columns for every scored completion, with texts and tokens in a file.

Rollouts come as a stream and are held nowhere. What is asked of all sides lies in NumPy columns; what is read of one
pair at a time goes to disk at once.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset

from rlcode.errors import DataError
from rlcode.types import Completion, ErrorType, Program, Rollout, Stage, Verdict
from sampling.arrow_file import TOKEN_IDS, ArrowFile, TokenLists
from sampling.normalised_code import normalise
from sampling.notebook import Kind

ERROR_TYPES: tuple[ErrorType, ...] = tuple(ErrorType)
"""What the numbers in a column of error types mean."""
PASSED = -1
"""In the place of an error type or a kind, where the side passed."""
_STAGES = np.array([*(error_type.stage for error_type in ERROR_TYPES), Stage.PASS], dtype=np.int8)  # -1 is the last one


@dataclass(frozen=True)
class Sides:
    """What is known of scored completions, as columns of the same length.

    The rows are ordered by problem, policy version, index and seed, and where all of these are equal (two runs with one
    policy) by a hash of the content: never by the order in which they were judged.
    """

    task_ids: tuple[str, ...]
    """The problems, sorted; `problem` counts into them."""
    kinds: tuple[Kind, ...]
    """The failures at the notebook's second depth, sorted; `kind` counts into them."""
    problem: np.ndarray
    prompt: np.ndarray
    """Numbers the prompts. A problem has several where runs asked in different ways."""
    error_type: np.ndarray
    """Into `ERROR_TYPES`, or `PASSED`."""
    kind: np.ndarray
    """Into `kinds`, or `PASSED`."""
    policy_version: np.ndarray
    index: np.ndarray
    seed: np.ndarray
    num_tokens: np.ndarray
    """Of the completion."""
    tests_passed: np.ndarray
    tests_total: np.ndarray
    cut_off: np.ndarray
    """Whether it ended at the length limit."""
    text: np.ndarray
    """Hash of the text, exact."""
    code: np.ndarray
    """Hash of the normalised program: two sides of one problem with the same code do the same."""
    copies: np.ndarray
    """Scored completions that this one stands for: those of its problem with its code."""
    row: np.ndarray
    """Where its text and tokens lie in the pool's `rows`."""

    def __len__(self) -> int:
        return len(self.problem)

    @property
    def stage(self) -> np.ndarray:
        """How far each one got, as numbers of `Stage`."""
        return _STAGES[self.error_type]

    def take(self, positions: np.ndarray) -> Sides:
        """The sides at `positions`, in their order."""
        columns = {name: getattr(self, name)[positions] for name in COLUMNS}
        return Sides(task_ids=self.task_ids, kinds=self.kinds, **columns)


@dataclass(frozen=True)
class Scored:
    """Every completion that a side stands for, itself included: columns of the same length, in the order of `Sides`."""

    problem: np.ndarray
    error_type: np.ndarray
    """Into `ERROR_TYPES`, or `PASSED`."""
    text: np.ndarray
    """Hash of the text, exact."""
    side: np.ndarray
    """The position in `Sides` of the one that stands for it."""

    def __len__(self) -> int:
        return len(self.problem)


COLUMNS = tuple(field.name for field in fields(Sides) if field.type == "np.ndarray")

_HELD = {
    "problem": "i",
    "prompt": "i",
    "kind": "i",
    "policy_version": "i",
    "index": "i",
    "seed": "q",
    "num_tokens": "i",
    "tests_passed": "i",
    "tests_total": "i",
    "cut_off": "b",
    "text": "q",
    "code": "q",
    "content": "q",
}
BYTES_HELD = sum(array(kind).itemsize for kind in _HELD.values())
"""Memory that a scored rollout takes while rollouts are read; names of problems and kinds are held once."""

_ROWS = pa.schema(
    {
        "task_id": pa.string(),
        "index": pa.int64(),
        "policy_version": pa.int64(),
        "seed": pa.int64(),
        "text": pa.string(),
        "prompt_ids": TOKEN_IDS,
        "completion_ids": TOKEN_IDS,
    }
)
_PIECE_BYTES = 4 << 20
"""Texts and tokens that are gathered before they are written."""


class SideCollector:
    """Takes rollouts in any order and gives the sides in theirs. Texts and tokens go to the file `path`.

    A character that UTF-8 has no bytes for becomes `?` in the text, as in a rollout's line.
    """

    def __init__(self, path: Path) -> None:
        self.read = 0
        """Rollouts so far."""
        self.unscored = 0
        """Of these, those without a verdict that says how they ended."""
        self._columns = {name: array(kind) for name, kind in _HELD.items()}
        self._problems: dict[str, int] = {}
        self._prompts: dict[tuple[str, bytes], int] = {}
        self._kinds: dict[Kind, int] = {}
        self._rows = _RowWriter(path)

    def add_all(self, rollouts: Iterable[Rollout]) -> tuple[Sides, Dataset]:
        """Read the stream to its end; returns the scored sides, and the data set that their `row` counts into.

        Raises:
            DataError: a number in a rollout is beyond all bounds.
        """
        with closing(self._rows):
            for rollout in rollouts:
                self._add(rollout)
            return self._sides(), self._rows.finish()

    def _add(self, rollout: Rollout) -> None:
        self.read += 1
        verdict = rollout.verdict
        if verdict is None or not (verdict.passed or verdict.error_type):
            self.unscored += 1
            return
        try:
            self._add_scored(rollout.completion, rollout.program, verdict)
        except OverflowError as error:
            completion = rollout.completion
            raise DataError(
                f"rollout {completion.index} of task {completion.task_id} has a number that is too large ({error}); "
                "seeds have 63 bits, all other numbers 31"
            ) from error

    def _add_scored(self, completion: Completion, program: Program, verdict: Verdict) -> None:
        prompt, text, content = self._rows.append(completion)
        values = {
            "problem": self._problems.setdefault(completion.task_id, len(self._problems)),
            "prompt": self._prompts.setdefault((completion.task_id, prompt), len(self._prompts)),
            "kind": self._kind(verdict),
            "policy_version": completion.policy_version,
            "index": completion.index,
            "seed": completion.seed,
            "num_tokens": len(completion.token_ids),
            "tests_passed": verdict.tests_passed,
            "tests_total": verdict.tests_total,
            "cut_off": completion.finish_reason == "length",
            "text": text,
            "code": _code_of(completion, program),
            "content": content,
        }
        for name, value in values.items():
            self._columns[name].append(value)

    def _kind(self, verdict: Verdict) -> int:
        if verdict.error_type is None:
            return PASSED
        return self._kinds.setdefault(Kind(verdict.error_type, verdict.signature or ""), len(self._kinds))

    def _sides(self) -> Sides:
        held: dict[str, Any] = {name: np.array(column) for name, column in self._columns.items()}
        self._columns.clear()
        task_ids, kinds = sorted(self._problems), sorted(self._kinds)
        held["problem"] = _ranks(task_ids, self._problems)[held["problem"]]
        held["prompt"] = _ranks(sorted(self._prompts), self._prompts)[held["prompt"]]
        held["kind"] = np.append(_ranks(kinds, self._kinds), PASSED)[held["kind"]]
        held["cut_off"] = held["cut_off"].astype(bool)
        order = np.lexsort([held[name] for name in reversed(_ORDER)])
        content = held.pop("content")
        type_of = {error_type: number for number, error_type in enumerate(ERROR_TYPES)}
        types = np.array([*(type_of[kind.error_type] for kind in kinds), PASSED], dtype=np.int16)
        sides = Sides(
            task_ids=tuple(task_ids),
            kinds=tuple(kinds),
            error_type=types[held["kind"]],
            copies=np.ones(len(content), dtype=np.int32),
            row=np.arange(len(content)),
            **held,
        )
        return sides.take(order)


_ORDER = (
    "problem",
    "policy_version",
    "index",
    "seed",
    "prompt",
    "content",
    "code",
    "kind",
    "tests_passed",
    "tests_total",
    "cut_off",
)
"""What the order of sides goes by; two that are alike in all of it are alike."""


def _ranks(names: list, numbers: dict[Any, int]) -> np.ndarray:
    """For each number, given when a name was first met, the place of the name in `names`."""
    ranks = np.empty(len(names), dtype=np.int32)
    ranks[[numbers[name] for name in names]] = np.arange(len(names))
    return ranks


def _code_of(completion: Completion, program: Program) -> int:
    if program.source is None:
        return _number(_digest(b"no program\0", _utf8(completion.text)))
    return _number(_digest(_utf8(normalise(program.source))))


def _digest(*parts: bytes) -> bytes:
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        digest.update(part)
    return digest.digest()


def _number(digest: bytes) -> int:
    return int.from_bytes(digest, signed=True)


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", errors="surrogatepass")


class _RowWriter:
    """Texts and tokens on their way to disk, some thousands at a time."""

    def __init__(self, path: Path) -> None:
        self._file = ArrowFile(path, _ROWS)
        self._numbers: list[list[Any]] = [[] for _ in range(4)]
        self._texts: list[bytes] = []
        self._prompts, self._tokens = TokenLists(), TokenLists()
        self._size = 0

    def append(self, completion: Completion) -> tuple[bytes, int, int]:
        """Returns hashes: of the prompt, of the text, of text and tokens."""
        text, task_id = (part.encode("utf-8", errors="replace") for part in (completion.text, completion.task_id))
        prompt, tokens = self._prompts.append(completion.prompt_token_ids), self._tokens.append(completion.token_ids)
        self._size += len(text) + len(prompt) + len(tokens)
        named = (task_id, completion.index, completion.policy_version, completion.seed)
        for column, value in zip(self._numbers, named, strict=True):
            column.append(value)
        self._texts.append(text)
        if self._size >= _PIECE_BYTES:
            self._write()
        return _digest(prompt), _number(_digest(text)), _number(_digest(tokens, b"\0", text))

    def finish(self) -> Dataset:
        if self._texts:
            self._write()
        return self._file.finish()

    def close(self) -> None:
        self._file.close()

    def _write(self) -> None:
        types = [field.type for field in _ROWS]
        columns = [pa.array(values, type=kind) for values, kind in zip(self._numbers, types[:4], strict=True)]
        self._file.append(
            [*columns, pa.array(self._texts, type=pa.string()), self._prompts.take(), self._tokens.take()]
        )
        self._numbers, self._texts, self._size = [[] for _ in range(4)], [], 0
