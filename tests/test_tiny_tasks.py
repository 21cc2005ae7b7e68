"""The tiny world's problems are sound: right programs pass, wrong ones fail, and the splits keep apart."""

from __future__ import annotations

import re
from collections import Counter
from random import Random

import pytest

from rlcode.tiny.corpus import make_corpus
from rlcode.tiny.operations import FAMILIES, Operation
from rlcode.tiny.tasks import (
    FULL_WORLD,
    SMALL_WORLD,
    Step,
    Task,
    World,
    draw_tasks,
    make_problems,
    split_of,
    to_problem,
)
from rlcode.types import Problem, from_json, to_json

SPLITS = ("train", "validation", "held_out")
# Forms that never return: exec can't judge them here.
ENDLESS = re.compile(r"while (?!n > 1:\n    n //= 2)")


def passes(problem: Problem, program: str) -> bool:
    """Run a program of our own making (trusted) against the problem's tests, in this process."""
    try:
        namespace: dict[str, object] = {}
        exec(program, namespace)
        for test in problem.tests:
            exec(test.code, namespace)
    except Exception:  # noqa: BLE001 - whatever a wrong program raises
        return False
    return True


def all_operations() -> list[tuple[str, Operation]]:
    return [(name, op) for name, family in FAMILIES.items() for op in (*family.steps, *family.endings)]


def tasks_around(family_name: str, operation: Operation) -> list[Task]:
    """The shortest tasks that hold the operation, one for each constant."""
    family = FAMILIES[family_name]
    plain_ending = family.endings[0]
    tasks = []
    for constant in range(2, 10):
        step = Step(operation, constant)
        steps = (step,) if operation in family.endings else (step, Step(plain_ending, constant))
        tasks.append(Task(family, steps))
    return tasks


def body_with(task: Task, operation: Operation, form: str) -> str:
    return task.body(lambda other: form if other is operation else other.right[0])


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("world", [FULL_WORLD, SMALL_WORLD], ids=["full", "small"])
def test_every_reference_solution_passes(split, world):
    for problem in make_problems(split, 60, 3, world):
        assert passes(problem, problem.reference_solution), problem.reference_solution


@pytest.mark.parametrize(("family", "operation"), all_operations(), ids=lambda value: getattr(value, "name", value))
def test_every_right_form_passes_and_every_buggy_form_fails_somewhere(family, operation):
    tasks = tasks_around(family, operation)
    for task in tasks:
        problem = to_problem(task)
        for form in operation.right:
            assert passes(problem, task.prompt + body_with(task, operation, form)), form
    for form in operation.buggy:
        if not ENDLESS.search(form):
            assert not all(passes(to_problem(t), t.prompt + body_with(t, operation, form)) for t in tasks), form


def test_an_operation_does_not_change_what_it_is_given():
    for family, operation in all_operations():
        for value in FAMILIES[family].draw_inputs(Random(0)):
            before = repr(value)
            if operation in FAMILIES[family].steps:
                operation.meaning(value, 3)
            assert repr(value) == before


def test_the_splits_share_no_sequence_of_operations():
    sequences = {split: {_sequence(p) for p in make_problems(split, 300, 1)} for split in SPLITS}
    assert not sequences["train"] & sequences["validation"]
    assert not sequences["train"] & sequences["held_out"]
    assert not sequences["validation"] & sequences["held_out"]


def _sequence(problem: Problem) -> str:
    return re.sub(r"_\d", "", problem.task_id)


def test_the_splits_have_their_shares():
    everything = Counter(
        split_of(Task(family, (Step(first, 2), Step(second, 2), Step(ending, 2))))
        for family in FAMILIES.values()
        for first in family.steps
        for second in family.steps
        for ending in family.endings
    )
    total = sum(everything.values())
    assert everything["train"] / total == pytest.approx(0.72, abs=0.02)
    assert everything["validation"] / total == pytest.approx(0.08, abs=0.02)
    assert everything["held_out"] / total == pytest.approx(0.20, abs=0.02)


def test_the_corpus_holds_training_tasks_only():
    held_out = {p.prompt for split in ("validation", "held_out") for p in make_problems(split, 300, 0)}
    assert not held_out & {prompt for prompt, _ in make_corpus(3000, 0, 1.0)}


def test_problems_and_corpus_depend_on_the_seed_alone():
    assert make_problems("train", 40, 5) == make_problems("train", 40, 5)
    assert make_problems("train", 40, 5) != make_problems("train", 40, 6)
    assert list(make_corpus(40, 5, 0.8)) == list(make_corpus(40, 5, 0.8))
    assert list(make_corpus(40, 5, 0.8)) != list(make_corpus(40, 6, 0.8))


def test_problems_differ_in_prompt_and_name():
    problems = make_problems("held_out", 200, 0)
    assert len({p.prompt for p in problems}) == len({p.task_id for p in problems}) == 200


def test_a_problem_has_four_to_eight_tests_with_empty_and_negative_inputs():
    for problem in make_problems("validation", 100, 0):
        codes = [test.code for test in problem.tests]
        assert 4 <= len(codes) <= 8
        assert any(code.startswith(("assert solve([])", "assert solve('')", "assert solve(0)")) for code in codes)
        if "(s)" not in problem.prompt:
            assert any("-" in code.split(" == ")[0] for code in codes)


def test_a_problem_survives_json():
    problem = make_problems("train", 1, 0)[0]
    assert from_json(Problem, to_json(problem)) == problem


def test_without_bugs_the_corpus_is_right():
    by_prompt = {task.prompt: task for task, _ in zip(draw_tasks("train", "corpus/2"), range(100), strict=False)}
    for prompt, body in make_corpus(100, 2, 0.0):
        assert passes(to_problem(by_prompt[prompt]), prompt + body)


def test_bugs_come_as_often_as_they_should():
    def share_right(bug_scale: float) -> float:
        problems = [
            to_problem(task) for task, _ in zip(draw_tasks("train", "corpus/4", SMALL_WORLD), range(300), strict=False)
        ]
        examples = zip(problems, make_corpus(300, 4, bug_scale, SMALL_WORLD), strict=True)
        judged = [not ENDLESS.search(body) and passes(problem, prompt + body) for problem, (prompt, body) in examples]
        return sum(judged) / len(judged)

    assert 0.3 < share_right(1.0) < share_right(0.5) < share_right(0.0) == 1.0


def test_a_world_that_is_too_small_says_so():
    with pytest.raises(ValueError, match="ask for fewer"):
        make_problems("validation", 200, 0, World(families=("integer",), max_steps=1))
