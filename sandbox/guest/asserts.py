"""Makes every assert of a trusted test count for itself.

An assert counts if it depends on the program (it, or a variable in it, comes from a call of a name that the program
must define); others must hold and count for nothing.

Asserts in the plain flow of the test are noted, and the test goes on after one failed. Asserts under `try` and `with`
and in helper functions raise as they always do, so that whoever catches them still can; if the test lives with that,
so does the verdict. Where what they raise comes through to a statement in the plain flow, or where the program raises
in one, that is noted and the test goes on with the next statement.
"""

from __future__ import annotations

import ast
import contextlib
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from .classify import MEMORY, WRONG_ANSWER, Failure, failure_in, printable
from .stops import BadTests, EnoughFailures

LEDGER = "__rlcode_ledger__"
_ERROR = "__rlcode_error__"
_WITHIN = "__rlcode_within__"
_MAX_SHOWN = 200
FAULTS_OF_TESTS = (NameError, ImportError, ModuleNotFoundError)


class Ledger:
    """What became of each counted assert while the tests of one program ran."""

    def __init__(
        self,
        sites: list[str],
        gone: Callable[[], Failure | None],
        of_answer: Callable[[BaseException], bool] = lambda error: False,
        most_failures: float = math.inf,
    ) -> None:
        """`gone()` says why the program can't be asked any more, if so: the cause of all that fails after that.
        `of_answer(error)`: see `failure_from`. After `most_failures` in the plain flow the tests are stopped by
        `EnoughFailures`."""
        self._sites = sites
        self._gone = gone
        self._of_answer = of_answer
        self._most_failures = most_failures
        self.failures = 0
        """Notes of a failure so far."""
        self._reached: set[int] = set()
        self._failed: set[int] = set()
        self._raised: set[int] = set()
        self._under_way: set[int] = set()
        self._first: tuple[int | None, Failure] | None = None

    @property
    def passed(self) -> int:
        """Asserts that were reached and never failed."""
        return len(self._reached - self._failed)

    @property
    def first_failure(self) -> Failure | None:
        return self._first[1] if self._first else None

    @property
    def first_failing_test(self) -> str | None:
        """Text of the assert that failed first; without one, of the first that did not pass."""
        if self._first and self._first[0] is not None:
            return self._sites[self._first[0]]
        passed = self._reached - self._failed
        return next((text for site, text in enumerate(self._sites) if site not in passed), None)

    def truth(self, site: int, value: Any) -> None:
        """An assert in the plain flow: its value."""
        self._reached.add(site)
        if not value:
            self._fail(site, Failure(WRONG_ANSWER, f"got {shown(value)}"))
            self._stop_when_enough()

    def equal(self, site: int, left: Any, right: Any) -> None:
        """An assert in the plain flow that compares two values."""
        self._reached.add(site)
        held = left == right  # never `!=`, which a class of the test may define otherwise
        if not held:
            self._fail(site, Failure(WRONG_ANSWER, f"{shown(left)} != {shown(right)}"))
            self._stop_when_enough()

    def raised(self, site: int, error: Exception) -> None:
        """An assert in the plain flow that came to no value."""
        self._reached.add(site)
        self._fail(site, failure_from(error, self._of_answer))
        self.escaped()
        self._stop_when_enough()

    def interrupted(self, error: Exception) -> None:
        """A statement in the plain flow that did not come to its end."""
        failure = failure_from(error, self._of_answer)
        self.escaped()
        self._note(None, failure)
        self._stop_when_enough()

    def enter(self, site: int) -> None:
        """An assert that may raise, before it is evaluated."""
        self._reached.add(site)
        self._under_way.add(site)

    def held(self, site: int) -> None:
        """Such an assert came to its end."""
        self._under_way.discard(site)

    def broken(self, site: int, *message: Any) -> AssertionError:
        """The error that such an assert then raises."""
        self._raised.add(site)
        return AssertionError(*message)

    def settled(self) -> None:
        """A statement that may catch what asserts raise came to its end: the test lives with what it caught."""
        self._raised.clear()
        self._under_way.clear()

    def escaped(self) -> None:
        """An exception came through to the plain flow: nobody caught what asserts raised."""
        for site in sorted(self._raised):
            self._fail(site, Failure(WRONG_ANSWER))
        self._failed |= self._under_way  # what the program raised in them, or its end, is noted by whoever saw that
        self.settled()

    def _fail(self, site: int, failure: Failure) -> None:
        self._failed.add(site)
        self._note(site, failure)

    def _note(self, site: int | None, failure: Failure) -> None:
        self.failures += 1
        if self._first is None:
            self._first = (site, self._gone() or failure)

    def _stop_when_enough(self) -> None:
        if self.failures >= self._most_failures:
            raise EnoughFailures


