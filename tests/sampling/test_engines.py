"""Both engines: the same tokens for the same policy, noise that belongs to the sample, adapters that are in force."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from rlcode.errors import EngineError, InputError
from rlcode.types import Completion
from sampling.engine import Engine, EngineSettings, GenerationRequest, SamplingParams, open_engine
from sampling.keyed_noise import gumbel_noise
from tests.random_models import make_adapter

GREEDY = SamplingParams(temperature=0, max_completion_length=12)
SAMPLED = SamplingParams(temperature=1.0, max_completion_length=12, seed=5)
PROMPTS = ["def solve(xs):\n", "def solve(s):\n    return", "def solve(n):\n    n = n + 1\n"]


def requests(engine: Engine, samples: int = 4) -> list[GenerationRequest]:
    return [
        GenerationRequest(f"t{task}", index, tuple(engine.tokenizer(prompt)["input_ids"]))
        for task, prompt in enumerate(PROMPTS)
        for index in range(samples)
    ]


@pytest.fixture(scope="module", params=["transformers", "vllm", "vllm-server"])
def engine(request, random_model: Path) -> Iterator[Engine]:
    """Each engine on the base model, without an adapter. The tests below go from version to version."""
    urls = (request.getfixturevalue("vllm_server").url,) if request.param == "vllm-server" else ()
    settings = EngineSettings(request.param, max_model_length=128, batch_size=5, urls=urls)
    with open_engine(settings, str(random_model)) as engine:
        yield engine


def drawn(engine: Engine, wanted: list[GenerationRequest], params: SamplingParams) -> list[Completion]:
    """The completions in the order of their requests."""
    by_key = {(c.task_id, c.index): c for c in engine.generate(wanted, params)}
    assert len(by_key) == len(wanted)
    return [by_key[request.task_id, request.index] for request in wanted]


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


def test_each_request_gets_its_completion(engine: Engine):
    wanted = requests(engine)
    got = drawn(engine, wanted, SAMPLED)
    assert [(c.task_id, c.index) for c in got] == [(r.task_id, r.index) for r in wanted]
    assert all(c.prompt_token_ids == r.prompt_token_ids for c, r in zip(got, wanted, strict=True))


def test_log_probabilities_are_those_of_the_model_at_the_temperature(engine: Engine, random_model: Path):
    params = SamplingParams(temperature=0.7, max_completion_length=12, seed=5)
    for completion in engine.generate(requests(engine)[:3], params):
        expected = logprobs_by_hand(random_model, None, completion, 0.7)
        assert torch.allclose(torch.tensor(completion.logprobs), expected, atol=1e-4)


def test_the_end_token_can_be_ignored(engine: Engine):
    """Where the model would end: most of its vocabulary is drawn in so many tokens."""
    params = SamplingParams(temperature=2.0, max_completion_length=100, seed=5)
    wanted = requests(engine, samples=16)
    assert any(c.finish_reason == "stop" for c in drawn(engine, wanted, params))
    longest = drawn(engine, wanted, replace(params, ignore_eos=True))
    assert {(len(c.token_ids), c.finish_reason) for c in longest} == {(100, "length")}


def test_a_sample_does_not_depend_on_the_company_it_is_drawn_in(engine: Engine):
    wanted = requests(engine)
    together = drawn(engine, wanted, SAMPLED)
    backwards = drawn(engine, wanted[::-1], SAMPLED)[::-1]
    alone = [next(iter(engine.generate([request], SAMPLED))) for request in wanted[:2]]
    assert [c.token_ids for c in together] == [c.token_ids for c in backwards]
    assert [c.token_ids for c in together[:2]] == [c.token_ids for c in alone]


def test_samples_of_one_prompt_differ_and_so_do_seeds(engine: Engine):
    wanted = requests(engine)[:4]
    first = [c.token_ids for c in drawn(engine, wanted, SAMPLED)]
    other = [c.token_ids for c in drawn(engine, wanted, SamplingParams(max_completion_length=12, seed=6))]
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
    greedy = [c.token_ids for c in drawn(engine, wanted, GREEDY)]
    narrowed = SamplingParams(temperature=1.0, top_k=1, max_completion_length=12, seed=9)
    assert [c.token_ids for c in drawn(engine, wanted, narrowed)] == greedy


def test_a_short_completion_does_not_wait_for_a_long_one(engine: Engine):
    wanted = requests(engine, 8)
    order = [(c.task_id, c.index) for c in engine.generate(wanted[:5], SAMPLED)]
    lengths = {(c.task_id, c.index): len(c.token_ids) for c in engine.generate(wanted[:5], SAMPLED)}
    assert [lengths[key] for key in order] == sorted(lengths.values())


def test_requests_are_taken_only_as_far_as_there_is_room(engine: Engine):
    taken = 0

    def endless() -> Iterator[GenerationRequest]:
        nonlocal taken
        for taken in count(1):
            yield GenerationRequest("t", taken, (5, 6))

    stream = engine.generate(endless(), SamplingParams(max_completion_length=2))
    first = [next(stream) for _ in range(3)]
    stream.close()
    assert len({c.index for c in first}) == 3
    assert taken <= 1024
    assert len(drawn(engine, requests(engine)[:3], GREEDY)) == 3  # what was in flight is gone


def test_a_score_is_the_log_probability_of_each_token_but_the_first(engine: Engine, random_model: Path):
    sequences = [[5, 17, 99, 3, 40], [7, 8]]
    for sequence, scores in zip(sequences, engine.score(sequences), strict=True):
        whole = Completion("t", 0, "", tuple(sequence[:1]), tuple(sequence[1:]))
        assert torch.allclose(torch.tensor(scores), logprobs_by_hand(random_model, None, whole), atol=1e-4)


def test_a_score_does_not_disturb_what_is_being_drawn(engine: Engine):
    wanted = requests(engine)
    stream = engine.generate(wanted, SAMPLED)
    begun = [next(stream)]
    engine.score([[5, 6, 7]])
    by_key = {(c.task_id, c.index): c.token_ids for c in [*begun, *stream]}
    assert by_key == {(c.task_id, c.index): c.token_ids for c in drawn(engine, wanted, SAMPLED)}


@pytest.mark.parametrize("policy", ["base", "adapter"])
def test_what_is_in_flight_keeps_the_policy_that_it_was_sent_to(
    engine: Engine, policy: str, random_model: Path, tmp_path: Path
):
    """On the base too, whose requests vLLM's CPU kernels would give the adapter of their batch."""
    in_force = None if policy == "base" else make_adapter(tmp_path / "in_force", random_model, seed=3)
    if in_force:
        engine.load_adapter(engine.policy_version + 1, in_force)
    stream = engine.generate(requests(engine, 8), SAMPLED)
    before, first = engine.policy_version, next(stream)
    other = make_adapter(tmp_path / "other", random_model, seed=2)
    if engine.name == "transformers":
        with pytest.raises(EngineError, match="half drawn"):
            engine.load_adapter(before + 1, other)
        stream.close()
        return
    engine.load_adapter(before + 1, other)
    after = engine.generate(requests(engine, 1), SAMPLED)
    first_after = next(after)
    for version, adapter, drawn_then in (
        (before, in_force, [first, *stream]),
        (before + 1, other, [first_after, *after]),
    ):
        assert {completion.policy_version for completion in drawn_then} == {version}
        for completion in drawn_then:
            expected = logprobs_by_hand(random_model, adapter, completion)
            assert torch.allclose(torch.tensor(completion.logprobs), expected, atol=1e-4)


