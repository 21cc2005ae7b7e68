"""What can be wrong with a problem."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from rlcode.types import Problem


class Kind(StrEnum):
    """A kind of finding; those that `spoils` a problem keep it out of training."""

    BAD_TESTS = "bad_tests"
    UNDEFINED_NAME = "undefined_name"
    UNDEFINED_IN_PROMPT = "undefined_in_prompt"
    REFERENCE_FAILS = "reference_fails"
    FLAKY_REFERENCE = "flaky_reference"
    TRIVIAL = "trivial"
    DUPLICATE = "duplicate"
    CONTAMINATED = "contaminated"
    SIMILAR = "similar"
    CONSTANT = "constant"
    SLOW_REFERENCE = "slow_reference"
    NO_REFERENCE = "no_reference"
    NOT_JUDGED = "not_judged"

    @property
    def spoils(self) -> bool:
        return self not in _ONLY_TOLD

    @property
    def meaning(self) -> str:
        return MEANINGS[self]


_ONLY_TOLD = {Kind.SIMILAR, Kind.CONSTANT, Kind.SLOW_REFERENCE, Kind.NO_REFERENCE, Kind.NOT_JUDGED}
MEANINGS = {
    Kind.BAD_TESTS: "the tests can't be run, whatever the program is",
    Kind.UNDEFINED_NAME: "the tests use a name that nothing defines",
    Kind.UNDEFINED_IN_PROMPT: "the head of the program uses a name that nothing defines",
    Kind.REFERENCE_FAILS: "the reference solution does not pass its own tests",
    Kind.FLAKY_REFERENCE: "the reference solution passes at times",
    Kind.TRIVIAL: "a program that does nothing passes",
    Kind.DUPLICATE: "the same prompt stands earlier in the set",
    Kind.CONTAMINATED: "it is in a set that is held back",
    Kind.SIMILAR: "much like another problem",
    Kind.CONSTANT: "a program that always answers alike passes",
    Kind.SLOW_REFERENCE: "the reference solution takes more than half of the time limit",
    Kind.NO_REFERENCE: "there is no reference solution to be judged",
    Kind.NOT_JUDGED: "the sandbox could not judge it",
}


@dataclass(frozen=True)
class Finding:
    """Something that is wrong with a problem, or worth a look."""

    task_id: str
    kind: Kind
    detail: str


def in_order(findings: Iterable[Finding], problems: Sequence[Problem]) -> list[Finding]:
    """By the order of the problems, then of the kinds."""
    places = {problem.task_id: place for place, problem in enumerate(problems)}
    kinds = list(Kind)
    return sorted(findings, key=lambda one: (places[one.task_id], kinds.index(one.kind), one.detail))


def spoilt(findings: Iterable[Finding]) -> list[str]:
    """The tasks that are not to be trained on, each once, in the order of the findings."""
    return list(dict.fromkeys(finding.task_id for finding in findings if finding.kind.spoils))


def counts(findings: Iterable[Finding]) -> dict[Kind, int]:
    """Problems with each kind of finding, in the order of the kinds."""
    found = Counter(kind for _, kind in {(finding.task_id, finding.kind) for finding in findings})
    return {kind: found[kind] for kind in Kind if found[kind]}
