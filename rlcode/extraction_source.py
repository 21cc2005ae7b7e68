"""What can be said of Python source without running it: whether it compiles, what it defines, which names it lacks.

Part of `rlcode.extraction`: it parses hostile text, so it runs in a process that can be killed.
"""

from __future__ import annotations

import ast
import builtins
import functools
import re
import symtable
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_COMPILE_ERRORS = (SyntaxError, ValueError, MemoryError, RecursionError, OverflowError)
# Characters that chat interfaces put in the place of plain ones, and that Python refuses outside of strings.
_PLAIN = {"“": '"', "”": '"', "‘": "'", "’": "'", "\u00a0": " ", "\u202f": " ", "\u3000": " "} | dict.fromkeys(
    "\u200b\u200c\u200d\u2060\ufeff", ""
)
_ODD = "[" + "".join(_PLAIN) + "]"
_STRINGS_OR_ODD = re.compile(
    r"""#.*|\"{3}[\s\S]*?\"{3}|'{3}[\s\S]*?'{3}|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|""" + _ODD
)


@dataclass(frozen=True)
class Wanted:
    """What a program must define at its top level: `name`, and where that is a class, `method` in it.

    Without a name any program will do. `declares` are further names that the program must bring.
    """

    name: str = ""
    method: str = ""
    declares: tuple[str, ...] = ()


@functools.lru_cache(maxsize=64)
def _error_line(source: str) -> int | None:
    """The line (from 1; 0 if unknown) at which `source` does not compile; None if it does."""
    try:
        compile(source, "<completion>", "exec", dont_inherit=True)
    except _COMPILE_ERRORS as error:
        return getattr(error, "lineno", None) or 0
    return None


def compiles(source: str) -> bool:
    return _error_line(source) is None


def tree_of(source: str) -> ast.Module | None:
    """The syntax tree; None where `source` does not compile."""
    return ast.parse(source) if compiles(source) else None


def is_program(source: str) -> bool:
    """Whether `source` compiles and does more than name values (lone words and numbers are prose or data)."""
    tree = tree_of(source)
    return tree is not None and any(not _is_value(node) for node in tree.body)


def is_body(code: str) -> bool:
    """Whether `code`, at the margin, would be the body of a function that does more than name values."""
    tree = tree_of("def f():\n" + textwrap.indent(code, "    ") + "\n")
    function = tree.body[0] if tree else None
    return isinstance(function, ast.FunctionDef) and any(not _is_value(node) for node in function.body)


def _is_value(node: ast.stmt) -> bool:
    active = (ast.Call, ast.Await, ast.Yield, ast.YieldFrom, ast.NamedExpr)
    return isinstance(node, ast.Expr) and not any(isinstance(part, active) for part in ast.walk(node))


def defines(source: str, wanted: Wanted) -> bool:
    """Whether `source` compiles and binds what is wanted at its top level; any program will do without a name."""
    if not wanted.name:
        return is_program(source)
    return any(_offers(node, wanted) for node in _binders(source, wanted.name))


def _binders(source: str, name: str) -> list[ast.stmt]:
    tree = tree_of(source)
    return [node for node in tree.body if name in bound(node)] if tree else []


def _offers(node: ast.stmt, wanted: Wanted) -> bool:
    """Whether the statement that binds the name brings the method too, by itself or from a base class."""
    if not wanted.method or not isinstance(node, ast.ClassDef):
        return True
    return bool(node.bases) or any(wanted.method in bound(part) for part in node.body)


def is_own_answer(source: str, wanted: Wanted) -> bool:
    """Whether `source` itself answers, where several pieces define what is wanted.

    A piece that imports the entry point, or only repeats the question (a docstring, `pass`, `...`,
    `raise NotImplementedError`), does not; of programs without an entry point only one that reads stdin does.
    """
    if not wanted.name:
        return _reads_stdin(source)
    nodes = [node for node in _binders(source, wanted.name) if not isinstance(node, ast.Import | ast.ImportFrom)]
    return bool(nodes) and not _is_stub(nodes[-1], wanted.method)


def _is_stub(node: ast.stmt, method: str) -> bool:
    if method and isinstance(node, ast.ClassDef):
        methods = [part for part in node.body if method in bound(part)]
        return bool(methods) and _is_stub(methods[-1], "")
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return False
    return all(_does_nothing(part) for part in node.body)


def _does_nothing(node: ast.stmt) -> bool:
    if isinstance(node, ast.Raise):
        return node.exc is not None and ast.unparse(node.exc).startswith("NotImplementedError")
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


