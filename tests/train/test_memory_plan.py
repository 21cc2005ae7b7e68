"""The formulas of the memory plan: against published sizes, figures worked out by hand, and what torch really holds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM
from trl import ModelConfig

from rlcode.errors import ConfigError
from train.batch_plan import BatchPlan, checkpoints_of, steps_of_pairs
from train.memory_plan import (
    GIB,
    RUNTIME,
    Demand,
    Engine,
    Layout,
    Verdict,
    cache_per_token,
    engine_cache,
    estimate,
    head_activations,
    judge,
    layer_activations,
    whole_logits,
)
from train.model_shapes import KNOWN, ModelShape, shape_of
from train.policy import load_policy

# 10 words, hidden 4, MLP 8, 2 layers, 2 heads of 2, 1 KV head
SMALL = ModelShape(vocabulary=10, hidden=4, intermediate=8, layers=2, heads=2, kv_heads=1, tied=True)


def demand(**fields) -> Demand:
    return Demand(**{"shape": SMALL, "layout": Layout(), "adapter_parameters": 100, "batch": 1, "length": 8, **fields})


def line(one: Demand, name: str, device_memory: int = 80 * GIB):
    (found,) = (line for line in estimate(one, device_memory).lines if line.name == name)
    return found


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("Qwen2.5-Coder-0.5B", 494_032_768),
        ("Qwen2.5-Coder-1.5B", 1_543_714_304),
        ("Qwen2.5-Coder-3B", 3_085_938_688),
        ("Qwen2.5-Coder-7B", 7_615_616_512),
        ("Qwen2.5-Coder-14B", 14_770_033_664),
        ("Qwen2.5-Coder-32B", 32_763_876_352),
    ],
)
def test_a_known_model_has_the_parameters_that_its_publishers_count(name: str, parameters: int):
    assert shape_of(f"Qwen/{name}-Instruct").parameters() == parameters
    assert shape_of(name) is KNOWN[name]


def test_parameters_worked_out_by_hand():
    # layer: q 16, k 8, v 8, o 16, MLP 3 x 32; biases 4 + 2 + 2; norms 8
    assert SMALL.layer_parameters() == 48 + 96 + 8 + 8
    assert SMALL.parameters() == 40 + 2 * 160 + 4
    assert replace(SMALL, tied=False).parameters() == SMALL.parameters() + 40
    # rank 2 on q (4 + 4) and k (4 + 2) in two layers
    assert SMALL.adapter_parameters(2, ["q_proj", "k_proj"]) == 2 * 2 * (8 + 6)


def test_the_real_model_and_its_adapter_have_as_many_parameters(random_model: Path):
    shape = shape_of(str(random_model))
    assert shape.parameters() == AutoModelForCausalLM.from_pretrained(random_model).num_parameters()
    for targets in (None, ["q_proj", "down_proj"]):
        config = ModelConfig(model_name_or_path=str(random_model), lora_r=4, lora_target_modules=targets)
        policy = load_policy(config, None, 0)
        trained = sum(weight.numel() for weight in policy.parameters() if weight.requires_grad)
        assert shape.adapter_parameters(4, targets) == trained


FAMILIES = {
    "llama": {"num_key_value_heads": 2},
    "mistral": {"num_key_value_heads": 2},
    "gemma": {"num_key_value_heads": 1, "head_dim": 16},
    "gemma2": {"num_key_value_heads": 2, "head_dim": 16},
    "phi": {},
    "phi3": {"pad_token_id": 0},
    "starcoder2": {"num_key_value_heads": 2},
    "qwen2": {"num_key_value_heads": 2},
    "qwen3": {"num_key_value_heads": 2, "head_dim": 16},
    "gpt2": {},
}


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_of_each_family_and_its_adapter_have_as_many_parameters(tmp_path: Path, family: str, tied: bool):
    """DeepSeek-Coder and Code Llama are of the family llama."""
    sizes = {"vocab_size": 60, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3}
    config = AutoConfig.for_model(
        family, **sizes, num_attention_heads=4, tie_word_embeddings=tied, **FAMILIES[family], bos_token_id=1
    )
    config.save_pretrained(tmp_path)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
        shape = shape_of(str(tmp_path))
        assert shape.parameters() == model.num_parameters()
        policy = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
    trained = sum(weight.numel() for weight in policy.parameters() if weight.requires_grad)
    assert shape.adapter_parameters(4, None) == trained
    assert shape.vocabulary == 60
    assert shape.layers == 3
    assert shape.gated == (family not in ("phi", "starcoder2", "gpt2"))


def test_a_family_that_nobody_knows_is_refused(tmp_path: Path):
    (tmp_path / "config.json").write_text('{"model_type": "no-such-family"}')
    with pytest.raises(ConfigError, match="no-such-family"):
        shape_of(None, str(tmp_path / "config.json"))


@pytest.mark.parametrize(
    "options", [{"load_in_4bit": True}, {"load_in_8bit": True}, {"load_in_4bit": True, "nested": 1}]
)
def test_a_quantised_base_takes_the_bytes_that_bitsandbytes_holds(random_model: Path, options: dict):
    nested = bool(options.pop("nested", False))
    config = ModelConfig(model_name_or_path=str(random_model), lora_r=4, use_bnb_nested_quant=nested, **options)
    policy = load_policy(config, None, 0)
    real = held(weight for weight in policy.parameters() if not weight.requires_grad)
    for weight in policy.parameters():
        if (state := getattr(weight, "quant_state", None)) is not None:
            real += held([state.absmax, *([state.state2.absmax] if nested else [])])
        elif (scales := getattr(weight, "SCB", None)) is not None:
            real += held([scales])
    bits = 4 if config.load_in_4bit else 8
    one = demand(shape=shape_of(str(random_model)), weight_bytes=4, quantised_bits=bits, nested=nested)
    assert line(one, "model weights").device == pytest.approx(real, rel=0.005)


def test_full_finetuning_takes_the_bytes_that_torch_holds(random_model: Path):
    model = load_policy(ModelConfig(model_name_or_path=str(random_model)), None, 0, full=True)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    model(torch.tensor([[5, 17, 99]]), labels=torch.tensor([[5, 17, 99]])).loss.backward()
    optimizer.step()
    one = demand(shape=shape_of(str(random_model)), weight_bytes=4, compute_bytes=4, full=True, second_model=True)
    assert line(one, "model weights").device == line(one, "reference").device == held(model.parameters())
    assert line(one, "gradients").device == held(weight.grad for weight in model.parameters())
    states = [value for state in optimizer.state.values() for name, value in state.items() if name != "step"]
    assert line(one, "optimizer states").device == held(states)
    assert line(one, "adapter").device == 0


def test_weights_gradients_and_states_take_the_bytes_that_torch_holds(random_model: Path):
    policy = load_policy(ModelConfig(model_name_or_path=str(random_model), lora_r=4), None, 0)
    trained = [weight for weight in policy.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, fused=True)
    policy(torch.tensor([[5, 17, 99]]), labels=torch.tensor([[5, 17, 99]])).loss.backward()
    optimizer.step()
    shape = shape_of(str(random_model))
    one = demand(shape=shape, adapter_parameters=shape.adapter_parameters(4, None), weight_bytes=4, compute_bytes=4)
    assert line(one, "model weights").device == held(w for w in policy.parameters() if not w.requires_grad)
    assert line(one, "adapter").device == held(trained)
    assert line(one, "gradients").device == held(weight.grad for weight in trained)
    states = [value for state in optimizer.state.values() for name, value in state.items() if name != "step"]
    assert line(one, "optimizer states").device == held(states)


def test_a_layer_keeps_about_what_the_formula_says(random_model: Path):
    """Measured by the tensors that autograd saves. The formula leaves out what hangs on the kernels."""
    policy = load_policy(ModelConfig(model_name_or_path=str(random_model), lora_r=4, lora_dropout=0.0), None, 0)
    shape = shape_of(str(random_model))
    one = demand(shape=shape, batch=2, length=128, weight_bytes=4, compute_bytes=4)
    with saved_by_autograd(policy) as layers:
        policy.get_base_model().model(torch.randint(5, 700, (2, 128)))
    ratio = layers.bytes / shape.layers / layer_activations(one)
    assert 0.9 < ratio < 1.15, ratio


class saved_by_autograd:  # noqa: N801 - a context manager, read as a verb
    """Counts the bytes that autograd keeps, the model's own weights left out."""

    def __init__(self, model: torch.nn.Module) -> None:
        self._own = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
        self._kept: dict[int, torch.UntypedStorage] = {}
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._keep, lambda tensor: tensor)

    @property
    def bytes(self) -> int:
        return sum(storage.nbytes() for storage in self._kept.values())

    def _keep(self, tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._own:
            self._kept[storage.data_ptr()] = storage
        return tensor

    def __enter__(self) -> saved_by_autograd:
        self._hooks.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._hooks.__exit__(*exc)


def held(tensors) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def test_activations_worked_out_by_hand():
    # a token: norms 2 x 4 x (4 + 2), attention 2 x (8 + 4), MLP 4 x 8 x 2
    assert layer_activations(demand()) == 8 * (48 + 24 + 64)
    # inputs of two layers, 8 tokens x 4 x 2 bytes each, and one layer
    assert line(demand(), "activations").device == 2 * 64 + 8 * 136
    assert line(demand(checkpointing=False), "activations").device == 2 * 8 * 136
    # the scores of two heads over 8 tokens, as they are and in 32 bits
    assert layer_activations(demand(stored_scores=True)) == 8 * (136 + 2 * 8 * 6)
    # the final norm in 32 bits, its gradient and its output; a tile of 8 tokens x 10 words
    assert head_activations(demand()) == 8 * 4 * 10 + 8 * 10 * 2


def test_a_pair_is_two_sequences_and_whole_logits_are_counted_but_not_held():
    pairs = demand(batch=4, per_item=2)
    assert pairs.tokens == 64
    assert whole_logits(pairs) == 64 * 10 * 4
    coder = demand(shape=KNOWN["Qwen2.5-Coder-0.5B"], batch=4, per_item=2, length=2048)
    assert whole_logits(coder) == 8 * 2048 * 151_936 * 4
    assert head_activations(coder) < whole_logits(coder) / 20


@pytest.mark.parametrize(
    ("stage", "weights", "adapter", "gradients", "states"),
    [(0, 728, 200, 200, 800), (1, 728, 200, 200, 300), (2, 728, 200, 50, 300), (3, 182, 50, 50, 300)],
)
def test_each_zero_stage_splits_one_thing_more(stage: int, weights: int, adapter: int, gradients: int, states: int):
    """364 weights in two bytes, 100 trained ones with two states in four bytes and, with ZeRO, a copy in four."""
    one = demand(layout=Layout(gpus=4, zero_stage=stage, deepspeed=True))
    sizes = [line(one, name).device for name in ("model weights", "adapter", "gradients", "optimizer states")]
    assert sizes == [weights, adapter, gradients, states]


def test_without_deepspeed_the_adapter_is_in_32_bits_and_the_base_is_not():
    assert line(demand(), "model weights").device == 364 * 2
    assert line(demand(), "adapter").device == 100 * 4
    assert line(demand(optimizer_bytes=2), "optimizer states").device == 200


def test_what_is_offloaded_lies_in_the_hosts_memory():
    layout = Layout(gpus=2, zero_stage=3, deepspeed=True, offload_optimizer=True, offload_weights=True)
    memory = estimate(demand(layout=layout), GIB)
    by_name = {line.name: line for line in memory.lines}
    assert (by_name["model weights"].device, by_name["model weights"].host) == (0, 364)
    assert memory.host() == 364 + 100 + 600
    assert by_name["gathered weights"].device == 364 * 2, "layers in use are on the device all the same"


def test_only_a_frozen_adapter_makes_the_reference_cost_something():
    assert line(demand(), "reference").device == 0
    assert line(demand(frozen_adapter=True), "reference").device == 100 * 4


def test_a_step_and_generation_take_turns():
    writes = demand(decoded=1000)
    cache = 1000 * 8 * (2 * 2 * 2 * 2)
    assert line(writes, "keys and values").device == cache
    assert estimate(writes, GIB).device() - estimate(demand(), GIB).device() == cache - (
        line(demand(), "activations").device + line(demand(), "log-probabilities").device
    )
    split = demand(decoded=1, layout=Layout(gpus=2, zero_stage=3, deepspeed=True))
    assert line(split, "whole weights").device == 364 * 2, "they are gathered to generate"


def test_vllms_share_holds_its_own_weights_and_a_cache():
    coder = KNOWN["Qwen2.5-Coder-7B"]
    assert cache_per_token(coder) == 2 * 28 * 512 * 2
    cache = engine_cache(Engine(0.5, 2048), coder, 80 * GIB)
    assert cache.size == 40 * GIB - 2 * 7_615_616_512 - RUNTIME
    assert cache.tokens == cache.size // 57_344
    assert cache.sequences == cache.tokens // 2048
    none = engine_cache(Engine(0.1, 2048), coder, 80 * GIB)
    assert (none.size < 0, none.tokens, none.sequences) == (True, 0, 0)
    assert line(demand(engine=Engine(0.5, 8)), "vLLM", 1000).device == 500


def test_a_plan_fits_is_tight_or_does_not_fit():
    memory = estimate(demand(), GIB)
    held = memory.device()
    assert judge(memory, 2 * held) == Verdict.FITS
    assert judge(memory, held + 1) == Verdict.TIGHT
    assert judge(memory, held - 1) == Verdict.DOES_NOT_FIT


def test_an_unknown_model_says_how_to_give_its_shape(tmp_path: Path, random_model: Path):
    with pytest.raises(ConfigError, match="--model_config FILE"):
        shape_of("someone/model-7B")
    assert shape_of("someone/model-7B", str(random_model / "config.json")) == shape_of(str(random_model))
    with pytest.raises(ConfigError, match="can't be read"):
        shape_of(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "mamba"}))
    with pytest.raises(ConfigError, match="the shape of a 'mamba' model is not known"):
        shape_of(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen2"}))
    with pytest.raises(ConfigError, match="lacks 'vocab_size'"):
        shape_of(str(tmp_path))
    with pytest.raises(ConfigError, match="q_projection unknown; known: q_proj"):
        SMALL.adapter_parameters(4, ["q_projection"])


def test_the_tiny_models_configuration_is_read_as_transformers_reads_it(random_model: Path):
    config = AutoConfig.from_pretrained(random_model)
    assert shape_of(str(random_model)).queries == config.num_attention_heads * (
        getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    )


def test_batches_steps_and_checkpoints_are_counted():
    plan = BatchPlan("completions", 8, 4, 2, num_generations=8)
    assert (plan.per_step, plan.groups) == (64, 8)
    assert replace(plan, generated=128).groups == 16
    with pytest.raises(ConfigError, match="must be a multiple"):
        _ = replace(plan, num_generations=7).groups
    assert steps_of_pairs(100, 32, epochs=2, max_steps=-1) == 8
    assert steps_of_pairs(100, 32, epochs=2, max_steps=5) == 5
    assert checkpoints_of(32, None, None) == 1, "the final adapter"
    assert checkpoints_of(32, 16, None) == 3
    assert checkpoints_of(32, 4, 2) == 3
    assert checkpoints_of(30, 0.5, None) == 3
