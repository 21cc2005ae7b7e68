"""HumanEval's and MBPP's own prompts through every engine: greedy, the same tokens, for the same adapter."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from rlcode.data.registry import load_problems
from rlcode.prompts import PromptFormat, build_prompt, tokenize_prompt
from rlcode.types import Completion
from sampling.engine import EngineSettings, GenerationRequest, SamplingParams, open_engine
from tests.conftest import ALL_TESTS
from tests.sampling.servers import Server

GREEDY = SamplingParams(temperature=0, max_completion_length=24)
_LONGEST = 488  # the model takes 512 tokens
NEAR_TIE = 1e-4  # nats between the two best tokens: float32 sums in another order may choose either


@pytest.fixture(scope="module")
def wide_server(tmp_path_factory, random_model: Path):
    """For prompts of a real benchmark, which the others are too narrow for."""
    server = Server(
        random_model, tmp_path_factory.mktemp("wide") / "log", "--max_model_length", "512", "--max_lora_rank", "8"
    )
    try:
        yield server.wait()
    finally:
        server.kill()


@pytest.fixture(scope="module")
def wanted(shared_data: Path, random_model: Path) -> list[GenerationRequest]:
    from transformers import AutoTokenizer

    tokenizer, style = AutoTokenizer.from_pretrained(random_model), PromptFormat("completion")
    problems = load_problems("humaneval", shared_data / "HumanEval.jsonl.gz", None)
    problems += load_problems("mbpp", shared_data / "mbpp.jsonl.gz", "test")
    prompts = {p.task_id: tuple(tokenize_prompt(build_prompt(p, style), tokenizer)) for p in problems}
    requests = [GenerationRequest(task_id, 0, ids) for task_id, ids in prompts.items() if len(ids) <= _LONGEST]
    assert len(requests) > 630
    return requests if ALL_TESTS else requests[::4]


def greedy(settings: EngineSettings, model: Path, adapter: Path, wanted: list[GenerationRequest]) -> dict:
    with open_engine(settings, str(model), adapter) as engine:
        return {completion.task_id: completion for completion in engine.generate(wanted, GREEDY)}


def same_up_to_a_near_tie(one: Completion, other: Completion, model: torch.nn.Module) -> bool:
    if one.token_ids == other.token_ids:
        return True
    pairs = enumerate(zip(one.token_ids, other.token_ids, strict=False))
    place = next((place for place, (a, b) in pairs if a != b), None)
    if place is None:
        return False
    ids = torch.tensor([[*one.prompt_token_ids, *one.token_ids[:place]]])
    with torch.no_grad():
        best, second = model(ids).logits[0, -1].topk(2).values.tolist()
    return best - second < NEAR_TIE


def test_greedy_tokens_are_the_same_on_all_engines(
    random_model: Path, random_adapter: Path, wanted: list[GenerationRequest], wide_server: Server
):
    from peft import PeftModel

    policy = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(random_model), str(random_adapter)).eval()
    reference = greedy(EngineSettings(), random_model, random_adapter, wanted)
    assert len(reference) == len(wanted)
    for settings in (
        EngineSettings("vllm", max_model_length=512, max_lora_rank=8),
        EngineSettings("vllm-server", urls=(wide_server.url,)),
    ):
        got = greedy(settings, random_model, random_adapter, wanted)
        assert got.keys() == reference.keys()
        equal = sum(got[task].token_ids == reference[task].token_ids for task in reference)
        print(f"{settings.engine}: {equal} of {len(reference)} greedy completions are the same tokens")
        other = [task for task in reference if not same_up_to_a_near_tie(reference[task], got[task], policy)]
        assert not other
        assert equal > 0.99 * len(reference)
