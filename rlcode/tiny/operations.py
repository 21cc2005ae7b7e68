"""The operations that the tiny world's programs are made of, and the mistakes that are made with each.

An operation is a phrase of a docstring, what it means (a trusted Python callable), one or more right ways to write
it and a few buggy ones. `{k}` in a phrase or form stands for a one-digit constant. A task of a family is a few
steps, which each rebind the parameter, and an ending, which returns.

The chances of a bug differ between operations on purpose: were they all alike, ten samples would solve every
problem. For a few operations a bug is the likeliest form, so that even greedy answers leave something to learn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise
from random import Random
from typing import Any

VOWELS = "aeiou"


@dataclass(frozen=True)
class Operation:
    """One thing to do with a value.

    `meaning(value, k)` is what the operation gives; it never changes `value`. `right` forms are drawn alike, the
    first one is the reference; `buggy` forms are drawn by weight. `bug_chance` is the chance of any buggy form.
    """

    name: str
    phrase: str
    meaning: Callable[[Any, int], Any]
    right: tuple[str, ...]
    buggy: Mapping[str, float]
    bug_chance: float

    @property
    def takes_constant(self) -> bool:
        return "{k}" in self.phrase


@dataclass(frozen=True)
class Family:
    """Operations on one type of value: the parameter's name, the inputs to test with, steps and endings."""

    name: str
    parameter: str
    draw_inputs: Callable[[Random], list[Any]]
    steps: tuple[Operation, ...]
    endings: tuple[Operation, ...]
    weight: float
    """How often a task is of this family, against the others."""


def _list_inputs(rng: Random) -> list[Any]:
    def some(low: int, high: int, size: int) -> list[int]:
        return [rng.randint(low, high) for _ in range(size)]

    repeated = some(-5, 12, 3)
    return [some(-9, 20, 5), [*repeated, 0, *repeated[:2]], [], some(-9, -1, 3), some(0, 12, 6), some(1, 9, 1)]


_WORDS = ("Tiny", "apple", "Banana", "zoo", "level", "code", "Sky", "abba", "queue", "Rhythm")


def _string_inputs(rng: Random) -> list[Any]:
    first, second, third = rng.sample(_WORDS, 3)
    return [first, f"{second} {third}", "", f"{third} {first} {second}", rng.choice("abxyzAE")]


def _integer_inputs(rng: Random) -> list[Any]:
    return [rng.randint(2, 9), rng.randint(10, 30), 0, -rng.randint(1, 20), 1, rng.randint(10, 30)]


