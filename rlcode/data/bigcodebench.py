"""BigCodeBench (Zhuo et al. 2024, arXiv 2406.15877): 1,140 functions that call many libraries, with unittest classes.

The rows come from the hub's `bigcode/bigcodebench`, whose splits are its versions, or from a file with its rows as JSON
lines (`task_id, complete_prompt, instruct_prompt, canonical_solution, code_prompt, test, entry_point, doc_struct,
libs`). The split is words with colons between them, each of another group; without one of a group its first counts:

    complete, instruct            which prompt: the head of a program with its docstring, or a request in words
    calibrated, uncalibrated      calibrated: the task's imports and constants come before the program, as in the
                                  paper's figures (section 4), since chat models leave them away
    v0.1.4 … v0.1.0_hf            the version; on the hub only

The tests patch modules and look into the program's objects, so they run in its interpreter, where a program can forge
what they say: every verdict is `forgeable`, and nothing may be trained on it. Time is the paper's limit, 240 s for all
tests of a program; memory is 4 GiB, where its grader leaves a program 30.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rlcode.data import hub
from rlcode.data.rows import parse_field, text_field
from rlcode.errors import DataError, InputError
from rlcode.types import PartialLimits, Problem, TestCase, TestKind

HUB_NAME = "bigcode/bigcodebench"
SOURCE = "bigcodebench"
FIELDS = ("complete_prompt", "instruct_prompt", "canonical_solution", "code_prompt", "test", "entry_point", "libs")
INSTRUCT, UNCALIBRATED = "instruct", "uncalibrated"
VERSIONS = ("v0.1.4", "v0.1.3", "v0.1.2", "v0.1.1", "v0.1.0_hf")
WORDS = (("complete", INSTRUCT), ("calibrated", UNCALIBRATED), VERSIONS)
"""Groups of words of a split, each with its default first."""
LIMITS = PartialLimits(time_s=240.0, memory_mb=4096, processes=64, open_files=256)
_ASKS = (
    "Please provide a self-contained Python script that solves the following problem in a markdown code block:\n"
    "{prompt}\n"
)
_STUB = "{code}\n    pass\n"


def load(file: Path | None, split: str | None) -> list[Problem]:
    """The problems of `file` or, without one, of the hub; see above for `split`.

    Raises:
        DataError: a row that can't be used. InputError: a word of the split that is not known, or is the file's to say.
    """
    return load_from(HUB_NAME, file, split)


def load_from(name: str, file: Path | None, split: str | None) -> list[Problem]:
    """`load`, from the data set `name` of the hub."""
    words = _words(split)
    if file is not None and split and words[2] in split:
        raise InputError(f"a file has no versions; leave {words[2]!r} away")
    found = hub.rows(file, hub.Table(name, words[2]))
    is_instruct, is_calibrated = words[0] == INSTRUCT, words[1] != UNCALIBRATED
    problems = (
        problem_from_row(row, where, is_instruct=is_instruct, is_calibrated=is_calibrated) for where, row in found
    )
    return list(hub.with_tests(problems, SOURCE))


def aliases(task_id: str) -> tuple[str, ...]:
    """Other names that a samples file may use for the task: none."""
    return ()


def version(file: Path | None) -> dict[str, Any]:
    """What tells one version of the data from another."""
    return hub.version(file, hub.Table(HUB_NAME, VERSIONS[0]))


def problem_from_row(
    row: dict[str, Any], where: str, *, is_instruct: bool = False, is_calibrated: bool = True
) -> Problem | None:
    """One row as a `Problem`, or None where it has no tests; `where` names it in errors.

    Raises:
        DataError: a field is missing or of a wrong type.
    """
    head, test = text_field(row, "complete_prompt", where), text_field(row, "test", where)
    tree, setup = parse_field(test, "test", where), _setup(row, where) if is_calibrated else ""
    if not _has_tests(tree):
        return None
    return Problem(
        task_id=text_field(row, "task_id", where),
        prompt=_ASKS.format(prompt=text_field(row, "instruct_prompt", where).strip()) if is_instruct else head,
        tests=(TestCase(TestKind.UNITTEST, code=test),),
        entry_point=text_field(row, "entry_point", where),
        prompt_is_code=not is_instruct,
        prompt_asks=is_instruct,
        test_setup=setup,
        reference_solution=f"{head.rstrip()}\n{text_field(row, 'canonical_solution', where)}",
        source=SOURCE,
        limits=LIMITS,
        imports=_imports(row, [tree, parse_field(setup, "code_prompt", where)], where),
    )


def _words(split: str | None) -> tuple[str, ...]:
    """One word of each group.

    Raises:
        InputError: an unknown word, or two of a group.
    """
    given = split.split(":") if split else []
    known = [word for group in WORDS for word in group]
    chosen = [[word for word in given if word in group] or [group[0]] for group in WORDS]
    if not set(given) <= set(known) or any(len(words) > 1 for words in chosen):
        groups = "; ".join(", ".join(group) for group in WORDS)
        raise InputError(f"bigcodebench has no split {split!r}; with colons between them, name one of each: {groups}")
    return tuple(words[0] for words in chosen)


def _setup(row: dict[str, Any], where: str) -> str:
    """The head of the task without its docstring, as a function that does nothing."""
    return _STUB.format(code=text_field(row, "code_prompt", where).rstrip())


def _has_tests(tree: ast.Module) -> bool:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    return any(isinstance(node, functions) and node.name.startswith("test") for one in classes for node in one.body)


def _imports(row: dict[str, Any], trees: list[ast.Module], where: str) -> tuple[str, ...]:
    """The modules of other libraries that solution and tests use, by the name of their package."""
    names = {*_libs(row, where), *(name for tree in trees for name in _imported(tree))}
    packages = {name.partition(".")[0] for name in names}
    return tuple(sorted(packages - sys.stdlib_module_names))


def _libs(row: dict[str, Any], where: str) -> list[str]:
    """The field `libs`: a list of names, or the text of one."""
    libs = row.get("libs")
    try:
        libs = ast.literal_eval(libs) if isinstance(libs, str) else libs
    except (ValueError, SyntaxError) as error:
        raise DataError(f"{where}: field 'libs' is not the text of a list: {error}") from error
    if not isinstance(libs, list) or not all(isinstance(name, str) for name in libs):
        raise DataError(f"{where}: field 'libs' must be a list of names, got {libs!r:.80}")
    return libs


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