def failure_from(error: BaseException, of_answer: Callable[[BaseException], bool] = lambda error: False) -> Failure:
    """Why a test failed that raised: the program's own exception, or one that its answer gave rise to.

    `of_answer(error)` says whether that holds of what else is the test's own error: a name without a value, a module
    that is not there. A program must not stop a whole run by leading a test to where it was never tried.

    Raises:
        BadTests: no answer can have been the reason.
    """
    own = failure_in(error)
    if own is not None:
        return own
    if isinstance(error, MemoryError):
        return Failure(MEMORY, "the program's answer is too large to be looked at")
    if type(error) in FAULTS_OF_TESTS and not of_answer(error):
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
        self._guards = True

    def rewrite(self, tree: ast.Module) -> ast.Module:
        """Raises RecursionError for a test that is nested too deeply."""
        asserts = (node for node in _walk(tree) if isinstance(node, ast.Assert))
        if any(mentions(node.test, self._remote) for node in asserts):
            self.visit(tree)
        return ast.fix_missing_locations(tree)

    def visit_Assert(self, node: ast.Assert) -> ast.stmt | list[ast.stmt]:
        if not mentions(node.test, self._remote):
            return node
        site = len(self._sites)
        self._sites.append(printable(ast.unparse(node)))
        lines = _noted(node, site) if self._plain else _raising(node, site)
        return [ast.copy_location(line, node) for line in lines]

    def visit(self, node: ast.AST) -> Any:
        """As ever, but for statements that may be in the plain flow."""
        if isinstance(node, ast.expr):  # holds no statements, and may be long
            return node
        if isinstance(node, ast.Expr | ast.Assign | ast.AnnAssign | ast.AugAssign | ast.If | ast.For | ast.Match):
            return self._statement(node)
        if isinstance(node, ast.While):  # it may never end if it goes on although its statements fail
            return self._statement(node, guards=False)
        if isinstance(node, ast.Try | ast.With) or type(node).__name__ == "TryStar":
            return self._statement(node, plain=False)  # type: ignore[arg-type]
        if isinstance(node, ast.ClassDef | ast.AsyncFunctionDef):
            return self._within(node, plain=False, guards=False)
        if isinstance(node, ast.FunctionDef):
            return self._within(node, plain=self._plain and node.name == self._plain_function, guards=self._guards)
        return super().visit(node)

    def _statement(self, node: ast.stmt, *, plain: bool = True, guards: bool = True) -> ast.stmt:
        """A statement after which the test goes on whatever became of it, where that is in the plain flow."""
        guarded = self._guards and self._plain and mentions(node, self._remote)
        rewritten = self._within(node, plain=self._plain and plain, guards=self._guards and guards)
        end = [] if plain else [ast.Expr(_call("settled", None))]
        return ast.copy_location(_guarded([rewritten, *end]), node) if guarded else rewritten

    def _within(self, node: ast.stmt, *, plain: bool, guards: bool) -> ast.stmt:
        before = self._plain, self._guards
        self._plain, self._guards = plain, guards
        try:
            self.generic_visit(node)
            return node
        finally:
            self._plain, self._guards = before


