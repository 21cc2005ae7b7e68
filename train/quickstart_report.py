"""What the quickstart shows: live progress, and the table of its stages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from transformers import TrainerCallback

from eval.pass_at_k import pass_at_k
from rlcode.types import ErrorType, Interval, Rollout

T = TypeVar("T")


@dataclass(frozen=True)
class Stage:
    """Held-out figures of the policy after a stage. `error_rates` are shares of all scored samples."""

    name: str
    pass_at_1: Interval | None
    """None where a problem has too few scored samples: the value is withheld."""
    pass_at_10: Interval | None
    greedy: Interval | None
    error_rates: dict[str, float]
    unscored: int
    seconds: float
    """Wall time since the quickstart began."""


def measure(name: str, sampled: Sequence[Rollout], greedy: Sequence[Rollout], seconds: float) -> Stage:
    """The figures of one stage from its sampled and its greedy rollouts."""
    verdicts = [rollout.verdict for rollout in sampled if rollout.verdict is not None]
    errors = Counter(verdict.error_type for verdict in verdicts if verdict.error_type is not None)
    results = passed_by_task(sampled)
    return Stage(
        name=name,
        pass_at_1=pass_at_k(results, 1),
        pass_at_10=pass_at_k(results, 10),
        greedy=pass_at_k(passed_by_task(greedy), 1),
        error_rates={error_type: count / len(verdicts) for error_type, count in errors.most_common()},
        unscored=len(sampled) - len(verdicts),
        seconds=seconds,
    )


def passed_by_task(rollouts: Iterable[Rollout]) -> dict[str, list[bool]]:
    """Whether each scored sample passed, by task id."""
    results: dict[str, list[bool]] = {}
    for rollout in rollouts:
        if rollout.verdict is not None:
            results.setdefault(rollout.completion.task_id, []).append(rollout.verdict.passed)
    return results


def describe_stage(stage: Stage) -> str:
    """One line for the log."""
    return f"{stage.name}: pass@1 {_cell(stage.pass_at_1)}, greedy {_cell(stage.greedy)}"


def stage_table(stages: Sequence[Stage]) -> Table:
    """Held-out pass rates with 95 % intervals, and the rate of each error type, a column for each stage."""
    table = Table(title="held-out problems: pass@k with 95 % intervals, share of samples by error type")
    table.add_column("")
    for stage in stages:
        table.add_column(stage.name, justify="right")
    for cells in table_rows(stages):
        # the interval below the value, so that five columns fit a terminal
        table.add_row(*(cell.replace(" [", "\n[") for cell in cells), end_section=cells[0] == "greedy")
    return table


def table_rows(stages: Sequence[Stage]) -> list[list[str]]:
    """The body of the table, as text."""
    rows = [
        ["pass@1", *(_cell(stage.pass_at_1) for stage in stages)],
        ["pass@10", *(_cell(stage.pass_at_10) for stage in stages)],
        ["greedy", *(_cell(stage.greedy) for stage in stages)],
    ]
    for error_type in _error_types(stages):
        rows.append([error_type, *(f"{stage.error_rates.get(error_type, 0):.1%}" for stage in stages)])
    return rows


def markdown_table(stages: Sequence[Stage]) -> str:
    """The same table in Markdown."""
    header = ["", *(stage.name for stage in stages)]
    lines = [header, ["---"] + ["---:"] * len(stages), *table_rows(stages)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _cell(interval: Interval | None) -> str:
    return "withheld" if interval is None else str(interval)


def _error_types(stages: Sequence[Stage]) -> list[str]:
    largest = {e: max(stage.error_rates.get(e, 0) for stage in stages) for e in ErrorType}
    return [str(e) for e in sorted(largest, key=lambda e: (-largest[e], e)) if largest[e] > 0]


class Reporter:
    """Progress bars on the terminal, one for each piece of work; a plain line for each where there is no terminal."""

    def __init__(self) -> None:
        self.console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description:<28}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
            console=self.console,
        )

    def __enter__(self) -> Reporter:
        self._progress.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._progress.stop()

    def say(self, text: str) -> None:
        self.console.print(text, highlight=False)

    @contextmanager
    def work(self, description: str, total: int | None = None) -> Iterator[Bar]:
        """A bar for the time of a `with`."""
        task = self._progress.add_task(description, total=total, note="")
        yield Bar(self._progress, task)
        if not self.console.is_terminal:
            self.say(f"{description}: done")

    def follow(self, items: Iterable[T], description: str, total: int) -> Iterator[T]:
        """The items, counted by a bar."""
        with self.work(description, total) as bar:
            for number, item in enumerate(items, start=1):
                bar.show(number, total)
                yield item


@dataclass
class Bar:
    """One progress bar."""

    progress: Progress
    task: TaskID

    def show(self, done: int, total: int, note: str = "") -> None:
        self.progress.update(self.task, completed=done, total=total, note=note)


class BarCallback(TrainerCallback):
    """Shows a trainer's steps on a bar, with its latest loss or reward."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._note = ""

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        for key in ("reward", "loss"):
            if logs and key in logs:
                self._note = f"{key} {float(logs[key]):.3f}"
                break

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._bar.show(state.global_step, state.max_steps, self._note)
