"""Compares evaluations of one benchmark: figures, problems that were won and lost, error types that went and came."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from eval.evaluations import PASSED, Evaluation, Outcomes
from eval.paired import holm
from eval.pass_at_k import estimate_pass_at_k
from eval.problem_differences import ProblemDifference, problem_difference
from rlcode.data.forgeable import FORGEABLE
from rlcode.errors import InputError

LEVEL = 0.05
_NAMED = 5  # tasks in one message
_HOW_DRAWN = ("engine", "prompt_style", "system_prompt", "num_shots", "enable_thinking")
"""Entries of a report's `policy` that may differ."""


@dataclass(frozen=True)
class Figure:
    """One figure of both sides, `pass@1` say, and their difference. `p_holm` is its p-value corrected for how many
    evaluations were compared with the baseline."""

    name: str
    baseline: float
    other: float
    difference: ProblemDifference
    p_holm: float

    @property
    def is_seen(self) -> bool:
        return self.p_holm < LEVEL


@dataclass(frozen=True)
class ChangedProblem:
    """A problem with the share of its samples that passed, before and after."""

    task_id: str
    baseline: float
    other: float


@dataclass(frozen=True)
class Comparison:
    """What `other` has over `baseline`."""

    baseline: str
    other: str
    figures: list[Figure]
    won: list[ChangedProblem]
    """Problems of which more samples pass, the most extreme first."""
    lost: list[ChangedProblem]
    error_types: list[Figure]
    """Share of the samples with each error type; the p-values are corrected for their number."""
    withheld: dict[str, str]
    """Figures that can't be given, with the reason."""
    notes: list[str]
    """What a reader has to know: what was left out, and what differs though it may."""


def compare(
    evaluations: Sequence[Evaluation],
    *,
    ks: Sequence[int] = (),
    common: bool = False,
    ignore: Collection[str] = (),
    seed: int = 0,
) -> list[Comparison]:
    """Every evaluation but the first against the first.

    `ks`: those of pass@k, by default those that all reports give. `common`: compare on the problems that all have, and
    have enough scored samples of. `ignore`: settings that may differ. `seed` decides bootstrap and sign flips.

    Raises:
        InputError: they are of different problems or settings, have no k in common, or there are fewer than two.
    """
    if len(evaluations) < 2:
        raise InputError("a comparison needs two evaluations or more; name the baseline first")
    _refuse_different_settings(evaluations, ignore)
    ks = list(ks) or _common_ks(evaluations)
    notes = (
        _told_differences(evaluations)
        + _unknown_settings(evaluations)
        + [f"{n} differs, as allowed" for n in ignore]
        + [f"{one.name} {FORGEABLE}" for one in evaluations if one.report.get("forgeable")]
    )
    tasks, left_out = _tasks(evaluations, common)
    baseline, *others = evaluations
    comparisons = [_compare_two(baseline, other, tasks, ks, common, seed) for other in others]
    return [replace(one, notes=notes + left_out + one.notes) for one in _corrected(comparisons)]


def _refuse_different_settings(evaluations: Sequence[Evaluation], ignore: Collection[str]) -> None:
    baseline, *others = evaluations
    known = {name for one in evaluations for name in one.settings}
    if unknown := sorted(set(ignore) - known):
        raise InputError(
            f"--ignore: no setting {unknown[0]!r}; these reports have {', '.join(sorted(known)) or 'none'}"
        )
    for other in others:
        ours, theirs = baseline.settings, other.settings
        different = [n for n in ours if n in theirs and n not in ignore and ours[n] != theirs[n]]
        if different:
            told = "; ".join(f"{name}: {ours[name]!r} and {theirs[name]!r}" for name in different)
            raise InputError(
                f"{baseline.name} and {other.name} can't be compared: {told}. Where that is what you compare, "
                f"add --ignore {' '.join(different)}"
            )


