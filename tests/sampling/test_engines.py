"""Both engines: the same tokens for the same policy, noise that belongs to the sample, adapters that are in force."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from rlcode.errors import EngineError, InputError
from rlcode.types import Completion
from sampling.engine import Engine, GenerationRequest, SamplingParams, open_engine
from sampling.transformers_engine import gumbel_noise

GREEDY = SamplingParams(temperature=0, max_completion_length=12)
SAMPLED = SamplingParams(temperature=1.0, max_completion_length=12, seed=5)
PROMPTS = ["def solve(xs):\n", "def solve(s):\n    return", "def solve(n):\n    n = n + 1\n"]


def requests(engine: Engine, samples: int = 4) -> list[GenerationRequest]:
    return [
        GenerationRequest(f"t{task}", index, tuple(engine.tokenizer(prompt)["input_ids"]))
        for task, prompt in enumerate(PROMPTS)
        for index in range(samples)
    ]


@pytest.fixture(scope="module", params=["transformers", "vllm"])
def engine(request, random_model: Path) -> Iterator[Engine]:
    """Each engine on the base model, without an adapter. The tests below go from version to version."""
    with open_engine(request.param, str(random_model), max_model_length=128, batch_size=5) as engine:
        yield engine


def logprobs_by_hand(
    model: Path, adapter: Path | None, completion: Completion, temperature: float = 1.0
) -> torch.Tensor:
    base = AutoModelForCausalLM.from_pretrained(model)
    if adapter is not None:
        from peft import PeftModel

        base = PeftModel.from_pretrained(base, str(adapter))
    ids = torch.tensor([[*completion.prompt_token_ids, *completion.token_ids]])
    start = len(completion.prompt_token_ids)
    with torch.no_grad():
        logits = base.eval()(ids).logits[0, start - 1 : -1] / temperature
    return torch.log_softmax(logits, -1).gather(1, ids[0, start:, None])[:, 0]


def test_completions_come_in_the_order_of_the_requests(engine: Engine):
    wanted = requests(engine)
    got = list(engine.generate(wanted, SAMPLED))
    assert [(c.task_id, c.index) for c in got] == [(r.task_id, r.index) for r in wanted]
    assert all(c.prompt_token_ids == r.prompt_token_ids for c, r in zip(got, wanted, strict=True))


def test_log_probabilities_are_those_of_the_model_at_the_temperature(engine: Engine, random_model: Path):
    params = SamplingParams(temperature=0.7, max_completion_length=12, seed=5)
    for completion in engine.generate(requests(engine)[:3], params):
        expected = logprobs_by_hand(random_model, None, completion, 0.7)
        assert torch.allclose(torch.tensor(completion.logprobs), expected, atol=1e-4)


def test_a_sample_does_not_depend_on_the_company_it_is_drawn_in(engine: Engine):
    wanted = requests(engine)
    together = list(engine.generate(wanted, SAMPLED))
    backwards = list(engine.generate(wanted[::-1], SAMPLED))[::-1]
    alone = [next(iter(engine.generate([request], SAMPLED))) for request in wanted[:2]]
    assert [c.token_ids for c in together] == [c.token_ids for c in backwards]
    assert [c.token_ids for c in together[:2]] == [c.token_ids for c in alone]


def test_samples_of_one_prompt_differ_and_so_do_seeds(engine: Engine):
    wanted = requests(engine)[:4]
    first = [c.token_ids for c in engine.generate(wanted, SAMPLED)]
    other = [c.token_ids for c in engine.generate(wanted, SamplingParams(max_completion_length=12, seed=6))]
    assert len(set(first)) > 1
    assert first != other


def test_length_is_said_to_be_the_reason_where_it_is(engine: Engine):
    for completion in engine.generate(requests(engine)[:4], GREEDY):
        if completion.finish_reason == "length":
            assert len(completion.token_ids) == 12
        else:
            assert completion.token_ids[-1] == engine.tokenizer.eos_token_id
        assert len(completion.logprobs) == len(completion.token_ids)


def test_a_stop_string_ends_the_text_before_it(engine: Engine):
    request = requests(engine)[0]
    (whole,) = engine.generate([request], GREEDY)
    stop = whole.text[3:5]
    (cut,) = engine.generate([request], SamplingParams(temperature=0, max_completion_length=12, stop=(stop,)))
    assert cut.text == whole.text[: whole.text.index(stop)]
    assert cut.finish_reason == "stop"


def test_top_k_one_is_greedy(engine: Engine):
    wanted = requests(engine)[:3]
    greedy = [c.token_ids for c in engine.generate(wanted, GREEDY)]
    narrowed = SamplingParams(temperature=1.0, top_k=1, max_completion_length=12, seed=9)
    assert [c.token_ids for c in engine.generate(wanted, narrowed)] == greedy


def test_an_adapter_is_in_force_once_loaded_and_its_version_is_told(
    engine: Engine, random_model: Path, random_adapter: Path
):
    wanted = requests(engine)[:3]
    before = list(engine.generate(wanted, GREEDY))
    engine.load_adapter(engine.policy_version + 1, random_adapter)
    after = list(engine.generate(wanted, GREEDY))
    assert {c.policy_version for c in after} == {engine.policy_version}
    assert [c.token_ids for c in after] != [c.token_ids for c in before]
    for completion in after:
        expected = logprobs_by_hand(random_model, random_adapter, completion)
        assert torch.allclose(torch.tensor(completion.logprobs), expected, atol=1e-4)


def test_a_version_is_never_used_again(engine: Engine, random_adapter: Path):
    engine.load_adapter(engine.policy_version + 1, random_adapter)
    with pytest.raises(InputError, match="version"):
        engine.load_adapter(engine.policy_version, random_adapter)


def test_greedy_tokens_are_the_same_on_both_engines(random_model: Path, random_adapter: Path):
    tokens = {}
    for name in ("transformers", "vllm"):
        with open_engine(name, str(random_model), adapter=random_adapter, max_model_length=128) as engine:
            tokens[name] = [c.token_ids for c in engine.generate(requests(engine, 1), GREEDY)]
    assert tokens["transformers"] == tokens["vllm"]


def test_a_closed_engine_says_so(random_model: Path):
    engine = open_engine("transformers", str(random_model))
    wanted = requests(engine)
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        list(engine.generate(wanted, GREEDY))


def test_gumbel_noise_has_the_distribution_it_is_named_for():
    noise = gumbel_noise(torch.arange(400), 7, torch.zeros(1, 1000)).double()
    assert noise.isfinite().all()
    assert noise.mean().item() == pytest.approx(0.57722, abs=0.01)  # Euler's constant
    assert noise.var().item() == pytest.approx(math.pi**2 / 6, abs=0.03)
    for quantile in (0.01, 0.5, 0.99):
        below = (noise < -math.log(-math.log(quantile))).double().mean().item()
        assert below == pytest.approx(quantile, abs=0.005)


def test_gumbel_noise_of_neighbouring_seeds_positions_and_tokens_is_unrelated():
    like = torch.zeros(1, 5000)
    a = gumbel_noise(torch.tensor([1, 2]), 0, like)
    b = gumbel_noise(torch.tensor([1]), 1, like)
    for x, y in ((a[0], a[1]), (a[0], b[0]), (a[0, :-1], a[0, 1:])):
        assert abs(torch.corrcoef(torch.stack([x, y]))[0, 1].item()) < 0.06


def test_an_unknown_engine_and_a_missing_model_are_named():
    with pytest.raises(InputError, match="sglang"):
        open_engine("sglang", "x")
    with pytest.raises(InputError, match="/no/such/model"):
        open_engine("transformers", "/no/such/model")
