"""The tests of a problem, made ready once and used for every program."""

from __future__ import annotations

import ast
import builtins
import json
import math
import sys
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from types import CodeType
from typing import Any

from .asserts import Rewriter, always_read, as_one_site, can_fail, dependent_names, makes_code, mentions
from .codec import CannotCross, Codec
from .comparison import COMPARISONS, LINES
from .stops import BadTests
from .unittest_plan import UnittestTests, unittest_tests

CHECK = "check"
STDIO = "stdio"
CALL = "call"
UNITTEST = "unittest"
_ASSERTS = "asserts"
_FIELDS = ("kind", "code", "stdin", "expected_stdout", "arguments", "expected")
_MOST_PLANS, _MOST_CHARACTERS = 1024, 1 << 24
_RUNS_TEXT = {"eval", "exec", "compile", "__import__"}
_NOT_FOR_TESTS = {"antigravity", "this", "idlelib", "turtle", "turtledemo"}  # importing them does something
_MODULES = sys.stdlib_module_names - _NOT_FOR_TESTS
_DEFINING = {"exec", "eval", "globals", "locals", "vars", "setattr", "__builtins__", "sys"}


@dataclass(frozen=True)
class StdioTest:
    stdin: bytes
    expected: str


@dataclass(frozen=True)
class FunctionTests:
    """Test code that runs in the judge."""

    names: list[str]
    """What the program must define: the entry point first."""
    modules: list[str]
    """Modules of the standard library that the tests use without importing them."""
    setup: CodeType
    tests: list[tuple[CodeType, bool]]
    """Each with whether it defines a `check` to be called."""
    sites: list[str]
    """Texts of the asserts that count."""
    may_make_code: bool
    """Whether the tests themselves call `eval` and the like, never on what the program answered."""


@dataclass(frozen=True)
class CallCase:
    """One call; `texts` are the arguments and the expected value as JSON."""

    arguments: list[Any]
    expected: Any
    texts: tuple[str, str]

    def copies(self) -> tuple[list[Any], Any]:
        """Arguments and expected value that nobody else has."""
        arguments, expected = self.texts
        return json.loads(arguments), json.loads(expected) if expected else None


@dataclass(frozen=True)
class CallTests:
    entry_point: str
    cases: list[CallCase]


@dataclass(frozen=True)
class Rule:
    """How the answers to stdin tests and calls are judged: by the checker where there is one."""

    comparison: str
    tolerance: float
    checker: CodeType | None


@dataclass(frozen=True)
class Plan:
    functions: FunctionTests | None
    calls: CallTests | None
    stdio: list[StdioTest]
    unittests: list[UnittestTests]
    rule: Rule

    @property
    def size(self) -> int:
        """Tests in it."""
        asserts = len(self.functions.sites) if self.functions else 0
        methods = sum(len(tests.names) for tests in self.unittests)
        return asserts + (len(self.calls.cases) if self.calls else 0) + len(self.stdio) + methods


def plan_for(problem: dict[str, Any]) -> Plan:
    """The plan of a problem as it comes in a request; those of the last problems are remembered.

    Raises:
        BadTests: there is nothing that could be judged.
    """
    tests = tuple(tuple(test.get(name, "") for name in _FIELDS) for test in problem["tests"])
    rule = (problem.get("comparison", LINES), problem.get("tolerance", 0.0), problem.get("checker", ""))
    return _PLANS.of((problem["entry_point"], tuple(problem["declares"]), problem["test_setup"], tests, *rule))


class _Plans:
    """The plans of the last problems, as many as fit: the judge has little memory, and some tests are megabytes."""

    def __init__(self) -> None:
        self._plans: OrderedDict[tuple[Any, ...], tuple[Plan, int]] = OrderedDict()
        self._characters = 0

    def of(self, key: tuple[Any, ...]) -> Plan:
        """The plan for these arguments of `_plan`."""
        known = self._plans.get(key)
        if known is not None:
            self._plans.move_to_end(key)
            return known[0]
        plan, size = _plan(*key), _characters(key)
        self._plans[key] = plan, size
        self._characters += size
        while len(self._plans) > _MOST_PLANS or self._characters > _MOST_CHARACTERS:
            _, (_, gone) = self._plans.popitem(last=False)
            self._characters -= gone
        return plan


