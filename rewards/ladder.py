"""How far a program got, as a number: no code < no Python < an import that fails < no answer < a wrong answer < pass.

The order of the rungs is that of CodeRL's return (Le et al., 2022, arXiv 2207.01780: -1 does not compile, -0.6 error
while it runs, -0.3 fails a test, 1 passes), with a rung for what holds no program and one for what does not load.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rewards.judged import JudgedReward, Sample
from rlcode.config import finite_number
from rlcode.errors import ConfigError
from rlcode.types import ErrorType, PartialLimits, Problem, Stage, Verdict
from sandbox.protocol import Sandbox

RUNGS = {stage.name.lower(): stage for stage in Stage}
"""`extract`, `compile`, `load`, `run`, `answer` and `pass`. Which error is on which rung is `ErrorType.stage`."""
DEFAULT_VALUES = {
    Stage.EXTRACT: 0.0,
    Stage.COMPILE: 0.1,
    Stage.LOAD: 0.2,
    Stage.RUN: 0.3,
    Stage.ANSWER: 0.4,
    Stage.PASS: 1.0,
}
"""The last step is the widest, so that no failure comes close to a pass."""


class Ladder:
    """The value of each way in which a program can end.

    Args:
        values: what differs from `DEFAULT_VALUES`, by rung or by error type. An error type's own value wins.

    Raises:
        ConfigError: an unknown name, a value that is no number, or one for a failure that is not below `pass`.
    """

    def __init__(self, values: Mapping[str, Any] | None = None) -> None:
        own = {name: finite_number(f"ladder: {name}", value) for name, value in (values or {}).items()}
        _refuse_unknown(own)
        rungs = {stage: own.get(name, DEFAULT_VALUES[stage]) for name, stage in RUNGS.items()}
        self.passed = rungs[Stage.PASS]
        self.failures = {error: own.get(error, rungs[error.stage]) for error in ErrorType}
        too_high = [error for error, value in self.failures.items() if value >= self.passed]
        if too_high:
            raise ConfigError(
                f"ladder: {too_high[0]} has {self.failures[too_high[0]]:g} and a pass {self.passed:g}; "
                "every failure must be worth less than a pass"
            )

    def value(self, verdict: Verdict | None) -> float | None:
        """What a verdict is worth; None where the program could not be scored."""
        if verdict is None:
            return None
        # a verdict without an error that is no pass has tests that nothing came of
        return self.passed if verdict.passed else self.failures[verdict.error_type or ErrorType.NO_RESULT]

    def __call__(self, sample: Sample) -> float | None:
        return self.value(sample.verdict)


def _refuse_unknown(values: Mapping[str, float]) -> None:
    known = [*RUNGS, *ErrorType]
    for name in values:
        if name not in known:
            raise ConfigError(f"ladder: unknown rung or error type {name!r}; known: {', '.join(known)}")


class LadderReward(JudgedReward):
    """A `Ladder` as a reward function for TRL; see `JudgedReward`.

    Raises:
        ConfigError: see `Ladder`.
    """

    def __init__(
        self,
        problems: Iterable[Problem] = (),
        sandbox: Sandbox | None = None,
        limits: PartialLimits | None = None,
        *,
        values: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__("ladder", Ladder(values), problems, sandbox, limits)
