"""Short ways to say what is to be judged."""

from __future__ import annotations

from rlcode.types import Limits, Problem, Program, TestCase, TestKind, Verdict
from sandbox.protocol import Job, Sandbox

SHORT = Limits(time_s=1.0, memory_mb=256, output_kb=64)


def asserts(*tests: str, entry_point: str = "f", declares: tuple[str, ...] = (), setup: str = "") -> Problem:
    """A problem whose tests are asserts."""
    cases = tuple(TestCase(TestKind.ASSERTS, code=test) for test in tests)
    return Problem("asserts", "", cases, entry_point=entry_point, declares=declares, test_setup=setup)


def check(body: str, setup: str = "") -> Problem:
    """A problem with a `check(candidate)` that has this body."""
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    return Problem(
        "check", "", (TestCase(TestKind.CHECK, code=f"def check(candidate):\n{lines}"),), "f", test_setup=setup
    )


def stdio(*cases: tuple[str, str]) -> Problem:
    """A problem with pairs of stdin and expected stdout."""
    return Problem("stdio", "", tuple(TestCase(TestKind.STDIO, stdin=i, expected_stdout=o) for i, o in cases))


def judge(sandbox: Sandbox, problem: Problem, *sources: str, limits: Limits = SHORT) -> list[Verdict]:
    """The verdicts on the programs, none of which may be without one."""
    found = list(sandbox.judge(Job(problem, Program(source, "test"), limits) for source in sources))
    verdicts = [result for result in found if isinstance(result, Verdict)]
    assert len(verdicts) == len(sources), found
    return verdicts
