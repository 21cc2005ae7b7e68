"""The samples that a page shows one by one, packed: columns of numbers into a list of different texts, as JSON,
gzipped, in base64. Whatever the texts say, base64 has no character that HTML takes for its own."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.run_report.charts import css_of
from eval.run_report.counts import SetCounts
from eval.run_report.kept import MOST_CHARACTERS, KeptSample, KeptSamples
from eval.run_report.layout import SampleSet
from eval.run_report.markup import Html, said, section, tag
from eval.run_report.pairs import Draws
from eval.run_report.samples_of import OUTCOMES, has_texts
from rlcode.data.lines import read_json_lines
from rlcode.types import Limits

_TEXT_COLUMNS = ("program", "completion", "how", "exception", "test", "detail", "stdout")


@dataclass(frozen=True)
class Packed:
    """What the script unpacks, and what of it the page says beforehand."""

    data: str
    num_samples: int
    num_pairs: int


class _Texts:
    """Different texts, numbered as they come; 0 is the empty one."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {"": 0}

    def number(self, text: str) -> int:
        return self._numbers.setdefault(text, len(self._numbers))

    def in_order(self) -> list[str]:
        return list(self._numbers)


def pack(
    kept: KeptSamples,
    counts: Sequence[SetCounts],
    draws: Sequence[Draws],
    numbers: Mapping[str, int],
    prompts: Mapping[str, str],
) -> Packed:
    """Samples and pairs for the script; `numbers` are those of the problems."""
    rows, texts = kept.in_order(), _Texts()
    pairs = _pairs(rows, [one.found for one in counts], draws)
    data = {
        "sets": [one.found.name for one in counts],
        "stopped": [_stops_early(one.found) for one in counts],
        "outcomes": [{"name": outcome, "css": css_of(outcome)} for outcome in OUTCOMES],
        "problems": [{"id": task_id, "prompt": prompts.get(task_id, "")} for task_id in numbers],
        "columns": _columns(rows, texts, numbers),
        "pairs": pairs,
        "texts": texts.in_order(),
    }
    packed = gzip.compress(json.dumps(data, separators=(",", ":")).encode(), compresslevel=6, mtime=0)
    return Packed(base64.b64encode(packed).decode(), len(rows), len(pairs))


def _stops_early(found: SampleSet) -> bool:
    """Whether the tests of a program came to an end at a failure, so that some were not run."""
    limits = found.report.get("data", {}).get("limits", {})
    return (limits.get("failures") or Limits.failures) < Limits.failures


def _columns(rows: Sequence[KeptSample], texts: _Texts, numbers: Mapping[str, int]) -> dict[str, list[Any]]:
    samples = [one.sample for one in rows]
    return {
        "set": [one.set_number for one in rows],
        "problem": [numbers[sample.task_id] for sample in samples],
        "version": [sample.version for sample in samples],
        "index": [sample.index for sample in samples],
        "outcome": [OUTCOMES.index(sample.outcome) for sample in samples],
        "line": [sample.line for sample in samples],
        "passed": [sample.tests_passed for sample in samples],
        "total": [sample.tests_total for sample in samples],
        "ms": [round(1000 * sample.time_s, 1) for sample in samples],
        "mib": [round(sample.memory_mb, 1) for sample in samples],
        **{name: [texts.number(getattr(sample, name)) for sample in samples] for name in _TEXT_COLUMNS},
    }


def _pairs(
    rows: Sequence[KeptSample], sets: Sequence[SampleSet], draws: Sequence[Draws]
) -> list[tuple[int, int, int, str]]:
    """Row of the chosen and of the rejected side, how often they were drawn, and by which training."""
    pairs = []
    for one in draws:
        own = {number for number, found in enumerate(sets) if found.folder in one.training.rollouts}
        places = {
            (row.sample.task_id, row.sample.version, row.sample.index): place
            for place, row in reversed(list(enumerate(rows)))
            if row.set_number in own
        }
        for pair in one.pairs:
            chosen, rejected = places.get(pair.chosen), places.get(pair.rejected)
            if chosen is not None and rejected is not None:
                pairs.append((chosen, rejected, pair.times, one.training.name))
    return pairs


