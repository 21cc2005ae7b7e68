"""The policy: its start, its reference, and knowing it again in an engine."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from trl import ModelConfig

from rlcode.errors import ConfigError, InputError
from sampling.identity import record_policy
from tests.random_models import make_model
from train.policy import gather_adapter, load_policy, load_tokenizer, save_adapter


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
    record = record_policy(policy, load_tokenizer(config(random_model)))
    save_adapter(policy, tmp_path / "saved", str(random_model), 7, record)
    assert torch.equal(logits(load_policy(config(random_model), str(tmp_path / "saved"), 0)), logits(policy))


def test_what_is_saved_to_last_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, random_model: Path, random_adapter: Path, monkeypatch: pytest.MonkeyPatch
):
    policy = load_policy(config(random_model), str(random_adapter), 0)
    record = record_policy(policy, load_tokenizer(config(random_model)))
    flushed = []
    monkeypatch.setattr("train.policy.flush_to_disk", lambda folder: flushed.append((tmp_path / "kept").exists()))
    save_adapter(policy, tmp_path / "sync", str(random_model), 1, record, lasts=False)
    assert flushed == [], "an engine that gets every new policy does not wait for the disk"
    save_adapter(policy, tmp_path / "kept", str(random_model), 1, record)
    assert flushed == [False]


def test_weights_that_fsdp_split_are_saved_whole(tmp_path: Path, random_model: Path, random_adapter: Path):
    """In a group of one process; what is tested is that no split tensor gets into the file."""
    policy = load_policy(config(random_model), str(random_adapter), 0)
    before, record = logits(policy), record_policy(policy, load_tokenizer(config(random_model)))
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'group'}", rank=0, world_size=1)
    try:
        mesh = init_device_mesh("cpu", (1,))
        for layer in policy.get_base_model().model.layers:
            fully_shard(layer, mesh=mesh)
        save_adapter(policy, tmp_path / "saved", str(random_model), 7, record, gather_adapter(policy))
    finally:
        torch.distributed.destroy_process_group()
    assert torch.equal(logits(load_policy(config(random_model), str(tmp_path / "saved"), 0)), before)


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


def test_under_zero_3_an_adapter_has_the_precision_of_its_base(
    random_model: Path, random_adapter: Path, monkeypatch: pytest.MonkeyPatch
):
    args = ModelConfig(model_name_or_path=str(random_model), lora_r=4, dtype="bfloat16")
    for split, dtype in ((False, torch.float32), (True, torch.bfloat16)):
        monkeypatch.setattr("train.policy.is_deepspeed_zero3_enabled", lambda split=split: split)
        for adapter in (None, str(random_adapter)):
            weights = load_policy(args, adapter, 0).named_parameters()
            assert {weight.dtype for name, weight in weights if "lora_" in name} == {dtype}


def test_a_record_says_the_coarsest_precision_that_its_values_were_computed_in(random_model: Path):
    tokenizer, policy = load_tokenizer(config(random_model)), load_policy(config(random_model), None, 0)
    said = [record_policy(policy, tokenizer, mixed).dtype for mixed in ("no", "bf16", "fp16")]
    assert said == ["float32", "bfloat16", "float16"]


def test_the_record_of_a_policy_knows_no_dropout_and_leaves_the_model_in_training(random_model: Path):
    tokenizer = load_tokenizer(config(random_model))
    policy = load_policy(ModelConfig(model_name_or_path=str(random_model), lora_r=4, lora_dropout=0.5), None, 0)
    for name, weight in policy.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.3)
    assert record_policy(policy.train(), tokenizer) == record_policy(policy.eval(), tokenizer)
    policy.train()
    record_policy(policy, tokenizer)
    assert policy.training
