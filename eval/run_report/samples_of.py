"""The samples of a set one by one, from a rollout store or from what `rlcode eval` wrote."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from eval.evaluations import FAILED, PASSED, VERDICTS
from eval.report import SAMPLES
from eval.run_report.layout import SampleSet
from rlcode.data.lines import read_json_lines
from rlcode.errors import DataError
from rlcode.types import ErrorType, Rollout
from sampling.store import read_rollouts

UNSCORED = "unscored"
OUTCOMES = (PASSED, *map(str, ErrorType), FAILED, UNSCORED)
"""How a sample can end; `failed` is one without an error and without a test that passed."""


@dataclass(frozen=True, slots=True)
class JudgedSample:
    """A sample and its verdict, as plain values; a text that is not there is empty."""

    task_id: str
    index: int
    version: int
    """Of the policy; -1 where it is not known."""
    outcome: str
    program: str
    """The source that was judged; empty where none was found, or none is kept."""
    completion: str
    """What the model wrote; empty where all of it is in the program."""
    how: str
    exception: str = ""
    signature: str = ""
    line: int = 0
    tests_passed: int = 0
    tests_total: int = 0
    test: str = ""
    detail: str = ""
    """What the verdict says, or why there is none."""
    stdout: str = ""
    time_s: float = 0.0
    memory_mb: float = 0.0
    judged_by: str = ""


def samples_of(found: SampleSet) -> Iterator[JudgedSample]:
    """All samples of a set.

    Raises:
        DataError: a line can't be read; file and line are named.
    """
    if "verdicts" in found.files[0].name:
        yield from _from_verdicts(found.files[0])
    else:
        yield from map(_from_rollout, read_rollouts(found.files, logprobs=False))


def has_texts(found: SampleSet) -> bool:
    """Whether the programs of a set are in its directory."""
    return "verdicts" not in found.files[0].name or _samples_beside(found.files[0]) is not None


def _from_rollout(rollout: Rollout) -> JudgedSample:
    completion, program, verdict = rollout.completion, rollout.program, rollout.verdict
    source = program.source or ""
    common: dict[str, Any] = {
        "task_id": completion.task_id,
        "index": completion.index,
        "version": completion.policy_version,
        "program": source,
        "completion": _unless_within(completion.text, source),
        "how": program.how,
    }
    if verdict is None:
        return JudgedSample(outcome=UNSCORED, detail=rollout.unscored_reason or "", **common)
    return JudgedSample(
        outcome=PASSED if verdict.passed else str(verdict.error_type or FAILED),
        exception=verdict.exception or "",
        signature=verdict.signature or "",
        line=verdict.line or 0,
        tests_passed=verdict.tests_passed,
        tests_total=verdict.tests_total,
        test=verdict.first_failing_test or "",
        detail=verdict.detail,
        stdout=verdict.stdout,
        time_s=verdict.time_s,
        memory_mb=verdict.memory_mb,
        judged_by=f"{verdict.backend} {verdict.image_digest}".strip(),
        **common,
    )


def _from_verdicts(verdicts: Path) -> Iterator[JudgedSample]:
    samples = _samples_beside(verdicts)
    if samples is None:
        for number, row in read_json_lines(verdicts):
            yield _from_row(row, {}, f"{verdicts}, line {number}")
        return
    texts = (row for _, row in read_json_lines(samples))
    for numbered, text in zip_longest(read_json_lines(verdicts), texts):
        if numbered is None or text is None or numbered[1].get("task_id") != text.get("task_id"):
            raise DataError(f"{samples} has other samples than {verdicts}; move it away to have a report without it")
        yield _from_row(numbered[1], text, f"{verdicts}, line {numbered[0]}")


def _samples_beside(verdicts: Path) -> Path | None:
    """The file with what was judged, row by row; of greedy answers there is none."""
    path = verdicts.with_name(SAMPLES)
    return path if verdicts.name == VERDICTS and path.exists() else None


def _from_row(row: dict[str, Any], text: dict[str, Any], where: str) -> JudgedSample:
    source = text.get("solution") or ""
    try:
        return JudgedSample(
            task_id=str(row["task_id"]),
            index=int(row["index"]),
            version=-1,
            outcome=_outcome(row),
            program=source,
            completion=_unless_within(text.get("completion") or "", source),
            how=row.get("extraction") or "",
            exception=row.get("exception") or "",
            signature=row.get("signature") or "",
            line=row.get("line") or 0,
            tests_passed=row.get("tests_passed") or 0,
            tests_total=row.get("tests_total") or 0,
            test=row.get("first_failing_test") or "",
            detail=row.get("detail") or row.get("unscored_reason") or "",
            time_s=row.get("time_s") or 0.0,
            memory_mb=row.get("memory_mb") or 0.0,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{where}: no verdict of `rlcode eval`: {error!r}") from error


def _outcome(row: dict[str, Any]) -> str:
    if row["passed"] is None:
        return UNSCORED
    outcome = PASSED if row["passed"] else row.get("error_type") or FAILED
    if outcome not in OUTCOMES:
        raise ValueError(f"error type {outcome!r}")
    return str(outcome)


def _unless_within(text: str, source: str) -> str:
    return "" if source and text.strip() in source else text