def read_prompts(files: Iterable[Path], wanted: Mapping[str, int]) -> dict[str, str]:
    """The prompts of the problems that samples were drawn for.

    Raises:
        DataError: a file can't be read.
    """
    prompts: dict[str, str] = {}
    for file in files:
        for _, row in read_json_lines(file):
            if row.get("task_id") in wanted:
                prompts.setdefault(row["task_id"], str(row.get("prompt", ""))[:MOST_CHARACTERS])
    return prompts


def browse_section(packed: Packed, kept: KeptSamples, counts: Sequence[SetCounts], prompts: Mapping[str, str]) -> Html:
    """The part of the page that the script brings to life."""
    if not packed.num_samples:
        return section("browse", "Samples", said("No judged sample lies in this directory."))
    total = sum(one.samples for one in counts)
    without = [one.found.name for one in counts if not has_texts(one.found)]
    notes = [_kept_note(packed, kept, total), *_pairs_note(packed)]
    if without:
        notes.append(
            said(f"Programs are not kept, or no more to be had, of: {' · '.join(without)}. Their verdicts are.")
        )
    if not prompts:
        notes.append(said("The prompts are not in this directory; a continuation begins with its prompt all the same."))
    waiting = tag("p", "The samples are being unpacked …", id="count", role="status")
    panes = tag(
        "div", _pane("problems", "Problems"), _pane("samples", "Samples"), _detail(), class_="panes", hidden=True
    )
    noscript = tag("noscript", said("Samples are shown by JavaScript, which is switched off here."))
    return section("browse", "Samples", *notes, _filters(counts), waiting, noscript, panes)


def _kept_note(packed: Packed, kept: KeptSamples, total: int) -> Html:
    if kept.cap is None:
        return tag("p", f"All {total:,} samples are here.", class_="note")
    some = f"at most {kept.cap} of each problem and each way to end, chosen by a hash"
    if kept.one_in > 1:
        some += f", of one problem in {kept.one_in}"
    return said(
        f"{packed.num_samples:,} of {total:,} samples are here: {some}, and the sides of the pairs. The charts and "
        "tables above count all of them."
    )


def _pairs_note(packed: Packed) -> list[Html]:
    if packed.num_pairs:
        return [
            tag("p", f"{packed.num_pairs:,} different pairs of those that DPO drew can be looked at.", class_="note")
        ]
    return [said("No drawn pair can be shown, so a failed sample is held against one of its problem that passed.")]


def _filters(counts: Sequence[SetCounts]) -> Html:
    seen = {outcome for one in counts for outcome in one.whole().outcomes}
    outcomes = [("", "any outcome"), ("!", "failed, any type")]
    outcomes += [(outcome, outcome) for outcome in OUTCOMES if outcome in seen]
    sets = [("", "all stages"), *((str(number), one.found.name) for number, one in enumerate(counts))]
    search = tag("input", type="search", id="text", placeholder="text of problem, program, test or message")
    return tag(
        "form",
        tag("label", "Text", search, class_="grow"),
        tag("label", "Outcome", _select("outcome", outcomes)),
        tag("label", "Stage", _select("set", sets)),
        tag("label", tag("input", type="checkbox", id="paired"), "in a drawn pair", class_="check"),
        tag("button", "Clear", type="reset"),
        class_="filters",
        id="filters",
    )


def _select(name: str, options: Iterable[tuple[str, str]]) -> Html:
    return tag("select", *(tag("option", text, value=value) for value, text in options), id=name)


def _pane(name: str, title: str) -> Html:
    box = tag("div", class_="list", id=name, role="listbox", tabindex="0", aria_label=title)
    return tag("div", tag("h3", title), box, class_="pane")


def _detail() -> Html:
    return tag("div", class_="pane detail", id="detail", tabindex="0", role="region", aria_label="The sample")
