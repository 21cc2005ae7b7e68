"""Problems out of a folder of pytest files: their test functions become asserts on the functions that they call.

Nothing is run here; files are parsed. What can be said as plain asserts is taken over: test functions and methods of
test classes, with `parametrize`, setup at the top of the file, and the functions and classes of a module under test.
Fixtures, marks, `pytest.raises` and packages beyond the standard library can't: whatever is left out is named.
"""

from __future__ import annotations

import ast
import copy
import itertools
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rlcode.data.rows import parse_field
from rlcode.data.undefined_names import undefined_in_tests
from rlcode.errors import DataError, InputError
from rlcode.types import Problem, TestCase, TestKind

SOURCE = "pytest"
MAX_BYTES = 1 << 20
"""Larger test files are not read."""
_REFUSED = {
    ast.Return: "returns from within",
    ast.Yield: "yields",
    ast.YieldFrom: "yields",
    ast.Await: "awaits",
    ast.Global: "has global variables",
    ast.Nonlocal: "has nonlocal variables",
}


class _NotConvertibleError(Exception):
    """Why a test can't be said as plain asserts."""


@dataclass(frozen=True)
class LeftOut:
    """A file or test that was not taken over, and why."""

    where: str
    reason: str


@dataclass(frozen=True)
class _UnderTest:
    """What a file imports from the modules that it tests."""

    names: dict[str, str] = field(default_factory=dict)
    """Name in the file → name in the module."""
    modules: set[str] = field(default_factory=set)
    """Names of the modules themselves, in the file."""
    files: set[Path] = field(default_factory=set)
    """Where these modules are, as far as they were found."""


@dataclass(frozen=True)
class _Test:
    """A test function: one case for each set of parameters, and the names under test that they use."""

    where: str
    cases: tuple[TestCase, ...]
    used: tuple[str, ...]


