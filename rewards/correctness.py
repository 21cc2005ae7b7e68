"""The binary reward: 1.0 for a program that passed every test, 0.0 for one that did not, None without a verdict."""

from __future__ import annotations

from collections.abc import Iterable

from rewards.judged import JudgedReward, Sample
from rlcode.types import PartialLimits, Problem, Verdict
from sandbox.protocol import Sandbox


def correctness(verdict: Verdict | None) -> float | None:
    """1.0 passed, 0.0 failed, None where the program could not be scored: TRL masks such a sample."""
    return None if verdict is None else float(verdict.passed)


def correctness_term(sample: Sample) -> float | None:
    return correctness(sample.verdict)


class CorrectnessReward(JudgedReward):
    """`correctness` as a reward function for TRL; see `JudgedReward`."""

    def __init__(
        self, problems: Iterable[Problem] = (), sandbox: Sandbox | None = None, limits: PartialLimits | None = None
    ) -> None:
        super().__init__("correctness", correctness_term, problems, sandbox, limits)