def test_an_adapter_is_in_force_once_loaded_and_its_version_is_told(
    engine: Engine, random_model: Path, random_adapter: Path
):
    wanted = requests(engine)[:3]
    before = drawn(engine, wanted, GREEDY)
    engine.load_adapter(engine.policy_version + 1, random_adapter)
    after = drawn(engine, wanted, GREEDY)
    assert {c.policy_version for c in after} == {engine.policy_version}
    assert [c.token_ids for c in after] != [c.token_ids for c in before]
    for completion in after:
        expected = logprobs_by_hand(random_model, random_adapter, completion)
        assert torch.allclose(torch.tensor(completion.logprobs), expected, atol=1e-4)


def test_a_loaded_adapter_is_not_read_again(engine: Engine, random_adapter: Path, tmp_path: Path):
    copy = shutil.copytree(random_adapter, tmp_path / "copy")
    engine.load_adapter(engine.policy_version + 1, copy)
    shutil.rmtree(copy)
    assert len(drawn(engine, requests(engine), SAMPLED)) == 12


def test_a_version_is_never_used_again(engine: Engine, random_adapter: Path):
    engine.load_adapter(engine.policy_version + 1, random_adapter)
    with pytest.raises(InputError, match="version"):
        engine.load_adapter(engine.policy_version, random_adapter)


@pytest.mark.parametrize("stop", [(), ("return",)])
def test_transformers_greedy_tokens_are_those_of_generate(random_model: Path, stop: tuple[str, ...]):
    params = SamplingParams(temperature=0, max_completion_length=24, stop=stop)
    with open_engine(EngineSettings(batch_size=3), str(random_model)) as engine:
        wanted = requests(engine, 1)
        got = drawn(engine, wanted, params)
        for request, completion in zip(wanted, got, strict=True):
            ids = torch.tensor([request.prompt_token_ids])
            whole = engine.model.generate(
                ids,
                do_sample=False,
                max_new_tokens=24,
                pad_token_id=0,
                **({"stop_strings": list(stop), "tokenizer": engine.tokenizer} if stop else {}),
            )
            assert list(completion.token_ids) == whole[0, ids.shape[1] :].tolist()


def test_a_closed_engine_says_so(random_model: Path):
    engine = open_engine(EngineSettings(), str(random_model))
    wanted = requests(engine)
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        drawn(engine, wanted, GREEDY)


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
        open_engine(EngineSettings("sglang"), "x")
    with pytest.raises(InputError, match="/no/such/model"):
        open_engine(EngineSettings(), "/no/such/model")


def test_rslora_is_served_with_its_own_scale(engine: Engine, random_model: Path, tmp_path: Path):
    """alpha / sqrt(rank) is four times alpha / rank at rank 16; the check on loading would tell."""
    adapter = make_adapter(tmp_path / "rslora", random_model, rank=16, use_rslora=True)
    assert engine.load_adapter(engine.policy_version + 1, adapter) < 1e-4
