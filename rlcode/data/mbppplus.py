"""MBPP+ (Liu et al. 2023, arXiv 2305.01210): 399 problems of MBPP (v0.2.0: 378), with about 35 times as many inputs.

The rows come from a file of evalplus's releases (`task_id, prompt, entry_point, canonical_solution, base_input,
plus_input, atol`) or from release v0.2.0 itself. JSON has neither tuples nor sets nor complex numbers; which arguments
of which tasks are such is evalplus's list. How outputs are compared is said in `rlcode.data.evalplus`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlcode.data import evalplus, hub, mbpp
from rlcode.errors import InputError
from rlcode.types import PartialLimits, Problem

RELEASE = hub.Release("https://github.com/evalplus/mbppplus_release/releases/download/v0.2.0/MbppPlus.jsonl.gz")
SOURCE = "mbppplus"
FIELDS = evalplus.FIELDS
LIMITS = {
    **dict.fromkeys(("Mbpp/84", "Mbpp/123", "Mbpp/589", "Mbpp/592"), PartialLimits(time_s=20.0)),
    **dict.fromkeys(("Mbpp/271", "Mbpp/392", "Mbpp/603"), PartialLimits(time_s=60.0)),
    "Mbpp/599": PartialLimits(time_s=240.0),
}
"""Tasks whose reference solution takes 2 to 4, 5 to 9 and 40 seconds for all inputs together."""


def load(file: Path | None, split: str | None) -> list[Problem]:
    """All problems, from `file` or, without one, from the release. The only split is `test`.

    Raises:
        DataError: a row that can't be used. InputError: another split.
    """
    if split not in (None, "test"):
        raise InputError(f"mbppplus has no split {split!r}; its only one is 'test'")
    return evalplus.problems_of(file, PLUS_SET)


def aliases(task_id: str) -> tuple[str, ...]:
    """Other names that a samples file may use for the task: those of MBPP."""
    return mbpp.aliases(task_id)


def version(file: Path | None) -> dict[str, Any]:
    """What tells one version of the data from another."""
    return hub.version(file, RELEASE)


# The types that JSON lost, each named by what becomes of a list in it.


def _tuples_in(value: Any) -> Any:
    return [tuple(item) for item in value]


def _tuple_of_tuples(value: Any) -> Any:
    return tuple(tuple(item) for item in value)


def _tuple_of_maybe_tuples(value: Any) -> Any:
    return tuple(tuple(item) if isinstance(item, list) else item for item in value)


def _all_tuples(value: Any) -> Any:
    return tuple(map(_all_tuples, value)) if isinstance(value, list) else value


def _sets_in(value: Any) -> Any:
    return [set(item) if isinstance(item, list) and item else {} for item in value]


def _tuples_as_values(value: Any) -> Any:
    return {key: tuple(item) for key, item in value.items()}


EVERY = {
    tuple: (
        *(2, 116, 132, 143, 222, 261, 273, 394, 399, 421, 424, 429, 470),
        *(560, 579, 596, 616, 630, 726, 740, 744, 809),
    ),
    _tuples_in: (63, 64, 70, 94, 120, 237, 272, 299, 400, 409, 417, 438, 473, 614, 780),
    _tuple_of_tuples: (259, 401, 445),
    _all_tuples: (580, 615, 791),
}
"""Tasks in which this holds of every argument."""
FIRST = {
    _tuples_in: (75, 413, 444, 753),
    tuple: (250, 307, 405, 446, 617, 720, 763, 808),
    _tuple_of_maybe_tuples: (278,),
    _sets_in: (115,),
    _tuples_as_values: (722,),
    complex: (252,),
    float: (124,),
}
"""Tasks in which it holds of the first argument."""
SECOND = {tuple: (106, 750), complex: (124,)}


def _restorer(task_id: str) -> evalplus.Restore:
    """What gives the arguments of a task's calls their types."""
    number = int(task_id.removeprefix(mbpp.PREFIX)) if task_id.removeprefix(mbpp.PREFIX).isdecimal() else 0
    every, first, second = (_change_for(number, table) for table in (EVERY, FIRST, SECOND))

    def restore(arguments: list[Any]) -> list[Any]:
        changed = [every(argument) for argument in arguments]
        for place, change in enumerate((first, second)[: len(changed)]):
            changed[place] = change(changed[place])
        return changed

    return restore


def _change_for(number: int, table: dict[Any, tuple[int, ...]]) -> Any:
    return next((change for change, numbers in table.items() if number in numbers), lambda value: value)


PLUS_SET = evalplus.PlusSet(SOURCE, mbpp.PREFIX, RELEASE, _restorer, LIMITS)