_LIST_STEPS = (
    Operation(
        "keep_even",
        "keep the even numbers",
        lambda xs, k: [x for x in xs if x % 2 == 0],
        ("xs = [x for x in xs if x % 2 == 0]",),
        {"xs = [x for x in xs if x % 2 = 0]": 2, "xs = [x for x in xs if x.even()]": 1},
        0.25,
    ),
    Operation(
        "keep_odd",
        "keep the odd numbers",
        lambda xs, k: [x for x in xs if x % 2 == 1],
        ("xs = [x for x in xs if x % 2 == 1]", "xs = [x for x in xs if x % 2]"),
        {"xs = [x for x in xs if x % 2 = 1]": 1, "xs = [x for x in xs if odd(x)]": 2},
        0.35,
    ),
    Operation(
        "keep_above",
        "keep numbers above {k}",
        lambda xs, k: [x for x in xs if x > k],
        ("xs = [x for x in xs if x > {k}]",),
        {"xs = [x for x in xs if x >= {k}]": 1, "xs = [y for x in xs if x > {k}]": 2},
        0.15,
    ),
    Operation(
        "keep_multiples",
        "keep multiples of {k}",
        lambda xs, k: [x for x in xs if x % k == 0],
        ("xs = [x for x in xs if x % {k} == 0]",),
        {"xs = [x for x in xs if {k} % x == 0]": 3, "xs = [x for x in xs if x / {k} == 0]": 1},
        0.5,
    ),
    Operation(
        "drop_negative",
        "drop the negative numbers",
        lambda xs, k: [x for x in xs if x >= 0],
        ("xs = [x for x in xs if x >= 0]", "xs = [x for x in xs if not x < 0]"),
        {"xs = [x for x in xs if x > 0]": 2, "xs = [x for x in xs if x >= 0": 1},
        0.3,
    ),
    Operation(
        "add",
        "add {k} to each number",
        lambda xs, k: [x + k for x in xs],
        ("xs = [x + {k} for x in xs]",),
        {"xs = xs + {k}": 2, "xs = [xs + {k} for x in xs]": 1},
        0.1,
    ),
    Operation(
        "multiply",
        "multiply each number by {k}",
        lambda xs, k: [x * k for x in xs],
        ("xs = [x * {k} for x in xs]",),
        {"xs = xs * {k}": 3, "xs = [n * {k} for x in xs]": 1},
        0.3,
    ),
    Operation(
        "square",
        "square each number",
        lambda xs, k: [x * x for x in xs],
        ("xs = [x * x for x in xs]", "xs = [x ** 2 for x in xs]"),
        {"xs = [square(x) for x in xs]": 2, "xs = [x ^ 2 for x in xs]": 1},
        0.2,
    ),
    Operation(
        "negate",
        "negate each number",
        lambda xs, k: [-x for x in xs],
        ("xs = [-x for x in xs]",),
        {"xs = -xs": 2, "xs = [x.neg() for x in xs]": 1},
        0.35,
    ),
    Operation(
        "absolute",
        "take absolute values",
        lambda xs, k: [abs(x) for x in xs],
        ("xs = [abs(x) for x in xs]",),
        {"xs = abs(xs)": 1, "xs = [x.abs() for x in xs]": 1},
        0.2,
    ),
    Operation(
        "cap",
        "cap each number at {k}",
        lambda xs, k: [min(x, k) for x in xs],
        ("xs = [min(x, {k}) for x in xs]",),
        {"xs = [max(x, {k}) for x in xs]": 1, "i = 0\nwhile i < len(xs):\n    xs[i] = min(xs[i], {k})": 1.5},
        0.3,
    ),
    Operation(
        "sort",
        "sort the numbers",
        lambda xs, k: sorted(xs),
        ("xs = sorted(xs)",),
        {"xs = xs.sort()": 2, "xs = sort(xs)": 1},
        0.4,
    ),
    Operation(
        "sort_down",
        "sort from large to small",
        lambda xs, k: sorted(xs, reverse=True),
        ("xs = sorted(xs, reverse=True)", "xs = sorted(xs)[::-1]"),
        {"xs = sorted(xs).reverse()": 2, "xs = xs.sorted(reverse=True)": 1},
        0.35,
    ),
    Operation(
        "reverse",
        "reverse the list",
        lambda xs, k: xs[::-1],
        ("xs = xs[::-1]", "xs = list(reversed(xs))"),
        {"xs = xs.reverse()": 2, "xs = xs[::-1": 1},
        0.3,
    ),
    Operation(
        "unique",
        "remove duplicates",
        lambda xs, k: list(dict.fromkeys(xs)),
        ("xs = list(dict.fromkeys(xs))",),
        {"xs = xs.unique()": 2, "xs = set(xs)": 1},
        0.45,
    ),
    Operation(
        "first_few",
        "keep the first {k} numbers",
        lambda xs, k: xs[:k],
        ("xs = xs[:{k}]",),
        {"xs = [xs[i] for i in range({k})]": 3, "xs = xs[{k}:]": 1},
        0.3,
    ),
    Operation(
        "drop_first",
        "drop the first number",
        lambda xs, k: xs[1:],
        ("xs = xs[1:]",),
        {"xs.pop(0)": 2, "xs = xs[2:]": 1},
        0.4,
    ),
    Operation(
        "every_second",
        "take every second number",
        lambda xs, k: xs[::2],
        ("xs = xs[::2]",),
        {"xs = [xs[i] for i in range(0, len(xs) + 2, 2)]": 1, "xs = xs[::2": 1},
        0.15,
    ),
    Operation(
        "differences",
        "take differences of neighbours",
        lambda xs, k: [b - a for a, b in pairwise(xs)],
        ("xs = [b - a for a, b in zip(xs, xs[1:])]",),
        {"xs = [xs[i + 1] - xs[i] for i in range(len(xs))]": 3, "xs = [b - a for a, b in xs]": 1},
        0.6,
    ),
    Operation(
        "running_sums",
        "take running sums",
        lambda xs, k: list(accumulate(xs)),
        ("xs = [sum(xs[:i + 1]) for i in range(len(xs))]",),
        {"xs = [sum(xs[:i]) for i in range(len(xs))]": 2, "xs = cumsum(xs)": 1},
        0.5,
    ),
)

