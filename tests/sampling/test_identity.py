"""An engine is held against what the trainer said, and never takes another policy for it."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlcode.errors import InputError, PolicyMismatchError
from sampling.adapters import METADATA_FILE
from sampling.engine import Engine, EngineSettings, open_engine
from sampling.identity import LoadedPolicy, fixed_sequences, mean_gap, read_record, tolerance_for
from tests.random_models import make_adapter


@pytest.fixture(scope="module", params=["transformers", "vllm"])
def engine(request, random_model: Path) -> Iterator[Engine]:
    with open_engine(EngineSettings(request.param, max_model_length=128, max_lora_rank=8), str(random_model)) as engine:
        yield engine


def with_record_of(adapter: Path, other: Path) -> Path:
    (adapter / METADATA_FILE).write_text((other / METADATA_FILE).read_text())
    return adapter


def test_the_right_adapter_is_close_and_the_gap_is_told(engine: Engine, random_adapter: Path):
    gap = engine.load_adapter(engine.policy_version + 1, random_adapter)
    assert gap is not None
    assert gap < 1e-5


def test_another_policy_than_the_record_s_is_refused_and_the_one_before_it_stays(
    engine: Engine, random_model: Path, tmp_path: Path
):
    version, sequences = engine.policy_version, fixed_sequences(engine.tokenizer)
    before = engine.score(sequences)
    one, other = (make_adapter(tmp_path / str(seed), random_model, seed=seed) for seed in (4, 5))
    with pytest.raises(PolicyMismatchError) as caught:
        engine.load_adapter(version + 7, with_record_of(one, other))
    for named in (engine.name, f"version {version + 7}", str(one), "float32", "tolerance 0.001"):
        assert named in str(caught.value)
    assert engine.policy_version == version
    assert engine.score(sequences) == before


def test_a_new_adapter_that_changes_nothing_yet_is_welcome(engine: Engine, random_model: Path, tmp_path: Path):
    base = AutoModelForCausalLM.from_pretrained(random_model)
    get_peft_model(base, LoraConfig(r=4, target_modules="all-linear")).save_pretrained(tmp_path / "new")
    engine.load_adapter(engine.policy_version + 1, tmp_path / "new")


def test_an_adapter_without_a_record_is_taken_with_a_warning(
    engine: Engine, random_adapter: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    foreign = shutil.copytree(random_adapter, tmp_path / "foreign")
    (foreign / METADATA_FILE).unlink()
    with caplog.at_level(logging.WARNING):
        assert engine.load_adapter(engine.policy_version + 1, foreign) is None
    assert f"{foreign} has no record" in caplog.text


@pytest.mark.parametrize("recorded", [True, False])
def test_an_engine_that_says_what_the_base_says_does_not_hold_a_trained_adapter(
    random_adapter: Path, tmp_path: Path, recorded: bool
):
    adapter = shutil.copytree(random_adapter, tmp_path / "adapter")
    if not recorded:
        (adapter / METADATA_FILE).unlink()
    scores = [[-1.5, -2.0]]
    record = read_record(adapter)
    if record:
        scores = [list(row) for row in record.logprobs]
    with pytest.raises(PolicyMismatchError, match="exactly what the base model says"):
        LoadedPolicy(1, adapter, "an engine", "float32").check(scores, scores)


def test_a_value_that_is_no_number_is_a_mismatch(random_adapter: Path):
    record = read_record(random_adapter)
    assert record is not None
    broken = [[float("nan"), *row[1:]] for row in record.logprobs]
    with pytest.raises(PolicyMismatchError, match="nan"):
        LoadedPolicy(1, random_adapter, "an engine", "bfloat16").check(broken, None)


def test_the_coarser_precision_sets_the_tolerance(random_adapter: Path):
    record = read_record(random_adapter)
    assert record is not None
    shifted = [[value + 0.1 for value in row] for row in record.logprobs]
    assert LoadedPolicy(1, random_adapter, "an engine", "bfloat16").check(shifted, None) == pytest.approx(0.1)
    with pytest.raises(PolicyMismatchError):
        LoadedPolicy(1, random_adapter, "an engine", "float32").check(shifted, None)
    assert tolerance_for("int4") == tolerance_for("bfloat16")


def test_the_fixed_sequences_depend_on_the_tokenizer_alone_and_hold_no_special_token(random_model: Path):
    tokenizer = AutoTokenizer.from_pretrained(random_model)
    sequences = fixed_sequences(tokenizer)
    assert sequences == fixed_sequences(AutoTokenizer.from_pretrained(random_model))
    assert all(len(sequence) > 8 for sequence in sequences)
    assert not {token for sequence in sequences for token in sequence} & set(tokenizer.all_special_ids)


def test_a_change_of_one_small_matrix_is_seen(random_model: Path, random_adapter: Path, tmp_path: Path):
    changed = shutil.copytree(random_adapter, tmp_path / "changed")
    weights = load_file(changed / "adapter_model.safetensors")
    name = next(name for name in weights if "lora_B" in name and "q_proj" in name)
    weights[name] = torch.zeros_like(weights[name])
    from safetensors.torch import save_file

    save_file(weights, changed / "adapter_model.safetensors", metadata={"format": "pt"})
    with pytest.raises(PolicyMismatchError):
        open_engine(EngineSettings(), str(random_model), changed)


def test_a_damaged_record_is_named(random_adapter: Path, tmp_path: Path):
    damaged = shutil.copytree(random_adapter, tmp_path / "damaged")
    metadata = json.loads((damaged / METADATA_FILE).read_text())
    (damaged / METADATA_FILE).write_text(json.dumps({**metadata, "identity": {"dtype": "float32"}}))
    with pytest.raises(InputError, match="damaged"):
        read_record(damaged)


def test_the_mean_gap_is_over_all_tokens():
    assert mean_gap([[1.0], [2.0, 3.0, 4.0]], [[1.0], [2.0, 3.0, 8.0]]) == 1.0
