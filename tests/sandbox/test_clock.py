"""A limit counts what the program used, not what the machine or the programs before it did."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from rlcode.types import ErrorType, Limits, Problem, Program, TestCase, TestKind
from sandbox.pool import open_sandbox
from sandbox.protocol import Job

SPIN = """
import time
def spin(seconds):
    start = time.process_time()
    while time.process_time() - start < seconds:
        pass
    return seconds
"""
PROBLEM = Problem("spin", "", (TestCase(TestKind.ASSERTS, code="assert spin(0.8) == 0.8"),), "spin")


@pytest.fixture
def busy_machine() -> Iterator[None]:
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(6)]
    yield
    for loop in loops:
        loop.kill()
        loop.wait()


@pytest.mark.usefixtures("busy_machine")
@pytest.mark.parametrize("backend", ["local", "docker"])
def test_programs_within_their_limit_pass_one_after_another_on_a_busy_machine(backend: str):
    jobs = [Job(PROBLEM, Program(SPIN, "whole"), Limits(time_s=2.0)) for _ in range(5)]
    with open_sandbox(backend, workers=2) as sandbox:
        assert [verdict.error_type for verdict in sandbox.judge(jobs)] == [None] * 5


@pytest.mark.parametrize("backend", ["local", "docker"])
@pytest.mark.parametrize("body", ["while True: pass", "import time; time.sleep(60)", "import os; os.fork(); spin(60)"])
def test_a_program_over_its_limit_is_stopped_however_it_spends_the_time(backend: str, body: str):
    problem = Problem("late", "", (TestCase(TestKind.ASSERTS, code="assert late() is None"),), "late")
    program = Program(f"{SPIN}\ndef late():\n    {body}\n", "whole")
    with open_sandbox(backend, workers=1) as sandbox:
        (verdict,) = sandbox.judge([Job(problem, program, Limits(time_s=0.5))])
    assert verdict.error_type is ErrorType.TIMEOUT
