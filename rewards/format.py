"""Whether the program stood where the prompt asked for it.

Extraction takes a program from almost any answer; how it was found is what counts here (`Program.how`). Nothing of the
answer is read again: it is hostile text, and this is the training process.
"""

from __future__ import annotations

from collections.abc import Iterable

from rewards.judged import JudgedReward, Sample
from rlcode.errors import DataError
from rlcode.extraction import Found
from rlcode.types import PartialLimits, Problem
from sandbox.protocol import Sandbox

IN_CHAT = frozenset({Found.BLOCK, Found.BLOCK_AS_IT_IS})
"""A chat asks for one code block: the only one, and closed. Whether its program is any good is not asked."""
IN_TEXT = frozenset({Found.CONTINUATION, Found.PROGRAM_UP_TO_FENCE})
"""A text is gone on with, or, where it ends in an open fence, is a program and the closing fence."""


def proper_form(sample: Sample) -> float | None:
    """1.0 in the form that the prompt asked for, else 0.0; None where the program could not be scored.

    Raises:
        DataError: nobody brought the program along.
    """
    if sample.verdict is None:
        return None
    if sample.program is None:
        raise DataError("the format term needs a column `program` beside the column `verdict`")
    return float(sample.program.how in (IN_CHAT if sample.is_chat else IN_TEXT))


class FormatReward(JudgedReward):
    """`proper_form` as a reward function for TRL; see `JudgedReward`."""

    def __init__(
        self, problems: Iterable[Problem] = (), sandbox: Sandbox | None = None, limits: PartialLimits | None = None
    ) -> None:
        super().__init__("format", proper_form, problems, sandbox, limits)
