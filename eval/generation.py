"""Answers of a model to the problems of a benchmark, as samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from eval.samples import Sample
from rlcode.types import Problem
from sampling.engine import Engine, SamplingParams
from sampling.rollouts import make_requests


def generate_samples(
    engine: Engine,
    problems: Sequence[Problem],
    params: SamplingParams,
    *,
    num_samples: int,
    prompt_style: str,
    system_prompt: str | None = None,
) -> Iterator[Sample]:
    """Yield `num_samples` samples for each problem as the engine writes them, those of one problem together.

    Raises:
        EngineError: the engine failed.
    """
    requests = make_requests(problems, engine, num_samples, prompt_style, system_prompt)
    for completion in engine.generate(requests, params):
        cut_off = completion.finish_reason == "length"
        yield Sample(completion.task_id, completion.index, completion.text, cut_off=cut_off)
