"""An export proves that it is the policy, or leaves nothing behind."""

from __future__ import annotations

import json
import resource
import shutil
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlcode.cli import main
from rlcode.errors import ConfigError, DiskError, InputError, PolicyMismatchError
from rlcode.types import from_json
from sampling.engine import EngineSettings, open_engine
from sampling.identity import LoadedPolicy
from sampling.transformers_engine import TransformersEngine
from tests.random_models import make_adapter, make_model
from train import export_proof
from train.export import engines_for
from train.export_proof import Proof, Reference
from train.exporter import ExportOptions, export_adapter, load_policy, require_room


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def options(adapter: Path, folder: Path, **more: object) -> ExportOptions:
    return ExportOptions(adapter, folder / "merged", **more)


@pytest.fixture(scope="module")
def exported(tmp_path_factory, random_adapter: Path) -> Path:
    """A merged export."""
    chosen = options(random_adapter, tmp_path_factory.mktemp("export"))
    export_adapter(chosen)
    return chosen.output


@pytest.fixture
def damaged(tmp_path: Path, random_adapter: Path) -> Path:
    """A copy of the adapter, to do something to."""
    return shutil.copytree(random_adapter, tmp_path / "damaged")


def logits(model: object) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.tensor([[5, 17, 99, 3]])).logits


def test_the_merged_model_is_base_plus_adapter_and_not_the_base(exported: Path, random_model, random_adapter):
    base = AutoModelForCausalLM.from_pretrained(random_model)
    plain, policy = logits(base), logits(PeftModel.from_pretrained(base, str(random_adapter)))
    merged = logits(AutoModelForCausalLM.from_pretrained(exported))
    assert torch.allclose(merged, policy, atol=1e-3)
    assert not torch.allclose(merged, plain, atol=1e-1)


def test_the_proof_lies_beside_it(exported: Path, random_adapter: Path):
    proof = from_json(Proof, json.loads((exported / "export_proof.json").read_text()))
    assert proof.changed_matrices == proof.target_matrices == 28  # 4 layers x 7 matrices
    (engine,) = proof.engines
    assert engine.same_tokens == engine.tokens > 20
    assert engine.near_ties == 0
    assert max(proof.logit_gap, engine.logprob_gap, proof.trainer_gap or 1.0) < 1e-5
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in exported.iterdir()), "others can read it"


def test_tokenizer_template_and_generation_config_come_along(tmp_path: Path, random_model: Path, random_adapter: Path):
    base = shutil.copytree(random_model, tmp_path / "base")
    (base / "chat_template.jinja").write_text("{{ messages[0].content }}")
    (base / "generation_config.json").write_text(json.dumps({"do_sample": True, "temperature": 0.3}))
    export_adapter(options(random_adapter, tmp_path, model=str(base)))
    assert AutoTokenizer.from_pretrained(tmp_path / "merged").chat_template == "{{ messages[0].content }}"
    assert json.loads((tmp_path / "merged" / "generation_config.json").read_text())["temperature"] == 0.3


def test_weights_come_in_shards_of_the_size_that_was_asked_for(tmp_path: Path, random_adapter: Path, exported: Path):
    export_adapter(options(random_adapter, tmp_path, max_shard_size="500KB"))
    shards = sorted((tmp_path / "merged").glob("*.safetensors"))
    assert len(shards) > 2
    assert all(shard.stat().st_size < 550_000 for shard in shards)
    one, other = (AutoModelForCausalLM.from_pretrained(path) for path in (exported, tmp_path / "merged"))
    assert torch.equal(logits(one), logits(other))
    with pytest.raises(ConfigError, match="500MB"):
        options(random_adapter, tmp_path, max_shard_size="half")


def test_the_precision_is_that_of_the_base_unless_another_is_asked_for(
    tmp_path: Path, random_model: Path, random_adapter: Path
):
    coarse = tmp_path / "coarse"
    AutoModelForCausalLM.from_pretrained(random_model, dtype=torch.bfloat16).save_pretrained(coarse)
    AutoTokenizer.from_pretrained(random_model).save_pretrained(coarse)
    as_it_is = options(random_adapter, tmp_path, model=str(coarse))
    as_asked = replace(as_it_is, model=str(random_model), output=tmp_path / "asked", dtype="bfloat16")
    for chosen in (as_it_is, as_asked):
        proof = export_adapter(chosen)
        assert proof.dtype == "bfloat16"
        assert proof.logit_gap <= proof.tolerance == 5e-2
        assert load_file(chosen.output / "model.safetensors")["model.norm.weight"].dtype == torch.bfloat16


