"""BigCodeBench (Zhuo et al. 2024, arXiv 2406.15877): refused for now.

Its tests are unittest classes that patch modules and look into objects of the program, so they can only run in the
program's own interpreter, where a program can forge the result. The sandbox has no such mode: all tests run beside the
program, and a verdict is earned.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlcode.errors import InputError
from rlcode.types import Problem

FIELDS = ("task_id", "complete_prompt", "instruct_prompt", "canonical_solution", "test", "entry_point", "libs")


def load(file: Path | None, split: str | None) -> list[Problem]:
    """Raises InputError."""
    raise InputError(
        "bigcodebench can't be judged here: its tests must run in the program's own interpreter, where a program can "
        "forge what they say, and the sandbox has no mode for that; choose another benchmark"
    )


def aliases(task_id: str) -> tuple[str, ...]:
    """None."""
    return ()


def version(file: Path | None) -> dict[str, Any]:
    """Nothing."""
    return {}
