"""How a program that was taken from an answer ends, and what that does to its verdict: nothing is cut from it.

For tests that call, it is a module of another name: a main guard does not run, the rest of its top level does. For
stdin it is the main program. `docs/prompts.md` says why.
"""

from __future__ import annotations

import pytest

from rlcode.extraction import extract
from rlcode.few_shot import HEADS, IN_WORDS
from rlcode.few_shot import STDIN as STDIN_EXAMPLES
from rlcode.types import ErrorType, Limits, Problem, Program, TestCase, TestKind, Verdict
from sandbox.protocol import Job, Sandbox

CALLED = Problem(
    "t/called",
    "Add.",
    (TestCase(TestKind.ASSERTS, code="assert add(1, 2) == 3"),),
    entry_point="add",
    prompt_is_code=False,
)
PRINTS = Problem(
    "t/prints", "Add.", (TestCase(TestKind.STDIO, stdin="1 2\n", expected_stdout="3\n"),), prompt_is_code=False
)
ADD = "def add(a, b):\n    return a + b\n\n"
SOLVE = "def main():\n    print(sum(map(int, input().split())))\n\n"
GUARD = "if __name__ == '__main__':\n    "


def verdict_of(sandbox: Sandbox, problem: Problem, answer: str) -> Verdict:
    (verdict,) = sandbox.judge([Job(problem, extract(answer, problem), Limits(time_s=2.0))])
    assert isinstance(verdict, Verdict)
    return verdict


@pytest.mark.parametrize(
    ("ending", "error"),
    [
        ("print(add(1, 2))\n", None),
        ("assert add(1, 1) == 2\n", None),
        (GUARD + "print(add(int(input()), 1))\n", None),
        (GUARD + "import unittest\n    unittest.main()\n", None),
        (GUARD + "while True: pass\n", None),
        ("print(add(int(input()), 1))\n", ErrorType.STDIN),
        ("assert add(1, 1) == 3\n", ErrorType.OTHER_RUNTIME),
        ("while True: pass\n", ErrorType.TIMEOUT),
        ("exit()\n", ErrorType.NO_RESULT),
    ],
)
def test_a_function_is_judged_with_what_stands_behind_it(lone: Sandbox, ending: str, error: ErrorType | None) -> None:
    assert verdict_of(lone, CALLED, f"```python\n{ADD}{ending}```").error_type == error


@pytest.mark.parametrize("ending", ["main()\n", GUARD + "main()\n", GUARD + "main()\n    exit()\n"])
def test_a_program_for_stdin_runs_its_guard(lone: Sandbox, ending: str) -> None:
    assert verdict_of(lone, PRINTS, f"```python\n{SOLVE}{ending}```").passed


def test_the_examples_of_few_shot_prompts_pass_their_own_tests(lone: Sandbox) -> None:
    examples = (*IN_WORDS, *HEADS, *STDIN_EXAMPLES)
    jobs = [Job(example, Program(example.reference_solution, "solution"), Limits()) for example in examples]
    assert all(isinstance(verdict, Verdict) and verdict.passed for verdict in lone.judge(jobs))