def as_one_site(tree: ast.Module, sites: list[str], plain_function: str | None) -> ast.Module:
    """A test without an assert that counts, but that can fail otherwise (it expects an exception, or calls what
    asserts): it counts for one, and passes if it comes to its end, or the function that is called to a `return`."""
    reached = ast.Expr(_call("truth", len(sites), ast.Constant(True)))
    owners = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == plain_function]
    if owners:
        sites.append(printable(ast.unparse(owners[-1])))
        around = ast.parse(f"{_WITHIN} = {plain_function}\ndef {plain_function}(candidate): {_WITHIN}(candidate)")
        function = around.body[-1]
        assert isinstance(function, ast.FunctionDef)
        function.body = [_guarded([*function.body, reached])]
        tree.body += around.body
    else:
        sites.append(printable(ast.unparse(tree)))
        tree.body = [_guarded([*tree.body, reached])]
    return ast.fix_missing_locations(tree)


def can_fail(tree: ast.AST) -> bool:
    """Whether test code raises or asserts anything by itself."""
    return any(
        isinstance(node, ast.Assert | ast.Raise)
        or (isinstance(node, ast.Call) and _last_name(node.func).lower().startswith(("assert", "fail", "raises")))
        for node in _walk(tree)
    )


def always_read(body: Iterable[ast.stmt]) -> set[str]:
    """Names that statements in the plain flow look up, whatever the program answers."""
    found: set[str] = set()
    for statement in body:
        waiting: list[ast.AST] = [statement]
        while waiting:
            node = waiting.pop()
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                found.add(node.id)
            waiting += _always_evaluated(node)
        if any(isinstance(node, ast.Return | ast.Raise) for node in ast.walk(statement)):
            break  # what follows may not be reached
    return found


def _always_evaluated(node: ast.AST) -> Iterable[ast.AST]:
    """What is evaluated of a node in any case."""
    if isinstance(node, ast.BoolOp):
        return node.values[:1]
    if isinstance(node, ast.Compare):
        return [node.left, node.comparators[0]]
    if isinstance(node, ast.IfExp | ast.If | ast.While | ast.Assert):
        return [node.test]
    if isinstance(node, ast.For):
        return [node.iter]
    if isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
        return [node.generators[0].iter]
    plain = (ast.Assign, ast.AugAssign, ast.Expr, ast.Return, ast.expr, ast.keyword)
    return ast.iter_child_nodes(node) if isinstance(node, plain) and not isinstance(node, ast.Lambda) else []


def dependent_names(trees: Sequence[ast.AST], remote: Iterable[str]) -> set[str]:
    """`remote`, and all names whose value may depend on those: assigned from them, looped over, parameters of functions
    that are called with them, functions around them, set where they decide. Rather too many than too few."""
    for tree in trees:
        _mark_literals(tree)
    found = set(remote)
    links = [link for tree in trees for node in _walk(tree) for link in _flows(node)]
    # Who calls a function by another name, calls the function.
    links += [({_called(name) for name in sources}, {_called(name) for name in names}) for names, sources in links]
    while True:
        more = {name for names, sources in links if not found.isdisjoint(sources) for name in names} - found
        if not more:
            return {name for name in found if name.isidentifier()}
        found |= more


def makes_code(trees: Iterable[ast.AST], dependent: set[str]) -> bool:
    """Whether tests run text as code: their own text, never what depends on the program.

    Raises:
        BadTests: a program's answer would be run, opened or unpickled here.
    """
    found = False
    for call in (node for tree in trees for node in _walk(tree) if isinstance(node, ast.Call)):
        direct = _is_dangerous(call.func)
        arguments = [*call.args, *(keyword.value for keyword in call.keywords)]
        handed_on = any(_is_dangerous(argument) for argument in arguments)
        concerned = arguments if direct else [call]
        if (direct or handed_on) and any(mentions(part, dependent) for part in concerned):
            raise BadTests(
                f"`{printable(ast.unparse(call), _MAX_SHOWN)}` would do with a program's answer what only the program "
                "may do; compare the answer itself"
            )
        found = found or (isinstance(call.func, ast.Name) and call.func.id in _MAKING_CODE)
    return found


