"""Problems that are there twice, and problems of a training set that are in a test set too.

Prompts and reference solutions are compared at three depths: `exact`; `normalised` (prompts by their words, whatever
the function is called; solutions by their syntax tree, whatever the variables are called, without comments and
docstrings); and `n-gram`, the share of the shorter one's n-grams that both have. Prompts are taken without the tests
in them, since MBPP's have them all.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from rlcode.types import Problem

EXACT, NORMALISED, N_GRAM = "exact", "normalised", "n-gram"
PROMPT, SOLUTION = "prompt", "solution"
WORDS_IN_A_GRAM = 8
TOKENS_IN_A_GRAM = 13
LEAST_SHARE = 0.6
LEAST_TOKENS = 20
"""Shorter solutions are not compared: `return len(x)` solves many problems."""
MAX_CHARACTERS = 1 << 18
"""Longer prompts and solutions are compared exactly, and no further."""
_COMMON = 50
"""An n-gram that more problems have says nothing: `Write a python function to`."""
_WORD = re.compile(r"\w+")
_WORD_OR_SIGN = re.compile(r"\w+|[^\w\s.,;:!?'\"`]")
"""What signs a task is about counts, brackets say; how its sentences are punctuated does not."""
_TOKEN = re.compile(r"\w+|[^\w\s]")

Grams = frozenset[int]


@dataclass(frozen=True)
class Overlap:
    """The problem `task_id` is like `other`."""

    task_id: str
    other: str
    part: str
    """`prompt` or `solution`."""
    how: str
    """`exact`, `normalised` or `n-gram`: the first that holds."""
    share: float = 1.0
    """Of the n-grams of the shorter one, those that both have."""

    def __str__(self) -> str:
        share = f" {self.share:.0%}" if self.how == N_GRAM else ""
        return f"{self.part} of {self.other}, {self.how}{share}"


@dataclass(frozen=True)
class _Text:
    """A prompt or a solution as it is compared."""

    task_id: str
    exact: str
    normalised: str
    grams: Grams


def duplicates(problems: Sequence[Problem], least_share: float = LEAST_SHARE) -> list[Overlap]:
    """What each problem has in common with one before it: of each part, the most alike."""
    return [one for texts in _parts(problems) for one in _overlaps(*texts, None, least_share)]


def contamination(
    problems: Sequence[Problem], against: Sequence[Problem], least_share: float = LEAST_SHARE
) -> list[Overlap]:
    """What each problem has in common with one of `against`: of each part, the most alike."""
    pairs = zip(_parts(problems), _parts(against), strict=True)
    return [one for (part, ours), (_, theirs) in pairs for one in _overlaps(part, ours, theirs, least_share)]


def _parts(problems: Sequence[Problem]) -> Iterator[tuple[str, list[_Text]]]:
    yield PROMPT, [text for problem in problems if (text := _prompt(problem)) is not None]
    yield SOLUTION, [text for problem in problems if (text := _solution(problem)) is not None]


def _overlaps(part: str, texts: list[_Text], against: list[_Text] | None, least: float) -> Iterator[Overlap]:
    """Without `against`, each text is held against those before it."""
    known = _Index()
    for text in against or ():
        known.add(text)
    for text in texts:
        found = known.most_alike(text, least)
        if found is not None:
            other, how, share = found
            yield Overlap(text.task_id, other, part, how, share)
        if against is None:
            known.add(text)


class _Index:
    """Texts by what they can be found by."""

    def __init__(self) -> None:
        self._exact: dict[str, str] = {}
        self._normalised: dict[str, str] = {}
        self._by_gram: dict[int, list[int]] = {}
        self._texts: list[_Text] = []

    def add(self, text: _Text) -> None:
        for gram in text.grams:
            self._by_gram.setdefault(gram, []).append(len(self._texts))
        self._texts.append(text)
        self._exact.setdefault(text.exact, text.task_id)
        if text.normalised:
            self._normalised.setdefault(text.normalised, text.task_id)

    def most_alike(self, text: _Text, least: float) -> tuple[str, str, float] | None:
        """Task, depth and share of the most alike, if any is alike enough."""
        if text.exact in self._exact:
            return self._exact[text.exact], EXACT, 1.0
        if text.normalised in self._normalised:
            return self._normalised[text.normalised], NORMALISED, 1.0
        shared = Counter(place for gram in text.grams for place in self._places(gram))
        shares = [
            (count / min(len(text.grams), len(self._texts[place].grams)), -place) for place, count in shared.items()
        ]
        share, place = max(shares, default=(0.0, 0))
        return (self._texts[-place].task_id, N_GRAM, share) if shares and share >= least else None

    def _places(self, gram: int) -> Collection[int]:
        places = self._by_gram.get(gram, [])
        return places if len(places) <= _COMMON else ()


def _prompt(problem: Problem) -> _Text | None:
    text = problem.prompt
    for code in (problem.test_setup, *(test.code for test in problem.tests)):
        text = text.replace(code.strip(), "") if code.strip() else text
    text = text.strip()
    if not text or len(text) > MAX_CHARACTERS:
        return _Text(problem.task_id, text, "", frozenset()) if text else None
    # where it is called or defined alone: `first` may be a word of the task as well
    unnamed = re.sub(rf"\b{re.escape(problem.entry_point)}(?=\s*\()", "", text) if problem.entry_point else text
    signs = _WORD_OR_SIGN.findall(unnamed.lower())
    words = [sign for sign in signs if _WORD.fullmatch(sign)]
    return _Text(problem.task_id, text, " ".join(signs), _grams(words, WORDS_IN_A_GRAM))


def _solution(problem: Problem) -> _Text | None:
    code = problem.reference_solution.strip()
    if not code or len(code) > MAX_CHARACTERS:
        return _Text(problem.task_id, code, "", frozenset()) if code else None
    tokens = _TOKEN.findall(_renamed(code))
    if len(tokens) < LEAST_TOKENS:
        return None
    return _Text(problem.task_id, code, " ".join(tokens), _grams(tokens, TOKENS_IN_A_GRAM))


def _grams(tokens: Sequence[str], size: int) -> Grams:
    return frozenset(hash(tuple(tokens[start : start + size])) for start in range(len(tokens) - size + 1))


def _renamed(code: str) -> str:
    """The program with its own names numbered in the order in which they come, without docstrings and comments; as it
    is where it can't be parsed. Reference solutions are trusted."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(code)
        return ast.unparse(_Renamer(_own_names(tree)).visit(tree))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return code


def _own_names(tree: ast.Module) -> dict[str, str]:
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        for name in _bound_by(node):
            names.setdefault(name, f"v{len(names)}")
    return names


def _bound_by(node: ast.AST) -> Iterable[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.arg):
        return [node.arg]
    return [node.id] if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) else []


class _Renamer(ast.NodeTransformer):
    def __init__(self, names: dict[str, str]) -> None:
        self._names = names

    def visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            node.name = self._names.get(node.name, node.name)
            if ast.get_docstring(node, clean=False) is not None:
                node.body = node.body[1:] or [ast.Pass()]
        elif isinstance(node, ast.arg):
            node.arg, node.annotation = self._names.get(node.arg, node.arg), None
        elif isinstance(node, ast.Name):
            node.id = self._names.get(node.id, node.id)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
        visited: ast.AST = self.generic_visit(node)
        return visited
