"""The result of an evaluation: figures, verdicts, the files that hold them and the table on the screen.

    DIR/report.json       an `rlcode.types.EvalReport`
    DIR/verdicts.jsonl    a row for each sample, in the order of the samples
    DIR/samples.jsonl     what the model wrote, where a model was evaluated
    DIR/greedy_verdicts.jsonl  a row for each greedy answer, where they were asked for

`report.json` is written last, so where it is, the rest is too.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from eval.evaluations import GREEDY
from eval.judging import Judged
from eval.pass_at_k import mean_interval, pass_at_k
from eval.samples import Sample, sample_rows
from rlcode.errors import InputError
from rlcode.run_directory import write_atomically, write_json
from rlcode.types import EvalReport, Interval, Unscored, Verdict, to_json

_NOT_SHOWN = 10  # names of tasks in one line of the table


def verdict_row(judged: Judged) -> dict[str, Any]:
    """A row of `verdicts.jsonl`. Of an unscored sample, everything that a verdict says is null."""
    verdict = judged.outcome if isinstance(judged.outcome, Verdict) else None
    said = ("error_type", "exception", "tests_passed", "tests_total", "line", "first_failing_test", "signature")
    return {
        "task_id": judged.sample.task_id,
        "index": judged.sample.index,
        "passed": verdict.passed if verdict else None,
        **{name: getattr(verdict, name, None) for name in said},
        "detail": verdict.detail if verdict else None,
        "extraction": judged.program.how,
        "time_s": verdict.time_s if verdict else None,
        "memory_mb": verdict.memory_mb if verdict else None,
        "unscored_reason": judged.outcome.reason if isinstance(judged.outcome, Unscored) else None,
    }


def results_by_task(judged: Iterable[Judged]) -> dict[str, list[bool]]:
    """The scored samples of each task that has samples: whether they passed. A task may have none that is scored."""
    results: dict[str, list[bool]] = {}
    for item in judged:
        scored = results.setdefault(item.sample.task_id, [])
        if isinstance(item.outcome, Verdict):
            scored.append(item.outcome.passed)
    return results


def pass_at_ks(
    results: dict[str, list[bool]], ks: Sequence[int], seed: int
) -> tuple[dict[str, Interval], dict[str, str]]:
    """pass@k by k, and the reason for each k that is withheld."""
    given, withheld = {}, {}
    fewest = min(results, key=lambda task_id: len(results[task_id]))
    for k in ks:
        interval = pass_at_k(results, k, seed)
        if interval is None:
            withheld[str(k)] = f"{fewest} has only {len(results[fewest])} scored samples"
        else:
            given[str(k)] = interval
    return given, withheld


def error_counts(judged: Iterable[Judged]) -> dict[str, int]:
    """Failed samples by error type, the most frequent first."""
    verdicts = (item.outcome for item in judged if isinstance(item.outcome, Verdict))
    counts = Counter(str(verdict.error_type) for verdict in verdicts if verdict.error_type is not None)
    return dict(counts.most_common())


def count_unscored(judged: Iterable[Judged]) -> int:
    return sum(isinstance(item.outcome, Unscored) for item in judged)


def greedy_interval(judged: Sequence[Judged]) -> Interval | None:
    """The share of problems whose greedy answer passes, of those that were scored; None if none was."""
    passed = [float(item.outcome.passed) for item in judged if isinstance(item.outcome, Verdict)]
    return mean_interval(passed) if passed else None


def check_output_dir(path: Path, overwrite: bool) -> None:
    """Refuse a directory that holds another report.

    Raises:
        InputError: it does and `overwrite` is not set, or the path is a file.
    """
    if path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file; name a directory for --output_dir")
    above = next(parent for parent in path.absolute().parents if parent.exists())
    if not above.is_dir():
        raise InputError(f"{above} is a file, so {path} can't be made; name another --output_dir")
    if (path / "report.json").exists() and not overwrite:
        raise InputError(f"{path} holds a report already; choose another --output_dir or add --overwrite")


def write_report(
    path: Path,
    report: EvalReport,
    judged: Iterable[Judged],
    samples: Sequence[Sample] = (),
    greedy: Sequence[Judged] = (),
) -> None:
    """Write the files of the report into the directory `path`, each whole or not at all."""
    for name in ("report.json", "samples.jsonl", GREEDY):  # what is old must not stand beside what is new
        (path / name).unlink(missing_ok=True)
    _write_lines(path / "verdicts.jsonl", (verdict_row(item) for item in judged))
    if samples:
        _write_lines(path / "samples.jsonl", sample_rows(samples))
    if greedy:
        _write_lines(path / GREEDY, (verdict_row(item) for item in greedy))
    write_json(path / "report.json", to_json(report))


def _write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    # in ASCII: a program may hold a lone surrogate, which UTF-8 has no bytes for
    write_atomically(path, "".join(json.dumps(row) + "\n" for row in rows))


def print_report(report: EvalReport) -> None:
    """The report as a table on stdout."""
    from rich.console import Console

    console = Console()
    backend = f"judged by the {report.backend} sandbox"
    console.print(f"{report.benchmark}: {report.num_tasks} tasks, {report.num_samples} samples, {backend}")
    console.print(_table(report))
    for line in _notes(report):
        console.print(line, highlight=False, markup=False)


def _table(report: EvalReport) -> Any:
    from rich.table import Table

    table = Table()
    table.add_column("")
    table.add_column("value", justify="right")
    table.add_column("95 % interval", justify="right")
    for name, interval in _figures(report):
        table.add_row(name, f"{interval.value:.1%}", f"{interval.low:.1%} – {interval.high:.1%}")
    table.add_section()
    scored = report.num_samples - report.unscored
    for error_type, count in report.error_types.items():
        table.add_row(error_type, str(count), f"{count / scored:.1%} of scored samples")
    return table


def _figures(report: EvalReport) -> list[tuple[str, Interval]]:
    figures = [(f"pass@{k}", interval) for k, interval in report.pass_at_k.items()]
    return [*figures, ("greedy", report.greedy)] if report.greedy else figures


def _notes(report: EvalReport) -> list[str]:
    notes = [f"pass@{k} is withheld: {reason}" for k, reason in report.withheld.items()]
    if report.unscored or report.greedy_unscored:
        notes.append(f"{report.unscored + report.greedy_unscored} samples could not be judged and count for nothing")
    missing = report.tasks_without_samples
    if missing:
        more = f" and {len(missing) - _NOT_SHOWN} more" if len(missing) > _NOT_SHOWN else ""
        notes.append(f"{len(missing)} tasks without samples: {', '.join(missing[:_NOT_SHOWN])}{more}")
    return notes
