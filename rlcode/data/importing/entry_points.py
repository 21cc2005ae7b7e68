"""Which function tests call, where a data set does not say it. Tests are trusted, and parsed."""

from __future__ import annotations

import ast
import builtins
from collections import Counter
from collections.abc import Iterable

from rlcode.data.rows import parse_field
from rlcode.errors import DataError
from rlcode.types import TestCase, TestKind

_BUILTINS = frozenset(dir(builtins))


def find_entry_point(tests: Iterable[TestCase], setup: str, reference: str, where: str) -> tuple[str, tuple[str, ...]]:
    """The function that the asserts call, and what else of the reference solution they use (a class, say).

    With a reference solution it is the first of its functions that is called; without one the only name that is called
    and that tests and setup do not define.

    Raises:
        DataError: there is none, or the asserts leave it open.
    """
    code = "\n".join(test.code for test in tests if test.kind is TestKind.ASSERTS)
    tree = parse_field(code, "tests", where)
    called = [node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    defined = _defined(parse_field(reference, "reference_solution", where)) if reference else []
    if ours := [name for name in called if name in defined]:
        used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        return ours[0], tuple(sorted((set(defined) & used) - {ours[0]}))
    own = _bound(tree) | _bound(parse_field(setup, "test_setup", where)) | _BUILTINS
    counted = Counter(name for name in called if name not in own)
    if len(counted) != 1:
        raise DataError(
            f"{where}: which function do the tests call? They call {', '.join(sorted(counted)) or 'none'}; "
            "name it with --map entry_point=COLUMN"
        )
    return next(iter(counted)), ()


def _defined(tree: ast.Module) -> list[str]:
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    return [node.name for node in tree.body if isinstance(node, kinds)]


def _bound(tree: ast.Module) -> set[str]:
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    names |= {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    return names | {(n.asname or n.name).partition(".")[0] for n in ast.walk(tree) if isinstance(n, ast.alias)}
