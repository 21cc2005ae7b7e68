"""Whole weights instead of adapters: the same policy, checked in the same way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlcode.errors import ConfigError, EngineError, InputError, PolicyMismatchError
from rlcode.types import to_json
from sampling.adapters import write_adapter_metadata
from sampling.engine import Engine, EngineSettings, GenerationRequest, SamplingParams, open_engine
from sampling.identity import fixed_sequences, mean_gap, record_policy
from tests.random_models import make_adapter


@pytest.fixture(scope="module", params=["transformers", "vllm"])
def engine(request, random_model: Path) -> Iterator[Engine]:
    settings = EngineSettings(request.param, sync="merged", max_model_length=128)
    with open_engine(settings, str(random_model)) as engine:
        yield engine


def made(path: Path, base: Path, config: LoraConfig) -> Path:
    """A trained adapter with its record."""
    policy = get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
    for name, weight in policy.named_parameters():
        if "lora_B" in name:
            weight.data.normal_(std=0.3)
    policy.save_pretrained(path)
    record = record_policy(policy.eval(), AutoTokenizer.from_pretrained(base))
    write_adapter_metadata(path, str(base), 1, to_json(record))
    return path


def test_a_merged_policy_says_what_the_adapter_does_under_its_version(
    engine: Engine, random_model: Path, random_adapter: Path
):
    version = engine.policy_version + 1
    assert engine.load_adapter(version, random_adapter) < 1e-4
    (completion,) = engine.generate([GenerationRequest("t", 0, (5, 6))], SamplingParams(max_completion_length=4))
    assert completion.policy_version == engine.policy_version == version
    sequences = fixed_sequences(engine.tokenizer)
    with open_engine(EngineSettings(), str(random_model), random_adapter) as reference:
        assert mean_gap(engine.score(sequences), reference.score(sequences)) < 1e-4


def test_what_vllm_can_not_serve_as_lora_is_served_merged(engine: Engine, random_model: Path, tmp_path: Path):
    dora = made(tmp_path / "dora", random_model, LoraConfig(r=4, use_dora=True, target_modules=["q_proj"]))
    assert engine.load_adapter(engine.policy_version + 1, dora) < 1e-4


def test_a_whole_checkpoint_is_a_policy_too(engine: Engine, random_model: Path, random_adapter: Path, tmp_path: Path):
    base = AutoModelForCausalLM.from_pretrained(random_model)
    PeftModel.from_pretrained(base, str(random_adapter)).merge_and_unload().save_pretrained(tmp_path / "tuned")
    assert engine.load_adapter(engine.policy_version + 1, tmp_path / "tuned") is None
    assert (tmp_path / "tuned" / "model.safetensors").exists()


def test_a_policy_that_is_not_the_trainer_s_is_refused_and_the_one_before_it_stays(
    engine: Engine, random_model: Path, tmp_path: Path
):
    version = engine.policy_version + 1
    engine.load_adapter(version, make_adapter(tmp_path / "good", random_model, seed=6))
    sequences = fixed_sequences(engine.tokenizer)
    before = engine.score(sequences)
    bad = make_adapter(tmp_path / "bad", random_model, seed=7)
    (make_adapter(tmp_path / "other", random_model, seed=8) / "rlcode_adapter.json").replace(
        bad / "rlcode_adapter.json"
    )
    with pytest.raises(PolicyMismatchError, match=rf"policy version {version + 1} from .*bad"):
        engine.load_adapter(version + 1, bad)
    assert engine.policy_version == version
    assert mean_gap(engine.score(sequences), before) < 1e-6


def test_weights_are_not_changed_under_completions_that_are_drawn(engine: Engine, random_adapter: Path):
    prompts = [(5,) * length for length in (100, 2)]  # the first ends earlier, at the latest for want of room
    requests = [GenerationRequest("t", index, prompt) for index, prompt in enumerate(prompts)]
    stream = engine.generate(requests, SamplingParams(temperature=0, max_completion_length=126))
    next(stream)
    with pytest.raises(EngineError, match="finish or close"):
        engine.load_adapter(engine.policy_version + 2, random_adapter)
    stream.close()


def test_a_server_takes_no_weights(random_model: Path):
    with pytest.raises(ConfigError, match="rlcode export"):
        open_engine(EngineSettings("vllm-server", sync="merged", urls=("http://127.0.0.1:1",)), str(random_model))


def test_an_adapter_that_is_more_than_lora_names_the_option(random_model: Path, tmp_path: Path):
    from sampling.adapters import read_adapter_config
    from sampling.vllm_settings import require_servable

    dora = made(tmp_path / "dora", random_model, LoraConfig(r=4, use_dora=True, target_modules=["q_proj"]))
    with pytest.raises(InputError, match=r"DoRA.*--engine_sync merged"):
        require_servable(dora, read_adapter_config(dora), 64)
