"""One rollout, one line of JSON: written for `datasets`, read back as it was, and looked into without being read.

No value is null: `datasets` takes the types of columns from the first rows that it sees, and a column of nulls would
have none. A text, program or error type that is not there is `""`, a line number 0. Only a rollout without a verdict
has a null in that place. A lone surrogate, which UTF-8 has no bytes for and other readers stumble over, becomes `?`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import Any

from rlcode.types import ErrorType, Rollout, Verdict, from_json

_EMPTY_IS_NONE = {
    "program": ("source",),
    "verdict": ("error_type", "exception", "signature", "line", "first_failing_test"),
}
# A quote inside a string is escaped, so what stands in these patterns between quotes is a key and never a text.
_HEAD = re.compile(rb'\{"completion":\{"task_id":("(?:[^"\\]|\\.)*"),"index":(\d+),')
_VERDICT_KEY = b',"verdict":{"error_type":'
_VERDICT = re.compile(rb'"(\w*)","tests_passed":(\d+),"tests_total":(\d+),')
_NO_VERDICT = b',"verdict":null,'
_NUMBER = rb"-?(?:0|[1-9]\d*+)(?:\.\d++)?+(?:[eE][-+]?\d++)?+"
_LOGPROBS = re.compile(rb',"logprobs":\[(?:%b(?:,%b)*+)?+\]' % (_NUMBER, _NUMBER))


@dataclass(frozen=True)
class Outcome:
    """What became of one sample: all of a line that a resumed run and a summary need."""

    task_id: str
    index: int
    is_scored: bool
    passed: bool
    error_type: ErrorType | None


def encode(rollout: Rollout) -> bytes:
    """`rollout` as a line, with its end."""
    fields = {
        "completion": vars(rollout.completion),
        "program": _without_none("program", vars(rollout.program)),
        "verdict": None if rollout.verdict is None else _verdict_fields(rollout.verdict),
        "unscored_reason": rollout.unscored_reason or "",
    }
    line = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
    return line.encode("utf-8", errors="replace") + b"\n"


def _verdict_fields(verdict: Verdict) -> dict[str, Any]:
    limits = {**vars(verdict.limits), "time_s": float(verdict.limits.time_s)}
    numbers = {"time_s": float(verdict.time_s), "memory_mb": float(verdict.memory_mb), "limits": limits}
    return {**_without_none("verdict", vars(verdict)), **numbers}


def _without_none(part: str, fields: dict[str, Any]) -> dict[str, Any]:
    absent = {name: 0 if name == "line" else "" for name in _EMPTY_IS_NONE[part] if fields[name] is None}
    return {**fields, **absent}


def decode(line: bytes, *, logprobs: bool = True) -> Rollout:
    """The rollout in a line; without `logprobs`, which are most of it, in two thirds of the time.

    Raises:
        ValueError: it holds none.
    """
    fields = json.loads(line if logprobs else _LOGPROBS.sub(b',"logprobs":[]', line, count=1))
    for part, names in _EMPTY_IS_NONE.items():
        if isinstance(fields, dict) and isinstance(fields.get(part), dict):
            fields[part] |= {name: None for name in names if fields[part].get(name) in ("", 0)}
    if isinstance(fields, dict) and fields.get("unscored_reason") == "":
        fields["unscored_reason"] = None
    rollout = from_json(Rollout, fields)
    if not logprobs and rollout.completion.logprobs:  # in another form than `encode` gives them
        return replace(rollout, completion=replace(rollout.completion, logprobs=()))
    return rollout


def outcome_of(line: bytes) -> Outcome:
    """What became of the sample in a line, by a look at two places in it.

    Raises:
        ValueError: it holds no rollout.
    """
    head = _HEAD.match(line)
    if head is None or not line.endswith(b"}\n"):
        raise ValueError("not a rollout, or not a whole one")
    task_id, index = json.loads(head[1]), int(head[2])
    found = _VERDICT.match(line, line.rfind(_VERDICT_KEY) + len(_VERDICT_KEY))
    if found is None:
        if _NO_VERDICT not in line:
            raise ValueError("no rollout: it has no verdict")
        return Outcome(task_id, index, is_scored=False, passed=False, error_type=None)
    error_type = ErrorType(found[1].decode()) if found[1] else None
    passed = error_type is None and 0 < int(found[2]) == int(found[3])
    return Outcome(task_id, index, is_scored=True, passed=passed, error_type=error_type)


def outcome_from(rollout: Rollout) -> Outcome:
    """The same of a rollout at hand."""
    completion, verdict = rollout.completion, rollout.verdict
    return Outcome(
        completion.task_id,
        completion.index,
        is_scored=verdict is not None,
        passed=verdict is not None and verdict.passed,
        error_type=verdict.error_type if verdict else None,
    )