def _common_ks(evaluations: Sequence[Evaluation]) -> list[int]:
    """The ks that all reports give; 1 where some verdicts have no report."""
    if not all(one.report for one in evaluations):
        return [1]
    common = set.intersection(*(set(one.ks) for one in evaluations))
    if not common and not all(one.greedy for one in evaluations):
        told = "; ".join(f"{one.name}: {', '.join(map(str, one.ks)) or 'none'}" for one in evaluations)
        raise InputError(f"the reports give pass@k for no k in common ({told}); choose one with --k")
    return sorted(common)


def _told_differences(evaluations: Sequence[Evaluation]) -> list[str]:
    """What differs though it may: what judged them (a verdict is the same everywhere, but packages decide some), what
    drew the samples, and how the problems were put to it."""
    notes = []
    for key in ("backend", "image_digest", *_HOW_DRAWN):
        said = {one.name: one.report.get("policy", {}) if key in _HOW_DRAWN else one.report for one in evaluations}
        found = {name: repr(values[key]) for name, values in said.items() if key in values}
        if len(set(found.values())) > 1:
            notes.append(f"{key} differs: {', '.join(f'{name} {value:.80}' for name, value in found.items())}")
    return notes


def _unknown_settings(evaluations: Sequence[Evaluation]) -> list[str]:
    known = sorted({name for one in evaluations for name in one.settings})
    notes = []
    for one in evaluations:
        missing = [name for name in known if name not in one.settings]
        if missing:
            notes.append(f"{one.name} does not say its {', '.join(missing)}")
    return notes


def _tasks(evaluations: Sequence[Evaluation], common: bool) -> tuple[list[str], list[str]]:
    """The problems that all have, in the baseline's order, and a note of what that leaves out."""
    shared = set.intersection(*(set(one.outcomes) for one in evaluations))
    left_out = {one.name: [task for task in one.outcomes if task not in shared] for one in evaluations}
    told = "; ".join(f"only {name} has {_some(tasks)}" for name, tasks in left_out.items() if tasks)
    if not shared:
        raise InputError(f"the evaluations have no problem in common: {told}")
    if told and not common:
        raise InputError(f"the evaluations are not of the same problems: {told}; --common compares on the others")
    notes = [f"compared on the {len(shared)} problems that all have: {told}"] if told else []
    return [task for task in evaluations[0].outcomes if task in shared], notes


def _some(tasks: Sequence[str]) -> str:
    more = f" and {len(tasks) - _NAMED} more" if len(tasks) > _NAMED else ""
    return ", ".join(tasks[:_NAMED]) + more


def _compare_two(
    baseline: Evaluation, other: Evaluation, tasks: Sequence[str], ks: Sequence[int], common: bool, seed: int
) -> Comparison:
    figures: list[Figure] = []
    of_base: list[Figure] = []
    withheld: dict[str, str] = {}
    notes: list[str] = []
    for k in ks:
        scored, short = _with_enough(tasks, k, baseline, other)
        if short and not common:
            withheld[f"pass@{k}"] = f"{_some(short)}: fewer than {k} scored samples; --common leaves such problems out"
        elif not scored:
            withheld[f"pass@{k}"] = f"no problem has {k} scored samples in both"
        else:
            figures.append(_pass_at_k(f"pass@{k}", baseline.outcomes, other.outcomes, scored, k, seed))
            if _have_all(scored, baseline.base, other.base):
                of_base.append(_pass_at_k(f"pass@{k} base", baseline.base, other.base, scored, k, seed))
        if short and common:
            notes.append(f"pass@{k} without {_some(short)}: fewer than {k} scored samples")
    figures += [
        *of_base,
        *_greedy("greedy", baseline.greedy, other.greedy, tasks, seed),
        *_greedy("greedy base", baseline.greedy_base, other.greedy_base, tasks, seed),
    ]
    scored, _ = _with_enough(tasks, 1, baseline, other)
    won, lost = _changed(baseline.outcomes, other.outcomes, scored)
    types = _error_types(baseline.outcomes, other.outcomes, scored, seed)
    return Comparison(baseline.name, other.name, figures, won, lost, types, withheld, notes)


