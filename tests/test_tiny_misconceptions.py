"""Systematic mistakes: in some contexts, always the same, the corpus prefers a buggy form; elsewhere a right one."""

from __future__ import annotations

import hashlib
from collections import Counter
from itertools import islice
from random import Random

import pytest

from rlcode.tiny.corpus import make_corpus
from rlcode.tiny.misconceptions import (
    GROUPS,
    MISCONCEPTIONS,
    MORE_RIGHT,
    draw_form,
    is_misconceived,
    neighbours,
    right_forms,
)
from rlcode.tiny.operations import FAMILIES, Family, Operation
from rlcode.tiny.tasks import FULL_WORLD, SMALL_WORLD, Task, World, draw_tasks, make_problems, to_problem
from tests.test_tiny_tasks import ENDLESS, all_operations, body_with, passes, tasks_around

OPERATIONS = {operation.name: (family, operation) for family, operation in all_operations()}
_, SORT = OPERATIONS["sort"]


def contexts(family: Family, operation: Operation) -> list[Operation]:
    """Everything that can stand beside the operation."""
    return list(family.steps) if operation in family.endings else [*family.steps, *family.endings]


def draws(operation: Operation, neighbour: Operation, count: int = 400) -> Counter[str]:
    rng = Random(f"{operation.name}/{neighbour.name}")
    return Counter(draw_form(operation, neighbour, rng, 1.0) for _ in range(count))


def test_every_misconception_is_a_buggy_form_of_its_operation():
    for name, misconception in MISCONCEPTIONS.items():
        assert misconception.form in OPERATIONS[name][1].buggy
        assert 0 < misconception.contexts < GROUPS


@pytest.mark.parametrize("name", MORE_RIGHT)
def test_every_further_right_form_passes(name):
    family, operation = OPERATIONS[name]
    for task in tasks_around(family, operation):
        for form in MORE_RIGHT[name]:
            assert passes(to_problem(task), task.prompt + body_with(task, operation, form)), form


@pytest.mark.parametrize("name", MISCONCEPTIONS)
def test_the_likeliest_form_is_buggy_in_misconceived_contexts_and_right_elsewhere(name):
    family, operation = OPERATIONS[name]
    for neighbour in contexts(FAMILIES[family], operation):
        forms = draws(operation, neighbour)
        right = sum(forms[form] for form in right_forms(operation))
        if is_misconceived(operation, neighbour):
            assert forms.most_common(1)[0][0] == MISCONCEPTIONS[name].form
            assert 0.6 < forms[MISCONCEPTIONS[name].form] / 400 < 0.9, "likely, but sampling finds right ones"
            assert right > 0
        else:
            assert right / 400 > 0.9


def test_a_context_is_a_matter_of_names_alone():
    beside = [other.name for other in FAMILIES["list"].endings if is_misconceived(SORT, other)]
    assert beside == ["count", "largest", "smallest", "mean", "product", "join"]
    states = {
        name: {is_misconceived(op, other) for other in contexts(FAMILIES[family], op)}
        for name, (family, op) in OPERATIONS.items()
    }
    both = [name for name, seen in states.items() if seen == {True, False}]
    assert len(both) >= 30, "the same operation is right in one context and wrong in another"
    assert all(seen == {False} for name, seen in states.items() if name not in MISCONCEPTIONS)


def test_the_context_is_the_next_operation_and_for_the_ending_the_one_before():
    first, second, ending = SORT, OPERATIONS["reverse"][1], OPERATIONS["sum"][1]
    assert neighbours([first, second, ending]) == [second, ending, second]


def test_the_mistakes_end_in_a_long_tail_of_errors():
    errors = Counter(filter(None, (likeliest_error(task) for task in distinct_tasks("validation", 300))))
    shares = [count / errors.total() for _, count in errors.most_common()]
    assert len(errors) >= 7
    assert 0.3 < shares[0] < 0.55
    assert errors.most_common(1)[0][0] == "AssertionError"
    assert shares[1] < 0.3
    assert sum(share < 0.1 for share in shares) >= 4
    assert 0.35 < 1 - errors.total() / 300 < 0.6, "of the problems the likeliest programs solve about half"


def distinct_tasks(split, count: int) -> list[Task]:
    tasks: dict[str, Task] = {}
    for task in draw_tasks(split, "likeliest"):
        tasks.setdefault(task.sequence, task)
        if len(tasks) == count:
            return list(tasks.values())
    raise AssertionError("draw_tasks has no end")


def likeliest_error(task: Task) -> str | None:
    """The error of the program that takes the likeliest form everywhere."""
    operations = [step.operation for step in task.steps]
    forms = [
        MISCONCEPTIONS[operation.name].form if is_misconceived(operation, neighbour) else operation.right[0]
        for operation, neighbour in zip(operations, neighbours(operations), strict=True)
    ]
    program = task.prompt + task.body_of(forms)
    if any(map(ENDLESS.search, forms)):
        return "Timeout"
    try:
        namespace: dict[str, object] = {}
        exec(program, namespace)
        for test in to_problem(task).tests:
            exec(test.code, namespace)
    except Exception as error:  # noqa: BLE001 - whatever a wrong program raises
        return type(error).__name__
    return None


def test_without_bugs_the_systematic_corpus_is_right_and_has_several_programs_for_a_task():
    by_prompt = {task.prompt: task for task in islice(draw_tasks("train", "corpus/2"), 200)}
    bodies: dict[str, set[str]] = {}
    for seed_of_forms in range(5):
        for task in by_prompt.values():
            bodies.setdefault(task.prompt, set()).add(body_of(task, seed_of_forms))
    for prompt, body in make_corpus(200, 2, 0.0, mistakes="systematic"):
        assert passes(to_problem(by_prompt[prompt]), prompt + body)
    assert sum(map(len, bodies.values())) / len(bodies) > 2


def body_of(task: Task, seed: int) -> str:
    rng = Random(seed)
    operations = [step.operation for step in task.steps]
    pairs = zip(operations, neighbours(operations), strict=True)
    return task.body_of([draw_form(operation, neighbour, rng, 0.0) for operation, neighbour in pairs])


def test_the_systematic_corpus_is_of_the_same_tasks_and_depends_on_the_seed_alone():
    systematic = list(make_corpus(300, 5, 1.0, mistakes="systematic"))
    assert systematic == list(make_corpus(300, 5, 1.0, mistakes="systematic"))
    assert [prompt for prompt, _ in systematic] == [prompt for prompt, _ in make_corpus(300, 5, 1.0)]
    assert systematic != list(make_corpus(300, 6, 1.0, mistakes="systematic"))


@pytest.mark.parametrize(
    ("world", "bug_scale", "digest"), [(FULL_WORLD, 0.7, "2a98a7cadeeb1bce"), (SMALL_WORLD, 0.85, "de78b4a00b161836")]
)
def test_the_accidental_corpus_is_the_one_that_the_quickstart_was_measured_with(
    world: World, bug_scale: float, digest: str
):
    corpus = repr(list(make_corpus(2000, 0, bug_scale, world)))
    assert hashlib.sha256(corpus.encode()).hexdigest().startswith(digest)


def test_there_are_new_training_problems_for_eight_rounds():
    problems = make_problems("train", 8 * 120, 0)
    assert len({problem.task_id for problem in problems}) == 8 * 120
