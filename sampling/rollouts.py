"""From problems and a policy to judged completions: prompt, generate, extract, judge, in one stream.

The engine runs in the caller's thread; each completion goes to extraction and the sandbox the moment that it is
finished, while the engine goes on. Rollouts come out in the order in which they are judged.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from itertools import islice

from rlcode.extraction_worker import Extractor
from rlcode.prompts import PromptFormat, build_prompt, tokenize_prompt
from rlcode.types import Answer, Completion, PartialLimits, Problem, Rollout, Unscored
from sampling.engine import Engine, GenerationRequest, SamplingParams
from sandbox.judging import Judged, judge_answers
from sandbox.protocol import Sandbox


def encode_prompt(problem: Problem, engine: Engine, prompts: PromptFormat) -> tuple[int, ...]:
    """The token ids that the policy sees for `problem`, with `prompts` as made for its model."""
    return tuple(tokenize_prompt(build_prompt(problem, prompts), engine.tokenizer, prompts.enable_thinking))


def make_requests(
    problems: Iterable[Problem], engine: Engine, num_generations: int, prompts: PromptFormat
) -> Iterator[GenerationRequest]:
    """`num_generations` requests for each problem, the completions of one problem next to each other."""
    for problem in problems:
        prompt = encode_prompt(problem, engine, prompts)
        for index in range(num_generations):
            yield GenerationRequest(problem.task_id, index, prompt)


def unfinished_blocks(
    plan: Iterable[GenerationRequest], done: Container[tuple[str, int]], block_size: int | None
) -> Iterator[GenerationRequest]:
    """What of a run's `plan` is to be asked for where the keys (task, index) in `done` are there already.

    An engine that decodes blocks of `block_size` requests rounds a sample by the block that it lands in. So that a run
    which goes on gives what an undisturbed one would, blocks are those of the whole plan: one in which anything is
    missing is asked for whole. None: the engine batches by itself.
    """
    requests = iter(plan)
    while block := list(islice(requests, block_size or 1)):
        if any(key_of(request) not in done for request in block):
            yield from block


def key_of(drawn: GenerationRequest | Completion) -> tuple[str, int]:
    """What names a sample within a run: its task and its index."""
    return drawn.task_id, drawn.index


def roll_out(
    requests: Iterable[GenerationRequest],
    problems: Iterable[Problem],
    *,
    engine: Engine,
    params: SamplingParams,
    sandbox: Sandbox,
    extractor: Extractor,
    limits: PartialLimits,
    opened: str = "",
) -> Iterator[Rollout]:
    """Draw the requested completions and judge each against its problem, in the order in which they are judged.

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
    """Judge completions as they come, in the order in which they are judged. `opened` is what the prompt had begun
    (`opened_thinking`)."""
    answers = answers_to(problems, completions, opened)
    yield from map(rollout_of, judge_answers(answers, sandbox=sandbox, extractor=extractor, limits=limits))


def answers_to(
    problems: Mapping[str, Problem], completions: Iterable[Completion], opened: str = ""
) -> Iterator[tuple[Completion, Answer]]:
    """Each completion, as an answer to its problem."""
    for completion in completions:
        problem = problems[completion.task_id]
        yield completion, Answer(opened + completion.text, problem, completion.finish_reason == "length")


def rollout_of(judged: Judged[Completion]) -> Rollout:
    """A completion with what became of it."""
    if isinstance(judged.outcome, Unscored):
        return Rollout(judged.item, judged.program, None, judged.outcome.reason)
    return Rollout(judged.item, judged.program, judged.outcome)
