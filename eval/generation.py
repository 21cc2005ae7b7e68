"""Answers of a model to the problems of a benchmark, as samples."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence

from eval.samples import Sample
from rlcode.prompts import PromptFormat, opened_thinking
from rlcode.types import Problem
from sampling.engine import Engine, SamplingParams
from sampling.rollouts import key_of, make_requests, unfinished_blocks


def generate_samples(
    engine: Engine,
    problems: Sequence[Problem],
    params: SamplingParams,
    *,
    num_samples: int,
    prompts: PromptFormat,
    done: Container[tuple[str, int]] = (),
) -> Iterator[Sample]:
    """Yield `num_samples` samples for each problem as the engine finishes them, in any order, without those whose key
    (task, index) is in `done`.

    `prompts` is as `PromptFormat.for_model` made it.

    Raises:
        EngineError: the engine failed.
    """
    plan = make_requests(problems, engine, num_samples, prompts)
    requests = unfinished_blocks(plan, done, engine.block_size)
    opened = opened_thinking(prompts, engine.tokenizer)
    for completion in engine.generate(requests, params):
        cut_off = completion.finish_reason == "length"
        if key_of(completion) not in done:
            yield Sample(completion.task_id, completion.index, opened + completion.text, cut_off=cut_off)