_MAKING_CODE = {"eval", "exec", "compile"}
_DANGEROUS = {*_MAKING_CODE, "__import__", "open", "breakpoint"}
_DANGEROUS_MODULES = {
    "builtins",
    "__builtins__",
    "subprocess",
    "runpy",
    "timeit",
    "marshal",
    "ctypes",
    "shutil",
    "code",
}
_DANGEROUS_PARTS = {
    *(("os", name) for name in ("system", "popen", "remove", "rename", "unlink", "open", "kill")),
    *((module, name) for module in ("pickle", "dill", "joblib", "cloudpickle") for name in ("load", "loads")),
    *(("importlib", "import_module"), ("sympy", "sympify"), ("sympy", "parse_expr"), ("numpy", "load"), ("np", "load")),
}


def _is_dangerous(function: ast.expr) -> bool:
    if isinstance(function, ast.Name):
        return function.id in _DANGEROUS
    if isinstance(function, ast.Call) and isinstance(function.func, ast.Name) and function.func.id == "getattr":
        return bool(function.args) and bool(_names(function.args[0]) & {*_DANGEROUS_MODULES, "os", "importlib"})
    if not isinstance(function, ast.Attribute):
        return False
    module = _last_name(function.value)
    return module in _DANGEROUS_MODULES or (module, function.attr) in _DANGEROUS_PARTS


def _last_name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _flows(node: ast.AST) -> Iterator[tuple[set[str], set[str]]]:
    """Pairs of names that get a value at `node`, and names that have a say in it."""
    if isinstance(node, ast.Assign):
        yield from _assigned(node.targets, node.value)
    elif isinstance(node, ast.AugAssign | ast.AnnAssign | ast.NamedExpr):
        if node.value is not None:
            yield from _assigned([node.target], node.value)
    elif isinstance(node, ast.comprehension):
        yield _names(node.target), _names(node.iter)
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        yield {node.name}, _names(*node.body, *node.decorator_list, node.args)
        yield _parameters(node.args), {_called(node.name)}.union(_names(*node.decorator_list))
    elif isinstance(node, ast.ClassDef):
        yield {node.name}, _names(*node.body, *node.decorator_list, *node.bases)
        methods = [method for method in node.body if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef)]
        yield {name for method in methods for name in _parameters(method.args)}, {_called(node.name)}
    elif isinstance(node, ast.Call):
        yield from _flows_of_call(node)
    else:
        yield from _flows_of_control(node)


def _assigned(targets: list[Any], value: ast.expr) -> Iterator[tuple[set[str], set[str]]]:
    names = _names(*targets)
    yield names, _names(value)
    yield _parameters_within(value), {_called(name) for name in names}


def _flows_of_call(call: ast.Call) -> Iterator[tuple[set[str], set[str]]]:
    arguments = [*call.args, *(keyword.value for keyword in call.keywords)]
    handed = _names(*arguments)
    given = {argument.id for argument in arguments if isinstance(argument, ast.Name)}
    for name in given | {_last_name(call.func)} | _names(call.func):
        yield {_called(name)}, (handed | _names(call.func)) - {name}
    yield _parameters_within(*arguments), handed | _names(call.func)
    if isinstance(call.func, ast.Attribute):  # results.append(candidate(1)), heapq.heappush(heap, candidate(1))
        yield _names(call.func.value) | given, handed


def _flows_of_control(node: ast.AST) -> Iterator[tuple[set[str], set[str]]]:
    """What decides whether statements run has a say in what they store."""
    if isinstance(node, ast.If):
        yield _stored(node), _names(node.test)
    elif isinstance(node, ast.While | ast.For | ast.AsyncFor):
        head = _names(node.test if isinstance(node, ast.While) else node.iter)
        leaves = any(isinstance(inner, ast.Break | ast.Continue | ast.Return) for inner in _walk(node))
        yield _stored(node), _names(node) if leaves else head
    elif isinstance(node, ast.Match):
        guards = [case.guard for case in node.cases if case.guard is not None]
        yield _stored(node), _names(node.subject, *guards)
    elif isinstance(node, ast.Try) or type(node).__name__ == "TryStar":
        yield _stored(node), _names(*node.body)  # type: ignore[attr-defined]
    elif isinstance(node, ast.With | ast.AsyncWith):
        heads = [item.context_expr for item in node.items]
        yield _stored(node), _names(*heads, *(line for line in node.body if not isinstance(line, ast.Assert)))


