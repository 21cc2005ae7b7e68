"""The tiny model: its tokenizer survives a reload, its prompts keep apart from their completions, and it learns."""

from __future__ import annotations

import random

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from rlcode.tiny.corpus import make_corpus
from rlcode.tiny.tasks import SMALL_WORLD
from train.tiny_model import (
    TinyRecipe,
    body_loss,
    encode_example,
    fit,
    length_bucketed_batches,
    new_model,
    rate_factor,
    train_tiny_model,
    train_tokenizer,
)

CORPUS = list(make_corpus(400, 0, 0.8))


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(CORPUS)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A model of 30 steps, saved, and the losses seen."""
    path = tmp_path_factory.mktemp("tiny")
    losses: list[float] = []
    recipe = TinyRecipe(examples=480, layers=2, world=SMALL_WORLD)
    train_tiny_model(path, recipe=recipe, seed=0, on_progress=lambda step, steps, loss: losses.append(loss))
    return path, losses


def test_token_ids_survive_a_reload_beside_the_model(tokenizer, saved, tmp_path):
    new_model(tokenizer, layers=1).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    reloaded = AutoTokenizer.from_pretrained(tmp_path)
    for prompt, body in CORPUS:
        assert reloaded.encode(prompt + body) == tokenizer.encode(prompt + body)
    assert (reloaded.eos_token_id, reloaded.pad_token_id) == (tokenizer.eos_token_id, tokenizer.pad_token_id)
    assert reloaded.eos_token_id != reloaded.pad_token_id


def test_text_survives_encoding(tokenizer):
    for prompt, body in CORPUS:
        assert tokenizer.decode(tokenizer.encode(prompt + body)) == prompt + body


def test_prompt_and_completion_do_not_merge_at_their_border(tokenizer):
    for prompt, body in CORPUS:
        assert tokenizer.encode(prompt + body) == tokenizer.encode(prompt) + tokenizer.encode(body)


def test_the_model_is_a_small_qwen2_with_heads_that_vllm_can_run(saved):
    model = AutoModelForCausalLM.from_pretrained(saved[0])
    config = model.config
    assert config.model_type == "qwen2"
    assert (config.hidden_size, config.intermediate_size, config.tie_word_embeddings) == (96, 256, True)
    assert (config.num_attention_heads, config.num_key_value_heads) == (3, 1)
    assert model.model.layers[0].self_attn.head_dim == 32
    assert model.dtype == torch.float32
    assert sum(p.numel() for p in model.parameters()) < 600_000


def test_generation_samples_from_the_plain_distribution_and_knows_the_end(saved):
    config = GenerationConfig.from_pretrained(saved[0])
    tokenizer = AutoTokenizer.from_pretrained(saved[0])
    assert (config.do_sample, config.temperature, config.top_k, config.top_p) == (True, 1.0, 0, 1.0)
    assert (config.eos_token_id, config.pad_token_id) == (tokenizer.eos_token_id, tokenizer.pad_token_id)


def test_a_few_steps_reduce_the_loss(saved):
    losses = saved[1]
    assert len(losses) == 30
    assert sum(losses[-5:]) / 5 < 0.6 * sum(losses[:5]) / 5


def test_the_same_seed_gives_the_same_model(tokenizer):
    def weights() -> torch.Tensor:
        torch.manual_seed(1)
        model = new_model(tokenizer, layers=1)
        examples = [encode_example(tokenizer, prompt, body) for prompt, body in CORPUS[:64]]
        fit(model, list(length_bucketed_batches(examples, 16, random.Random(1))), 1e-3)
        return model.lm_head.weight.detach()

    assert torch.equal(weights(), weights())


def test_only_body_and_end_count_for_the_loss_and_padding_does_not(tokenizer):
    model = new_model(tokenizer, layers=1)
    examples = [encode_example(tokenizer, prompt, body) for prompt, body in CORPUS[:2]]
    sums, counts = [], []
    for example in examples:
        logits = model(input_ids=torch.tensor([example.ids])).logits[0, example.prompt_length - 1 : -1]
        wanted = torch.tensor(example.ids[example.prompt_length :])
        sums.append(torch.nn.functional.cross_entropy(logits, wanted, reduction="sum"))
        counts.append(len(wanted))
    assert body_loss(model, examples).item() == pytest.approx((sum(sums) / sum(counts)).item(), rel=1e-4)


def test_batches_hold_each_example_once_with_little_padding(tokenizer):
    examples = [encode_example(tokenizer, prompt, body) for prompt, body in CORPUS]
    batches = list(length_bucketed_batches(examples, 16, random.Random(0)))
    assert sorted(id(e) for batch in batches for e in batch) == sorted(id(e) for e in examples)
    padded = sum(len(batch) * max(len(e.ids) for e in batch) for batch in batches)
    assert padded < 1.15 * sum(len(e.ids) for e in examples)


def test_the_rate_rises_stays_and_falls():
    factors = [rate_factor(step, 100) for step in range(100)]
    assert factors[0] == pytest.approx(0.2)
    assert factors[10:40] == [1.0] * 30
    assert factors[-1] < 0.02
    assert factors[40:] == sorted(factors[40:], reverse=True)
