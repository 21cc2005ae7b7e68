"""From samples to verdicts, in one stream: extract, judge, count what could not be judged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from eval.samples import Sample
from rlcode.extraction import too_long
from rlcode.extraction_worker import Extractor
from rlcode.types import Answer, PartialLimits, Problem, Program, Unscored, Verdict
from sandbox.judging import Submission, UnscoredShare, judge_answers
from sandbox.protocol import Sandbox


@dataclass(frozen=True)
class Judged:
    """A sample, the program in it, and what the sandbox said."""

    sample: Sample
    program: Program
    outcome: Verdict | Unscored
    problem: Problem


def judge_samples(
    samples: Iterable[Sample],
    problems: Mapping[str, Problem],
    *,
    sandbox: Sandbox,
    extractor: Extractor,
    limits: PartialLimits,
) -> Iterator[Judged]:
    """Yield each sample with its outcome, in the order in which they are judged; `limits` are what the run sets.

    Raises:
        SandboxError: the sandbox can't go on.
        DataError: the tests of a problem can't be run.
    """
    answers = ((sample, _answer(sample, problems[sample.task_id])) for sample in samples)
    for judged in judge_answers(answers, sandbox=sandbox, extractor=extractor, limits=limits):
        yield Judged(judged.item, judged.program, judged.outcome, problems[judged.item.task_id])


def judge_again(judged: Iterable[Judged], judge: Callable[[Iterable[Sample]], Iterator[Judged]]) -> Iterator[Judged]:
    """Hand the stream on but for what could not be judged, which is judged once more at its end; what comes of that
    counts."""
    lost = []
    for item in judged:
        if isinstance(item.outcome, Unscored):
            lost.append(item.sample)
        else:
            yield item
    yield from judge(lost)


def _answer(sample: Sample, problem: Problem) -> Answer | Submission:
    """A solution is a program; in a completion it has to be found."""
    if sample.is_solution:
        return Submission(too_long(sample.text) or Program(sample.text, "solution"), problem)
    return Answer(sample.text, problem, sample.cut_off)


def checked(judged: Iterable[Judged], total: int, max_unscored_share: float) -> Iterator[Judged]:
    """Hand the stream on, and stop it when more than the given share of `total` samples could not be judged.

    Raises:
        SandboxError: that is so; with the reason of the latest.
    """
    share = UnscoredShare(max_unscored_share, total)
    for item in judged:
        share.count(item.outcome.reason if isinstance(item.outcome, Unscored) else None)
        yield item
