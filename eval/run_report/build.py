"""From a run directory to its page."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from eval.run_report.browser import browse_section, pack, read_prompts
from eval.run_report.charts import percent
from eval.run_report.counts import SetCounts, problems_of
from eval.run_report.kept import MOST_BYTES, KeptSamples
from eval.run_report.layout import Layout, Role, read_layout
from eval.run_report.logs import TrainingLog, read_log
from eval.run_report.markup import Html, escape, join, tag
from eval.run_report.pairs import MOST_PAIRS, keys_of, read_draws
from eval.run_report.samples_of import UNSCORED, samples_of
from eval.run_report.section_errors import errors_section
from eval.run_report.section_results import results_section
from eval.run_report.section_sampler import sampler_section
from eval.run_report.section_sandbox import sandbox_section
from eval.run_report.section_settings import settings_section
from eval.run_report.section_training import alarms_section, training_section
from rlcode import __version__
from rlcode.errors import DataError
from rlcode.run_directory import read_json_lines

_SECTIONS = {
    "results": "Pass rates",
    "errors": "Errors",
    "sampler": "Sampler",
    "training": "Training",
    "alarms": "Alarms",
    "sandbox": "Sandbox",
    "browse": "Samples",
    "settings": "Configuration",
}

_MOST_NAMES = 3


def build_page(run: Path, most_bytes: int = MOST_BYTES) -> str:
    """The page of the run in the directory `run`, a whole HTML document.

    Memory is bounded: each sample is counted, and only what the page shows of them is held, which is `most_bytes` at
    most, and the sides of pairs.

    Raises:
        InputError: it is no run directory. DataError: a file in it can't be used; it is named.
    """
    layout = read_layout(run)
    most_pairs = MOST_PAIRS // max(1, len(layout.trainings))
    draws = [found for one in layout.trainings if (found := read_draws(one, most_pairs)) is not None]
    logs = [read_log(training) for training in layout.trainings]
    kept, counts = KeptSamples(keys_of(draws), most_bytes), [SetCounts(found) for found in layout.sets]
    for number, one in enumerate(counts):
        for sample in samples_of(one.found):
            one.add(sample)
            kept.add(number, sample)
    numbers = {task_id: number for number, task_id in enumerate(sorted(problems_of(counts)))}
    prompts = read_prompts(layout.problem_files, numbers)
    packed = pack(kept, counts, draws, numbers, prompts)
    body = join(
        [
            _header(layout, counts, logs),
            results_section(counts),
            errors_section(counts, numbers),
            sampler_section(draws, counts),
            training_section(logs, _stage_seconds(run)),
            alarms_section(logs),
            sandbox_section(counts, logs),
            browse_section(packed, kept, counts, prompts),
            settings_section(layout.records, _proof(run), layout.absent),
        ]
    )
    return _document(f"{_name(run)}: {layout.kind}", body, packed.data)


def _document(title: str, body: Html, data: str) -> str:
    """Style and script are ours alone: the page's policy names them by their hashes and allows nothing else."""
    style, script = _resource("colours.css") + _resource("page.css"), _resource("list.js") + _resource("page.js")
    policy = f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; base-uri 'none'"
    return Template(_resource("page.html")).substitute(
        title=escape(title), policy=policy, style=style, body=body, data=data, script=script
    )


def _resource(name: str) -> str:
    return (files("eval.run_report") / "page" / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _name(run: Path) -> str:
    return run.resolve().name


def _header(layout: Layout, counts: Sequence[SetCounts], logs: Sequence[TrainingLog]) -> Html:
    cards = [tag("div", tag("dt", name), tag("dd", value), class_="card") for name, value in _figures(counts, logs)]
    links = [tag("a", name, href=f"#{anchor}") for anchor, name in _SECTIONS.items()]
    return tag(
        "header",
        tag("p", f"rlcode {__version__} · {layout.kind}", class_="kind"),
        tag("h1", _name(layout.path)),
        tag("dl", *cards, class_="cards"),
        tag("nav", *links, aria_label="Parts of this page"),
    )


def _figures(counts: Sequence[SetCounts], logs: Sequence[TrainingLog]) -> Iterator[tuple[str, str]]:
    """What somebody wants to know first."""
    evaluated = [one.whole() for one in counts if one.found.role is Role.EVALUATION]
    rates = [found.value for found in (moment.pass_at(1) for moment in evaluated) if found is not None]
    if rates:
        yield "pass@1", percent(rates[0]) if len(rates) == 1 else f"{percent(rates[0])} → {percent(rates[-1])}"
    results = problems_of(counts)
    yield "samples", f"{sum(one.samples for one in counts):,}"
    yield "problems", f"{len(results):,}"
    yield "unscored", f"{sum(found[UNSCORED] for found in results.values()):,}"
    if logs:
        names = ", ".join(log.training.name for log in logs)
        yield "trainings", names if len(logs) <= _MOST_NAMES else f"{len(logs)}"
        yield "alarms", f"{sum(len(log.alarms) for log in logs):,}"


def _stage_seconds(run: Path) -> list[tuple[str, float]]:
    """Of the loop's finished stages."""
    path = run / "stages.jsonl"
    try:
        return [(str(stage["name"]), float(stage["seconds"])) for stage in read_json_lines(path)]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} has a line that is no stage: {error!r}; move it away to have a report") from error


def _proof(run: Path) -> dict[str, Any]:
    """What the export wrote of itself; empty where there is none."""
    path = run / "export" / "export_proof.json"
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}
    except (TypeError, ValueError) as error:
        raise DataError(f"{path} can't be read: {error}; move it away to have a report without it") from error
