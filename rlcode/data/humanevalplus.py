"""HumanEval+ (Liu et al. 2023, arXiv 2305.01210): HumanEval's 164 problems with about 80 times as many inputs.

The rows come from a file of evalplus's releases (`task_id, prompt, entry_point, canonical_solution, base_input,
plus_input, atol`) or from release v0.1.10 itself. How outputs are compared is said in `rlcode.data.evalplus`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlcode.data import evalplus, hub
from rlcode.errors import InputError
from rlcode.types import Problem

RELEASE = hub.Release(
    "https://github.com/evalplus/humanevalplus_release/releases/download/v0.1.10/HumanEvalPlus.jsonl.gz"
)
SOURCE = "humanevalplus"
FIELDS = evalplus.FIELDS


def load(file: Path | None, split: str | None) -> list[Problem]:
    """All problems, from `file` or, without one, from the release. The only split is `test`.

    Raises:
        DataError: a row that can't be used. InputError: another split.
    """
    if split not in (None, "test"):
        raise InputError(f"humanevalplus has no split {split!r}; its only one is 'test'")
    return evalplus.problems_of(file, PLUS_SET)


def aliases(task_id: str) -> tuple[str, ...]:
    """Other names that a samples file may use for the task: none."""
    return ()


def version(file: Path | None) -> dict[str, Any]:
    """What tells one version of the data from another."""
    return hub.version(file, RELEASE)


def _as_they_are(task_id: str) -> evalplus.Restore:
    """JSON loses no type of HumanEval's inputs."""
    return lambda arguments: arguments


PLUS_SET = evalplus.PlusSet(SOURCE, "HumanEval/", RELEASE, _as_they_are, {})
