"""A drift that is planted in a log raises its alarm, noise does not; each is told once, also by a run that goes on."""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.alarm_bell import AlarmBell
from train.alarms import ALARMS, Alarm, ChosenFalls, EntropyCollapse, HeldBackGap, KlBlowUp, MetricHistory, Watch

Log = list[dict[str, Any]]


def noise(rng: random.Random, mean: float, sd: float, phi: float) -> Iterator[float]:
    """Scatter around a constant, in which neighbours resemble each other by `phi`."""
    state = rng.gauss(0, sd)
    while True:
        yield mean + state
        state = phi * state + rng.gauss(0, sd * (1 - phi**2) ** 0.5)


def grpo_log(seed: int, steps: int, phi: float = 0.5) -> Log:
    """A run in which nothing changes but by chance."""
    rng = random.Random(seed)
    levels = {
        "rollouts/pass_rate": (0.4, 0.1),
        "rollouts/error/syntax": (0.1, 0.04),
        "entropy": (0.3, 0.05),
        "reward": (0.5, 0.1),
        "reward/correctness": (0.4, 0.1),
        "held_back/pass_rate_all": (0.35, 0.1),
        "held_back/gap": (0.05, 0.05),
    }
    values = {name: noise(rng, mean, sd, phi) for name, (mean, sd) in levels.items()}
    return [
        {
            "step": step,
            "loss": 0.0,
            "kl": rng.lognormvariate(-4, 1),
            "rollouts/unscored": rng.choice([0.0] * 9 + [1 / 64]),
            **{name: max(0.0, next(value)) for name, value in values.items()},
        }
        for step in range(1, steps + 1)
    ]


def dpo_log(seed: int, steps: int, phi: float = 0.5) -> Log:
    """A run in which the margin grows and nothing else changes, with a quiz of 100 answers at every tenth step."""
    rng = random.Random(seed)
    chosen, margin = noise(rng, -40, 6, phi), noise(rng, 0.0, 0.2, phi)
    log: Log = []
    for step in range(1, steps + 1):
        margins = next(margin) + 2 * step / steps
        log.append({"step": step, "loss": 0.5, "logps/chosen": next(chosen), "rewards/margins": margins})
        if step % 10 == 1:
            log.append(quiz(rng, step))
    return log


def quiz(rng: random.Random, step: int, passed: float = 0.4, syntax: float = 0.1) -> dict[str, Any]:
    drawn = [rng.random() for _ in range(100)]
    return {
        "step": step,
        "quiz/pass@1": sum(one < passed for one in drawn) / 100,
        "quiz/error/syntax": sum(one > 1 - syntax for one in drawn) / 100,
        "quiz/samples": 100.0,
        "quiz/unscored": 0.0,
    }


def told(kind: str, log: Log) -> list[str]:
    watch = Watch(ALARMS[kind])
    return [line["name"] for entry in log for line in watch.add(entry)]


RUNS = 40


@pytest.mark.parametrize(("kind", "make", "steps"), [("grpo", grpo_log, 300), ("dpo", dpo_log, 200)])
@pytest.mark.parametrize("phi", [0.0, 0.5])
def test_noise_around_a_constant_is_told_in_less_than_one_run_of_twenty(
    kind: str, make: Callable[..., Log], steps: int, phi: float
):
    loud = [names for seed in range(RUNS) if (names := told(kind, make(seed, steps, phi)))]
    assert len(loud) <= RUNS / 20, loud


def grow(log: Log, name: str, by: float) -> None:
    """Let a metric drift away from the middle of the log on, to end `by` higher."""
    having = [entry for entry in log if name in entry]
    half = len(having) // 2
    for place, entry in enumerate(having[half:], 1):
        entry[name] = (
            max(0.001, entry[name] + by * place / half) if entry[name] >= 0 else entry[name] + by * place / half
        )


DRIFTS = [
    ("grpo", {"rollouts/error/syntax": 0.3}, "compile_errors"),
    ("grpo", {"rollouts/error/indentation": 0.3}, "compile_errors"),
    ("grpo", {"entropy": -0.6}, "entropy_collapse"),
    ("grpo", {"kl": 2.0}, "kl_blow_up"),
    ("grpo", {"reward": 0.5, "held_back/pass_rate_all": -0.5}, "reward_without_success"),
    ("grpo", {"reward": 0.5, "reward/correctness": -0.5}, "reward_without_success"),
    ("grpo", {"held_back/gap": 0.5}, "held_back_gap"),
    ("grpo", {"rollouts/unscored": 0.09}, "unscored"),
    ("dpo", {"quiz/error/syntax": 0.5}, "compile_errors"),
    ("dpo", {"quiz/pass@1": -0.4}, "reward_without_success"),
    ("dpo", {"logps/chosen": -60.0}, "chosen_falls"),
    ("dpo", {"quiz/unscored": 20.0}, "unscored"),
]


@pytest.mark.parametrize(("kind", "drifts", "name"), DRIFTS)
@pytest.mark.parametrize("seed", range(5))
def test_a_drift_that_is_planted_raises_its_alarm_and_no_other(
    kind: str, drifts: dict[str, float], name: str, seed: int
):
    log = (grpo_log if kind == "grpo" else dpo_log)(seed, 100)
    if "rollouts/error/indentation" in drifts:
        for entry in log:
            entry["rollouts/error/indentation"] = 0.0
    for metric, by in drifts.items():
        grow(log, metric, by)
    assert set(told(kind, log)) == {name}


