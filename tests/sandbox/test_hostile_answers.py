"""Answers that aim at the judge: they are wrong answers or forbidden, never a pass, a stuck judge or a stopped run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rlcode.types import ErrorType, Limits, Problem, Program, TestCase, TestKind, Verdict
from sandbox.pool import open_sandbox
from sandbox.protocol import Job, Sandbox

SPARE = """
import sys
frame = sys._getframe()
while "link" not in frame.f_locals:
    frame = frame.f_back
link = frame.f_locals["link"]
"""
COLLIDING = """
import json, os, time
body = json.dumps([0, "v", {"s": [k * (2**61 - 1) for k in range(1, 60000)]}]).encode()
os.write(3, len(body).to_bytes(4, "big") + body)
time.sleep(9)
"""


@pytest.fixture(scope="module", params=["local", "docker"])
def sandbox(request) -> Iterator[Sandbox]:
    with open_sandbox(request.param, workers=1) as sandbox:
        yield sandbox


def judge(sandbox: Sandbox, test: str, source: str) -> Verdict:
    problem = Problem("t", "", (TestCase(TestKind.ASSERTS, code=test),), "f")
    (verdict,) = sandbox.judge([Job(problem, Program(source, "whole"), Limits(time_s=2.0))])
    assert isinstance(verdict, Verdict)
    return verdict


@pytest.mark.parametrize(
    ("test", "source", "error_type"),
    [
        (
            "assert all(a == b for a, b in zip(map(f, [1, 2]), [1, 2]))",
            "def f(x): raise StopIteration",
            ErrorType.OTHER_RUNTIME,
        ),
        (
            "for a, b in zip(map(f, [1, 2, 3]), [2, 4, 6]):\n    assert a == b",
            "def f(x):\n    if x > 1: raise StopIteration\n    return 2",
            ErrorType.OTHER_RUNTIME,
        ),
        ("for x in f(3): last = x\nassert last == 2", "def f(x): return []", ErrorType.WRONG_ANSWER),
        ("assert f(f(3) * f(4)) == 1", "def f(x): return 1 << 1000000", ErrorType.WRONG_ANSWER),
        ("assert f(2) == {1}", COLLIDING, ErrorType.FORBIDDEN),
    ],
)
def test_it_does_not_pass_and_stops_nothing(sandbox: Sandbox, test: str, source: str, error_type: ErrorType):
    assert judge(sandbox, test, source).error_type is error_type
    assert judge(sandbox, "assert f(2) == 4", "def f(x): return x + x").passed


def test_an_exception_with_forged_arguments_does_not_break_the_judge(sandbox: Sandbox):
    test = "try:\n    f(1)\nexcept ValueError as error:\n    said = str(error)\nassert f(2) == 3"
    source = (
        "class E(UnicodeDecodeError):\n    def __str__(self): return 'x'\n"
        "def f(x):\n    if x == 1: raise E('utf-8', b'a', -2**40, -2**40 + 1, 'x')\n    return 3"
    )
    assert judge(sandbox, test, source).passed


def test_no_memory_is_shared_with_the_next_program(sandbox: Sandbox):
    assert judge(sandbox, "assert f(2) == 4", SPARE + "link._spare[:6] = b'SECRET'\ndef f(x): return 4").passed
    assert judge(sandbox, "assert f(2) == bytes(6)", SPARE + "seen = link._spare[:6]\ndef f(x): return seen").passed
