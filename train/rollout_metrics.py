"""What became of GRPO's rollouts between two entries of the log, and how old they were when they were trained on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from statistics import fmean
from typing import Any

from rlcode.types import ErrorType, Rollout

_ERROR = "rollouts/error/"


class RolloutMetrics:
    """Counts what all processes drew, so that every process comes to the same figures.

    Shares are of all samples since the last entry, however many times was drawn meanwhile, those of dropped groups
    too.
    """

    def __init__(self) -> None:
        self._drawn = self._tokens = self._scored = self._passed = 0
        self._errors: Counter[ErrorType] = Counter()
        self._types = {ErrorType.SYNTAX, ErrorType.INDENTATION}
        self._written_by = 0.0
        self._lags: list[float] = []
        self._versions: set[int] = set()

    def go_on_from(self, log_history: Iterable[Mapping[str, Any]]) -> None:
        """An error type that came up once is logged ever after, also by a run that goes on."""
        names = {name for entry in log_history for name in entry if name.startswith(_ERROR)}
        self._types |= {ErrorType(name.removeprefix(_ERROR)) for name in names}

    def drew(self, rollouts: Iterable[Rollout]) -> None:
        """Take note of what all processes drew."""
        for rollout in rollouts:
            self._drawn += 1
            self._tokens += len(rollout.completion.token_ids)
            if rollout.verdict is not None:
                self._scored += 1
                self._passed += rollout.verdict.passed
                if rollout.verdict.error_type is not None:
                    self._errors[rollout.verdict.error_type] += 1

    def chose(self, rollouts: Iterable[Rollout]) -> None:
        """Take note of what is trained on from now on."""
        self._written_by = fmean(rollout.completion.policy_version for rollout in rollouts)

    def trained(self, version: int) -> None:
        """The policy `version` was trained, in a part of an optimizer step or a whole one."""
        self._lags.append(version - self._written_by)
        self._versions.add(version)

    def take(self) -> dict[str, float]:
        """The metrics since the last time; nothing where nothing was trained."""
        if not self._versions:
            return {}
        metrics = {
            "policy/version": max(self._versions) + 1.0,
            "policy/lag": fmean(self._lags),
            "rollouts/tokens": self._tokens / len(self._versions),
            **self._shares(),
        }
        self._drawn = self._tokens = self._scored = self._passed = 0
        self._errors.clear()
        self._lags.clear()
        self._versions.clear()
        return metrics

    def _shares(self) -> dict[str, float]:
        self._types |= set(self._errors)
        shares = {"rollouts/unscored": 1 - self._scored / self._drawn} if self._drawn else {}
        if self._scored:
            shares["rollouts/pass_rate"] = self._passed / self._scored
            shares |= {f"{_ERROR}{name}": self._errors[name] / self._scored for name in sorted(self._types)}
        return shares
