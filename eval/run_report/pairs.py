"""The pairs that DPO drew: how often each error type, and some of the pairs themselves, to be looked at."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eval.run_report.counts import binned
from eval.run_report.kept import Key
from eval.run_report.layout import Training
from rlcode.errors import DataError
from rlcode.run_directory import read_json_lines
from sampling.notebook import ErrorNotebook

MOST_PAIRS = 1_000
"""Different pairs that the page shows, of all trainings together."""
_PIECES = 12


@dataclass(frozen=True)
class DrawnPair:
    """A pair, and how often it was drawn."""

    chosen: Key
    rejected: Key
    error_type: str
    times: int


@dataclass
class Draws:
    """What a training drew."""

    training: Training
    count: int = 0
    types: Counter[str] = field(default_factory=Counter)
    """Draws by the error type of the rejected side."""
    parts: Counter[str] = field(default_factory=Counter)
    """Draws by the strategy's own name for where they came from."""
    by_step: dict[int, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    pairs: list[DrawnPair] = field(default_factory=list)
    num_pairs: int = 0
    """Different ones, shown or not."""
    frequent: dict[str, float] = field(default_factory=dict)
    """Share of the failures by error type, in the notebook that the training left; empty without one."""

    def pieces(self) -> list[tuple[str, Counter[str]]]:
        """Draws by error type in the course of training, steps that follow each other together."""
        pieces = []
        for steps in binned(sorted(self.by_step), _PIECES):
            total: Counter[str] = Counter()
            for step in steps:
                total.update(self.by_step[step])
            name = str(steps[0]) if len(steps) == 1 else f"{steps[0]}–{steps[-1]}"
            pieces.append((name, total))
        return pieces


def read_draws(training: Training, most: int) -> Draws | None:
    """The draws of a training, with `most` of its different pairs; None where it drew no pairs.

    Raises:
        DataError: a file can't be used.
    """
    path = training.folder / "draws.jsonl"
    if not path.exists():
        return None
    draws, times = Draws(training), Counter[tuple[str, Key, Key]]()
    try:
        for line in read_json_lines(path):
            error_type = str(line["error_type"])
            draws.count += 1
            draws.types[error_type] += 1
            draws.parts[str(line["part"])] += 1
            draws.by_step[int(line["step"])][error_type] += 1
            times[error_type, _key(line, "chosen"), _key(line, "rejected")] += 1
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} holds a line that is no draw: {error!r}; move it away to have a report") from error
    draws.num_pairs = len(times)
    draws.pairs = _fair_part(times, most)
    draws.frequent = _frequent(training.folder / "notebook.json")
    return draws


def keys_of(draws: Sequence[Draws]) -> set[Key]:
    """Of all sides that are shown."""
    return {key for one in draws for pair in one.pairs for key in (pair.chosen, pair.rejected)}


def _key(line: dict[str, Any], side: str) -> Key:
    return str(line["task_id"]), int(line[side]["policy_version"]), int(line[side]["index"])


def _fair_part(times: Counter[tuple[str, Key, Key]], most: int) -> list[DrawnPair]:
    """Error types by turns, the pairs of each in an order that a hash decides."""
    by_type: defaultdict[str, list[tuple[str, Key, Key]]] = defaultdict(list)
    for pair in sorted(times, key=_hash):
        by_type[pair[0]].append(pair)
    turns = sorted((turn, pair) for pairs in by_type.values() for turn, pair in enumerate(pairs))
    return [DrawnPair(pair[1], pair[2], pair[0], times[pair]) for _, pair in turns[:most]]


def _hash(pair: tuple[str, Key, Key]) -> bytes:
    return hashlib.blake2b(repr(pair).encode(errors="replace"), digest_size=8).digest()


def _frequent(path: Path) -> dict[str, float]:
    if not path.exists():
        return {}
    shares = ErrorNotebook.load(path).frequencies("short")
    whole = sum(shares.values())
    return {str(error_type): share / whole for error_type, share in shares.items()} if whole else {}