def _reads_stdin(source: str) -> bool:
    """Whether `source` asks for its input, and does not feed itself a text in its place."""
    tree = tree_of(source)
    nodes = list(ast.walk(tree)) if tree else []
    stored = any(isinstance(n, ast.Attribute) and n.attr == "stdin" and isinstance(n.ctx, ast.Store) for n in nodes)
    return any(_names_stdin(node) for node in nodes) and not (stored and "StringIO" in source)


def _names_stdin(node: ast.AST) -> bool:
    if isinstance(node, ast.Name):
        return node.id in ("input", "stdin", "fileinput")
    if isinstance(node, ast.Attribute):
        return node.attr == "stdin"
    return isinstance(node, ast.Call) and ast.unparse(node).startswith(("open(0", "open('/dev/stdin'", "os.read(0"))


def bound(node: ast.stmt) -> set[str]:
    """The names that a top-level statement binds."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.Import | ast.ImportFrom):
        return {alias.asname or alias.name.partition(".")[0] for alias in node.names}
    if isinstance(node, ast.Assign | ast.AnnAssign | ast.If | ast.Try):
        return {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)} | {
            n.name for n in ast.walk(node) if isinstance(n, ast.FunctionDef | ast.ClassDef)
        }
    return set()


def whole_statements(source: str) -> str | None:
    """The longest head of `source` that compiles and ends before a line at the margin; None if there is none."""
    lines = source.split("\n")
    end = len(lines)
    while end > 0:
        head = "\n".join(lines[:end])
        error = _error_line(head)
        if error is None:
            return head if end == len(lines) else head + "\n"
        last = min(error or end, end) - 1
        end = next((i for i in range(last, 0, -1) if lines[i][:1].strip()), 0)
    return None


def repaired(code: str) -> str:
    """`code` with typographic quotes and odd blanks outside strings made plain, where that makes it compile."""
    if compiles(code) or not re.search(_ODD, code):
        return code
    plain = _STRINGS_OR_ODD.sub(lambda match: _PLAIN.get(match[0], match[0]), code)
    return plain if compiles(plain) else code


# names that a program lacks


def with_context(code: str, sources: Iterable[str], wanted: Wanted) -> str:
    """`code` after the statements of `sources` that bind the names it lacks, or must bring and does not."""
    statements = [node for source in sources if source != code for node in _definitions(source, wanted)]
    kept = _needed(statements, _missing_names(code, wanted.declares))
    if not kept:
        return code
    head, rest = _after_future_imports(code)
    joined = head + "".join(ast.unparse(node) + "\n" for node in kept) + rest
    return joined if compiles(joined) else code


def _definitions(source: str, wanted: Wanted) -> list[ast.stmt]:
    tree = tree_of(source) or tree_of(source.rstrip() + " pass\n")  # the head of a function or class has no body yet
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign)
    body = tree.body if tree else []
    return [node for node in body if isinstance(node, kinds) and wanted.name not in bound(node)]


def _needed(statements: list[ast.stmt], missing: set[str]) -> list[ast.stmt]:
    """The statements that bind missing names, or names that such statements lack in turn, in their order.

    Where a name is still missing then, every `import *` is kept too: it may bring it.
    """
    kept: set[int] = set()
    while True:
        new = {i for i, node in enumerate(statements) if i not in kept and bound(node) & missing}
        if not new:
            break
        kept |= new
        missing = missing.union(*(_missing_names(ast.unparse(statements[i])) for i in new))
    if missing.difference(*(bound(statements[i]) for i in kept)):
        kept |= {i for i, node in enumerate(statements) if "*" in bound(node)}
    return [statements[i] for i in sorted(kept)]


def _missing_names(source: str, declares: Iterable[str] = ()) -> set[str]:
    """Global names that `source` uses or must declare, and neither it nor Python defines."""
    top = symtable.symtable(source, "<completion>", "exec")
    given = {s.get_name() for s in top.get_symbols() if s.is_assigned() or s.is_imported() or s.is_namespace()}
    used = {s.get_name() for table in _tables(top) for s in table.get_symbols() if s.is_referenced() and s.is_global()}
    used |= {s.get_name() for s in top.get_symbols() if s.is_referenced()}
    return (used | set(declares)) - given - set(dir(builtins))


def _tables(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    yield table
    for child in table.get_children():
        yield from _tables(child)


def _after_future_imports(code: str) -> tuple[str, str]:
    """`code` in two: up to its last `from __future__` line (or nothing), and the rest."""
    matches = list(re.finditer(r"^from __future__ import .*\n", code, re.M))
    cut = matches[-1].end() if matches else 0
    return code[:cut], code[cut:]
