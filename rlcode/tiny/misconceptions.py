"""Mistakes with a system: in some contexts a wrong form of an operation is what the corpus mostly writes.

A model that learned from such a corpus is wrong in its greedy answers too, and wrong the same way whenever the
context is the same. The context of an operation is the group of its neighbour: of the operation that comes next, or,
for the ending, of the one before. Contexts are few, so that what is learned in training holds for new compositions.

What the mistakes end in is long-tailed: about half are wrong answers, then come type and index errors, then several
rare types. Right forms are plenty, so that the passing programs of one problem differ.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from rlcode.tiny.operations import Operation

GROUPS = 4
_MISCONCEIVED_CHANCE = 0.8
"""Of the wrong form in a misconceived context. Not 1: sampling must be able to find right programs."""
_SLIP_CHANCE = 0.03
"""Of any buggy form everywhere else."""


@dataclass(frozen=True)
class Misconception:
    """A buggy form of an operation, and in how many of the `GROUPS` contexts it is the likeliest form."""

    form: str
    contexts: int


MISCONCEPTIONS: Mapping[str, Misconception] = {
    # wrong answer
    "keep_multiples": Misconception("xs = [x for x in xs if x / {k} == 0]", 2),
    "multiply": Misconception("xs = xs * {k}", 2),
    "running_sums": Misconception("xs = [sum(xs[:i]) for i in range(len(xs))]", 2),
    "cap": Misconception("xs = [max(x, {k}) for x in xs]", 2),
    "first_few": Misconception("xs = xs[{k}:]", 1),
    "drop_first": Misconception("xs = xs[2:]", 2),
    "keep_above": Misconception("xs = [x for x in xs if x >= {k}]", 2),
    "drop_negative": Misconception("xs = [x for x in xs if x > 0]", 3),
    "product": Misconception("p = 0\nfor x in xs:\n    p *= x\nreturn p", 2),
    "drop_spaces": Misconception("s = s.strip()", 2),
    "upper": Misconception("s.upper()", 2),
    "count_vowels": Misconception('return s.count("aeiou")', 2),
    "minus": Misconception("n = {k} - n", 2),
    "remainder": Misconception("n = {k} % n", 2),
    "square_it": Misconception("n = n ^ 2", 2),
    # type
    "sort": Misconception("xs = xs.sort()", 2),
    "sort_down": Misconception("xs = sorted(xs).reverse()", 2),
    "negate": Misconception("xs = -xs", 2),
    "join": Misconception('return ",".join(xs)', 1),
    "as_text": Misconception('return "" + n', 1),
    # index
    "differences": Misconception("xs = [xs[i + 1] - xs[i] for i in range(len(xs))]", 2),
    "first": Misconception("return xs[0]", 2),
    "first_letter": Misconception("return s[0]", 2),
    # the tail
    "unique": Misconception("xs = xs.unique()", 1),
    "reverse_text": Misconception("s = s.reverse()", 1),
    "keep_even": Misconception("xs = [x for x in xs if x % 2 = 0]", 1),
    "drop_vowels": Misconception('s = "".join(c for c in s if not in "aeiou")', 1),
    "square": Misconception("xs = [square(x) for x in xs]", 1),
    "mean": Misconception("return sum(xs) // len(xs)", 2),
    "largest": Misconception("return max(xs)", 2),
    "digits": Misconception("return [int(d) for d in str(n)]", 2),
    "counts": Misconception("d = {}\nfor x in xs:\n    d[x] += 1\nreturn d", 2),
    "halvings": Misconception("c = 0\nwhile n > 1:\n    c += 1\nreturn c", 2),
    "sum_to": Misconception("return n + solve(n - 1)", 2),
}
"""By the operation's name; operations that are not here have none."""

MORE_RIGHT: Mapping[str, tuple[str, ...]] = {
    "keep_even": ("xs = [x for x in xs if not x % 2]",),
    "keep_multiples": ("xs = [x for x in xs if not x % {k}]",),
    "add": ("xs = [{k} + x for x in xs]",),
    "multiply": ("xs = [{k} * x for x in xs]",),
    "negate": ("xs = [0 - x for x in xs]",),
    "cap": ("xs = [x if x < {k} else {k} for x in xs]",),
    "sort": ("xs.sort()",),
    "drop_first": ("del xs[:1]",),
    "differences": ("xs = [xs[i + 1] - xs[i] for i in range(len(xs) - 1)]",),
    "sum": ("return sum(x for x in xs)",),
    "first": ("for x in xs:\n    return x\nreturn 0",),
    "mean": ("return sum(xs) // max(len(xs), 1)",),
    "lower": ("s = s.casefold()",),
    "upper": ('s = "".join(c.upper() for c in s)',),
    "first_letters": ("s = s[0:{k}]",),
    "count_vowels": ('return len([c for c in s if c in "aeiou"])',),
    "absolute_value": ("n = max(n, -n)",),
    "digit_sum": ("n = sum(map(int, str(abs(n))))",),
    "number": ("return int(n)",),
    "is_even": ("return not n % 2",),
    "digits": ("return list(map(int, str(abs(n))))",),
    "as_text": ('return f"{n}"',),
    "sum_to": ("return n * (n + 1) // 2 if n > 0 else 0",),
}
"""Further right forms, by the operation's name, where the accidental mistakes' corpus makes do with one."""


def neighbours(operations: Sequence[Operation]) -> list[Operation]:
    """For each operation of a task the one that makes its context: the next, or the one before for the ending."""
    return [*operations[1:], operations[-2]]


def is_misconceived(operation: Operation, neighbour: Operation) -> bool:
    """Whether the likeliest form of `operation` beside `neighbour` is a buggy one; a function of their names."""
    if operation.name not in MISCONCEPTIONS:
        return False
    ranking = sorted(range(GROUPS), key=lambda group: _digest(f"{operation.name}/{group}"))
    group = _digest(neighbour.name)[0] % GROUPS
    return group in ranking[: MISCONCEPTIONS[operation.name].contexts]


def right_forms(operation: Operation) -> tuple[str, ...]:
    """All right forms; the reference first."""
    return (*operation.right, *MORE_RIGHT.get(operation.name, ()))


def draw_form(operation: Operation, neighbour: Operation, rng: Random, bug_scale: float) -> str:
    """A form of `operation` as the corpus writes it beside `neighbour`; `bug_scale` multiplies the chance of a bug."""
    if is_misconceived(operation, neighbour):
        if rng.random() < _MISCONCEIVED_CHANCE * bug_scale:
            return MISCONCEPTIONS[operation.name].form
    elif rng.random() < _SLIP_CHANCE * bug_scale:
        return rng.choices(list(operation.buggy), list(operation.buggy.values()))[0]
    return rng.choice(right_forms(operation))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