def test_an_update_that_rounding_takes_away_is_told(
    tmp_path: Path, random_model: Path, random_adapter: Path, capsys: pytest.CaptureFixture[str]
):
    small = shutil.copytree(random_adapter, tmp_path / "small")
    weights = load_file(small / "adapter_model.safetensors")
    weights = {name: weight * (1e-4 if "lora_B" in name else 1) for name, weight in weights.items()}
    save_file(weights, small / "adapter_model.safetensors")
    (small / "rlcode_adapter.json").unlink(missing_ok=True)
    kept = {}
    for dtype in ("float32", "bfloat16"):
        output = tmp_path / dtype
        line = ["--adapter", small, "--model", random_model, "--output", output, "--dtype", dtype, "--device", "cpu"]
        assert main(["export", *map(str, line), "--prove_engines", "transformers"]) == 0
        kept[dtype] = json.loads((output / "export_proof.json").read_text())["update_kept"]
    assert kept["float32"] == pytest.approx(1, abs=1e-3)
    assert kept["bfloat16"] < 0.9
    assert capsys.readouterr().err.count("warning: the adapter's update is too small for bfloat16") == 1
    assert "| the adapter's update after rounding to float32 | 100% |" in (tmp_path / "float32/README.md").read_text()


def test_an_adapter_can_be_exported_by_itself(tmp_path: Path, random_model: Path, random_adapter: Path):
    proof = export_adapter(options(random_adapter, tmp_path, adapter_only=True))
    assert (proof.kind, proof.changed_matrices) == ("adapter", 28)
    assert proof.engines[0].same_tokens == proof.engines[0].tokens
    assert {"adapter_model.safetensors", "rlcode_adapter.json", "README.md"} <= set(entries(tmp_path / "merged"))
    assert not (tmp_path / "merged" / "model.safetensors").exists()
    with open_engine(EngineSettings(), str(random_model), tmp_path / "merged") as engine:
        assert engine.policy_version == 1


def test_vllm_is_asked_unless_it_can_t_serve_what_is_exported(tmp_path: Path, random_model: Path):
    dora = make_adapter(tmp_path / "dora", random_model, use_dora=True)
    merged = Namespace(prove_engines=None, adapter_only=False, adapter=dora)
    assert engines_for(merged) == ("transformers", "vllm")
    assert engines_for(Namespace(**{**vars(merged), "adapter_only": True})) == ("transformers",)
    assert engines_for(Namespace(**{**vars(merged), "prove_engines": ["transformers"]})) == ("transformers",)
    with pytest.raises(ConfigError, match="must name transformers"):
        options(dora, tmp_path, engines=("vllm",))


# A wrong export is found out by each check of its own.


@pytest.fixture(scope="module")
def reference(random_model: Path, random_adapter: Path, exported: Path) -> Reference:
    """What base + adapter says."""
    policy = load_policy(str(random_model), options(random_adapter, exported.parent))
    tokenizer = AutoTokenizer.from_pretrained(random_model)
    loaded = LoadedPolicy(1, random_adapter, "test", "float32")
    return export_proof.ask_reference(policy, tokenizer, str(random_model), loaded)


@pytest.fixture(scope="module")
def base_engine(random_model: Path) -> Iterator[TransformersEngine]:
    with open_engine(EngineSettings(), str(random_model)) as engine:
        yield engine


def test_the_base_in_the_place_of_the_merged_model_is_found_out_by_its_logits(base_engine, reference: Reference):
    with pytest.raises(PolicyMismatchError, match="logits differ"):
        export_proof.check_logits(base_engine.model, reference, "float32")


def test_it_is_found_out_by_its_greedy_answers(base_engine, reference: Reference):
    with pytest.raises(PolicyMismatchError, match=r"another greedy answer .* token \d+ differs"):
        export_proof.check_engine(base_engine, reference, "float32", "float32")


def test_it_is_found_out_by_its_log_probabilities_where_tokens_part_at_a_near_tie(base_engine, reference: Reference):
    ties = tuple(replace(one, margins=(0.0,) * len(one.margins)) for one in reference.answers)
    with pytest.raises(PolicyMismatchError, match="nats per token from those of base"):
        export_proof.check_engine(base_engine, replace(reference, answers=ties), "float32", "float32")