def _with_enough(tasks: Iterable[str], k: int, *evaluations: Evaluation) -> tuple[list[str], list[str]]:
    """The tasks with k scored samples or more in all, and the others."""
    enough: list[str] = []
    short: list[str] = []
    for task in tasks:
        fewest = min(len(one.outcomes[task]) for one in evaluations)
        (enough if fewest >= k else short).append(task)
    return enough, short


def _have_all(tasks: Iterable[str], *sides: Outcomes) -> bool:
    """Whether all sides have outcomes of all tasks: of their base tests, which plus sets alone have."""
    return all(task in side for task in tasks for side in sides)


def _pass_at_k(name: str, before: Outcomes, after: Outcomes, tasks: Sequence[str], k: int, seed: int) -> Figure:
    baseline, other = ([_estimate(side[task], k) for task in tasks] for side in (before, after))
    return _figure(name, baseline, other, seed)


def _estimate(outcomes: Sequence[str], k: int) -> float:
    return estimate_pass_at_k(len(outcomes), outcomes.count(PASSED), k)


def _figure(name: str, before: Sequence[float], after: Sequence[float], seed: int) -> Figure:
    difference = problem_difference(before, after, seed)
    return Figure(name, sum(before) / len(before), sum(after) / len(after), difference, difference.p)


def _greedy(name: str, before: Outcomes, after: Outcomes, tasks: Sequence[str], seed: int) -> list[Figure]:
    both = [task for task in tasks if before.get(task) and after.get(task)]
    if not both:
        return []
    baseline, other = ([float(side[task][0] == PASSED) for task in both] for side in (before, after))
    return [_figure(name, baseline, other, seed)]


def _changed(
    before: Outcomes, after: Outcomes, tasks: Iterable[str]
) -> tuple[list[ChangedProblem], list[ChangedProblem]]:
    changed = [ChangedProblem(task, _estimate(before[task], 1), _estimate(after[task], 1)) for task in tasks]
    won = [problem for problem in changed if problem.other > problem.baseline]
    lost = [problem for problem in changed if problem.other < problem.baseline]
    return (
        sorted(won, key=lambda problem: problem.baseline - problem.other),
        sorted(lost, key=lambda problem: problem.other - problem.baseline),
    )


def _error_types(before: Outcomes, after: Outcomes, tasks: Sequence[str], seed: int) -> list[Figure]:
    """The share of each error type, the greatest change first."""
    names = sorted({outcome for side in (before, after) for task in tasks for outcome in side[task]} - {PASSED})
    figures = [_figure(name, _shares(before, tasks, name), _shares(after, tasks, name), seed) for name in names]
    corrected = holm([figure.difference.p for figure in figures])
    figures = [replace(figure, p_holm=p) for figure, p in zip(figures, corrected, strict=True)]
    return sorted(figures, key=lambda figure: -abs(figure.difference.value))


def _shares(outcomes: Outcomes, tasks: Iterable[str], name: str) -> list[float]:
    return [outcomes[task].count(name) / len(outcomes[task]) for task in tasks]


def _corrected(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Each figure's p-value corrected for the number of evaluations that were held against the baseline."""
    p_values: dict[str, list[tuple[int, float]]] = {}
    for place, one in enumerate(comparisons):
        for figure in one.figures:
            p_values.setdefault(figure.name, []).append((place, figure.difference.p))
    by_place: dict[tuple[str, int], float] = {}
    for name, found in p_values.items():
        corrected = holm([p for _, p in found])
        by_place |= {(name, place): p for (place, _), p in zip(found, corrected, strict=True)}
    return [
        replace(one, figures=[replace(f, p_holm=by_place[f.name, place]) for f in one.figures])
        for place, one in enumerate(comparisons)
    ]
