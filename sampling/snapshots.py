"""What was known of the policy when: the notebook and the last quiz, and from which draw on they count.

A draw at position t is a function of the seed, t and the snapshots in force at t. A snapshot is announced ahead, for
positions that nobody has read yet, so all processes draw alike although a data loader reads batches in advance; and
a run that resumes draws what the undisturbed one would have drawn, from the same history.
"""

from __future__ import annotations

import bisect
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from rlcode.errors import DataError
from rlcode.run_directory import write_json
from rlcode.types import ErrorType, Rollout
from sampling.notebook import ErrorNotebook

HISTORY_FILE = "history.json"
"""Written last: where it is, the history is whole."""


@dataclass(frozen=True)
class QuizResult:
    """How one policy answered the validation problems: samples by outcome, unscored ones left out."""

    policy_version: int
    step: int
    """Optimizer steps before it."""
    samples: int
    errors: Mapping[ErrorType, int] = field(default_factory=dict)

    @classmethod
    def of(cls, rollouts: Iterable[Rollout], *, policy_version: int, step: int) -> Self:
        """The result of a quiz with these answers."""
        verdicts = [rollout.verdict for rollout in rollouts if rollout.verdict is not None]
        errors = Counter(verdict.error_type for verdict in verdicts if verdict.error_type is not None)
        return cls(policy_version, step, len(verdicts), dict(sorted(errors.items())))

    @property
    def pass_at_1(self) -> float:
        """Share of the samples that passed; 0 where there was none."""
        return 1 - sum(self.errors.values()) / self.samples if self.samples else 0.0


@dataclass(frozen=True)
class Snapshot:
    """What draws go by from position `from_position` on. The notebook in it is not changed any more."""

    from_position: int
    notebook: ErrorNotebook
    quiz: QuizResult | None = None


def last_quiz(history: Sequence[Snapshot]) -> QuizResult | None:
    """The last one in which something was scored."""
    quizzes = (snapshot.quiz for snapshot in reversed(history))
    return next((quiz for quiz in quizzes if quiz is not None and quiz.samples), None)


class SnapshotHistory:
    """All snapshots of a run, oldest first; the first one counts from position 0."""

    def __init__(self, first: Snapshot) -> None:
        if first.from_position != 0:
            raise ValueError("the first snapshot counts from position 0")
        self._snapshots = [first]

    def announce(self, snapshot: Snapshot) -> None:
        """Add a snapshot behind the others.

        Raises:
            ValueError: it would count from before the last one.
        """
        if snapshot.from_position <= self._snapshots[-1].from_position:
            raise ValueError(
                f"a snapshot from position {snapshot.from_position} can't follow one from "
                f"{self._snapshots[-1].from_position}"
            )
        self._snapshots.append(snapshot)

    def at(self, position: int) -> tuple[Snapshot, ...]:
        """What is in force at `position`: the last one decides, those before it tell how it came to that."""
        return tuple(self._snapshots[: self.count_at(position)])

    def count_at(self, position: int) -> int:
        """How many snapshots count at `position`."""
        return bisect.bisect_right(self._snapshots, position, key=lambda snapshot: snapshot.from_position)

    @property
    def last(self) -> Snapshot:
        """The one that was announced last, in force or not yet."""
        return self._snapshots[-1]

    def save(self, directory: Path) -> None:
        """Write all snapshots into `directory`; `load` gives them back exactly."""
        for number, snapshot in enumerate(self):
            snapshot.notebook.save(directory / _notebook_file(number))
        rows = [
            {"from_position": snapshot.from_position, "quiz": snapshot.quiz and asdict(snapshot.quiz)}
            for snapshot in self
        ]
        write_json(directory / HISTORY_FILE, rows)

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            DataError: it is not all there, or damaged.
        """
        try:
            rows = json.loads((directory / HISTORY_FILE).read_text(encoding="utf-8"))
            snapshots = [
                Snapshot(
                    int(row["from_position"]),
                    ErrorNotebook.load(directory / _notebook_file(number)),
                    _quiz_from(row["quiz"]),
                )
                for number, row in enumerate(rows)
            ]
            history = cls(snapshots[0])
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise DataError(f"the snapshots in {directory} can't be read: {error!r}") from error
        for snapshot in snapshots[1:]:
            history.announce(snapshot)
        return history

    def __len__(self) -> int:
        return len(self._snapshots)

    def __iter__(self) -> Iterator[Snapshot]:
        return iter(self._snapshots)


def _notebook_file(number: int) -> str:
    return f"notebook-{number}.json"


def _quiz_from(row: dict[str, Any] | None) -> QuizResult | None:
    if row is None:
        return None
    return QuizResult(**{**row, "errors": {ErrorType(name): count for name, count in row["errors"].items()}})
