"""Programs that solve nothing. Tests that one of them passes teach a policy to write it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rlcode.types import Problem, Program, TestCase, TestKind

CONSTANTS = ("True", "False", "0", "1", "''", "[]")
_STUB = "class {name}:\n    def __init__(self, *args, **kwargs):\n        pass\n"
_FUNCTION = "def {name}(*args, **kwargs):\n    {body}\n"
_EQUAL = """\
class Equal:
    def __eq__(self, other):
        return True
    __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __contains__ = __eq__
    def __bool__(self):
        return True
    def __hash__(self):
        return 0
    def __len__(self):
        return 1
    def __iter__(self):
        return iter([self])
    def __getattr__(self, name):
        return self
    def __call__(self, *args, **kwargs):
        return self
    def __getitem__(self, key):
        return self
"""


@dataclass(frozen=True)
class Trivial:
    """A program that solves nothing, and what it is called. `is_constant`: it gives one answer to everything, which a
    problem with few tests may take for right."""

    name: str
    program: Program
    is_constant: bool = False


def trivial_programs(problem: Problem) -> Iterator[Trivial]:
    """The empty program; where functions are called also one that does nothing, one whose answer is an object that is
    equal to everything, and ones that always answer alike."""
    yield Trivial("the empty program", Program("", "validation"))
    if not problem.entry_point:
        return
    yield Trivial("a function without a body", _function(problem, "pass"))
    if not problem.forgeable:  # which says already that such an object passes
        yield Trivial("an object that is equal to everything", _function(problem, "return Equal()", _EQUAL))
    for value in CONSTANTS:
        yield Trivial(f"always {value}", _function(problem, f"return {value}"), is_constant=True)


def same_answer(problem: Problem) -> str:
    """The one answer that all tests of a problem expect, where it has several and each says what it expects."""
    answers = {_expected(test) for test in problem.tests}
    if len(problem.tests) < 2 or len(answers) > 1 or problem.checker:
        return ""
    return answers.pop()


def _expected(test: TestCase) -> str:
    return {TestKind.STDIO: test.expected_stdout.strip(), TestKind.CALL: test.expected.strip()}.get(test.kind, "")


def _function(problem: Problem, body: str, before: str = "") -> Program:
    stubs = "".join(_STUB.format(name=name) for name in problem.declares)
    return Program(before + stubs + _FUNCTION.format(name=problem.entry_point, body=body), "validation")
