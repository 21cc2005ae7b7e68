"""An export proves that it is the policy, or leaves nothing behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlcode.cli import main
from rlcode.errors import InputError, PolicyMismatchError
from sampling.engine import EngineSettings, GenerationRequest, SamplingParams, open_engine
from tests.random_models import make_model
from train.export import export_merged


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_merged_model_is_base_plus_adapter_and_not_the_base(tmp_path: Path, random_model, random_adapter):
    proof = export_merged(random_adapter, tmp_path / "merged")
    ids = torch.tensor([[5, 17, 99, 3]])
    base = AutoModelForCausalLM.from_pretrained(random_model)
    with torch.no_grad():
        plain = base(ids).logits
        policy = PeftModel.from_pretrained(base, str(random_adapter))(ids).logits
        merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")(ids).logits
    assert torch.allclose(merged, policy, atol=1e-3)
    assert not torch.allclose(merged, plain, atol=1e-1)
    assert proof["changed_matrices"] == proof["target_matrices"] == 28  # 4 layers x 7 matrices
    assert json.loads((tmp_path / "merged" / "export_proof.json").read_text()) == proof


def test_vllm_loads_the_export_and_says_what_the_policy_says(tmp_path: Path, random_model, random_adapter):
    export_merged(random_adapter, tmp_path / "merged")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "merged")
    request = GenerationRequest("t", 0, tuple(tokenizer("def solve(n):\n")["input_ids"]))
    greedy = SamplingParams(temperature=0, max_completion_length=10)
    with open_engine(EngineSettings("vllm", max_model_length=64), str(tmp_path / "merged")) as engine:
        (merged,) = engine.generate([request], greedy)
    with open_engine(EngineSettings(), str(random_model), random_adapter) as engine:
        (policy,) = engine.generate([request], greedy)
    assert merged.token_ids == policy.token_ids


def test_an_untrained_adapter_fails_the_proof_and_leaves_nothing(tmp_path: Path, random_model):
    policy = get_peft_model(AutoModelForCausalLM.from_pretrained(random_model), LoraConfig(target_modules="all-linear"))
    policy.save_pretrained(tmp_path / "untrained")
    with pytest.raises(PolicyMismatchError, match="28 of 28 matrices"):
        export_merged(tmp_path / "untrained", tmp_path / "merged")
    assert entries(tmp_path) == ["untrained"]


def test_an_adapter_with_one_dead_matrix_fails_the_proof(tmp_path: Path, random_adapter, random_model):
    import shutil

    shutil.copytree(random_adapter, tmp_path / "half")
    weights = load_file(tmp_path / "half" / "adapter_model.safetensors")
    name = next(name for name in weights if "lora_B" in name)
    weights[name] = torch.zeros_like(weights[name])
    save_file(weights, tmp_path / "half" / "adapter_model.safetensors", metadata={"format": "pt"})
    with pytest.raises(PolicyMismatchError, match="1 of 28"):
        export_merged(tmp_path / "half", tmp_path / "merged")


def test_another_base_is_refused_with_exit_code_2(tmp_path: Path, random_adapter, capsys):
    other = make_model(tmp_path / "other", seed=1)
    arguments = ["--adapter", str(random_adapter), "--model", str(other), "--output", str(tmp_path / "merged")]
    assert main(["export", *arguments]) == 2
    assert "another base model" in capsys.readouterr().err
    assert entries(tmp_path) == ["other"]


def test_an_existing_output_is_never_touched(tmp_path: Path, random_adapter):
    (tmp_path / "merged").mkdir()
    (tmp_path / "merged" / "precious").write_text("x")
    with pytest.raises(InputError, match="exists"):
        export_merged(random_adapter, tmp_path / "merged")
    assert entries(tmp_path / "merged") == ["precious"]


def test_a_bfloat16_export_holds_within_its_own_tolerance(tmp_path: Path, random_adapter):
    proof = export_merged(random_adapter, tmp_path / "merged", dtype="bfloat16")
    assert proof["logit_gap"] <= proof["tolerance"] == 5e-2
    assert load_file(tmp_path / "merged" / "model.safetensors")["model.norm.weight"].dtype == torch.bfloat16
