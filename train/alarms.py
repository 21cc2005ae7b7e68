"""What tells that a training run goes wrong, from its log alone. An alarm warns; it stops nothing.

Each alarm is a pure function of the history of metrics, so a run that goes on from a checkpoint comes to the same
findings. docs/metrics.md has the thresholds with their reasons.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import Any, Protocol

FILE_NAME = "alarms.jsonl"
"""Where a run directory has what was told, one alarm a line."""

Entry = Mapping[str, Any]
"""An entry of the trainer's log: metrics by name, and `step`."""


class MetricHistory:
    """The entries of a log in their order, to be looked up by a metric that they have."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._having: defaultdict[str, list[Entry]] = defaultdict(list)
        for entry in entries:
            self.add(entry)

    def add(self, entry: Entry) -> None:
        """Add the newest entry."""
        for name, value in entry.items():
            if isinstance(value, int | float) and math.isfinite(value):
                self._having[name].append(entry)

    def having(self, name: str) -> Sequence[Entry]:
        """The entries with a finite value of `name`."""
        return self._having.get(name, [])

    def values(self, name: str, last: int) -> list[float]:
        """The last values of `name`, so many at most."""
        return [entry[name] for entry in self.having(name)[-last:]]


@dataclass(frozen=True)
class Finding:
    """What an alarm has to tell."""

    message: str
    """What is seen, what it means, and what to try."""
    values: Mapping[str, float]
    severity: float
    """Above 0; the same alarm is told again when this has grown by `WORSE`."""


WORSE = 1.5


class Alarm(Protocol):
    """One way in which a run goes wrong."""

    @property
    def name(self) -> str: ...

    def check(self, history: MetricHistory) -> Finding | None:
        """What there is to tell after the newest entry of `history`, if anything."""
        ...


@dataclass(frozen=True)
class Shift:
    """The mean of a metric in the last entries against that in the first ones."""

    before: float
    now: float
    z: float
    """The difference in standard errors, taken from the scatter within the two windows."""

    @property
    def change(self) -> float:
        return self.now - self.before


def shift(entries: Sequence[Entry], value: Callable[[Entry], float], window: int) -> Shift | None:
    """None until there are two windows that do not overlap."""
    if len(entries) < 2 * window:
        return None
    first, last = [*map(value, entries[:window])], [*map(value, entries[-window:])]
    before, now = fmean(first), fmean(last)
    squares = sum((one - before) ** 2 for one in first) + sum((one - now) ** 2 for one in last)
    error = math.sqrt(squares / (window - 1) / window)
    return Shift(before, now, (now - before) / max(error, 1e-12))


def metric_shift(history: MetricHistory, name: str, window: int) -> Shift | None:
    """That of a metric as it was logged."""
    return shift(history.having(name), lambda entry: entry[name], window)


def quiz_shift(entries: Sequence[Entry], value: Callable[[Entry], float]) -> Shift | None:
    """The last quiz against the first one; `value` is a share of its scored answers. `z` is that of two independent
    samples, of one pooled share."""
    if len(entries) < 2:
        return None
    first, last = entries[0], entries[-1]
    sizes = first["quiz/samples"], last["quiz/samples"]
    if not min(sizes):
        return None
    before, now = value(first), value(last)
    pooled = (before * sizes[0] + now * sizes[1]) / sum(sizes)
    error = math.sqrt(pooled * (1 - pooled) * sum(1 / size for size in sizes))
    return Shift(before, now, (now - before) / max(error, 1e-12))


@dataclass(frozen=True)
class CompileErrors:
    """Ever more programs do not compile: a policy whose programs were likely loses their form first, by likelihood
    displacement (Razin et al., 2024, arXiv 2410.08847) or a learning rate that is too high."""

    name: str = "compile_errors"
    window: int = 10
    growth: float = 0.05
    z: float = 7.0
    quiz_z: float = 3.5

    def check(self, history: MetricHistory) -> Finding | None:
        for found, threshold, what in (
            (self._rollouts(history), self.z, "rollouts"),
            (self._quizzes(history), self.quiz_z, "answers to the quiz"),
        ):
            if found is not None and found.z >= threshold and found.change >= self.growth:
                return self._finding(found, what)
        return None

    def _rollouts(self, history: MetricHistory) -> Shift | None:
        return shift(history.having("rollouts/pass_rate"), _compile_errors("rollouts"), self.window)

    def _quizzes(self, history: MetricHistory) -> Shift | None:
        return quiz_shift(history.having("quiz/samples"), _compile_errors("quiz"))

    def _finding(self, found: Shift, what: str) -> Finding:
        return Finding(
            f"of the {what}, {found.now:.1%} do not compile (syntax, indentation); at the start it was "
            f"{found.before:.1%}. The policy loses the form of programs, as with a learning rate that is too high or "
            "with likelihood displacement. Lower learning_rate or raise beta; with DPO, add the NLL term (loss_type: "
            "[sigmoid, sft]), and take the best adapter instead of the last one",
            {"before": found.before, "now": found.now, "z": found.z},
            found.change,
        )


def _compile_errors(prefix: str) -> Callable[[Entry], float]:
    names = f"{prefix}/error/syntax", f"{prefix}/error/indentation"
    return lambda entry: sum(entry.get(name, 0.0) for name in names)


@dataclass(frozen=True)
class EntropyCollapse:
    """The policy writes the same things ever more surely: its groups differ no more, and nothing is left to learn
    from (Cui et al., 2025, arXiv 2505.22617)."""

    name: str = "entropy_collapse"
    window: int = 10
    share: float = 0.2
    """Of the entropy at the start; below it the alarm is told."""
    z: float = 5.0

    def check(self, history: MetricHistory) -> Finding | None:
        found = metric_shift(history, "entropy", self.window)
        if found is None or found.now >= self.share * found.before or found.z > -self.z:
            return None
        return Finding(
            f"the policy's entropy fell from {found.before:.3g} to {found.now:.3g} nats per token. It hardly explores "
            "any more, so groups become all alike. Lower learning_rate, raise temperature or epsilon_high, set beta "
            "above 0, or end the run here if the pass rate is good",
            {"before": found.before, "now": found.now},
            found.before / max(found.now, 1e-9),
        )


@dataclass(frozen=True)
class KlBlowUp:
    """The policy leaves the reference in leaps. GRPO logs the KL where beta is not 0."""

    name: str = "kl_blow_up"
    window: int = 5
    """Medians of so many entries, since the estimate has single values that are far off."""
    most: float = 0.5
    """Nats per token."""
    jump: float = 10.0
    jump_from: float = 0.2

    def check(self, history: MetricHistory) -> Finding | None:
        values = history.values("kl", 5 * self.window)
        if len(values) < self.window:
            return None
        now = median(values[-self.window :])
        before = median(values[: -self.window]) if len(values) == 5 * self.window else now
        if now <= self.most and (now <= self.jump_from or now <= self.jump * before):
            return None
        return Finding(
            f"the KL divergence from the reference is {now:.3g} nats per token; shortly before it was {before:.3g}. "
            "The policy is far from what it was, and what it writes may be no language any more. Begin another run "
            "from a checkpoint before the leap (--adapter), with a lower learning_rate, a lower max_grad_norm or a "
            "higher beta",
            {"now": now, "before": before},
            now,
        )


@dataclass(frozen=True)
class RewardWithoutSuccess:
    """What training raises goes up, and what it is for goes down: the reward, or DPO's margin, is earned by something
    else than right programs."""

    name: str = "reward_without_success"
    window: int = 10
    z: float = 5.0
    drop: float = 0.03
    quiz_z: float = 3.0

    def check(self, history: MetricHistory) -> Finding | None:
        up = next(
            filter(None, (metric_shift(history, name, self.window) for name in ("reward", "rewards/margins"))), None
        )
        if up is None or up.z < self.z:
            return None
        for name in ("held_back/pass_rate_all", "reward/correctness"):
            down = metric_shift(history, name, self.window)
            if down is not None and -down.z >= self.z and -down.change >= self.drop:
                return self._finding(up, down, name)
        quiz = quiz_shift(history.having("quiz/samples"), lambda entry: entry["quiz/pass@1"])
        if quiz is not None and -quiz.z >= self.quiz_z and -quiz.change >= self.drop:
            return self._finding(up, quiz, "quiz/pass@1")
        return None

    def _finding(self, up: Shift, down: Shift, name: str) -> Finding:
        return Finding(
            f"what is optimised rose from {up.before:.3g} to {up.now:.3g}, while {name} fell from {down.before:.1%} to "
            f"{down.now:.1%}. The policy earns it without solving more problems. Look at its programs; give partial "
            "credit less weight, hold tests back (held_back_tests), lower learning_rate or raise beta, and take an "
            "earlier adapter",
            {"before": down.before, "now": down.now, "optimised_before": up.before, "optimised_now": up.now},
            -down.change,
        )


@dataclass(frozen=True)
class HeldBackGap:
    """The share that passes what is rewarded and fails the held-back tests grows. The two windows may overlap; nothing
    is told before there is one entry more than a window."""

    name: str = "held_back_gap"
    window: int = 20
    growth: float = 0.1

    def check(self, history: MetricHistory) -> Finding | None:
        gaps = [entry["held_back/gap"] for entry in history.having("held_back/gap")[: self.window]]
        if not gaps:
            return None
        before, now = fmean(gaps), fmean(history.values("held_back/gap", self.window))
        if now - before <= self.growth:
            return None
        return Finding(
            f"of the samples, {now:.1%} pass the tests that they are rewarded by and fail those that were held back; "
            f"at the start it was {before:.1%}. The policy may have learned to pass the tests without solving the "
            "problems: look at such programs before you trust its pass rate",
            {"before": before, "now": now},
            now - before,
        )


@dataclass(frozen=True)
class ChosenFalls:
    """DPO makes the chosen programs ever less likely, only less so than the rejected ones: likelihood displacement as
    it shows where no quiz is held. Some fall is usual."""

    name: str = "chosen_falls"
    window: int = 10
    share: float = 0.5
    """Of the log-probability at the start; a fall by less is not told."""
    least: float = 5.0
    """Nats; where programs are short and sure from the start, half of their log-probability is little."""
    z: float = 5.0

    def check(self, history: MetricHistory) -> Finding | None:
        found = metric_shift(history, "logps/chosen", self.window)
        if found is None or -found.z < self.z or -found.change < max(self.least, self.share * abs(found.before)):
            return None
        return Finding(
            f"the log-probability of the chosen programs fell from {found.before:.3g} to {found.now:.3g} nats on "
            "average. What becomes likely instead is in neither side of a pair, and is often broken. Add the NLL term "
            "(loss_type: [sigmoid, sft]) or give it more weight, lower learning_rate or raise beta, and hold quizzes "
            "(quiz_steps) to see what the policy writes",
            {"before": found.before, "now": found.now},
            -found.change,
        )


@dataclass(frozen=True)
class Unscored:
    """Samples that could not be judged. They move nothing, but they are lost, and the run stops when they are more than
    `max_unscored_share`."""

    name: str = "unscored"
    window: int = 5
    most: float = 0.02

    def check(self, history: MetricHistory) -> Finding | None:
        share = self._share(history)
        if share <= self.most:
            return None
        return Finding(
            f"{share:.1%} of the last samples could not be judged. They count nowhere; above max_unscored_share the "
            "run stops. Look at the sandbox: `rlcode sandbox check`, free memory, the engine's own log",
            {"now": share},
            share,
        )

    def _share(self, history: MetricHistory) -> float:
        rollouts = history.values("rollouts/unscored", self.window)
        quiz = next(iter(history.having("quiz/samples")[-1:]), {"quiz/unscored": 0.0, "quiz/samples": 1.0})
        answers = quiz["quiz/unscored"] + quiz["quiz/samples"]
        return max(fmean(rollouts) if len(rollouts) == self.window else 0.0, quiz["quiz/unscored"] / max(answers, 1.0))


ALARMS: Mapping[str, Sequence[Alarm]] = {
    "grpo": (CompileErrors(), EntropyCollapse(), KlBlowUp(), RewardWithoutSuccess(), HeldBackGap(), Unscored()),
    "dpo": (CompileErrors(), RewardWithoutSuccess(), ChosenFalls(), Unscored()),
    "sft": (),
}
"""By the kind of training. SFT neither writes programs nor lets any become less likely."""


@dataclass
class Watch:
    """Goes through a log entry by entry. Each alarm is told once, and again only when it has become worse."""

    alarms: Sequence[Alarm]
    count: int = 0
    """Of what was told."""
    _history: MetricHistory = field(default_factory=MetricHistory)
    _told: dict[str, float] = field(default_factory=dict)

    def add(self, entry: Entry) -> list[dict[str, Any]]:
        """Take note of the newest entry. Returns what is to be told now, as lines of `alarms.jsonl`."""
        self._history.add(entry)
        lines = []
        for alarm in self.alarms:
            finding = alarm.check(self._history)
            if finding is not None and finding.severity >= WORSE * self._told.get(alarm.name, 0.0):
                self._told[alarm.name] = finding.severity
                told = {"name": alarm.name, "message": finding.message, "values": dict(finding.values)}
                lines.append({"step": entry["step"], **told})
        self.count += len(lines)
        return lines
