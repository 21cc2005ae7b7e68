"""What the trainers logged: rewards, losses, seconds, held-back tests, alarms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from eval.run_report.charts import NUMBER, PERCENT, SECONDS, by_training, charts, curve_chart, number, stacked_chart
from eval.run_report.logs import TrainingLog
from eval.run_report.markup import Html, folded, said, section, table, tag
from eval.run_report.plots import Curve, Series

_MOST_BARS = 40
_CHARTS: dict[str, Sequence[tuple[str, str, Sequence[str], bool]]] = {
    "grpo": (
        ("Reward", "Mean over the samples.", ("reward", "reward_std"), False),
        (
            "Groups without variance",
            "Share of the groups whose samples all pass or all fail.",
            ("groups/zero_variance_share", "groups/zero_variance_trained", "frac_reward_zero_std"),
            True,
        ),
        ("Entropy and KL", "In nats per token.", ("entropy", "kl"), False),
    ),
    "dpo": (
        ("Loss", "Of a batch.", ("loss",), False),
        ("Margin and accuracy", "Of the implicit rewards.", ("rewards/margins", "rewards/accuracies"), False),
        ("Log-probabilities", "Of a whole completion, in nats.", ("logps/chosen", "logps/rejected"), False),
    ),
    "sft": (
        ("Loss", "Of a batch.", ("loss",), False),
        ("Token accuracy", "Mean over tokens.", ("mean_token_accuracy",), True),
    ),
}
_HELD_BACK = ("held_back/pass_rate_shown", "held_back/pass_rate_all", "held_back/gap")
_PART_CSS = {
    name: f"s-{at}"
    for at, name in enumerate(
        ("generate", "update", "judge_wait", "sync", "hand_over", "quiz", "store", "gather", "data", "save")
    )
}


def training_section(logs: Sequence[TrainingLog], stages: Sequence[tuple[str, float]]) -> Html:
    """The part of the page; `stages` are the seconds of the loop's stages."""
    if not logs:
        return section("training", "Training", said("No training ran in this directory."), *_stages(stages))
    parts = [(log.training.name, list(_training(at, log))) for at, log in enumerate(logs)]
    return section("training", "Training", by_training(parts), *_stages(stages))


def alarms_section(logs: Sequence[TrainingLog]) -> Html:
    """Alarms, and the tests that the reward leaves out."""
    told = [_alarm(log, alarm) for log in logs for alarm in log.alarms]
    gaps = [chart for at, log in enumerate(logs) for chart in _held_back(at, log)]
    parts: list[Html] = [tag("ul", *told, class_="alarms")] if told else []
    if not told:
        why = "nothing in their logs went wrong, or alarms were off" if logs else "no training ran in this directory"
        parts.append(said(f"No alarm was told: {why}."))
    if not gaps:
        parts.append(
            said(
                "No gap between shown and held-back tests is recorded: GRPO measures one with held_back_tests above 0. "
                "It tells whether the policy learns the tests and not the problems."
            )
        )
    return section("alarms", "Alarms and held-back tests", *parts, charts(gaps))


def _training(at: int, log: TrainingLog) -> Iterator[Html]:
    name = log.training.name
    if not log.entries:
        yield said(
            f"{name} has no log: neither it nor a checkpoint in it has a trainer_state.json, which a training writes "
            "with each checkpoint and at its end."
        )
        return
    found = []
    for place, (title, note, names, is_share) in enumerate(_CHARTS[log.training.kind]):
        lines = _curves(log, names)
        if lines:
            unit = PERCENT if is_share else NUMBER
            found.append(curve_chart(f"log-{at}-{place}", f"{title}, {name}", note, lines, unit))
    yield charts([*found, *_seconds(at, log)])
    yield folded(f"all metrics of {name}", _metrics(log))


def _curves(log: TrainingLog, names: Sequence[str]) -> list[Curve]:
    points = [(name, log.points(name)) for name in names]
    return [Curve(name, f"s-{at}", found) for at, (name, found) in enumerate(points) if found]


def _seconds(at: int, log: TrainingLog) -> Iterator[Html]:
    parts = log.seconds(_MOST_BARS)
    if not parts:
        yield said(f"{log.training.name} did not log what the seconds of its steps went to.")
        return
    steps = [step for step, _ in next(iter(parts.values()))]
    series = [
        Series(name, _PART_CSS.get(name, "s-7"), [value for _, value in points]) for name, points in parts.items()
    ]
    note = "Seconds of an optimizer step by what the process did (docs/metrics.md says what each part is)."
    labels = [f"{step:g}" for step in steps]
    title = f"Time of a step, {log.training.name}"
    yield stacked_chart(f"seconds-{at}", title, note, series, labels, SECONDS)


def _metrics(log: TrainingLog) -> Html:
    rows = []
    for name in log.names():
        values = [entry[name] for entry in log.entries if name in entry]
        rows.append([name, *map(number, (values[0], values[-1], min(values), max(values)))])
    return table(["metric", "first", "last", "least", "most"], rows, f"log of {log.training.name}")


def _held_back(at: int, log: TrainingLog) -> Iterator[Html]:
    lines = _curves(log, _HELD_BACK)
    if lines:
        note = "Share of the samples that pass the tests of the reward, the held-back ones too, and the difference."
        yield curve_chart(f"held-back-{at}", f"Held-back tests, {log.training.name}", note, lines, PERCENT)


def _alarm(log: TrainingLog, alarm: dict[str, Any]) -> Html:
    where = f"{log.training.name}, step {alarm.get('step', '?')}"
    return tag("li", tag("strong", alarm.get("name", "alarm")), f" ({where}): {alarm.get('message', '')}")


def _stages(stages: Sequence[tuple[str, float]]) -> Iterator[Html]:
    if stages:
        rows = [[name, f"{seconds / 60:.1f}"] for name, seconds in stages]
        title = "Minutes of each stage"
        yield folded(title, table(["stage", "minutes"], rows, title))
