"""The examples of few-shot prompts. They are the project's own: none is a task of a data set."""

from __future__ import annotations

from rlcode.types import Problem, TestCase, TestKind

SOURCE = "few-shot"


def _in_words(name: str, text: str, tests: list[str], answer: str) -> Problem:
    """A task in words with asserts, in MBPP's form."""
    return Problem(
        task_id=f"{SOURCE}/words/{name}",
        prompt=f"{text}\nYour code should pass these tests:\n\n" + "\n".join(tests) + "\n",
        tests=tuple(TestCase(TestKind.ASSERTS, code=test) for test in tests),
        entry_point=name,
        prompt_is_code=False,
        reference_solution=answer,
        source=SOURCE,
    )


def _head(name: str, head: str, test: str, body: str) -> Problem:
    """The head of a function, as in HumanEval."""
    return Problem(
        task_id=f"{SOURCE}/head/{name}",
        prompt=head,
        tests=(TestCase(TestKind.ASSERTS, code=test),),
        entry_point=name,
        reference_solution=head + body,
        source=SOURCE,
    )


def _stdin(name: str, text: str, given: str, printed: str, answer: str) -> Problem:
    """A task in words for a program that reads stdin."""
    return Problem(
        task_id=f"{SOURCE}/stdin/{name}",
        prompt=text,
        tests=(TestCase(TestKind.STDIO, stdin=given, expected_stdout=printed),),
        prompt_is_code=False,
        reference_solution=answer,
        source=SOURCE,
    )


_FREE_SEATS = "    return sum(1 for seat in row if seat == 0)\n"
_CHEAPEST = "    if not prices:\n        return None\n    return min(prices, key=prices.get)\n"
_CLOCK = "    hours, rest = divmod(minutes, 60)\n    return f'{hours}h{rest:02d}'\n"

IN_WORDS = (
    _in_words(
        "free_seats",
        "Count the free seats of a row, a list in which 0 stands for a free seat.",
        ["assert free_seats([0, 1, 0]) == 2", "assert free_seats([]) == 0"],
        "def free_seats(row):\n" + _FREE_SEATS,
    ),
    _in_words(
        "cheapest",
        "Give the name of the cheapest item in a price list, and None for an empty list.",
        ["assert cheapest({'tea': 3, 'milk': 2}) == 'milk'", "assert cheapest({}) is None"],
        "def cheapest(prices):\n" + _CHEAPEST,
    ),
    _in_words(
        "clock",
        "Turn a time in minutes into a text such as '2h05'.",
        ["assert clock(125) == '2h05'", "assert clock(59) == '0h59'"],
        "def clock(minutes):\n" + _CLOCK,
    ),
)
"""For prompts in words whose tests call a function."""

STDIN = (
    _stdin(
        "parcels",
        "The first line holds the number of parcels, the second their weights. Print the total weight.",
        "2\n3 4\n",
        "7\n",
        "count = int(input())\nweights = list(map(int, input().split()))\nprint(sum(weights[:count]))\n",
    ),
    _stdin(
        "winner",
        "Each line holds a name and a score. Print the name with the highest score.",
        "ann 3\nbob 12\n",
        "bob\n",
        "import sys\n\nrows = [line.split() for line in sys.stdin if line.strip()]\n"
        "print(max(rows, key=lambda row: int(row[1]))[0])\n",
    ),
    _stdin(
        "lengths",
        "Print YES if the two words of the line have the same length, else NO.",
        "tea cup\n",
        "YES\n",
        "first, second = input().split()\nprint('YES' if len(first) == len(second) else 'NO')\n",
    ),
)
"""For prompts in words whose program reads stdin."""

HEADS = (
    _head(
        "free_seats",
        'def free_seats(row):\n    """Count the free seats of a row, in which 0 stands for a free seat.\n\n'
        '    >>> free_seats([0, 1, 0])\n    2\n    """\n',
        "assert free_seats([0, 1, 0]) == 2",
        _FREE_SEATS,
    ),
    _head(
        "cheapest",
        'def cheapest(prices):\n    """Give the name of the cheapest item, and None for an empty price list.\n\n'
        "    >>> cheapest({'tea': 3, 'milk': 2})\n    'milk'\n    \"\"\"\n",
        "assert cheapest({'tea': 3, 'milk': 2}) == 'milk'",
        _CHEAPEST,
    ),
    _head(
        "clock",
        'def clock(minutes):\n    """Turn a time in minutes into a text such as \'2h05\'.\n\n'
        '    >>> clock(59)\n    \'0h59\'\n    """\n',
        "assert clock(59) == '0h59'",
        _CLOCK,
    ),
)
"""For prompts that are the head of a program."""
