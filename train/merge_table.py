"""The candidates of a search for weights, as files and as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rlcode.run_directory import write_atomically, write_json
from rlcode.types import Interval, to_json

if TYPE_CHECKING:
    from rich.table import Table

Weights = tuple[float, ...]


@dataclass(frozen=True)
class Candidate:
    """Weights, and what they are worth on the validation problems."""

    weights: Weights
    pass_at_k: dict[str, Interval]
    greedy: Interval | None
    is_fixed: bool
    """Whether it is one of those that need no search."""

    def value(self, k: int) -> float:
        """pass@k."""
        return self.pass_at_k[str(k)].value

    def describe(self) -> str:
        """In one line."""
        return ", ".join(f"{name} {value}" for name, value in self.rates())

    def rates(self) -> Iterator[tuple[str, str]]:
        """Names and values with their intervals."""
        for k, interval in self.pass_at_k.items():
            yield f"pass@{k}", str(interval)
        if self.greedy is not None:
            yield "greedy", str(self.greedy)


def shown(weights: Weights) -> str:
    """As on a command line."""
    return " ".join(f"{weight:g}" for weight in weights)


def write_candidates(directory: Path, candidates: Sequence[Candidate]) -> None:
    """`search.json` and `search.md`."""
    write_json(directory / "search.json", [to_json(candidate) for candidate in candidates])
    headings = _headings(candidates)
    rows = [headings, ["---"] * len(headings), *map(_cells, candidates)]
    write_atomically(directory / "search.md", "".join(f"| {' | '.join(row)} |\n" for row in rows))


def table(candidates: Sequence[Candidate], best: Candidate) -> Table:
    """For the terminal, the best in bold."""
    from rich.table import Table

    printed = Table(*_headings(candidates), title="validation, 95 % intervals over problems")
    for candidate in candidates:
        printed.add_row(*_cells(candidate), style="bold" if candidate.weights == best.weights else None)
    return printed


def _headings(candidates: Sequence[Candidate]) -> list[str]:
    return ["weights", *(name for name, _ in candidates[0].rates()), ""]


def _cells(candidate: Candidate) -> list[str]:
    return [
        shown(candidate.weights),
        *(value for _, value in candidate.rates()),
        "fixed" if candidate.is_fixed else "searched",
    ]
