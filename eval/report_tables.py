"""The figures of a report for other programs and for people: Markdown, CSV, and a table of the problems."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from eval.figures import Figures
from eval.pass_at_k import estimate_pass_at_k
from rlcode.data.forgeable import FORGEABLE
from rlcode.types import EvalReport, Interval, Problem

MARKDOWN, CSV, PROBLEMS = TABLES = ("report.md", "report.csv", "problems.csv")
_SHOWN = 10  # names of tasks in one note


def tables(report: EvalReport, figures: Figures, problems: Sequence[Problem]) -> dict[str, str]:
    """The text of each file, by name."""
    ks = [int(k) for k in report.pass_at_k]
    return {
        MARKDOWN: markdown(report),
        CSV: _csv([("figure", "value", "low", "high"), *_csv_rows(report)]),
        PROBLEMS: _csv([_PROBLEM_COLUMNS + tuple(f"pass@{k}" for k in ks), *_problem_rows(figures, problems, ks)]),
    }


def figures_of(report: EvalReport) -> list[tuple[str, Interval]]:
    """pass@k and what else is a share with an interval, by name; the base tests' own beside those of a plus set."""
    figures = [(f"pass@{k}", interval) for k, interval in report.pass_at_k.items()]
    figures += [(f"pass@{k} base", interval) for k, interval in report.pass_at_k_base.items()]
    greedy = [("greedy", report.greedy), ("greedy base", report.greedy_base)]
    return [*figures, *((name, interval) for name, interval in greedy if interval is not None)]


def part_figures(report: EvalReport) -> Iterator[tuple[str, Interval]]:
    """pass@k of each difficulty and tag, by name."""
    for kind, parts in (("difficulty", report.by_difficulty), ("tag", report.by_tag)):
        for name, part in parts.items():
            for k, interval in part.pass_at_k.items():
                yield f"pass@{k}, {kind} {name} ({part.num_tasks} tasks)", interval


def markdown(report: EvalReport) -> str:
    """The figures as a table in Markdown, under a line that says of what."""
    scored = max(report.num_samples - report.unscored, 1)
    lines = [
        f"{report.benchmark}: {report.num_tasks} tasks, {report.num_samples} samples, "
        f"judged by the {report.backend} sandbox",
        "",
        "| figure | value | 95 % interval |",
        "| --- | ---: | ---: |",
        *(
            f"| {_cell(name)} | {_percent(i.value)} | {_percent(i.low)} – {_percent(i.high)} |"
            for name, i in _all(report)
        ),
        *(f"| {name} | {_percent(count / scored)} of samples | |" for name, count in report.error_types.items()),
    ]
    notes = [f"{note}." for note in notes_of(report)]
    return "\n".join(lines + (["", *notes] if notes else [])) + "\n"


def notes_of(report: EvalReport) -> list[str]:
    """What a reader of the figures must know: what is withheld, lost, left out or missing."""
    notes = [f"pass@{k} is withheld: {reason}" for k, reason in report.withheld.items()]
    if report.unscored or report.greedy_unscored:
        notes.append(f"{report.unscored + report.greedy_unscored} samples could not be judged and count for nothing")
    if report.forgeable:
        notes.append(FORGEABLE)
    if report.left_out:
        notes.append(f"{len(report.left_out)} tasks are left out: the sandbox lacks libraries that they need")
    missing = report.tasks_without_samples
    if missing:
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        notes.append(f"{len(missing)} tasks without samples: {', '.join(missing[:_SHOWN])}{more}")
    return notes


def _all(report: EvalReport) -> list[tuple[str, Interval]]:
    return [*figures_of(report), *part_figures(report)]


def _percent(share: float) -> str:
    return f"{share:.1%}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _csv_rows(report: EvalReport) -> Iterator[tuple[Any, ...]]:
    for name, interval in _all(report):
        yield name, interval.value, interval.low, interval.high
    for name, count in report.error_types.items():
        yield f"error {name}", count, "", ""
    yield "unscored", report.unscored, "", ""
    if report.forgeable:
        yield "forgeable", 1, "", ""
    if report.left_out:
        yield "left out", len(report.left_out), "", ""


_PROBLEM_COLUMNS = ("task_id", "difficulty", "tags", "scored", "passed", "passed_base", "most_frequent_error")


def _problem_rows(figures: Figures, problems: Iterable[Problem], ks: Sequence[int]) -> Iterator[tuple[Any, ...]]:
    """Of each problem with samples; what it has too few scored samples for, or no base tests, is empty."""
    for problem in problems:
        results = figures.results.get(problem.task_id)
        if results is None:
            continue
        base = figures.base.get(problem.task_id)
        errors = figures.errors.get(problem.task_id)
        yield (
            problem.task_id,
            problem.difficulty,
            " ".join(problem.tags),
            len(results),
            sum(results),
            "" if base is None else sum(base),
            errors.most_common(1)[0][0] if errors else "",
            *(estimate_pass_at_k(len(results), sum(results), k) if len(results) >= k else "" for k in ks),
        )


def _csv(rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