_PLANS = _Plans()


def _characters(value: Any) -> int:
    """Characters of all texts in a tuple, and in the tuples in it."""
    if isinstance(value, tuple):
        return sum(map(_characters, value))
    return len(value) if isinstance(value, str) else 0


def _plan(
    entry_point: str,
    declares: tuple[str, ...],
    setup: str,
    tests: tuple[tuple[str, ...], ...],
    comparison: str,
    tolerance: float,
    checker: str,
) -> Plan:
    if not tests:
        raise BadTests("the problem has no tests")
    unknown = {kind for kind, *_ in tests} - {_ASSERTS, CHECK, CALL, STDIO, UNITTEST}
    if unknown:
        raise BadTests(f"unknown kind of test: {', '.join(sorted(unknown))}")
    codes, calls, stdio, unittests = [], [], [], []
    for number, (kind, code, stdin, expected_stdout, arguments, expected) in enumerate(tests, start=1):
        if kind == STDIO:
            stdio.append(StdioTest(stdin.encode("utf-8", "replace"), expected_stdout))
        elif kind == UNITTEST:
            unittests.append(unittest_tests(entry_point, setup, code, f"test {number}"))
        elif kind == CALL:
            calls.append(_call_case(arguments, expected, f"test {number}", needs_expected=not checker))
        else:
            codes.append((code, kind == CHECK))
    if (codes or calls or unittests) and not entry_point:
        raise BadTests("tests that call a function, and no entry_point")
    if checker and not (calls or stdio):
        raise BadTests("a checker, and no test that it could look at: it is for the kinds 'stdio' and 'call'")
    return Plan(
        _function_tests([entry_point, *declares], setup, codes) if codes else None,
        CallTests(entry_point, calls) if calls else None,
        stdio,
        unittests,
        _rule(comparison, tolerance, checker),
    )


def _rule(comparison: str, tolerance: float, checker: str) -> Rule:
    if comparison not in COMPARISONS:
        raise BadTests(f"unknown comparison {comparison!r}; known: {', '.join(sorted(COMPARISONS))}")
    if not 0 <= tolerance < math.inf:
        raise BadTests(f"the tolerance must be 0 or more and finite, not {tolerance}")
    return Rule(comparison, tolerance, _checker(checker) if checker else None)


def _checker(code: str) -> CodeType:
    tree = _parse(code, "the checker")
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} & _RUNS_TEXT
    if used:  # on what a program printed, it would run the program's text in the judge
        raise BadTests(f"the checker uses {min(used)}; read an answer with int, float, json.loads or ast.literal_eval")
    return _compile(tree, "<checker>")


def _call_case(arguments: str, expected: str, where: str, *, needs_expected: bool) -> CallCase:
    """Raises BadTests for what is no JSON, or can't be handed to a program."""
    given = _from_json(arguments, f"{where}: arguments")
    if type(given) is not list:
        raise BadTests(f"{where}: arguments must be the JSON text of a list")
    try:
        Codec(_refuse_handle, _refuse_handle).dumps([], *given)
    except CannotCross as error:
        raise BadTests(f"{where}: an argument can't be handed to a program: {error}") from error
    wanted = _from_json(expected, f"{where}: expected") if expected or needs_expected else None
    return CallCase(given, wanted, (arguments, expected))


def _from_json(text: str, where: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse_nan)
    except (ValueError, RecursionError, MemoryError) as error:
        raise BadTests(f"{where} can't be read as JSON: {str(error) or 'it is too large'}") from error


def _refuse_nan(name: str) -> float:
    if name == "NaN":
        raise ValueError("NaN is equal to nothing")
    return float(name)


