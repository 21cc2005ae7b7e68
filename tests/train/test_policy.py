"""The policy: its start, its reference, and knowing it again in an engine."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from trl import ModelConfig

from rlcode.errors import ConfigError, InputError, PolicyMismatchError
from sampling.engine import EngineSettings, GenerationRequest, SamplingParams, open_engine
from tests.random_models import make_model
from train.policy import check_engine_policy, load_policy, load_tokenizer, save_adapter


def config(model: Path | None) -> ModelConfig:
    return ModelConfig(model_name_or_path=str(model) if model else None, lora_r=4, lora_dropout=0.0)


def logits(policy) -> torch.Tensor:
    with torch.no_grad():
        return policy.eval()(torch.tensor([[5, 17, 99]])).logits


def test_a_new_adapter_starts_as_the_base_and_depends_on_the_seed_alone(random_model: Path):
    first, again, other = (load_policy(config(random_model), None, seed) for seed in (1, 1, 2))
    with first.disable_adapter():
        base = logits(first)
    assert torch.equal(logits(first), base)
    name = next(name for name, _ in first.named_parameters() if "lora_A" in name)
    assert torch.equal(first.get_parameter(name), again.get_parameter(name))
    assert not torch.equal(first.get_parameter(name), other.get_parameter(name))


def test_a_saved_adapter_comes_back_as_the_same_policy(tmp_path: Path, random_model: Path, random_adapter: Path):
    policy = load_policy(config(random_model), str(random_adapter), 0)
    save_adapter(policy, tmp_path / "saved", str(random_model), 7)
    assert torch.equal(logits(load_policy(config(random_model), str(tmp_path / "saved"), 0)), logits(policy))


def test_a_loaded_adapter_can_be_trained(random_model: Path, random_adapter: Path):
    policy = load_policy(config(random_model), str(random_adapter), 0)
    trainable = [name for name, parameter in policy.named_parameters() if parameter.requires_grad]
    assert trainable
    assert all("lora_" in name for name in trainable)


def test_an_adapter_of_another_base_is_refused(tmp_path: Path, random_adapter: Path):
    with pytest.raises(InputError, match="another base model"):
        load_policy(config(make_model(tmp_path / "other", seed=1)), str(random_adapter), 0)


def test_a_missing_model_is_asked_for():
    with pytest.raises(ConfigError, match="model_name_or_path"):
        load_tokenizer(config(None))
    with pytest.raises(InputError, match="/no/such"):
        load_policy(config(Path("/no/such")), None, 0)


def test_the_engine_check_knows_that_engines_have_no_dropout(random_model: Path):
    policy = load_policy(ModelConfig(model_name_or_path=str(random_model), lora_r=4, lora_dropout=0.5), None, 0)
    for name, weight in policy.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.3)
    with open_engine(EngineSettings(), str(random_model)) as engine:
        engine.model = policy
        ids = tuple(engine.tokenizer("def solve(n):\n")["input_ids"])
        completions = list(engine.generate([GenerationRequest("t", 0, ids)], SamplingParams(max_completion_length=10)))
    policy.train()
    assert check_engine_policy(policy, completions, temperature=1.0, tolerance=1e-3, version=1) < 1e-4
    assert policy.training


def test_the_engine_check_passes_for_the_policy_and_refuses_any_other(random_model: Path, random_adapter: Path):
    policy = load_policy(config(random_model), str(random_adapter), 0)
    with open_engine(EngineSettings(), str(random_model), random_adapter) as engine:
        ids = tuple(engine.tokenizer("def solve(n):\n")["input_ids"])
        requests = [GenerationRequest("t", index, ids) for index in range(3)]
        completions = list(engine.generate(requests, SamplingParams(temperature=0.8, max_completion_length=10)))
    gap = check_engine_policy(policy, completions, temperature=0.8, tolerance=1e-3, version=1)
    assert gap < 1e-4
    with policy.disable_adapter(), pytest.raises(PolicyMismatchError, match="policy version 1"):
        check_engine_policy(policy, completions, temperature=0.8, tolerance=1e-3, version=1)
