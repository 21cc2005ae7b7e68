"""How the sandbox did: what it could not score, and what judging took."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np

from eval.run_report.charts import SECONDS, charts, curve_chart, percent, stacked_chart
from eval.run_report.counts import SetCounts
from eval.run_report.logs import TrainingLog
from eval.run_report.markup import Html, folded, said, section, table
from eval.run_report.plots import Curve, Series

_EDGES = (0.0, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
_MOST_REASONS = 10
_WAIT = "queue/job_wait"
_RETRIES = "How often a job was tried again is not written down; what is unscored was tried again, and lost each time."


def sandbox_section(counts: Sequence[SetCounts], logs: Sequence[TrainingLog]) -> Html:
    """The part of the page."""
    if not counts:
        return section("sandbox", "Sandbox", said("No judged sample lies in this directory."))
    waits = [_waits(at, log) for at, log in enumerate(logs) if log.points(_WAIT)]
    parts = [_table(counts), charts([_times(counts), *waits]), *_reasons(counts), said(_RETRIES)]
    if not waits:
        parts.append(said("How long programs waited for a worker is logged by GRPO alone, and no such log is here."))
    return section("sandbox", "Sandbox", *parts)


def _waits(at: int, log: TrainingLog) -> Html:
    note = "Seconds that a program waited until a worker was free, mean of a batch. The engine goes on meanwhile."
    curve = Curve(_WAIT, "s-0", log.points(_WAIT))
    return curve_chart(f"waits-{at}", f"Wait for the sandbox, {log.training.name}", note, [curve], SECONDS)


def _table(counts: Sequence[SetCounts]) -> Html:
    heads = ["", "samples", "unscored", "ms, median", "ms, 95 %", "ms, most", "MiB, median", "MiB, most", "judged by"]
    return table(heads, [_row(one) for one in counts], "What judging took, by set of samples")


def _row(one: SetCounts) -> list[str]:
    lost = one.samples - len(one.seconds)
    times, memory = _quantiles(one.seconds, 1000), _quantiles(one.memory_mb, 1)
    shown = [f"{value:,.0f}" if value >= 10 else f"{value:.1f}" for value in (*times, memory[0], memory[2])]
    said_by_report = " ".join(str(one.found.report.get(name, "")) for name in ("backend", "image_digest"))
    names = [name for name, _ in one.judged_by.most_common(3) if name] or [said_by_report.strip()]
    judged_by = ", ".join(name[:40] for name in names)
    share = f"{lost:,} ({percent(lost / one.samples)})" if lost else "0"
    return [one.found.name, f"{one.samples:,}", share, *(shown if one.seconds else ["–"] * 5), judged_by or "–"]


def _quantiles(values: array[float], factor: float) -> list[float]:
    if not values:
        return [0.0, 0.0, 0.0]
    return [float(value) * factor for value in np.quantile(np.asarray(values), [0.5, 0.95, 1.0])]


def _times(counts: Sequence[SetCounts]) -> Html:
    seconds = np.concatenate([np.asarray(one.seconds) for one in counts])
    if not len(seconds):
        return said("No sample was scored.")
    found, _ = np.histogram(seconds, bins=[*_EDGES, np.inf])
    labels = [f"under {_shown(edge)}" for edge in _EDGES[1:]] + [f"{_shown(_EDGES[-1])} or more"]
    series = [Series("scored samples", "s-0", [count / len(seconds) for count in found])]
    note = "Processor time of a program, with the time that it was blocked; waiting for a core does not count."
    return stacked_chart("judge-time", "Time of a program", note, series, labels)


def _shown(seconds: float) -> str:
    return f"{seconds:g} s" if seconds >= 1 else f"{seconds * 1000:g} ms"


def _reasons(counts: Sequence[SetCounts]) -> list[Html]:
    rows = [
        [one.found.name, reason, f"{times:,}"]
        for one in counts
        for reason, times in one.reasons.most_common(_MOST_REASONS)
    ]
    title = "Why samples could not be scored"
    return [folded(title, table(["set", "reason", "samples"], rows, title))] if rows else []
