"""The share of the tests that a program passed."""

from __future__ import annotations

from collections.abc import Iterable

from rewards.judged import JudgedReward, Sample
from rlcode.types import PartialLimits, Problem, Stage, Verdict
from sandbox.protocol import Sandbox


def fraction(verdict: Verdict | None) -> float | None:
    """Tests passed / tests, from 0 to 1; None where the program could not be scored.

    1 is for a passed verdict alone: a program that went wrong in any other way than in a test (it printed too much,
    say) counts as if it had failed one. One that did not load, or that the sandbox had to stop in an attempt, has 0.
    """
    if verdict is None:
        return None
    if verdict.passed:
        return 1.0
    got_nowhere = verdict.error_type is not None and verdict.error_type.stage < Stage.RUN
    if got_nowhere or verdict.tests_total == 0:
        return 0.0
    return min(verdict.tests_passed, verdict.tests_total - 1) / verdict.tests_total


def fraction_term(sample: Sample) -> float | None:
    return fraction(sample.verdict)


class FractionReward(JudgedReward):
    """`fraction` as a reward function for TRL; see `JudgedReward`."""

    def __init__(
        self, problems: Iterable[Problem] = (), sandbox: Sandbox | None = None, limits: PartialLimits | None = None
    ) -> None:
        super().__init__("fraction", fraction_term, problems, sandbox, limits)