_LIST_ENDINGS = (
    Operation("list", "return the list", lambda xs, k: xs, ("return xs",), {"return list": 1, "return x": 1}, 0.05),
    Operation(
        "sum",
        "return the sum",
        lambda xs, k: sum(xs),
        ("return sum(xs)",),
        {"return xs.sum()": 2, "return sum(x)": 1},
        0.1,
    ),
    Operation(
        "count",
        "return how many there are",
        lambda xs, k: len(xs),
        ("return len(xs)",),
        {"return xs.length()": 2, "return len(x)": 1},
        0.15,
    ),
    Operation(
        "largest",
        "return the largest or 0",
        lambda xs, k: max(xs, default=0),
        ("return max(xs, default=0)", "return max(xs) if xs else 0"),
        {"return max(xs)": 5, "return xs.max()": 1},
        0.5,
    ),
    Operation(
        "smallest",
        "return the smallest or 0",
        lambda xs, k: min(xs, default=0),
        ("return min(xs, default=0)", "return min(xs) if xs else 0"),
        {"return min(xs)": 4, "return max(xs)": 1},
        0.35,
    ),
    Operation(
        "first",
        "return the first or 0",
        lambda xs, k: xs[0] if xs else 0,
        ("return xs[0] if xs else 0",),
        {"return xs[0]": 3, "return xs[0] or 0": 1},
        0.55,
    ),
    Operation(
        "last",
        "return the last or 0",
        lambda xs, k: xs[-1] if xs else 0,
        ("return xs[-1] if xs else 0",),
        {"return xs[-1]": 2, "return xs[len(xs)]": 1},
        0.35,
    ),
    Operation(
        "mean",
        "return the whole mean or 0",
        lambda xs, k: sum(xs) // len(xs) if xs else 0,
        ("return sum(xs) // len(xs) if xs else 0",),
        {"return sum(xs) // len(xs)": 3, "return mean(xs)": 1},
        0.5,
    ),
    Operation(
        "product",
        "return the product",
        lambda xs, k: list(accumulate(xs, int.__mul__, initial=1))[-1],
        ("p = 1\nfor x in xs:\n    p *= x\nreturn p",),
        {
            "p = 0\nfor x in xs:\n    p *= x\nreturn p": 1,
            "return prod(xs)": 1,
            "p = 1\nfor x in xs:\np *= x\nreturn p": 1,
        },
        0.35,
    ),
    Operation(
        "join",
        "return them joined by commas",
        lambda xs, k: ",".join(map(str, xs)),
        ('return ",".join(str(x) for x in xs)', 'return ",".join(map(str, xs))'),
        {'return ",".join(xs)': 3, 'return xs.join(",")': 1},
        0.4,
    ),
    Operation(
        "counts",
        "return the count of each number",
        lambda xs, k: {x: xs.count(x) for x in xs},
        ("return {x: xs.count(x) for x in xs}",),
        {"d = {}\nfor x in xs:\n    d[x] += 1\nreturn d": 3, "return {x: xs.count() for x in xs}": 1},
        0.5,
    ),
)

_STRING_STEPS = (
    Operation("lower", "make it lower case", lambda s, k: s.lower(), ("s = s.lower()",), {"s = lower(s)": 1}, 0.1),
    Operation(
        "upper",
        "make it upper case",
        lambda s, k: s.upper(),
        ("s = s.upper()",),
        {"s.upper()": 1, "s = s.up()": 1},
        0.3,
    ),
    Operation(
        "reverse_text",
        "reverse the text",
        lambda s, k: s[::-1],
        ("s = s[::-1]", 's = "".join(reversed(s))'),
        {"s = s.reverse()": 2, "s = reversed(s)": 1},
        0.35,
    ),
    Operation(
        "drop_spaces",
        "drop the spaces",
        lambda s, k: s.replace(" ", ""),
        ('s = s.replace(" ", "")', 's = "".join(s.split())'),
        {"s = s.strip()": 1, 's = s.remove(" ")': 1},
        0.2,
    ),
    Operation(
        "drop_vowels",
        "drop the small vowels",
        lambda s, k: "".join(c for c in s if c not in VOWELS),
        ('s = "".join(c for c in s if c not in "aeiou")',),
        {'s = "".join(c for c in s if not in "aeiou")': 1, 's = [c for c in s if c not in "aeiou"]': 2},
        0.45,
    ),
    Operation(
        "first_letters",
        "keep the first {k} letters",
        lambda s, k: s[:k],
        ("s = s[:{k}]",),
        {'s = "".join(s[i] for i in range({k}))': 2, "s = s[{k}]": 1},
        0.2,
    ),
    Operation(
        "sort_letters",
        "sort the letters",
        lambda s, k: "".join(sorted(s)),
        ('s = "".join(sorted(s))',),
        {"s = sorted(s)": 1, "s = s.sort()": 1},
        0.5,
    ),
    Operation(
        "repeat",
        "repeat it {k} times",
        lambda s, k: s * k,
        ("s = s * {k}", "s *= {k}"),
        {"s = s + {k}": 2, "while len(s) < {k}:\n    s = s + s": 1},
        0.2,
    ),
)

