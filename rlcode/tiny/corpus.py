"""What the tiny model learns to write from: programs for training tasks, right and wrong.

A freshly made base model should fail the way real ones do, now and then and in many ways. So the mistakes are put
into its training data, each operation going wrong by its own chance.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from random import Random

from rlcode.tiny.operations import Operation
from rlcode.tiny.tasks import FULL_WORLD, World, draw_tasks


def make_corpus(count: int, seed: int, bug_scale: float, world: World = FULL_WORLD) -> Iterator[tuple[str, str]]:
    """`count` examples, each a prompt and the body that continues it; tasks of the training split only.

    `bug_scale` multiplies every operation's chance of a bug; 0 gives right programs alone. The same arguments give
    the same examples.
    """
    rng = Random(f"forms/{seed}")
    for task in islice(draw_tasks("train", f"corpus/{seed}", world), count):
        yield task.prompt, task.body(lambda operation: _draw_form(operation, rng, bug_scale))


def _draw_form(operation: Operation, rng: Random, bug_scale: float) -> str:
    if rng.random() < operation.bug_chance * bug_scale:
        return rng.choices(list(operation.buggy), list(operation.buggy.values()))[0]
    return rng.choice(operation.right)
