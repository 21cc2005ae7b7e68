"""From a stream of rollouts to sides: what is asked of all of them goes into columns, texts and tokens go to disk at
once, and no rollout is held."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset

from rlcode.data.forgeable import refuse_forgeable_verdict
from rlcode.errors import DataError
from rlcode.types import Completion, Program, Rollout, Verdict
from sampling.arrow_file import TOKEN_IDS, ArrowFile, TokenLists
from sampling.normalised_code import normalise
from sampling.notebook import Kind
from sampling.sides import ERROR_TYPES, PASSED, Sides

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
            DataError: a number in a rollout is beyond all bounds, or its verdict can be forged.
        """
        with closing(self._rows):
            for rollout in rollouts:
                self._add(rollout)
            return self._sides(), self._rows.finish()

    def _add(self, rollout: Rollout) -> None:
        self.read += 1
        verdict = rollout.verdict
        refuse_forgeable_verdict(verdict, rollout.completion.task_id)
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
