"""How a training run gets on, for the person at the terminal: a bar with a few figures, elsewhere a line at each entry
of the log. What the figures mean is in docs/metrics.md."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from transformers import TrainerCallback

_REFRESH_S = 0.2
_SMALLEST_SHARE = 0.01


@dataclass(frozen=True)
class Figure:
    """A metric that is shown, its label, and how it is written."""

    label: str
    metric: str
    form: str = ".3g"


FIGURES = {
    "grpo": (
        Figure("reward", "reward"),
        Figure("passed", "rollouts/pass_rate", ".1%"),
        Figure("unscored", "rollouts/unscored", ".1%"),
        Figure("groups without variance", "groups/zero_variance_share", ".1%"),
        Figure("entropy", "entropy"),
    ),
    "dpo": (
        Figure("loss", "loss", ".4f"),
        Figure("margin", "rewards/margins"),
        Figure("accuracy", "rewards/accuracies", ".1%"),
        Figure("quiz pass@1", "quiz/pass@1", ".1%"),
    ),
    "sft": (Figure("loss", "loss", ".4f"), Figure("token accuracy", "mean_token_accuracy", ".1%")),
}


def figures(kind: str, metrics: Mapping[str, float]) -> list[str]:
    """What `metrics` say of a run of this kind, in a few words each."""
    shown = [
        f"{figure.label} {metrics[figure.metric]:{figure.form}}" for figure in FIGURES[kind] if figure.metric in metrics
    ]
    seconds = metrics.get("seconds/step", 0.0)
    if not seconds:
        return shown
    if "rollouts/tokens" in metrics:
        shown.append(f"{metrics['rollouts/tokens'] / seconds:.0f} tokens/s")
    return [*shown, f"{seconds:.3g} s/step{_split(metrics, seconds)}"]


def _split(metrics: Mapping[str, float], seconds: float) -> str:
    """The parts of a step that are more than a trifle, the longest first."""
    parts = {name: value / seconds for name, value in metrics.items() if name.startswith("seconds/")}
    del parts["seconds/step"]
    longest = sorted(parts.items(), key=lambda part: -part[1])
    split = [f"{name.removeprefix('seconds/')} {share:.0%}" for name, share in longest if share >= _SMALLEST_SHARE]
    return f" ({', '.join(split)})" if len(split) > 1 else ""


class ProgressLines(TrainerCallback):
    """Prints a line at each entry of the log. Belongs to the first process."""

    def __init__(self, kind: str, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        """`kind` is one of `FIGURES`."""
        self._kind = kind
        self._console = console
        self._clock = clock
        self._metrics: dict[str, float] = {}  # the last value of each
        self._alarm = ""
        self._began = clock()
        self._began_at = self._step = self._total = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The time that is left is estimated from here."""
        self._began, self._began_at = self._clock(), state.global_step
        self._step, self._total = state.global_step, state.max_steps

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Another optimizer step is done."""
        self._step = state.global_step

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **kwargs: Any) -> None:
        """Show an entry; not the last one, in which there is nothing new."""
        self._metrics |= {name: value for name, value in logs.items() if isinstance(value, int | float)}
        if "train_runtime" not in logs:
            self._show()

    def show_alarm(self, alarm: str) -> None:
        """The last alarm, in a few words; the log has the whole of it."""
        self._alarm = alarm

    def line(self) -> str:
        """All that is shown but the alarm, in one line."""
        return " · ".join([f"step {self._step}/{self._total}", self._left(), *figures(self._kind, self._metrics)])

    def close(self) -> None:
        """Leave the terminal as it was. Can be called twice."""

    def _show(self) -> None:
        alarm = f" · alarm at {self._alarm}" if self._alarm else ""
        self._console.print(self.line() + alarm, soft_wrap=True, highlight=False, markup=False)
        self._alarm = ""

    def _left(self) -> str:
        done = self._step - self._began_at
        if not done:
            return "? left"
        seconds = (self._clock() - self._began) / done * (self._total - self._step)
        return f"{timedelta(seconds=round(seconds))} left"


class ProgressBoard(ProgressLines):
    """A bar, the figures under it, and the last alarm, always the newest ones in the same place."""

    def __init__(self, kind: str, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(kind, console, clock)
        self._shown_at = -_REFRESH_S
        # drawn by us alone and not by a thread, which would take its time from training
        self._live = Live(console=console, auto_refresh=False, redirect_stdout=sys.stdout.isatty())

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        super().on_train_begin(args, state, control, **kwargs)
        self._live.start()
        self._show()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        super().on_step_end(args, state, control, **kwargs)
        if self._clock() - self._shown_at >= _REFRESH_S:
            self._show()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Show how it ended."""
        self._show()

    def close(self) -> None:
        self._live.stop()

    def picture(self) -> Table:
        """What is drawn."""
        rows = Table.grid()
        rows.add_row(ProgressBar(max(self._total, 1), self._step, width=min(60, self._console.width)))
        rows.add_row(Text(self.line(), overflow="fold"))
        if self._alarm:
            rows.add_row(Text(f"last alarm: {self._alarm}", style="yellow", overflow="fold"))
        return rows

    def _show(self) -> None:
        self._shown_at = self._clock()
        self._live.update(self.picture(), refresh=True)
