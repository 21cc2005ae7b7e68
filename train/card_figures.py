"""pass@k and error rates for a model card: found beside the run that made the adapter, or read from where they are
said to be."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from rlcode.errors import InputError
from rlcode.types import EvalReport, Interval, from_json
from train.export_proof import Proof

_ERRORS_SHOWN = 8


@dataclass(frozen=True)
class Figures:
    """What was measured of one policy: pass@k by its name in the table, and shares of the samples by error type."""

    name: str
    pass_rates: Mapping[str, Interval]
    error_rates: Mapping[str, float]
    conditions: str
    """In words: the benchmark, how many samples of how many problems."""

    @classmethod
    def of(cls, name: str, report: EvalReport) -> Self:
        """Those of an evaluation."""
        rates = {f"pass@{k}": interval for k, interval in report.pass_at_k.items()}
        if report.greedy is not None:
            rates["greedy"] = report.greedy
        scored = max(1, report.num_samples - report.unscored)
        errors = {kind: count / scored for kind, count in report.error_types.items()}
        sampling = ", ".join(
            f"{what.replace('_', ' ')} {report.policy[what]}"
            for what in ("temperature", "top_p")
            if what in report.policy
        )
        split = f" ({report.data['split']})" if report.data.get("split") else ""
        return cls(
            name,
            rates,
            errors,
            f"{report.benchmark}{split}, {report.num_tasks} problems, {report.num_samples} samples, {sampling}; 95 % "
            f"intervals over problems; judged by the {report.backend} sandbox",
        )


def table(figures: Sequence[Figures]) -> str:
    """In Markdown, a column for each."""
    rates = dict.fromkeys(name for one in figures for name in one.pass_rates)
    largest: dict[str, float] = {}
    for one in figures:
        for kind, share in one.error_rates.items():
            largest[kind] = max(largest.get(kind, 0.0), share)
    errors = sorted(largest, key=lambda kind: -largest[kind])[:_ERRORS_SHOWN]
    rows = [["", *(one.name for one in figures)], ["---", *("---:" for _ in figures)]]
    rows += [[name, *(str(one.pass_rates.get(name, "")) for one in figures)] for name in rates]
    rows += [[f"error: {kind}", *(f"{one.error_rates.get(kind, 0.0):.1%}" for one in figures)] for kind in errors]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def read_figures(name: str, folder: Path) -> Figures:
    """Those in a directory that `rlcode eval` wrote.

    Raises:
        InputError: it holds no report.
    """
    try:
        return Figures.of(name, from_json(EvalReport, json.loads((folder / "report.json").read_text(encoding="utf-8"))))
    except (OSError, ValueError) as error:
        raise InputError(f"{folder} is no evaluation that `rlcode eval` wrote: {error}") from error


def find_figures(run: Path, adapter: Path, proof: Proof) -> dict[str, Figures]:
    """Of the `base` and the `trained` policy: what evaluations in the directory of a run say of this very base and this
    very adapter, or what the table of a quickstart says."""
    found = _of_quickstart(run, adapter)
    for folder, made_with in _evaluations(run):
        if made_with.get("model_fingerprint") != proof.base_fingerprint:
            continue
        name = {None: "base", proof.adapter_sha256: "trained"}.get(made_with.get("adapter_sha256"))
        if name is not None and name not in found:
            found[name] = read_figures(name, folder)
    return found


def _evaluations(run: Path) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    for report in sorted([*run.glob("*/report.json"), *run.glob("*/*/report.json")]):
        record = report.with_name("run.json")
        if record.is_file():
            yield report.parent, json.loads(record.read_text(encoding="utf-8")).get("made_with", {})


def _of_quickstart(run: Path, adapter: Path) -> dict[str, Figures]:
    summary = run / "summary.json"
    read = json.loads(summary.read_text(encoding="utf-8")) if summary.is_file() else {}
    stages = {stage["name"]: stage for stage in read.get("stages", [])}
    last_of_dpo = max(run.glob("dpo-*"), default=None)
    after = {"grpo": "after GRPO", getattr(last_of_dpo, "name", None): "after DPO"}.get(adapter.resolve().parent.name)
    found = {"base": stages.get("base"), "trained": stages.get(after)}
    return {name: of_stage(name, stage) for name, stage in found.items() if stage is not None}


def of_stage(name: str, stage: Mapping[str, Any]) -> Figures:
    """Those of a stage of the quickstart, as in its `summary.json`."""
    given = {"pass@1": stage["pass_at_1"], "pass@10": stage["pass_at_10"], "greedy": stage["greedy"]}
    rates = {rate: from_json(Interval, value) for rate, value in given.items() if value is not None}
    return Figures(
        name, rates, stage["error_rates"], "held-out problems of the tiny world; 95 % intervals over problems"
    )
