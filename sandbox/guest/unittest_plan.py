"""Which tests unittest classes hold, read off their code: what a program says of that counts for nothing."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from .stops import BadTests

_BASE, _PREFIX = "TestCase", "test"


@dataclass(frozen=True)
class UnittestTests:
    """unittest classes that run in the program's interpreter."""

    entry_point: str
    setup: str
    """Runs before the program, in its module."""
    code: str
    classes: list[tuple[str, list[str]]]
    """The test classes, each with its tests in the order in which unittest runs them."""

    @property
    def names(self) -> list[str]:
        """All tests, in their order."""
        return [f"{name}.{test}" for name, tests in self.classes for test in tests]


def unittest_tests(entry_point: str, setup: str, code: str, where: str) -> UnittestTests:
    """The tests in `code`, which `where` names.

    Raises:
        BadTests: it is not Python, or holds no test.
    """
    _parse(setup, "the test_setup")
    nodes = {node.name: node for node in _parse(code, where).body if isinstance(node, ast.ClassDef)}
    classes = [(name, sorted(_tests_of(name, nodes))) for name in nodes if _is_test_class(name, nodes)]
    classes = [(name, tests) for name, tests in classes if tests]
    if not classes:
        raise BadTests(f"{where} holds no unittest class with a method {_PREFIX}…")
    return UnittestTests(entry_point, setup, code, classes)


def _parse(code: str, where: str) -> ast.Module:
    try:
        return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise BadTests(f"{where} does not compile: {error}") from error


def _is_test_class(name: str, nodes: dict[str, ast.ClassDef]) -> bool:
    """Whether a class derives, at any depth, from one whose name ends with `TestCase` and that is not made here."""
    return any(
        base.endswith(_BASE) if base not in nodes or base == name else _is_test_class(base, _without(nodes, name))
        for base in _bases(nodes[name])
    )


def _tests_of(name: str, nodes: dict[str, ast.ClassDef]) -> set[str]:
    """The tests of a class, and of those of its bases that are made here."""
    node, others = nodes[name], _without(nodes, name)
    functions = (one for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef))
    own = {one.name for one in functions if one.name.startswith(_PREFIX)}
    return own.union(*(_tests_of(base, others) for base in _bases(node) if base in others))


def _bases(node: ast.ClassDef) -> list[str]:
    """The last part of each base's name."""
    names = (base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "") for base in node.bases)
    return [str(name) for name in names]


def _without(nodes: dict[str, ast.ClassDef], name: str) -> dict[str, ast.ClassDef]:
    return {other: node for other, node in nodes.items() if other != name}
