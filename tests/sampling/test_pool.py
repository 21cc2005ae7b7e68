"""What becomes a side of a pair, and what does not."""

from __future__ import annotations

import pytest

from rlcode.errors import DataError
from rlcode.types import Completion, ErrorType, Program, Rollout
from sampling.pool import ERROR_TYPES, PASSED, PairPool, build_pair_pool
from tests.sampling.judged import one_problem, rollout


def rejected_tasks(pool: PairPool) -> list[str]:
    return [pool.sides.task_ids[problem] for problem in pool.problems]


def one_of_each(task_id: str) -> list[Rollout]:
    return [rollout(task_id, 0, None), rollout(task_id, 1, ErrorType.NAME), rollout(task_id, 2, None)]


def test_chosen_passed_rejected_failed_and_both_are_of_one_problem():
    pool = build_pair_pool([*one_of_each("a"), *one_of_each("b")])
    sides = pool.sides
    for rejected in pool.rejected:
        assert ERROR_TYPES[sides.error_type[rejected]] is ErrorType.NAME
        for chosen in pool.candidates(rejected):
            assert sides.error_type[chosen] == PASSED
            assert sides.problem[chosen] == sides.problem[rejected]


def test_problems_that_always_or_never_pass_give_no_pair():
    rollouts = [rollout("easy", 0, None), rollout("hard", 0, ErrorType.NAME), *one_problem(ErrorType.TYPE)]
    pool = build_pair_pool(rollouts)
    assert rejected_tasks(pool) == ["p"]


def test_equal_programs_of_one_problem_count_once_but_not_across_problems():
    rollouts = [
        rollout(task_id, index, ErrorType.NAME if index else None, text=f"return {bool(index)}\n\n" + " " * index)
        for task_id in ("a", "b")
        for index in (0, 1, 2)
    ]
    assert rejected_tasks(build_pair_pool(rollouts)) == ["a", "b"]


def test_an_unscored_side_enters_no_pair():
    unscored = Rollout(Completion("p", 9, "return 9"), Program("return 9", "whole"), None, "the sandbox was lost")
    pool = build_pair_pool([*one_problem(ErrorType.NAME), unscored])
    assert set(pool.sides.index) == {0, 1}


def test_a_completion_that_was_cut_off_is_never_chosen():
    rollouts = [rollout("p", 0, None, finish="length"), rollout("p", 1, None), rollout("p", 2, ErrorType.NAME)]
    pool = build_pair_pool(rollouts)
    assert {int(pool.sides.index[at]) for at in pool.candidates(pool.rejected[0])} == {1}


def test_without_any_pair_the_error_says_what_to_do():
    with pytest.raises(DataError, match="num_generations"):
        build_pair_pool([rollout("p", 0, ErrorType.NAME)])


def test_an_unscored_twin_hides_no_scored_one():
    twin = Rollout(Completion("p", 9, "return 0"), Program("return 0", "whole"), None, "the sandbox was lost")
    pool = build_pair_pool([twin, *one_problem(ErrorType.NAME)])
    assert len(pool.rejected) == 1
