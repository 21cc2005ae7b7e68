"""The sandbox judges the reference solutions of real benchmarks right."""

from __future__ import annotations

from pathlib import Path

from rlcode.data.registry import load_problems
from rlcode.types import Limits, Program, Verdict
from sandbox.protocol import Job, Sandbox

KNOWN_FAILURES: dict[str, str] = {}
"""MBPP tasks whose reference solution does not pass, with the reason; five at most."""


def test_mbpp_reference_solutions_pass(lone: Sandbox, shared_data: Path) -> None:
    problems = load_problems("mbpp", shared_data / "mbpp.jsonl.gz")
    # One solution takes most of the default five seconds by itself.
    jobs = (Job(problem, Program(problem.reference_solution, "test"), Limits(time_s=20.0)) for problem in problems)
    failed = {
        problem.task_id: result.detail if isinstance(result, Verdict) else str(result)
        for problem, result in zip(problems, lone.judge(jobs), strict=True)
        if not (isinstance(result, Verdict) and result.passed)
    }
    assert len(problems) == 974
    assert failed.keys() == KNOWN_FAILURES.keys(), failed