def read_pytest_folder(folder: Path, modules: Collection[str] = ()) -> tuple[list[Problem], list[LeftOut]]:
    """The problems in the test files of `folder`, at any depth, and what could not be taken over.

    A problem is a function with the tests that call it; tests that use several functions or classes make them one
    problem. `modules` are the names of modules under test; those that lie in the folder, beside it or in a `src` beside
    it are found, and are the reference solutions.

    Raises:
        InputError: there is no such folder, or no test file in it.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder of pytest files")
    files = sorted({*folder.rglob("test_*.py"), *folder.rglob("*_test.py")})
    if not files:
        raise InputError(f"{folder} has no test files: none is called test_*.py or *_test.py")
    problems: list[Problem] = []
    left_out: list[LeftOut] = []
    for file in files:
        where = file.relative_to(folder).as_posix()
        try:
            found, not_taken = _File(file, folder, where, modules).problems()
        except (_NotConvertibleError, DataError) as error:
            left_out.append(LeftOut(where, str(error)))
            continue
        problems += found
        left_out += not_taken
    return problems, left_out


class _File:
    """One test file, parsed."""

    def __init__(self, file: Path, root: Path, where: str, modules: Collection[str]) -> None:
        self._file, self._root, self._where = file, root, where
        self._tree = _parsed(file, where)
        self._under_test = _UnderTest()
        self._setup: list[ast.stmt] = []
        self._tests: list[tuple[str, ast.FunctionDef]] = []
        self._of_pytest = {"pytest"}
        for node in self._tree.body:
            self._take(node, modules)

    def problems(self) -> tuple[list[Problem], list[LeftOut]]:
        tests, left_out = [], []
        for name, function in self._tests:
            try:
                tests.append(self._converted(name, function))
            except _NotConvertibleError as error:
                left_out.append(LeftOut(f"{self._where}::{name}", str(error)))
        if not self._tests:
            left_out.append(LeftOut(self._where, "it has no test functions"))
        problems = [self._problem(group) for group in _groups(tests)]
        lacking = {problem.task_id: undefined_in_tests(problem) for problem in problems}
        left_out += [
            LeftOut(task_id, f"it uses {', '.join(names)}, which was not taken over")
            for task_id, names in lacking.items()
            if names
        ]
        return [problem for problem in problems if not lacking[problem.task_id]], left_out

    def _take(self, node: ast.stmt, modules: Collection[str]) -> None:
        if isinstance(node, ast.Import | ast.ImportFrom):
            self._take_import(node, modules)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test"):
            self._tests.append((node.name, _plain(node)))
        elif isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
            methods = (part for part in node.body if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef))
            self._tests += [(f"{node.name}::{m.name}", _plain(m)) for m in methods if m.name.startswith("test")]
        elif not isinstance(node, ast.Expr) and not _mentions(node, self._of_pytest):
            self._setup.append(node)

    def _take_import(self, node: ast.Import | ast.ImportFrom, modules: Collection[str]) -> None:
        for alias in node.names:
            module = alias.name if isinstance(node, ast.Import) else node.module or ""
            top, bound = module.partition(".")[0], alias.asname or alias.name
            level = 0 if isinstance(node, ast.Import) else node.level
            if top == "pytest":
                self._of_pytest.add(bound)
            elif not level and top in sys.stdlib_module_names:
                self._setup.append(ast.Import([alias]) if isinstance(node, ast.Import) else _only(node, alias))
            else:
                self._take_module(node, alias, module, bound, level, modules)

    def _take_module(
        self, node: ast.stmt, alias: ast.alias, module: str, bound: str, level: int, modules: Collection[str]
    ) -> None:
        found = self._find(module, level)
        if found is None and module not in modules and module.partition(".")[0] not in modules:
            raise _NotConvertibleError(
                f"it imports {module or alias.name!r}, which is neither of the standard library nor found beside the "
                "tests; if it is what they test, name it with --module"
            )
        if alias.name == "*":
            raise _NotConvertibleError(f"it imports * from {module}; which names are under test?")
        if isinstance(node, ast.Import):
            self._under_test.modules.add(bound)
        else:
            self._under_test.names[bound] = alias.name
        if found is not None:
            self._under_test.files.add(found)

    def _find(self, module: str, level: int) -> Path | None:
        """The file of a module, in the folder of the test file or above it up to the one beside all tests."""
        part = Path(*module.split(".")) if module else Path()
        folders = [self._file.parent, self._root, self._root.parent, self._root.parent / "src"]
        if level:
            folders = [self._file.parent.joinpath(*[".."] * (level - 1))]
        for folder in folders:
            for candidate in (folder / part.with_suffix(".py") if module else folder, folder / part / "__init__.py"):
                if candidate.is_file():
                    return candidate.resolve()
        return None

    def _converted(self, name: str, function: ast.FunctionDef) -> _Test:
        body = function.body[1:] if ast.get_docstring(function, clean=False) is not None else function.body
        _check_body(body, self._of_pytest)
        renamer = _Renamer(self._under_test)
        statements = [ast.unparse(renamer.visit(statement)) for statement in body]
        cases = [[*given, *statements] for given in _parameters(function, self._of_pytest)]
        if not renamer.used:
            raise _NotConvertibleError("it calls nothing of a module under test")
        if clash := renamer.used & _assigned(body):
            raise _NotConvertibleError(f"it gives {min(clash)!r}, which is under test, another value")
        codes = tuple(TestCase(TestKind.ASSERTS, code="\n".join(case) + "\n") for case in cases)
        return _Test(f"{self._where}::{name}", codes, tuple(sorted(renamer.used)))

    def _problem(self, tests: Sequence[_Test]) -> Problem:
        renamer = _Renamer(self._under_test)
        setup = "".join(ast.unparse(renamer.visit(copy.deepcopy(node))) + "\n" for node in self._setup)
        names = Counter(name for test in tests for name in test.used)
        entry_point = min(names, key=lambda name: (-names[name], name))
        names.update(renamer.used)
        cases = tuple(case for test in tests for case in test.cases)
        return Problem(
            task_id=f"{self._where.removesuffix('.py')}::{entry_point}",
            prompt=_prompt(ast.get_docstring(self._tree), sorted(names), setup, cases),
            tests=cases,
            entry_point=entry_point,
            declares=tuple(sorted(names.keys() - {entry_point})),
            prompt_is_code=False,
            test_setup=setup,
            reference_solution=self._reference(),
            source=SOURCE,
        )

    def _reference(self) -> str:
        """The one module under test, where it was found."""
        files = self._under_test.files
        return next(iter(files)).read_text(encoding="utf-8") if len(files) == 1 else ""


class _Renamer(ast.NodeTransformer):
    """Calls what is under test by its name in its module, and notes it: `shop.add` and an alias become `add`."""

    def __init__(self, under_test: _UnderTest) -> None:
        self._under_test = under_test
        self.used: set[str] = set()

    def visit_Name(self, node: ast.Name) -> ast.Name:
        if node.id not in self._under_test.names:
            return node
        return self._named(self._under_test.names[node.id], node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        if isinstance(node.value, ast.Name) and node.value.id in self._under_test.modules:
            return self._named(node.attr, node)
        return self.generic_visit(node)

    def _named(self, name: str, node: ast.Name | ast.Attribute) -> ast.Name:
        self.used.add(name)
        return ast.copy_location(ast.Name(name, node.ctx), node)


def _parsed(file: Path, where: str) -> ast.Module:
    if file.stat().st_size > MAX_BYTES:
        raise _NotConvertibleError(f"it has more than {MAX_BYTES:,} bytes")
    try:
        return parse_field(file.read_text(encoding="utf-8"), "the file", where)
    except (OSError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise _NotConvertibleError(f"it can't be read: {error}") from error


def _plain(function: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.FunctionDef:
    """The function; one that is asynchronous gets a body which says so when it is converted."""
    if isinstance(function, ast.FunctionDef):
        return function
    body: list[ast.stmt] = [ast.Expr(ast.Await(ast.Constant(None)))]
    return ast.FunctionDef(function.name, function.args, body, [], None, None)


def _only(node: ast.ImportFrom, alias: ast.alias) -> ast.ImportFrom:
    return ast.ImportFrom(node.module, [alias], node.level)


def _check_body(body: Sequence[ast.stmt], of_pytest: Collection[str]) -> None:
    nodes = [node for statement in body for node in ast.walk(statement)]
    for node in nodes:
        if (reason := _REFUSED.get(type(node))) is not None:
            raise _NotConvertibleError(f"it {reason}")
        if isinstance(node, ast.Name) and node.id == "self":
            raise _NotConvertibleError("it uses attributes of its class")
    if used := [node for node in nodes if isinstance(node, ast.Name) and node.id in of_pytest]:
        uses = next((ast.unparse(n) for n in nodes if isinstance(n, ast.Attribute) and n.value is used[0]), used[0].id)
        raise _NotConvertibleError(f"it uses {uses}")
    if not any(isinstance(node, ast.Assert) for node in nodes):
        raise _NotConvertibleError("it asserts nothing")


def _parameters(function: ast.FunctionDef, of_pytest: Collection[str]) -> Iterator[list[str]]:
    """The assignments that stand for each set of parameters; one empty set for a test without any."""
    sets: list[list[list[str]]] = []
    named: set[str] = set()
    for decorator in function.decorator_list:
        names, cases = _parametrize(decorator, of_pytest)
        named |= set(names)
        sets.append([[f"{name} = {value}" for name, value in zip(names, case, strict=True)] for case in cases])
    arguments = function.args
    wanted = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args) if argument.arg != "self"]
    if fixtures := [name for name in wanted if name not in named]:
        raise _NotConvertibleError(f"it takes the fixture {', '.join(fixtures)}")
    for combination in itertools.product(*sets):
        yield [assignment for assignments in combination for assignment in assignments]


def _parametrize(decorator: ast.expr, of_pytest: Collection[str]) -> tuple[list[str], list[list[str]]]:
    """Names and values of a `@pytest.mark.parametrize`; values are literals, or what can be said in one expression."""
    text = ast.unparse(decorator)
    if not isinstance(decorator, ast.Call) or not ast.unparse(decorator.func).endswith("mark.parametrize"):
        raise _NotConvertibleError(f"it is decorated with {text:.60}")
    if len(decorator.args) != 2 or any(keyword.arg != "ids" for keyword in decorator.keywords):
        raise _NotConvertibleError(f"its parameters can't be read: {text:.60}")
    names, values = _names(decorator.args[0]), decorator.args[1]
    if not names or not isinstance(values, ast.List | ast.Tuple):
        raise _NotConvertibleError(f"its parameters are no list: {text:.60}")
    cases = []
    for value in values.elts:
        parts = value.elts if len(names) > 1 and isinstance(value, ast.Tuple | ast.List) else [value]
        if len(parts) != len(names) or _mentions(value, of_pytest):
            raise _NotConvertibleError(f"a set of its parameters can't be read: {ast.unparse(value):.60}")
        cases.append([ast.unparse(part) for part in parts])
    return names, cases


def _names(node: ast.expr) -> list[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [name.strip() for name in node.value.split(",") if name.strip()]
    if isinstance(node, ast.List | ast.Tuple):
        return [str(part.value) for part in node.elts if isinstance(part, ast.Constant)]
    return []


def _mentions(node: ast.AST, names: Collection[str]) -> bool:
    return any(isinstance(part, ast.Name) and part.id in names for part in ast.walk(node))


def _assigned(body: Iterable[ast.stmt]) -> set[str]:
    nodes = (node for statement in body for node in ast.walk(statement))
    return {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}


def _groups(tests: Sequence[_Test]) -> list[list[_Test]]:
    """Tests that have a name in common belong together, in the order in which they stand."""
    group_of: dict[str, int] = {}
    groups: dict[int, list[_Test]] = {}
    for number, test in enumerate(tests):
        joined = {group_of[name] for name in test.used if name in group_of}
        home = min(joined, default=number)
        groups.setdefault(home, [])
        for other in sorted(joined - {home}):
            groups[home] += groups.pop(other)
            group_of = _moved(group_of, other, home)
        groups[home].append(test)
        group_of.update(dict.fromkeys(test.used, home))
    return list(groups.values())


def _moved(group_of: Mapping[str, int], old: int, new: int) -> dict[str, int]:
    return {name: new if group == old else group for name, group in group_of.items()}


def _prompt(docstring: str | None, names: Sequence[str], setup: str, cases: Iterable[TestCase]) -> str:
    """The task in words, where the file has any, and its tests: MBPP's form."""
    task = docstring.strip() if docstring else f"Write {', '.join(f'`{name}`' for name in names)}."
    shown = "\n".join([*([setup] if setup else []), *(case.code.rstrip("\n") for case in cases)])
    return f"{task}\nYour code should pass these tests:\n\n{shown}\n"