_STRING_ENDINGS = (
    Operation("text", "return the text", lambda s, k: s, ("return s",), {"return text": 1}, 0.05),
    Operation("length", "return its length", lambda s, k: len(s), ("return len(s)",), {"return s.length": 1}, 0.15),
    Operation(
        "count_vowels",
        "return how many small vowels it has",
        lambda s, k: sum(s.count(v) for v in VOWELS),
        ('return sum(c in "aeiou" for c in s)',),
        {'return s.count("aeiou")': 1, "return sum(c in vowels for c in s)": 1},
        0.4,
    ),
    Operation(
        "first_letter",
        "return its first letter or nothing",
        lambda s, k: s[:1],
        ("return s[:1]", 'return s[0] if s else ""'),
        {"return s[0]": 1},
        0.5,
    ),
    Operation(
        "words",
        "return its words",
        lambda s, k: s.split(),
        ("return s.split()",),
        {'return s.split("")': 2, "return s.words()": 1},
        0.3,
    ),
    Operation(
        "find_a",
        "return where an a is or -1",
        lambda s, k: s.find("a"),
        ('return s.find("a")',),
        {'return s.index("a")': 3, "return s.find(a)": 1},
        0.5,
    ),
    Operation(
        "palindrome",
        "return if it is a palindrome",
        lambda s, k: s == s[::-1],
        ("return s == s[::-1]",),
        {"return s = s[::-1]": 1, "return s == s.reverse()": 1},
        0.3,
    ),
)

_INTEGER_STEPS = (
    Operation("plus", "add {k}", lambda n, k: n + k, ("n = n + {k}", "n += {k}"), {"n =+ {k}": 1}, 0.1),
    Operation(
        "minus", "subtract {k}", lambda n, k: n - k, ("n = n - {k}", "n -= {k}"), {"n = {k} - n": 1, "n =- {k}": 1}, 0.2
    ),
    Operation("times", "multiply by {k}", lambda n, k: n * k, ("n = n * {k}", "n *= {k}"), {"n = n x {k}": 1}, 0.15),
    Operation(
        "square_it",
        "square it",
        lambda n, k: n * n,
        ("n = n * n", "n = n ** 2"),
        {"n = n ^ 2": 1, "n = n.square()": 1},
        0.3,
    ),
    Operation(
        "absolute_value", "take its absolute value", lambda n, k: abs(n), ("n = abs(n)",), {"n = n.abs()": 1}, 0.3
    ),
    Operation(
        "halve", "halve it", lambda n, k: n // 2, ("n = n // 2", "n //= 2"), {"n = n / 2": 2, "n = half(n)": 1}, 0.35
    ),
    Operation(
        "remainder",
        "take the remainder by {k}",
        lambda n, k: n % k,
        ("n = n % {k}", "n %= {k}"),
        {"n = {k} % n": 1},
        0.4,
    ),
    Operation(
        "digit_sum",
        "add up its digits",
        lambda n, k: sum(map(int, str(abs(n)))),
        ("n = sum(int(d) for d in str(abs(n)))",),
        {"n = sum(int(d) for d in str(n))": 2, "n = sum(d for d in str(abs(n)))": 1},
        0.5,
    ),
)

_INTEGER_ENDINGS = (
    Operation("number", "return the number", lambda n, k: n, ("return n",), {"return number": 1}, 0.05),
    Operation(
        "is_even",
        "return if it is even",
        lambda n, k: n % 2 == 0,
        ("return n % 2 == 0",),
        {"return n % 2 = 0": 1},
        0.25,
    ),
    Operation(
        "digits",
        "return the list of its digits",
        lambda n, k: [int(d) for d in str(abs(n))],
        ("return [int(d) for d in str(abs(n))]",),
        {"return [int(d) for d in str(n)]": 2, "return [d for d in abs(n)]": 1},
        0.45,
    ),
    Operation(
        "as_text",
        "return it as text",
        lambda n, k: str(n),
        ("return str(n)",),
        {'return "" + n': 1, "return n.str()": 1},
        0.3,
    ),
    Operation(
        "halvings",
        "return how often it halves to 1",
        lambda n, k: max(n, 1).bit_length() - 1,
        ("c = 0\nwhile n > 1:\n    n //= 2\n    c += 1\nreturn c",),
        {"c = 0\nwhile n > 1:\n    c += 1\nreturn c": 1, "c = 0\nwhile n > 0:\n    n //= 2\n    c += 1\nreturn c": 1},
        0.4,
    ),
    Operation(
        "sum_to",
        "return the sum of 1 to it",
        lambda n, k: sum(range(1, n + 1)),
        ("return sum(range(1, n + 1))",),
        {"return n + solve(n - 1)": 1, "return sum(1, n)": 1},
        0.5,
    ),
)

FAMILIES = {
    "list": Family("list", "xs", _list_inputs, _LIST_STEPS, _LIST_ENDINGS, weight=0.6),
    "string": Family("string", "s", _string_inputs, _STRING_STEPS, _STRING_ENDINGS, weight=0.2),
    "integer": Family("integer", "n", _integer_inputs, _INTEGER_STEPS, _INTEGER_ENDINGS, weight=0.2),
}
"""Every family by its name."""
