"""What the person at the terminal sees of a run."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from train.progress import ProgressBoard, ProgressLines, figures

GRPO = {
    "loss": 0.01,
    "reward": 0.4375,
    "rollouts/pass_rate": 0.381,
    "rollouts/unscored": 0.0,
    "rollouts/tokens": 5000,
    "rollouts/error/syntax": 0.02,
    "groups/zero_variance_share": 0.125,
    "entropy": 0.31,
    "seconds/generate": 2.5,
    "seconds/judge_wait": 0.1,
    "seconds/sync": 0.02,
    "seconds/update": 1.38,
    "seconds/step": 4.0,
}


def test_of_grpo_the_figures_that_matter_are_shown_and_where_the_time_goes():
    assert figures("grpo", GRPO) == [
        "reward 0.438",
        "passed 38.1%",
        "unscored 0.0%",
        "groups without variance 12.5%",
        "entropy 0.31",
        "1250 tokens/s",
        "4 s/step (generate 62%, update 34%, judge_wait 2%)",
    ]


def test_of_dpo_and_sft_too():
    logged = {"loss": 0.5, "rewards/margins": 1.25, "rewards/accuracies": 0.75, "logps/chosen": -3.0}
    assert figures("dpo", logged) == ["loss 0.5000", "margin 1.25", "accuracy 75.0%"]
    assert figures("dpo", {"quiz/pass@1": 0.5, "quiz/samples": 20}) == ["quiz pass@1 50.0%"]
    assert figures("sft", {"loss": 0.5, "seconds/step": 2.0, "seconds/update": 2.0}) == ["loss 0.5000", "2 s/step"]


class Terminal:
    """A console of this width, and a clock that is moved on by hand."""

    def __init__(self, *, width: int = 120, is_terminal: bool) -> None:
        self.now = 0.0
        self.file = io.StringIO()
        self.console = Console(file=self.file, width=width, force_terminal=is_terminal, color_system=None)

    def text(self) -> str:
        return self.file.getvalue()


def train(view: ProgressLines, terminal: Terminal, *, steps: int, first: int = 0, entry: dict[str, Any]) -> None:
    """As a trainer does: three seconds a step, and an entry of the log after each."""
    state = SimpleNamespace(global_step=first, max_steps=10)
    view.on_train_begin(None, state, None)
    for _ in range(steps):
        state.global_step += 1
        terminal.now += 3
        view.on_step_end(None, state, None)
        view.on_log(None, state, None, logs=entry)


def test_without_a_terminal_each_entry_of_the_log_is_a_line():
    terminal = Terminal(width=40, is_terminal=False)
    view = ProgressLines("grpo", terminal.console, lambda: terminal.now)
    train(view, terminal, steps=2, entry=GRPO)
    view.on_log(None, SimpleNamespace(), None, logs={"train_runtime": 6.0})
    lines = terminal.text().splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("step 1/10 · 0:00:27 left · reward 0.438 · passed 38.1% · unscored 0.0% · ")
    assert lines[1].startswith("step 2/10 · 0:00:24 left")
    assert "\x1b" not in terminal.text()


def test_a_run_that_goes_on_estimates_by_its_own_steps():
    terminal = Terminal(is_terminal=False)
    view = ProgressLines("sft", terminal.console, lambda: terminal.now)
    train(view, terminal, steps=2, first=6, entry={"loss": 0.5})
    assert [line.split(" · ")[:2] for line in terminal.text().splitlines()] == [
        ["step 7/10", "0:00:09 left"],
        ["step 8/10", "0:00:06 left"],
    ]


def test_what_an_entry_does_not_have_is_shown_as_it_was_before():
    terminal = Terminal(is_terminal=False)
    view = ProgressLines("dpo", terminal.console, lambda: terminal.now)
    train(view, terminal, steps=1, entry={"loss": 0.5})
    train(view, terminal, steps=1, entry={"quiz/pass@1": 0.25})
    assert terminal.text().splitlines()[-1].endswith("loss 0.5000 · quiz pass@1 25.0%")


def test_an_alarm_is_told_with_the_next_line_alone():
    terminal = Terminal(is_terminal=False)
    view = ProgressLines("sft", terminal.console, lambda: terminal.now)
    train(view, terminal, steps=1, entry={"loss": 0.5})
    view.show_alarm("step 2: kl_blow_up")
    train(view, terminal, steps=2, entry={"loss": 0.5})
    assert ["alarm at step 2: kl_blow_up" in line for line in terminal.text().splitlines()] == [False, True, False]


@pytest.mark.parametrize("width", [200, 30, 8, 1])
def test_on_a_terminal_of_any_width_the_newest_figures_stand_in_one_place(width: int):
    terminal = Terminal(width=width, is_terminal=True)
    view = ProgressBoard("grpo", terminal.console, lambda: terminal.now)
    view.show_alarm("step 3: entropy_collapse")
    train(view, terminal, steps=10, entry=GRPO)
    view.on_train_end(None, SimpleNamespace(), None)
    view.close()
    view.close()
    picture = terminal.console.render_lines(view.picture())
    shown = "".join(segment.text for line in picture for segment in line).replace(" ", "")
    assert shown.lstrip("━").startswith("step10/10·0:00:00left·reward0.438·passed38.1%")
    assert shown.endswith("lastalarm:step3:entropy_collapse")
    assert terminal.text().count("\x1b[?25l") == terminal.text().count("\x1b[?25h") == 1  # the cursor is back


def test_steps_that_follow_fast_are_not_all_drawn(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    terminal = Terminal(is_terminal=True)
    view = ProgressBoard("sft", terminal.console, lambda: terminal.now)
    drawn = []
    monkeypatch.setattr(view._live, "update", lambda picture, refresh: drawn.append(picture))
    state = SimpleNamespace(global_step=0, max_steps=1000)
    view.on_train_begin(None, state, None)
    for _ in range(1000):
        state.global_step += 1
        terminal.now += 0.001
        view.on_step_end(None, state, None)
    view.close()
    assert len(drawn) <= 6
