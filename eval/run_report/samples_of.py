"""The samples of a set one by one, from a rollout store or from what `rlcode eval` wrote."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from eval.evaluations import FAILED, GREEDY, PASSED, VERDICTS
from eval.report import SAMPLES
from eval.run_report.layout import Role, SampleSet
from eval.samples import SamplesFile
from rlcode.data.lines import first_character, read_json_lines
from rlcode.errors import DataError
from rlcode.run_directory import file_hash
from rlcode.types import ErrorType, Problem, Rollout
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
    """The source that was judged; empty where none was found or kept."""
    completion: str
    """What the model wrote; empty where all of it is in the program, or is not kept."""
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
    if not _is_of_eval(found):
        yield from map(_from_rollout, read_rollouts(found.files, logprobs=False))
        return
    (verdicts,) = found.files
    for numbered, text in zip_longest(read_json_lines(verdicts), _texts(found) or ()):
        number, row = numbered or (0, {})
        if text is not None and row.get("task_id") != text["task_id"]:
            raise DataError(
                f"{verdicts} has verdicts of other samples than lie beside it; restore them, or move one away"
            )
        yield _from_row(row, text or {}, f"{verdicts}, line {number}")


def has_texts(found: SampleSet) -> bool:
    """Whether what was judged is still to be had."""
    return not _is_of_eval(found) or _texts(found) is not None


def _is_of_eval(found: SampleSet) -> bool:
    return found.files[0].name in (VERDICTS, GREEDY)


def _texts(found: SampleSet) -> Iterator[dict[str, str]] | None:
    """What a model wrote, in the order of the verdicts: kept beside them where it was drawn, else from the samples file
    that was judged, if that is what it was. Of greedy answers nothing is kept."""
    beside, policy = found.folder / SAMPLES, found.report.get("policy", {})
    if found.role is Role.GREEDY:
        return None
    if beside.exists():
        return (row for _, row in read_json_lines(beside))
    file = Path(policy.get("samples", ""))
    if not file.is_file() or file_hash(file) != policy.get("sha256"):
        return None
    data = found.report.get("data", {})
    if first_character(file) == b"[" and (found.report.get("left_out") or data.get("exclude")):
        return None  # generations in the order of the benchmark, of which some tasks have no verdict
    return _from_samples_file(file, found)


def _from_samples_file(file: Path, found: SampleSet) -> Iterator[dict[str, str]]:
    tasks = dict.fromkeys(str(row.get("task_id")) for _, row in read_json_lines(found.files[0]))
    problems = [Problem(task_id, "", ()) for task_id in tasks]
    for sample in SamplesFile(file, problems, found.report["benchmark"], skip_others=True):
        yield {"task_id": sample.task_id, "solution" if sample.is_solution else "completion": sample.text}


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
