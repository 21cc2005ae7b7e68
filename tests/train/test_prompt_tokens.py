"""The prompt's tokens in training are those that were sampled from: for pairs and for GRPO, in every style."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rlcode.prompts import PromptFormat, build_prompt
from rlcode.types import Completion, ErrorType, Problem, Program, Rollout, TestCase, TestKind, Verdict
from sampling.pool import build_pair_pool
from sampling.rollouts import encode_prompt, make_requests
from sampling.strategies.protocol import Draw
from tests.tokenizers import CHATML, SWITCHED, THINKING, WITH_BOS, make_tokenizer
from train.pair_sampler import PairDataset, PlacedDraw
from train.policy_rollouts import PolicyRollouts

CODE = Problem("c", 'def add(a, b):\n    """ Add. """\n', (), entry_point="add")
WORDS = Problem("w", "Add two numbers.", (TestCase(TestKind.ASSERTS),), entry_point="add", prompt_is_code=False)
READS = Problem("s", "Print the sum.", (TestCase(TestKind.STDIO),), prompt_is_code=False)
PROBLEMS = [CODE, WORDS, READS]
FORMATS = [
    (PromptFormat("completion"), None),
    (PromptFormat("few_shot", num_shots=2), None),
    (PromptFormat("chat"), WITH_BOS),
    (PromptFormat("chat"), CHATML),
    (PromptFormat("chat", "Be brief."), CHATML),
    (PromptFormat("chat", enable_thinking=False), SWITCHED),
    (PromptFormat("chat"), THINKING),
]


def engine_with(template: str | None) -> Any:
    return SimpleNamespace(tokenizer=make_tokenizer(template))


@pytest.mark.parametrize(("prompts", "template"), FORMATS)
def test_pairs_are_trained_on_the_tokens_that_were_sampled_from(prompts: PromptFormat, template: str | None) -> None:
    requests = list(make_requests(PROBLEMS, engine_with(template), 1, prompts.for_model(make_tokenizer(template))))
    drawn = [Completion(r.task_id, r.index, "", r.prompt_token_ids, (5, 6)) for r in requests]
    other = [replace(completion, index=1, text="other") for completion in drawn]
    pool = build_pair_pool([*map(passed, drawn), *map(failed, other)])
    draws = [Draw(int(rejected), pool.choose(rejected, np.random.default_rng(0)), "") for rejected in pool.rejected]
    pairs = PairDataset(pool, len(draws))
    prompt_ids = [pairs[PlacedDraw(position, draw)]["prompt_ids"] for position, draw in enumerate(draws)]
    assert sorted(prompt_ids) == sorted(list(request.prompt_token_ids) for request in requests)


def passed(completion: Completion) -> Rollout:
    return Rollout(completion, Program(completion.text, "whole"), Verdict(None, 1, 1))


def failed(completion: Completion) -> Rollout:
    return Rollout(completion, Program(completion.text, "whole"), Verdict(ErrorType.SYNTAX, 0, 1))


@pytest.mark.parametrize(("prompts", "template"), FORMATS)
def test_grpo_samples_from_the_tokens_that_rollouts_sample_from(prompts: PromptFormat, template: str | None) -> None:
    engine = engine_with(template)
    nothing: Any = None
    rollouts = PolicyRollouts(
        *(PROBLEMS, prompts, engine, nothing, nothing, nothing, nothing, nothing, "base", 1),
        *(0.1, nothing, False, nothing, nothing),
    )
    asked = rollouts._requests(PROBLEMS, 1)
    expected = make_requests(PROBLEMS, engine, 1, prompts.for_model(engine.tokenizer))
    assert [request.prompt_token_ids for request in asked] == [request.prompt_token_ids for request in expected]


@pytest.mark.parametrize(("prompts", "template"), FORMATS)
def test_trl_would_make_the_same_tokens_of_the_prompt_alone(prompts: PromptFormat, template: str | None) -> None:
    tokenizer = make_tokenizer(template)
    for problem in PROBLEMS:
        prompt = build_prompt(problem, prompts)
        switch = {} if prompts.enable_thinking is None else {"enable_thinking": prompts.enable_thinking}
        if isinstance(prompt, str):
            theirs = tokenizer(text=prompt)["input_ids"]
        else:
            theirs = tokenizer.apply_chat_template(
                prompt, tokenize=True, add_generation_prompt=True, return_dict=True, **switch
            )["input_ids"]
        assert list(encode_prompt(problem, SimpleNamespace(tokenizer=tokenizer), prompts)) == theirs
