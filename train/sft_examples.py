"""What SFT trains on, as token ids with their labels: passed programs of rollouts, just as they were sampled.

Reference solutions of problems become examples in `train.references`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset

from rlcode.errors import DataError
from rlcode.run_directory import write_atomically
from sampling.arrow_file import TOKEN_IDS, ArrowFile, TokenLists
from sampling.passed import PassedOptions, PassedPrograms, collect_passed
from sampling.store import read_rollouts
from train.arguments import SftArguments
from train.policy import check_tokens

FILE_NAME = "examples.jsonl"
"""Where a run directory says what is trained on, one example a line."""
NO_LOSS = -100
"""The label of a token that is only read."""

_SCHEMA = pa.schema(
    {
        "task_id": pa.string(),
        "index": pa.int64(),
        "policy_version": pa.int64(),
        "input_ids": TOKEN_IDS,
        "labels": TOKEN_IDS,
    }
)
_PIECE = 1024


@dataclass(frozen=True)
class Example:
    """A prompt, and the completion that is learnt; `index` and `policy_version` are those of a sampled one."""

    task_id: str
    prompt_ids: list[int]
    completion_ids: list[int]
    index: int | None = None
    policy_version: int | None = None


@dataclass(frozen=True)
class ExampleSet:
    """All examples of a run, mapped from a file, in an order that depends on nothing but what they are."""

    rows: Dataset
    newest_version: int
    """Of the policies that wrote them, or something beside them; 0 where none did."""
    summary: str
    """How many there are and what was left out, for people."""


def rollout_examples(args: SftArguments, training_args: Any, tokenizer: Any, folder: Path) -> ExampleSet:
    """The passed programs of the rollouts. Every process reads them; its files go to `folder`.

    A completion has an end token where its policy wrote one, so one that was cut off at the length limit has none.

    Raises:
        DataError: the rollouts can't be read, are another model's, or nothing in them passed.
    """
    options = PassedOptions(
        max_per_problem=args.max_per_problem,
        max_tokens=training_args.max_length,
        newest_policy_only=args.newest_policy_only,
        seed=training_args.seed,
    )
    rollouts = read_rollouts(map(Path, args.rollouts), logprobs=False)
    passed = collect_passed(rollouts, folder / "rollouts.arrow", options)
    check_tokens(passed.rows.select(passed.sides.row), tokenizer)
    rows = write_examples(folder / "examples.arrow", _as_examples(passed))
    return ExampleSet(rows, passed.newest_version, str(passed.summary))


def _as_examples(passed: PassedPrograms) -> Iterator[Example]:
    sides = passed.sides
    names = [sides.task_ids[problem] for problem in sides.problem]
    of_each = zip(names, passed.token_ids(), sides.index.tolist(), sides.policy_version.tolist(), strict=True)
    for task_id, (prompt_ids, completion_ids), index, version in of_each:
        yield Example(task_id, prompt_ids, completion_ids, index, version)


def write_examples(path: Path, examples: Iterable[Example]) -> Dataset:
    """Examples as TRL takes them, with the columns `input_ids` and `labels`, and ours. The loss is the completion's."""
    file = ArrowFile(path, _SCHEMA)
    stream = iter(examples)
    while piece := list(islice(stream, _PIECE)):
        named = (pa.array([getattr(one, name) for one in piece], type=_SCHEMA.field(name).type) for name in _NAMES)
        input_ids, labels = TokenLists(), TokenLists()
        for one in piece:
            input_ids.append(one.prompt_ids + one.completion_ids)
            labels.append([NO_LOSS] * len(one.prompt_ids) + one.completion_ids)
        file.append([*named, input_ids.take(), labels.take()])
    return file.finish()


_NAMES = ("task_id", "index", "policy_version")


def record_examples(path: Path, rows: Dataset, *, resumed: bool) -> None:
    """Write down what is trained on.

    Raises:
        DataError: a run that goes on would train on other examples than it began with.
    """
    named = rows.select_columns(list(_NAMES)).to_list()
    lengths = pc.list_value_length(rows.data.column("input_ids")).to_pylist()
    lines = ({**name, "tokens": tokens} for name, tokens in zip(named, lengths, strict=True))
    text = "".join(
        json.dumps({key: value for key, value in line.items() if value is not None}) + "\n" for line in lines
    )
    if resumed and path.exists() and path.read_text(encoding="utf-8") != text:
        raise DataError(
            f"the examples are not those that this run began with ({path}): its rollouts or problems were changed "
            "since; restore them, or choose another --output_dir"
        )
    write_atomically(path, text)
