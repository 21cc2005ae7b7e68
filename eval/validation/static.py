"""What can be found without running anything: names, duplicates, contamination."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from eval.validation.findings import Finding, Kind
from rlcode.data.overlap import N_GRAM, PROMPT, SOLUTION, Overlap, contamination, duplicates
from rlcode.data.undefined_names import undefined_in_prompt, undefined_in_tests
from rlcode.types import Problem


def static_findings(
    problems: Sequence[Problem], against: Mapping[str, Sequence[Problem]], least_share: float
) -> list[Finding]:
    """Everything of that kind. `against` are the sets that are held back, by name; `least_share` is the share of
    n-grams from which on two texts are alike."""
    return [
        *(finding for problem in problems for finding in _names(problem)),
        *(_duplicate(overlap) for overlap in duplicates(problems, least_share)),
        *(
            _contaminated(name, overlap)
            for name, others in against.items()
            for overlap in contamination(problems, others, least_share)
        ),
    ]


def _names(problem: Problem) -> Iterator[Finding]:
    try:
        undefined, in_prompt = undefined_in_tests(problem), undefined_in_prompt(problem)
    except ValueError as error:
        yield Finding(problem.task_id, Kind.BAD_TESTS, str(error))
        return
    if undefined:
        yield Finding(problem.task_id, Kind.UNDEFINED_NAME, ", ".join(undefined))
    if in_prompt:
        yield Finding(problem.task_id, Kind.UNDEFINED_IN_PROMPT, ", ".join(in_prompt))


def _duplicate(overlap: Overlap) -> Finding:
    is_same = overlap.part == PROMPT and overlap.how != N_GRAM
    return Finding(overlap.task_id, Kind.DUPLICATE if is_same else Kind.SIMILAR, str(overlap))


def _contaminated(name: str, overlap: Overlap) -> Finding:
    """Solutions that share n-grams are often those of related problems; all else is the problem itself."""
    is_related = overlap.part == SOLUTION and overlap.how == N_GRAM
    return Finding(overlap.task_id, Kind.SIMILAR if is_related else Kind.CONTAMINATED, f"{name}: {overlap}")
