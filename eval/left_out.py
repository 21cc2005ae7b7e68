"""Problems that can't be judged here because the sandbox lacks a library: they count for nothing, and that is said
before anything is judged. An import that fails would be taken for the program's own failure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from rlcode.errors import InputError
from rlcode.types import Problem
from sandbox.importable import build_command, missing_modules
from sandbox.protocol import Sandbox


def left_out(problems: Sequence[Problem], sandbox: Sandbox) -> dict[str, str]:
    """The tasks of which the sandbox lacks a library, each with the names of those that it lacks.

    Raises:
        InputError: all of them. SandboxError: the sandbox does not say what it has.
    """
    wanted = {name for problem in problems for name in problem.imports}
    missing = missing_modules(wanted, sandbox) if wanted else set()
    found = {p.task_id: ", ".join(name for name in p.imports if name in missing) for p in problems}
    found = {task_id: names for task_id, names in found.items() if names}
    if problems and len(found) == len(problems):
        raise InputError(f"no problem can be judged here: {statement(found, len(problems), sandbox.backend)}")
    return found


def statement(found: Mapping[str, str], num_problems: int, backend: str) -> str:
    """How many problems are left out for want of which libraries, and what would change that."""
    lacking = Counter(name for names in found.values() for name in names.split(", "))
    listed = ", ".join(f"{name} ({count})" for name, count in lacking.most_common())
    advice = f"`{build_command(lacking)}` builds an image with them"
    if backend == "local":
        advice = f"install them for the interpreter that rlcode's environment was made from, or {advice}"
    return (
        f"{len(found)} of {num_problems} problems are left out, since the {backend} sandbox lacks the libraries that "
        f"they need (problems in brackets): {listed}; {advice}"
    )