def _refuse_handle(*parts: Any) -> Any:
    raise CannotCross("it is no plain value")


def _function_tests(names: list[str], setup: str, codes: list[tuple[str, bool]]) -> FunctionTests:
    setup_tree = _parse(setup, "the test_setup")
    trees = [_parse(code, f"test {number}") for number, (code, _) in enumerate(codes, start=1)]
    for tree, (_, is_check) in zip(trees, codes, strict=True):
        if is_check and _check_function(tree) is None:
            raise BadTests("a test of the kind 'check' does not define check(candidate)")
    remote = dependent_names([setup_tree, *trees], {*names, *_candidate_parameters(trees)})
    forgotten = _forgotten([setup_tree, *trees], names)
    _refuse_undefined(forgotten, [setup_tree, *trees])
    modules = sorted(forgotten & _MODULES)
    may_make_code = makes_code([setup_tree, *trees], remote)
    sites: list[str] = []
    setup_code = _compile(Rewriter(remote, sites).rewrite(setup_tree), "<test_setup>")
    tests = []
    for tree, (_, is_check) in zip(trees, codes, strict=True):
        before, plain_function = len(sites), CHECK if is_check else None
        rewritten = Rewriter(remote, sites, plain_function).rewrite(tree)
        if len(sites) == before and mentions(tree, remote) and (can_fail(tree) or can_fail(setup_tree)):
            rewritten = as_one_site(tree, sites, plain_function)
        tests.append((_compile(rewritten, "<test>"), is_check))
    if not sites:
        raise BadTests(f"no assert of the tests depends on {names[0]}")
    return FunctionTests(names, modules, setup_code, tests, sites, may_make_code)


def _parse(code: str, what: str) -> ast.Module:
    try:
        return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise BadTests(f"{what} does not compile: {error}") from error


def _compile(tree: ast.Module, name: str) -> CodeType:
    try:
        return compile(tree, name, "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError) as error:
        raise BadTests(f"{name} does not compile: {error}") from error


def _check_function(tree: ast.Module) -> ast.FunctionDef | None:
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == CHECK]
    return found[-1] if found and found[-1].args.args else None


def _candidate_parameters(trees: Iterable[ast.Module]) -> set[str]:
    return {check.args.args[0].arg for tree in trees if (check := _check_function(tree)) is not None}


def _refuse_undefined(forgotten: set[str], trees: list[ast.Module]) -> None:
    """A name that has no value whatever the program answers is the test's fault; elsewhere an answer led there."""
    read: set[str] = set()
    for tree in trees:
        read |= always_read(tree.body)
        check = _check_function(tree)
        if check is not None:
            read |= always_read(check.body)
    undefined = sorted(name for name in (read & forgotten) - _MODULES if not name.startswith("__"))
    if undefined and not any(_may_define_more(node) for tree in trees for node in ast.walk(tree)):
        raise BadTests(f"NameError in the test itself: name {undefined[0]!r} is not defined")


def _may_define_more(node: ast.AST) -> bool:
    """`from module import *`, and what gets at names by their text."""
    if isinstance(node, ast.Name):
        return node.id in _DEFINING
    return isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names)


def _forgotten(trees: list[ast.Module], names: list[str]) -> set[str]:
    """Names that nothing defines. They must never be looked up in the program, which could put there what it likes."""
    nodes = [node for tree in trees for node in ast.walk(tree)]
    used = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    defined = {node.id for node in nodes if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    defined |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    defined |= {n.name for n in nodes if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}
    defined |= {(node.asname or node.name).partition(".")[0] for node in nodes if isinstance(node, ast.alias)}
    defined |= {n.name for n in nodes if isinstance(n, ast.MatchAs | ast.MatchStar | ast.ExceptHandler) and n.name}
    defined |= {node.rest for node in nodes if isinstance(node, ast.MatchMapping) and node.rest}
    return used - defined - set(names) - set(dir(builtins))
