"""Tests that the reward leaves out, to see whether the policy learns the problems or the tests that it is rewarded by.

A problem's tests are split once, by its id and a seed. The shown part is judged and rewarded as ever; a program that
passed it is judged against the rest too, and nothing but the metrics knows of that. Nothing here judges.
"""

from __future__ import annotations

import ast
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from rlcode.errors import ConfigError
from rlcode.types import Problem, TestCase, TestKind

_DEFINITIONS = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)


@dataclass(frozen=True)
class SplitProblem:
    """A problem with the tests that give the reward, and the same one with the others; None where none are held
    back."""

    shown: Problem
    held_back: Problem | None = None


def check_share(share: float) -> None:
    """Raises:
    ConfigError: `share` can't be the share of tests that are held back.
    """
    if not 0 <= share < 1:
        raise ConfigError(f"held_back_tests must be from 0 to below 1, got {share}; 0 holds nothing back")


def split_tests(problem: Problem, share: float, seed: int) -> SplitProblem:
    """Hold a share of a problem's tests back: at least one, and all but one at most.

    Which ones depends on the problem's id and on `seed` alone. Nothing is held back where `share` is 0, or where the
    tests can't be parted (`_parts`).

    Raises:
        ConfigError: `share` is not from 0 to below 1.
    """
    check_share(share)
    parts = _parts(problem)
    if share == 0 or len(parts) < 2:
        return SplitProblem(problem)
    count = min(max(1, round(share * len(parts))), len(parts) - 1)
    back = set(random.Random(f"{seed}/{problem.task_id}").sample(range(len(parts)), count))
    shown = tuple(part for place, part in enumerate(parts) if place not in back)
    held_back = tuple(part for place, part in enumerate(parts) if place in back)
    return SplitProblem(replace(problem, tests=shown), replace(problem, tests=held_back))


def split_problems(problems: Iterable[Problem], share: float, seed: int) -> list[SplitProblem]:
    """`split_tests` of each problem.

    Raises:
        ConfigError: tests are to be held back, and no problem has any that can be.
    """
    splits = [split_tests(problem, share, seed) for problem in problems]
    if share and not any(split.held_back for split in splits):
        raise ConfigError(
            "held_back_tests: no problem has two tests that stand alone (a `check` function is one); set it to 0, or "
            "use problems with several asserts, calls or stdin tests"
        )
    return splits


def _parts(problem: Problem) -> tuple[TestCase, ...]:
    """The tests in the smallest parts that stand alone; those that may need each other are not parted.

    Calls and stdin tests stand alone. A `check` function is one part. Asserts are parted where nothing but asserts on
    the program is there, and no set-up made an object that one assert could change for the next.
    """
    kinds = {test.kind for test in problem.tests}
    if kinds == {TestKind.ASSERTS}:
        return _assert_parts(problem)
    # with tests of several kinds, a part could ask the program for another thing than the whole does
    return problem.tests if len(kinds) == 1 else ()


def _assert_parts(problem: Problem) -> tuple[TestCase, ...]:
    names = {problem.entry_point, *problem.declares}
    try:
        setup = ast.parse(problem.test_setup).body
        statements = [(test, statement) for test in problem.tests for statement in ast.parse(test.code).body]
    except SyntaxError:
        return ()  # the sandbox says what is wrong with it
    only_defines = all(isinstance(statement, _DEFINITIONS) for statement in setup)
    if not only_defines or not all(_is_assert_on(names, statement) for _, statement in statements):
        return ()
    return tuple(
        replace(test, code=ast.get_source_segment(test.code, statement) or test.code) for test, statement in statements
    )


def _is_assert_on(names: set[str], statement: ast.stmt) -> bool:
    """Whether it is an assert that calls one of `names`, so that it counts as a test, and gives no variable a value."""
    nodes = list(ast.walk(statement))
    called = {node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    gives_value = any(isinstance(node, ast.NamedExpr) for node in nodes)
    return isinstance(statement, ast.Assert) and bool(called & names) and not gives_value


@dataclass(frozen=True)
class HeldBackCheck:
    """What became of a scored sample of a problem with held-back tests."""

    passed_shown: bool
    passed_held_back: bool | None
    """None where it could not be judged. False for one that failed what is shown: it is not asked any further."""
    unscored_reason: str | None = None


def held_back_metrics(checks: Sequence[HeldBackCheck]) -> dict[str, float]:
    """The shares of the samples, by the names under which they are logged; empty where none could be checked to the
    end.

    Only those that passed what is shown are judged again, so of those alone some are lost: the share that passes all is
    that of the shown tests times that of the held-back ones among the judged.
    """
    asked = [check for check in checks if check.passed_shown]
    judged = [check.passed_held_back for check in asked if check.passed_held_back is not None]
    if not checks or (asked and not judged):
        return {}
    shown = len(asked) / len(checks)
    both = shown * fmean(judged) if judged else 0.0
    return {"held_back/pass_rate_shown": shown, "held_back/pass_rate_all": both, "held_back/gap": shown - both}