def test_a_token_may_differ_where_rounding_decides_and_nowhere_else(exported: Path, reference: Reference):
    """The same policy, held against a reference that prefers another token by a hair."""
    first, *others = reference.answers
    place = 3
    other = (*first.token_ids[:place], first.token_ids[place] + 1, *first.token_ids[place + 1 :])
    with open_engine(EngineSettings(), str(exported)) as engine:
        for margin in (0.009, 0.011):
            margins = (*first.margins[:place], margin, *first.margins[place + 1 :])
            answer = replace(first, token_ids=other, margins=margins, logprobs=said(engine, first.prompt, other))
            changed = replace(reference, answers=(answer, *others))
            if margin < 0.01:
                proof = export_proof.check_engine(engine, changed, "float32", "float32")
                assert (proof.near_ties, proof.tokens - proof.same_tokens) == (1, len(other) - place)
            else:
                with pytest.raises(PolicyMismatchError, match="token 4 differs"):
                    export_proof.check_engine(engine, changed, "float32", "float32")


def said(engine: TransformersEngine, prompt: tuple[int, ...], answer: tuple[int, ...]) -> tuple[float, ...]:
    return tuple(engine.score([prompt + answer])[0][len(prompt) - 1 :])


# What can't be exported leaves nothing that looks finished.


def test_an_untrained_adapter_fails_the_proof(tmp_path: Path, random_model: Path):
    policy = get_peft_model(AutoModelForCausalLM.from_pretrained(random_model), LoraConfig(target_modules="all-linear"))
    policy.save_pretrained(tmp_path / "untrained")
    with pytest.raises(PolicyMismatchError, match="28 of 28 matrices"):
        export_adapter(options(tmp_path / "untrained", tmp_path))
    assert entries(tmp_path) == ["untrained"]


def change(adapter: Path, value: float) -> None:
    """Fill one matrix with `value`."""
    weights = load_file(adapter / "adapter_model.safetensors")
    name = next(name for name in weights if "lora_B" in name)
    weights[name] = torch.full_like(weights[name], value)
    save_file(weights, adapter / "adapter_model.safetensors", metadata={"format": "pt"})


def test_an_adapter_with_one_dead_matrix_fails_the_proof(tmp_path: Path, damaged: Path):
    change(damaged, 0.0)
    with pytest.raises(PolicyMismatchError, match="1 of 28"):
        export_adapter(options(damaged, tmp_path))
    assert entries(tmp_path) == ["damaged"]


def test_an_adapter_with_other_values_than_its_trainer_s_fails_the_proof(tmp_path: Path, damaged: Path):
    change(damaged, 0.2)
    with pytest.raises(PolicyMismatchError, match="nats per token from the trainer's"):
        export_adapter(options(damaged, tmp_path))
    assert entries(tmp_path) == ["damaged"]


def test_a_damaged_adapter_is_named(tmp_path: Path, damaged: Path):
    change(damaged, float("nan"))
    with pytest.raises(InputError, match=r"lora_B.*NaN"):
        export_adapter(options(damaged, tmp_path))
    weights = damaged / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(InputError, match=r"adapter_model.safetensors is damaged or incomplete"):
        export_adapter(options(damaged, tmp_path))
    assert entries(tmp_path) == ["damaged"]


def test_another_base_is_refused_with_exit_code_2(tmp_path: Path, random_adapter: Path, capsys):
    other = make_model(tmp_path / "other", seed=1)
    arguments = ["--adapter", str(random_adapter), "--model", str(other), "--output", str(tmp_path / "merged")]
    assert main(["export", *arguments]) == 2
    assert "another base model" in capsys.readouterr().err
    assert entries(tmp_path) == ["other"]


def test_an_existing_output_is_never_touched(tmp_path: Path, random_adapter: Path):
    (tmp_path / "merged").mkdir()
    (tmp_path / "merged" / "precious").write_text("x")
    with pytest.raises(InputError, match="exists"):
        export_adapter(options(random_adapter, tmp_path))
    assert entries(tmp_path / "merged") == ["precious"]


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path, random_adapter: Path):
    """A file that may not grow any more stands for one."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, before[1]))
    try:
        with pytest.raises(DiskError, match=r"can't be written: .*Free: .* Make room"):
            export_adapter(options(random_adapter, tmp_path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert entries(tmp_path) == []
    with pytest.raises(DiskError, match="the export takes 1,048,576 MiB"):
        require_room(tmp_path, 1 << 40)
