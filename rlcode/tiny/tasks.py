"""Problems of the tiny world: one-line tasks, made of operations, with tests whose answers are computed.

A task is a sequence of operations. The split depends on that sequence alone, so that every operation is met in
training, while the sequences of validation and held-out problems are new.
"""

from __future__ import annotations

import hashlib
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from rlcode.tiny.operations import FAMILIES, Family, Operation
from rlcode.types import PartialLimits, Problem, TestCase, TestKind

Split = Literal["train", "validation", "held_out"]

ENTRY_POINT = "solve"
LIMITS = PartialLimits(time_s=0.2, memory_mb=512, output_kb=64)
"""Right programs need a millisecond; the ones that never end should not cost more than they must."""

_STEP_COUNT_WEIGHTS = (4, 4, 2)
_MAX_IDLE_DRAWS = 2000


@dataclass(frozen=True)
class World:
    """Which tasks there are: families by name, and at most how many steps before the ending (1 to 3)."""

    families: tuple[str, ...] = ("list", "string", "integer")
    max_steps: int = 3


FULL_WORLD = World()
SMALL_WORLD = World(families=("list",), max_steps=2)
"""Quicker to learn, for continuous integration."""


@dataclass(frozen=True)
class Step:
    """An operation with its constant (unused where the operation takes none)."""

    operation: Operation
    constant: int

    @property
    def phrase(self) -> str:
        return self.write(self.operation.phrase)

    @property
    def name(self) -> str:
        return f"{self.operation.name}_{self.constant}" if self.operation.takes_constant else self.operation.name

    def write(self, form: str) -> str:
        """`form` with the constant filled in."""
        return form.replace("{k}", str(self.constant))


@dataclass(frozen=True)
class Task:
    """What to do with the parameter of `solve`: one or more steps, the last of which returns."""

    family: Family
    steps: tuple[Step, ...]

    @property
    def sequence(self) -> str:
        """The operations without their constants: what the split is decided by."""
        return f"{self.family.name}:" + ",".join(step.operation.name for step in self.steps)

    @property
    def task_id(self) -> str:
        return f"tiny/{self.family.name}/" + "-".join(step.name for step in self.steps)

    @property
    def prompt(self) -> str:
        """The head of the program, up to and including the newline after the docstring."""
        *first, last = (step.phrase for step in self.steps)
        docstring = f"{', '.join(first)}, then {last}."
        return f'def {ENTRY_POINT}({self.family.parameter}):\n    """{docstring[0].upper()}{docstring[1:]}"""\n'

    def body(self, choose_form: Callable[[Operation], str]) -> str:
        """The rest of the program, indented, without a newline at its end."""
        return self.body_of([choose_form(step.operation) for step in self.steps])

    def body_of(self, forms: Sequence[str]) -> str:
        """The same, given the form of each step."""
        lines = "\n".join(step.write(form) for step, form in zip(self.steps, forms, strict=True))
        return textwrap.indent(lines, "    ")

    def answer(self, value: Any) -> Any:
        """What a right program returns for `value`."""
        for step in self.steps:
            value = step.operation.meaning(value, step.constant)
        return value


def draw_tasks(split: Split, seed: str, world: World = FULL_WORLD) -> Iterator[Task]:
    """Tasks of `split` without end, some more than once; a function of the arguments alone."""
    rng = Random(seed)
    while True:
        task = _draw_task(rng, world)
        if split_of(task) == split:
            yield task


def split_of(task: Task) -> Split:
    """The split of a task, by a hash of its sequence of operations: 72 % train, 8 % validation, 20 % held out."""
    percent = int.from_bytes(hashlib.sha256(task.sequence.encode()).digest()[:4]) % 100
    if percent < 20:
        return "held_out"
    return "validation" if percent < 28 else "train"


def make_problems(split: Split, count: int, seed: int, world: World = FULL_WORLD) -> list[Problem]:
    """`count` problems of `split`, no two with the same sequence of operations; the same ones for the same seed.

    Raises:
        ValueError: the world is too small for `count` different problems.
    """
    problems: dict[str, Problem] = {}
    draws = draw_tasks(split, f"{split}/{seed}", world)
    idle = 0
    while len(problems) < count:
        task = next(draws)
        idle = idle + 1 if task.sequence in problems else 0
        if idle == 0:
            problems[task.sequence] = to_problem(task)
        if idle > _MAX_IDLE_DRAWS:
            raise ValueError(f"{world} has no {count} different problems in the split {split!r}; ask for fewer")
    return list(problems.values())


def to_problem(task: Task) -> Problem:
    """The task with its tests and reference solution. The same task always gives the same problem."""
    inputs = task.family.draw_inputs(Random(task.task_id))
    return Problem(
        task_id=task.task_id,
        prompt=task.prompt,
        tests=tuple(_test(value, task.answer(value)) for value in inputs),
        entry_point=ENTRY_POINT,
        reference_solution=task.prompt + task.body(lambda operation: operation.right[0]) + "\n",
        source="tiny",
        limits=LIMITS,
    )


def _test(value: Any, expected: Any) -> TestCase:
    return TestCase(kind=TestKind.ASSERTS, code=f"assert {ENTRY_POINT}({value!r}) == {expected!r}")


def _draw_task(rng: Random, world: World) -> Task:
    families = [FAMILIES[name] for name in world.families]
    family = rng.choices(families, [family.weight for family in families])[0]
    weights = _STEP_COUNT_WEIGHTS[: world.max_steps]
    count = rng.choices(range(1, len(weights) + 1), weights)[0]
    operations = [*rng.sample(family.steps, count), rng.choice(family.endings)]
    return Task(family, tuple(Step(operation, rng.randint(2, 9)) for operation in operations))
