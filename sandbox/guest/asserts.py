"""Makes every assert of a trusted test count for itself.

Nothing but the asserts is rewritten. An assert counts if it depends on the program (it, or a variable in it, comes
from a call of a name that the program must define); others must hold and count for nothing.

Asserts in the plain flow of the test are noted, and the test goes on after one failed. Asserts under `try` and in
helper functions raise as they always do, so that whoever catches them still can; if the test lives with that, so
does the verdict.
"""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from .classify import MEMORY, WRONG_ANSWER, Failure, failure_in, printable
from .stops import BadTests

LEDGER = "__rlcode_ledger__"
_ERROR = "__rlcode_error__"
_MAX_SHOWN = 200
_FAULTS_OF_TESTS = (NameError, ImportError, ModuleNotFoundError)


class Ledger:
    """What became of each counted assert while the tests of one program ran."""

    def __init__(
        self,
        sites: list[str],
        gone: Callable[[], Failure | None],
        unbound: Callable[[BaseException], bool] = lambda error: False,
    ) -> None:
        """`gone()` says why the program can't be asked any more, if so: the cause of all that fails after that.
        `unbound(error)` says whether a name of the tests has no value because of the program's answers."""
        self._sites = sites
        self._gone = gone
        self._unbound = unbound
        self._reached: set[int] = set()
        self._failed: set[int] = set()
        self._raised: set[int] = set()
        self._first: tuple[int, Failure] | None = None

    @property
    def passed(self) -> int:
        """Asserts that were reached and never failed."""
        return len(self._reached - self._failed)

    @property
    def first_failure(self) -> Failure | None:
        return self._first[1] if self._first else None

    @property
    def first_failing_test(self) -> str | None:
        """Text of the assert that failed first; without one, of the first that was not reached."""
        if self._first:
            return self._sites[self._first[0]]
        return next((text for site, text in enumerate(self._sites) if site not in self._reached), None)

    def truth(self, site: int, value: Any) -> None:
        """An assert in the plain flow: its value."""
        self._reached.add(site)
        if not value:
            self._fail(site, Failure(WRONG_ANSWER, f"got {shown(value)}"))

    def equal(self, site: int, left: Any, right: Any) -> None:
        """An assert in the plain flow that compares two values."""
        self._reached.add(site)
        held = left == right  # never `!=`, which a class of the test may define otherwise
        if not held:
            self._fail(site, Failure(WRONG_ANSWER, f"{shown(left)} != {shown(right)}"))

    def raised(self, site: int, error: Exception) -> None:
        """An assert in the plain flow that came to no value."""
        self._reached.add(site)
        self._fail(site, failure_from(error, unbound=self._unbound(error)))
        self.escaped()

    def enter(self, site: int) -> None:
        """An assert that may raise, before it is evaluated."""
        self._reached.add(site)

    def broken(self, site: int, *message: Any) -> AssertionError:
        """The error that such an assert then raises."""
        self._raised.add(site)
        return AssertionError(*message)

    def escaped(self) -> None:
        """An exception came through to the plain flow: nobody caught what asserts raised."""
        for site in sorted(self._raised):
            self._fail(site, Failure(WRONG_ANSWER))
        self._raised.clear()

    def _fail(self, site: int, failure: Failure) -> None:
        self._failed.add(site)
        if self._first is None:
            self._first = (site, self._gone() or failure)


def failure_from(error: BaseException, *, unbound: bool = False) -> Failure:
    """Why a test failed that raised: the program's own exception, or one that its answer gave rise to. `unbound`: it
    is about a name of the test that other answers would have given a value.

    Raises:
        BadTests: no answer can have been the reason.
    """
    own = failure_in(error)
    if own is not None:
        return own
    if isinstance(error, MemoryError):
        return Failure(MEMORY, "the program's answer is too large to be looked at")
    if type(error) in _FAULTS_OF_TESTS and not unbound:
        raise BadTests(f"{type(error).__name__} in the test itself: {error}") from error
    text = ""
    with contextlib.suppress(Exception):  # a message made of the program's answers
        text = str(error)
    return Failure(WRONG_ANSWER, printable(f"{type(error).__name__} in the test: {text}"))


def shown(value: Any) -> str:
    """A value for people, cut; not of what is too large to be written out."""
    if type(value) in (list, tuple, set, frozenset, dict) and len(value) > 50:
        return f"a {type(value).__name__} of {len(value)} items"
    try:
        text = repr(value[: 2 * _MAX_SHOWN] if type(value) in (str, bytes) else value)
    except Exception:  # numbers with too many digits, values nested too deeply
        return f"a {type(value).__name__}"
    return printable(text, _MAX_SHOWN)


