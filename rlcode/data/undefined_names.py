"""Names that a problem's tests or prompt use and that nothing defines: such a problem can't be solved.

Tests and prompts are trusted, and never run here. They are parsed, up to a length, with Python's own rules of scope.
"""

from __future__ import annotations

import ast
import builtins
import symtable
import sys
import warnings
from collections.abc import Iterator

from rlcode.types import Problem, TestKind

MAX_CHARACTERS = 1 << 20
"""Of the tests of one problem; longer ones are not looked at."""
_BUILTINS = frozenset(dir(builtins)) | {"__name__", "__file__", "__doc__"}
_MAY_DEFINE_MORE = {"exec", "eval", "globals", "locals", "vars", "setattr"}
"""Code that calls these may define names that can't be read off it."""


def undefined_in_tests(problem: Problem) -> list[str]:
    """The names that asserts, checks and their setup use and that neither they nor Python define, nor the program must.

    Modules of the standard library that a test forgot to import are not among them: the judge imports those.

    Raises:
        ValueError: the code does not parse, or is too long.
    """
    codes = [test.code for test in problem.tests if test.kind in (TestKind.ASSERTS, TestKind.CHECK)]
    if not codes:
        return []
    undefined = _undefined("\n".join([problem.test_setup, *codes]))
    return sorted(undefined - {problem.entry_point, *problem.declares} - sys.stdlib_module_names)


def undefined_in_prompt(problem: Problem) -> list[str]:
    """The names that the head of a program uses when it is loaded and does not define: an annotation `List` without its
    import. A program that goes on from there ends with a NameError. Empty where the prompt is words.

    Raises:
        ValueError: the prompt is too long.
    """
    if not problem.prompt_is_code:
        return []
    try:
        table = _table(problem.prompt)
    except SyntaxError:  # it ends where the model goes on, in the midst of a statement
        return []
    if _postpones_annotations(problem.prompt) or _defines_more(problem.prompt):
        return []
    loaded = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_referenced()}
    return sorted(loaded - _assigned(table) - _BUILTINS)


def _undefined(code: str) -> set[str]:
    try:
        if _defines_more(code):
            return set()
        table = _table(code)
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f"the tests are not Python: {error}") from error
    used = {name for scope in _scopes(table) for name in _globals_used(scope)}
    declared_global = {s.get_name() for scope in _scopes(table) for s in scope.get_symbols() if _sets_global(s)}
    return used - _assigned(table) - declared_global - _BUILTINS


def _table(code: str) -> symtable.SymbolTable:
    if len(code) > MAX_CHARACTERS:
        raise ValueError(f"the code has {len(code):,} characters, more than the {MAX_CHARACTERS:,} that are looked at")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return symtable.symtable(code, "<problem>", "exec")


def _scopes(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    yield table
    for child in table.get_children():
        yield from _scopes(child)


def _globals_used(scope: symtable.SymbolTable) -> Iterator[str]:
    is_module = scope.get_type() == "module"
    for symbol in scope.get_symbols():
        if symbol.is_referenced() and (is_module or symbol.is_global()):
            yield symbol.get_name()


def _sets_global(symbol: symtable.Symbol) -> bool:
    return symbol.is_declared_global() and symbol.is_assigned()


def _assigned(table: symtable.SymbolTable) -> set[str]:
    return {s.get_name() for s in table.get_symbols() if s.is_assigned() or s.is_imported() or s.is_namespace()}


def _defines_more(code: str) -> bool:
    """`from module import *`, and what makes names out of texts."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Name) and node.id in _MAY_DEFINE_MORE:
            return True
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            return True
    return False


def _postpones_annotations(code: str) -> bool:
    return any(
        isinstance(node, ast.ImportFrom)
        and node.module == "__future__"
        and any(a.name == "annotations" for a in node.names)
        for node in ast.parse(code).body
    )
