"""Answers of a model to the problems of a benchmark, as samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from eval.samples import Sample
from rlcode.prompts import PromptFormat, opened_thinking
from rlcode.types import Problem
from sampling.engine import Engine, SamplingParams
from sampling.rollouts import make_requests


def generate_samples(
    engine: Engine,
    problems: Sequence[Problem],
    params: SamplingParams,
    *,
    num_samples: int,
    prompts: PromptFormat,
) -> Iterator[Sample]:
    """Yield `num_samples` samples for each problem as the engine finishes them, in any order.

    `prompts` is as `PromptFormat.for_model` made it.

    Raises:
        EngineError: the engine failed.
    """
    requests = make_requests(problems, engine, num_samples, prompts)
    opened = opened_thinking(prompts, engine.tokenizer)
    for completion in engine.generate(requests, params):
        cut_off = completion.finish_reason == "length"
        yield Sample(completion.task_id, completion.index, opened + completion.text, cut_off=cut_off)
