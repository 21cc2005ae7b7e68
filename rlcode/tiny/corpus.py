"""What the tiny model learns to write from: programs for training tasks, right and wrong.

A freshly made base model should fail the way real ones do, now and then and in many ways. So the mistakes are put
into its training data: accidental ones, each operation going wrong by its own chance, or systematic ones
(`rlcode.tiny.misconceptions`).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from random import Random
from typing import Literal

from rlcode.tiny import misconceptions
from rlcode.tiny.operations import Operation
from rlcode.tiny.tasks import FULL_WORLD, Task, World, draw_tasks

Mistakes = Literal["accidental", "systematic"]


def make_corpus(
    count: int, seed: int, bug_scale: float, world: World = FULL_WORLD, mistakes: Mistakes = "accidental"
) -> Iterator[tuple[str, str]]:
    """`count` examples, each a prompt and the body that continues it; tasks of the training split only.

    `bug_scale` multiplies every chance of a bug; 0 gives right programs alone. The same arguments give the same
    examples.
    """
    rng = Random(f"forms/{seed}")
    write = _with_accidents if mistakes == "accidental" else _with_misconceptions
    for task in islice(draw_tasks("train", f"corpus/{seed}", world), count):
        yield task.prompt, write(task, rng, bug_scale)


def _with_accidents(task: Task, rng: Random, bug_scale: float) -> str:
    return task.body(lambda operation: _draw_form(operation, rng, bug_scale))


def _with_misconceptions(task: Task, rng: Random, bug_scale: float) -> str:
    operations = [step.operation for step in task.steps]
    pairs = zip(operations, misconceptions.neighbours(operations), strict=True)
    return task.body_of([misconceptions.draw_form(*pair, rng, bug_scale) for pair in pairs])


def _draw_form(operation: Operation, rng: Random, bug_scale: float) -> str:
    if rng.random() < operation.bug_chance * bug_scale:
        return rng.choices(list(operation.buggy), list(operation.buggy.values()))[0]
    return rng.choice(operation.right)
