"""From problems and a policy to judged completions: prompt, generate, extract, judge, in one stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from rlcode.extraction_worker import Extractor
from rlcode.prompts import PromptFormat, build_prompt, tokenize_prompt
from rlcode.types import Answer, Completion, PartialLimits, Problem, Program, Rollout, Unscored, Verdict
from sampling.engine import Engine, GenerationRequest, SamplingParams
from sandbox.judging import extract_programs, judge_programs
from sandbox.protocol import Sandbox


def encode_prompt(problem: Problem, engine: Engine, prompts: PromptFormat) -> tuple[int, ...]:
    """The token ids that the policy sees for `problem`, with `prompts` as made for its model."""
    return tuple(tokenize_prompt(build_prompt(problem, prompts), engine.tokenizer, prompts.enable_thinking))


def make_requests(
    problems: Sequence[Problem], engine: Engine, num_generations: int, prompts: PromptFormat
) -> list[GenerationRequest]:
    """`num_generations` requests for each problem, the completions of one problem next to each other."""
    requests = []
    for problem in problems:
        prompt = encode_prompt(problem, engine, prompts)
        requests += [GenerationRequest(problem.task_id, index, prompt) for index in range(num_generations)]
    return requests


def roll_out(
    requests: Sequence[GenerationRequest],
    problems: Iterable[Problem],
    *,
    engine: Engine,
    params: SamplingParams,
    sandbox: Sandbox,
    extractor: Extractor,
    limits: PartialLimits,
    opened: str = "",
) -> Iterator[Rollout]:
    """Draw the requested completions and judge each against its problem, in order.

    The sandbox takes completions as the engine gives them out.

    Raises:
        EngineError, SandboxError: either can't go on.
    """
    by_id = {problem.task_id: problem for problem in problems}
    yield from judge_completions(
        engine.generate(requests, params), by_id, sandbox=sandbox, extractor=extractor, limits=limits, opened=opened
    )


def judge_completions(
    completions: Iterable[Completion],
    problems: Mapping[str, Problem],
    *,
    sandbox: Sandbox,
    extractor: Extractor,
    limits: PartialLimits,
    opened: str = "",
) -> Iterator[Rollout]:
    """Judge completions as they come, in order. `opened` is what the prompt had begun (`opened_thinking`)."""
    answers = (
        (
            completion,
            Answer(opened + completion.text, problems[completion.task_id], completion.finish_reason == "length"),
        )
        for completion in completions
    )
    programs = extract_programs(answers, extractor)
    for completion, program, result in judge_programs(programs, sandbox=sandbox, limits=limits):
        yield _rollout(completion, program, result)


def _rollout(completion: Completion, program: Program, result: Verdict | Unscored) -> Rollout:
    if isinstance(result, Unscored):
        return Rollout(completion, program, None, result.reason)
    return Rollout(completion, program, result)