def _called(name: str) -> str:
    """Stands for the arguments of a function, among names."""
    return f"{name}()" if name.isidentifier() else name


def _parameters(arguments: ast.arguments) -> set[str]:
    return {node.arg for node in _walk(arguments) if isinstance(node, ast.arg)}


def _parameters_within(*nodes: ast.AST) -> set[str]:
    lambdas = (n for node in nodes for n in _walk(node) if isinstance(n, ast.Lambda))
    return {name for function in lambdas for name in _parameters(function.args)}


def _mark_literals(tree: ast.AST) -> None:
    """Have `_walk` pass over what holds constants only: the inputs of a test may be many thousands."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, _CONTAINERS) and all(isinstance(part, _PARTS_OF_LITERALS) for part in ast.walk(node)):
            node.is_literal = True  # type: ignore[union-attr]
        else:
            waiting += ast.iter_child_nodes(node)


_CONTAINERS = (ast.List, ast.Tuple, ast.Set, ast.Dict)
_PARTS_OF_LITERALS = (*_CONTAINERS, ast.Constant, ast.UnaryOp, ast.expr_context, ast.unaryop)


def _walk(tree: ast.AST) -> Iterator[ast.AST]:
    waiting = deque([tree])
    while waiting:
        node = waiting.popleft()
        yield node
        if not hasattr(node, "is_literal"):
            waiting.extend(ast.iter_child_nodes(node))


def _names(*nodes: ast.AST) -> set[str]:
    return {n.id for node in nodes for n in _walk(node) if isinstance(n, ast.Name)}


def _stored(node: ast.AST) -> set[str]:
    stored = {n.id for n in _walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    caught = {getattr(n, "name", None) for n in _walk(node) if isinstance(n, _NAMING)}
    caught |= {n.rest for n in _walk(node) if isinstance(n, ast.MatchMapping)}
    return stored | {name for name in caught if name}


_NAMING = (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)


def mentions(node: ast.AST, names: set[str]) -> bool:
    return not names.isdisjoint(_names(node))


def _noted(node: ast.Assert, site: int) -> list[ast.stmt]:
    """Evaluate under `try`, note what comes of it, and go on."""
    test = node.test
    if isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq):
        note = _call("equal", site, test.left, test.comparators[0])
    else:
        note = _call("truth", site, test)
    return [_caught([ast.Expr(note)], _call("raised", site, ast.Name(_ERROR, ast.Load())))]


def _guarded(body: list[ast.stmt]) -> ast.Try:
    """Note what is raised, and go on."""
    return _caught(body, _call("interrupted", None, ast.Name(_ERROR, ast.Load())))


def _caught(body: list[ast.stmt], note: ast.Call) -> ast.Try:
    handler = ast.ExceptHandler(ast.Name("Exception", ast.Load()), _ERROR, [ast.Expr(note)])
    return ast.Try(body, [handler], [], [])


def _raising(node: ast.Assert, site: int) -> list[ast.stmt]:
    """Raise as ever, and note that it was this one."""
    message = [node.msg] if node.msg else []
    failed: list[ast.stmt] = [ast.Raise(_call("broken", site, *message), None)]
    check = ast.If(ast.UnaryOp(ast.Not(), node.test), failed, [])
    return [ast.Expr(_call("enter", site)), check, ast.Expr(_call("held", site))]


def _call(method: str, site: int | None, *arguments: ast.expr) -> ast.Call:
    function = ast.Attribute(ast.Name(LEDGER, ast.Load()), method, ast.Load())
    return ast.Call(function, [*([] if site is None else [ast.Constant(site)]), *arguments], [])
