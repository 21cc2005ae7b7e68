"""From the text that a model wrote to a verdict: extract the program, judge it, in one ordered stream."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from rlcode.extraction_worker import Extractor
from rlcode.types import Limits, Problem, Program, Unscored, Verdict
from sandbox.protocol import Job, Sandbox


def judge_texts(
    texts: Iterable[tuple[str, Problem]], *, sandbox: Sandbox, extractor: Extractor, limits: Limits
) -> Iterator[tuple[Program, Verdict | Unscored]]:
    """Judge each text as an answer to its problem, in order; a problem's own limits win over `limits`.

    `texts` is consumed (perhaps in another thread) only as the sandbox has room.

    Raises:
        SandboxError: the sandbox can't go on.
        DataError: the tests of a problem can't be run.
    """
    waiting: deque[Program] = deque()

    def jobs() -> Iterator[Job]:
        for text, problem in texts:
            program = extractor.extract(text, problem)
            waiting.append(program)
            yield Job(problem, program, problem.limits or limits)

    for result in sandbox.judge(jobs()):
        yield waiting.popleft(), result
