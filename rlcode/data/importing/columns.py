"""Rows of any data set, with a mapping that says which column is which field of a problem."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rlcode.data.importing.entry_points import find_entry_point
from rlcode.data.importing.test_values import read_tests
from rlcode.errors import ConfigError, DataError
from rlcode.types import Problem, TestKind

TEXT_FIELDS = tuple(name for name, kind in typing.get_type_hints(Problem).items() if kind is str and name != "source")
FIELDS = (*TEXT_FIELDS, "tests", "inputs", "outputs")
"""What a column can be: `inputs` and `outputs` stand for `tests` where they are columns of their own."""
_FENCE = re.compile(r"```(?:[Pp]ython3?|py)?[ \t]*\n(.*?)```", re.S)


def parse_mapping(words: Sequence[str]) -> dict[str, str]:
    """`FIELD=COLUMN` words as a mapping; a column may be a path, `extra.tests`.

    Raises:
        ConfigError: a word of another form, an unknown field, or one twice; prompt or tests are not mapped.
    """
    mapping: dict[str, str] = {}
    for word in words:
        field, is_pair, column = word.partition("=")
        if not is_pair or not column:
            raise ConfigError(f"--map takes FIELD=COLUMN, got {word!r}")
        if field not in FIELDS:
            raise ConfigError(f"--map: a problem has no field {field!r}; known: {', '.join(FIELDS)}")
        if field in mapping:
            raise ConfigError(f"--map names the field {field!r} twice")
        mapping[field] = column
    if "prompt" not in mapping or not ("tests" in mapping or {"inputs", "outputs"} <= mapping.keys()):
        raise ConfigError("--map must say which columns are `prompt` and `tests` (or `inputs` and `outputs`)")
    return mapping


def check_columns(mapping: Mapping[str, str], row: Mapping[str, Any]) -> None:
    """Refuse a mapping that names a column which the rows don't have; `row` is the first of them.

    Raises:
        DataError: that is so; with all columns.
    """
    for field, column in mapping.items():
        if column.partition(".")[0] not in row and column not in row:
            raise DataError(f"--map {field}={column}: no column {column!r}; the columns are {', '.join(row)}")


def problem_from_columns(
    row: Mapping[str, Any], mapping: Mapping[str, str], number: int, source: str, where: str, *, prompt_is_code: bool
) -> Problem:
    """One row as a problem; the `number`-th, from 0, where no column is its `task_id`.

    Raises:
        DataError: it can't be used.
    """
    values = {field: _value(row, column, where) for field, column in mapping.items()}
    texts = {field: _text(value, field, where) for field, value in values.items() if field in TEXT_FIELDS}
    prompt = values["prompt"]
    texts["prompt"] = user_message(prompt, where) if isinstance(prompt, list) else texts["prompt"]
    tests = values.get("tests")
    if tests is None:
        tests = {"inputs": values["inputs"], "outputs": values["outputs"], "fn_name": texts.get("entry_point")}
    return make_problem(tests, f"{source}/{number}", source, where, texts, prompt_is_code=prompt_is_code)


def make_problem(
    tests: Any, task_id: str, source: str, where: str, texts: Mapping[str, str], *, prompt_is_code: bool = False
) -> Problem:
    """A problem of a data set's own value of `tests` and its texts by field; finds the entry point where none is named.

    Raises:
        DataError: it can't be used.
    """
    fields: dict[str, Any] = {"task_id": task_id, **{name: text for name, text in texts.items() if text}}
    if not fields.get("prompt", "").strip():
        raise DataError(f"{where}: the prompt is empty")
    read = read_tests(tests, where)
    fields["tests"] = read.cases
    fields["entry_point"] = fields.get("entry_point") or read.entry_point
    if fields.get("reference_solution"):
        fields["reference_solution"] = _program(fields, prompt_is_code)
    if not fields["entry_point"] and any(case.kind is TestKind.ASSERTS for case in read.cases):
        setup, reference = fields.get("test_setup", ""), fields.get("reference_solution", "")
        fields["entry_point"], fields["declares"] = find_entry_point(read.cases, setup, reference, where)
    return Problem(**fields, prompt_is_code=prompt_is_code, source=source)


def user_message(messages: Iterable[Any], where: str) -> str:
    """What the user says in a chat: the prompts of verl and others. A system message is the run's to choose.

    Raises:
        DataError: there is no such chat, or it has several turns.
    """
    if not all(isinstance(one, dict) and isinstance(one.get("content"), str) for one in messages):
        raise DataError(f"{where}: the prompt is a list of something else than messages with `role` and `content`")
    said = [one["content"] for one in messages if one.get("role") == "user"]
    if len(said) != 1 or any(one.get("role") == "assistant" for one in messages):
        raise DataError(f"{where}: the prompt has {len(said)} user messages; a problem has one, and no answer in it")
    return said[0]


def _value(row: Mapping[str, Any], column: str, where: str) -> Any:
    if column in row:
        return row[column]
    value: Any = row
    for part in column.split("."):
        if not isinstance(value, Mapping) or part not in value:
            raise DataError(f"{where}: column {column!r} is not there")
        value = value[part]
    return value


def _text(value: Any, field: str, where: str) -> str:
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool) and field == "task_id":
        return str(value)
    if field == "prompt" and isinstance(value, list):
        return ""
    if isinstance(value, list) and len(value) > 0 and field == "reference_solution":  # of several solutions, the first
        value = value[0]
    if not isinstance(value, str):
        raise DataError(f"{where}: {field} must be a text, got {type(value).__name__}")
    return value.replace("\r\n", "\n")


def _program(fields: Mapping[str, Any], prompt_is_code: bool) -> str:
    """The reference solution as a program: without a fence around it, and with the prompt before what continues it."""
    text = str(fields["reference_solution"])
    fenced = _FENCE.search(text)
    code = fenced.group(1) if fenced else text
    name = fields["entry_point"]
    continues = prompt_is_code and name and not re.search(rf"\bdef\s+{re.escape(name)}\b", code)
    return f"{fields['prompt']}{code}" if continues else code
