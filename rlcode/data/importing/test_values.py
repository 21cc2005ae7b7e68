"""What data sets hold in the place of tests, as `TestCase`s.

    "assert f(1) == 2"                                      a text of asserts, or one that defines check(candidate)
    ["assert f(1) == 2", "assert f(2) == 3"]                MBPP and many others: each counts for itself
    {"inputs": […], "outputs": […], "fn_name": "f"}         APPS, TACO, verl: stdin, or calls where a function is named
    [{"input": …, "output": …, "type": "stdin_stdout"}]     open-r1, LiveCodeBench, PRIME
    [{"kind": "call", "arguments": "[1]", "expected": "2"}] the project's own

or the JSON text of one of these.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rlcode.errors import DataError
from rlcode.types import TestCase, TestKind, from_json

_CALL_TYPES = {"function_call", "functional", "call", "fn_call"}
_STDIN_TYPES = {"stdin_stdout", "stdin", "stdio", "standard_input", ""}


@dataclass(frozen=True)
class Tests:
    """The tests, and the function that they name themselves, if any."""

    cases: tuple[TestCase, ...]
    entry_point: str = ""


def read_tests(value: Any, where: str) -> Tests:
    """The tests in a value of a data set; `where` names it in errors.

    Raises:
        DataError: it is of no known form, or empty.
    """
    value = _decoded(value)
    if isinstance(value, str) and "assert" in value:
        return Tests((_code(value),))
    if isinstance(value, dict) and "inputs" in value and "outputs" in value:
        return _pairs(value, where)
    if isinstance(value, list) and value and all(isinstance(one, str) and "assert" in one for one in value):
        return Tests(tuple(_code(one) for one in value))
    if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        return _case_dicts(value, where)
    raise DataError(f"{where}: no tests: {_described(value)}; docs/data.md lists the forms that are read")


def _decoded(value: Any) -> Any:
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "[", '"'):
        try:
            return _decoded(json.loads(value))
        except (ValueError, RecursionError):
            return value
    return value.tolist() if hasattr(value, "tolist") else value  # of pandas and parquet


def _described(value: Any) -> str:
    if isinstance(value, dict):
        return f"an object with {', '.join(map(str, value)) or 'nothing'}"
    return f"{type(value).__name__} {value!r:.60}"


def _code(text: str) -> TestCase:
    text = text.replace("\r\n", "\n")
    return TestCase(TestKind.CHECK if "def check(" in text else TestKind.ASSERTS, code=text)


def _pairs(value: dict[str, Any], where: str) -> Tests:
    """Inputs and outputs side by side."""
    inputs, outputs = _decoded(value["inputs"]), _decoded(value["outputs"])
    if not isinstance(inputs, list) or not isinstance(outputs, list) or len(inputs) != len(outputs) or not inputs:
        raise DataError(f"{where}: no tests: 'inputs' and 'outputs' must be lists of one length, and not empty")
    name = value.get("fn_name") or ""
    if not name:
        return Tests(tuple(_stdio(given, wanted, where) for given, wanted in zip(inputs, outputs, strict=True)))
    if all(isinstance(one, list) and len(one) == 1 for one in outputs):  # APPS wraps each value in a list
        outputs = [one[0] for one in outputs]
    return Tests(tuple(_call(given, wanted, where) for given, wanted in zip(inputs, outputs, strict=True)), str(name))


def _case_dicts(values: list[dict[str, Any]], where: str) -> Tests:
    if all("kind" in value for value in values):
        return Tests(tuple(_own(value, where) for value in values))
    names = {str(value["fn_name"]) for value in values if value.get("fn_name")}
    if len(names) > 1:
        raise DataError(f"{where}: the tests call several functions, {', '.join(sorted(names))}; a problem has one")
    return Tests(tuple(_cases(values, where)), *names)


def _cases(values: list[dict[str, Any]], where: str) -> Iterator[TestCase]:
    for value in values:
        if "input" not in value or "output" not in value:
            raise DataError(f"{where}: a test has {', '.join(value)}, and neither `kind` nor `input` and `output`")
        kind = str(value.get("type") or value.get("testtype") or "")
        if kind in _CALL_TYPES or value.get("fn_name"):
            yield _call(_lines(value["input"]) if kind == "functional" else value["input"], value["output"], where)
        elif kind in _STDIN_TYPES:
            yield _stdio(value["input"], value["output"], where)
        else:
            raise DataError(f"{where}: a test is of the type {kind!r}; known: stdin_stdout, function_call, functional")


def _own(value: dict[str, Any], where: str) -> TestCase:
    try:
        return from_json(TestCase, {key: part for key, part in value.items() if part is not None})
    except ValueError as error:
        raise DataError(f"{where}: {error}") from error


def _lines(text: Any) -> Any:
    """LiveCodeBench's calls: the JSON text of an argument on each line."""
    return "[" + ",".join(line for line in text.split("\n") if line.strip()) + "]" if isinstance(text, str) else text


def _stdio(given: Any, wanted: Any, where: str) -> TestCase:
    return TestCase(TestKind.STDIO, stdin=_text(given, where), expected_stdout=_text(wanted, where))


def _text(value: Any, where: str) -> str:
    """A text, or lines of it."""
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return "\n".join(value) + "\n"
    if not isinstance(value, str):
        raise DataError(f"{where}: input and output of a program must be texts, got {type(value).__name__}")
    return value


def _call(arguments: Any, expected: Any, where: str) -> TestCase:
    """Both as values, or as JSON texts of them."""
    arguments = _parsed(arguments, f"{where}: the arguments of a call")
    if not isinstance(arguments, list):
        raise DataError(f"{where}: the arguments of a call must be a list, got {type(arguments).__name__}")
    return TestCase(TestKind.CALL, arguments=json.dumps(arguments), expected=json.dumps(_expected(expected)))


def _expected(value: Any) -> Any:
    """A text that is no JSON is the value itself."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _parsed(value: Any, what: str) -> Any:
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError as error:
        raise DataError(f"{what} must be JSON: {error}; got {value!r:.60}") from error