@pytest.mark.parametrize(("metric", "by"), [("entropy", 0.6), ("rollouts/error/syntax", -0.2), ("held_back/gap", -0.1)])
def test_a_drift_to_the_good_side_is_not_told(metric: str, by: float):
    log = grpo_log(0, 100)
    grow(log, metric, by)
    assert told("grpo", log) == []


def test_an_alarm_is_told_once_and_again_when_it_has_become_worse():
    log = [{"step": step, "kl": kl} for step, kl in enumerate([0.01] * 10 + [0.6] * 20 + [0.8] * 20 + [2.0] * 20)]
    watch = Watch([KlBlowUp()])
    lines = [line for entry in log for line in watch.add(entry)]
    assert [(line["step"], line["values"]["now"]) for line in lines] == [(12, 0.6), (52, 2.0)]
    assert watch.count == 2


def test_a_single_value_that_is_far_off_is_no_blow_up():
    log = [{"step": step, "kl": 1e6 if step % 5 == 0 else 0.01} for step in range(50)]
    assert not [line for watch in [Watch([KlBlowUp()])] for entry in log for line in watch.add(entry)]


@given(st.lists(st.floats(0, 1), max_size=60))
def test_a_gap_that_never_rises_is_never_told(gaps: list[float]):
    history = MetricHistory()
    for gap in sorted(gaps, reverse=True):
        history.add({"held_back/gap": gap})
        assert HeldBackGap().check(history) is None


@given(st.lists(st.floats(-100, -1), min_size=3, max_size=30))
def test_chosen_programs_that_become_more_likely_are_never_told(logps: list[float]):
    history = MetricHistory({"logps/chosen": value} for value in sorted(logps))
    assert ChosenFalls(window=3).check(history) is None


@given(st.lists(st.one_of(st.none(), st.just(float("nan")), st.just(float("inf"))), max_size=40))
def test_what_is_no_number_is_left_out(values: list[float | None]):
    history = MetricHistory({"entropy": value} for value in values)
    assert EntropyCollapse().check(history) is None
    assert not history.having("entropy")


# The bell: what is written where, and what a run that goes on makes of it.


class Run:
    """A trainer's log as callbacks see it."""

    def __init__(self, path: Path, alarms: list[Alarm], history: Log | None = None) -> None:
        self.state = SimpleNamespace(log_history=list(history or []))
        self.shown: list[str] = []
        self.bell = AlarmBell(alarms, path, writes=True, show=self.shown.append)
        self.bell.on_train_begin(None, self.state, None)

    def log(self, entry: dict[str, Any]) -> dict[str, Any]:
        """Returns what other callbacks see."""
        logs = {name: value for name, value in entry.items() if name != "step"}
        self.state.log_history.append(dict(entry))
        self.bell.on_log(None, self.state, None, logs=logs)
        return logs


KL = [{"step": step, "loss": 0.0, "kl": kl} for step, kl in enumerate([0.01] * 10 + [0.6] * 10 + [2.0] * 10, 1)]


def lines(path: Path) -> Log:
    return [json.loads(line) for line in (path / "alarms.jsonl").read_text().splitlines()]


def test_an_alarm_is_in_the_log_in_the_file_in_the_metrics_and_on_the_screen(tmp_path: Path, caplog):
    run = Run(tmp_path, [KlBlowUp()])
    with caplog.at_level(logging.WARNING):
        counts = [run.log(entry)["alarms"] for entry in KL]
    assert counts == [0] * 12 + [1] * 10 + [2] * 8
    assert [entry["alarms"] for entry in run.state.log_history] == counts
    assert [(line["step"], line["name"]) for line in lines(tmp_path)] == [(13, "kl_blow_up"), (23, "kl_blow_up")]
    messages = [record.getMessage() for record in caplog.records]
    assert messages[0].startswith("step 13: alarm kl_blow_up: the KL divergence from the reference is 0.6 nats")
    assert lines(tmp_path)[0]["message"] in messages[0]
    assert run.shown == ["step 13: kl_blow_up", "step 23: kl_blow_up"]


@pytest.mark.parametrize("checkpoint", [5, 12, 13, 20, 29])
def test_a_run_that_goes_on_tells_what_the_undisturbed_one_would_have_told(tmp_path: Path, checkpoint: int):
    undisturbed, killed = tmp_path / "one", tmp_path / "two"
    for path in (undisturbed, killed):
        path.mkdir()
        run = Run(path, [KlBlowUp()])
        for entry in KL:
            run.log(entry)
    history = run.state.log_history[:checkpoint]
    resumed = Run(killed, [KlBlowUp()], history)
    assert [line["step"] for line in lines(killed)] == [step for step in (13, 23) if step <= checkpoint]
    for entry in KL[checkpoint:]:
        resumed.log(entry)
    assert lines(killed) == lines(undisturbed)
    assert resumed.state.log_history[-1]["alarms"] == 2


def test_a_process_that_is_not_the_first_counts_and_writes_nothing(tmp_path: Path, caplog):
    bell = AlarmBell([KlBlowUp()], tmp_path, writes=False, show=lambda alarm: None)
    state = SimpleNamespace(log_history=[])
    with caplog.at_level(logging.WARNING):
        for entry in KL:
            state.log_history.append(dict(entry))
            bell.on_log(None, state, None, logs=dict(entry))
    assert state.log_history[-1]["alarms"] == 2
    assert not caplog.records
    assert not (tmp_path / "alarms.jsonl").exists()