class Rewriter(ast.NodeTransformer):
    """Rewrites the asserts of a test in place."""

    def __init__(self, remote: set[str], sites: list[str], plain_function: str | None = None) -> None:
        """`remote`: names that depend on the program. `sites` gets the text of each assert that counts, at the place
        that is its number. `plain_function`: a top-level function that is called once, so that its body is plain
        flow too."""
        self._remote = remote
        self._sites = sites
        self._plain_function = plain_function
        self._plain = True

    def rewrite(self, tree: ast.Module) -> ast.Module:
        """Raises RecursionError for a test that is nested too deeply."""
        return ast.fix_missing_locations(self.visit(tree))

    def visit_Assert(self, node: ast.Assert) -> ast.stmt | list[ast.stmt]:
        if not _mentions(node.test, self._remote):
            return node
        site = len(self._sites)
        self._sites.append(printable(ast.unparse(node)))
        lines = _noted(node, site) if self._plain else _raising(node, site)
        return [ast.copy_location(line, node) for line in lines]

    def visit_Try(self, node: ast.Try) -> ast.AST:
        return self._within(node, plain=False)

    def visit_TryStar(self, node: ast.AST) -> ast.AST:
        return self._within(node, plain=False)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        return self._within(node, plain=False)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._within(node, plain=False)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._within(node, plain=self._plain and node.name == self._plain_function)

    def _within(self, node: ast.AST, *, plain: bool) -> ast.AST:
        before, self._plain = self._plain, plain
        try:
            return self.generic_visit(node)
        finally:
            self._plain = before


def dependent_names(trees: Iterable[ast.AST], remote: Iterable[str]) -> set[str]:
    """`remote`, and all names whose value may depend on those: assigned from them, looped over, functions around
    them, set where they decide. Rather too many than too few."""
    found = set(remote)
    links = [link for tree in trees for node in ast.walk(tree) for link in _flows(node)]
    while True:
        more = {name for names, sources in links if not found.isdisjoint(sources) for name in names} - found
        if not more:
            return found
        found |= more


def _flows(node: ast.AST) -> Iterator[tuple[set[str], set[str]]]:
    """Pairs of names that get a value at `node`, and names that have a say in it."""
    if isinstance(node, ast.Assign):
        yield _names(*node.targets), _names(node.value)
    elif isinstance(node, ast.AugAssign | ast.AnnAssign | ast.NamedExpr):
        yield _names(node.target), _names(node.value) if node.value else set()
    elif isinstance(node, ast.withitem):
        yield _names(node.optional_vars) if node.optional_vars else set(), _names(node.context_expr)
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield {node.name}, _names(*node.body)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        yield _names(node.func.value), _names(*node.args)  # results.append(candidate(1))
    elif isinstance(node, ast.If | ast.While):
        yield _stored(node), _names(node.test)
    elif isinstance(node, ast.For | ast.AsyncFor):
        yield _stored(node), _names(node.iter)
    elif isinstance(node, ast.Try):
        yield _stored(node), _names(*node.body)


def _names(*nodes: ast.AST) -> set[str]:
    return {n.id for node in nodes for n in ast.walk(node) if isinstance(n, ast.Name)}


def _stored(node: ast.AST) -> set[str]:
    stored = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return stored | {n.name for n in ast.walk(node) if isinstance(n, ast.ExceptHandler) and n.name}


def _mentions(node: ast.AST, names: set[str]) -> bool:
    return not names.isdisjoint(_names(node))


def _noted(node: ast.Assert, site: int) -> list[ast.stmt]:
    """Evaluate under `try`, note what comes of it, and go on."""
    test = node.test
    if isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq):
        note = _call("equal", site, test.left, test.comparators[0])
    else:
        note = _call("truth", site, test)
    note_error = ast.Expr(_call("raised", site, ast.Name(_ERROR, ast.Load())))
    handler = ast.ExceptHandler(ast.Name("Exception", ast.Load()), _ERROR, [note_error])
    return [ast.Try([ast.Expr(note)], [handler], [], [])]


def _raising(node: ast.Assert, site: int) -> list[ast.stmt]:
    """Raise as ever, and note that it was this one."""
    message = [node.msg] if node.msg else []
    failed: list[ast.stmt] = [ast.Raise(_call("broken", site, *message), None)]
    return [ast.Expr(_call("enter", site)), ast.If(ast.UnaryOp(ast.Not(), node.test), failed, [])]


def _call(method: str, site: int, *arguments: ast.expr) -> ast.Call:
    function = ast.Attribute(ast.Name(LEDGER, ast.Load()), method, ast.Load())
    return ast.Call(function, [ast.Constant(site), *arguments], [])
