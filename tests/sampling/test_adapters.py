"""An adapter that belongs to another base is refused before anything is loaded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM

from rlcode.errors import InputError
from sampling.adapters import METADATA_FILE, base_fingerprint, check_adapter
from tests.random_models import make_model


def test_the_right_base_is_accepted(random_model: Path, random_adapter: Path):
    assert check_adapter(random_adapter, str(random_model))["r"] == 8


def test_the_same_architecture_with_other_weights_is_refused(tmp_path: Path, random_adapter: Path):
    other = make_model(tmp_path / "other", seed=1)
    with pytest.raises(InputError, match="another base model") as caught:
        check_adapter(random_adapter, str(other))
    assert str(other) in str(caught.value)


def test_an_adapter_from_elsewhere_is_held_against_the_shapes_of_the_base(tmp_path: Path, random_adapter: Path):
    foreign = shutil.copytree(random_adapter, tmp_path / "foreign")
    (foreign / METADATA_FILE).unlink()
    other = make_model(tmp_path / "other", seed=1)
    with pytest.raises(InputError, match="another base model"):
        check_adapter(foreign, str(other))  # the base that it names is there to compare
    config = json.loads((foreign / "adapter_config.json").read_text())
    (foreign / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": "gone/away"}))
    check_adapter(foreign, str(other))  # fits: nothing more can be known
    config = json.loads((other / "config.json").read_text())
    model = AutoModelForCausalLM.from_pretrained(other)
    wider = type(model)(type(model.config)(**{**config, "intermediate_size": 320}))
    wider.save_pretrained(tmp_path / "wider")
    with pytest.raises(InputError, match="does not fit the base model"):
        check_adapter(foreign, str(tmp_path / "wider"))


def test_the_fingerprint_does_not_depend_on_the_stored_precision_or_place(tmp_path: Path, random_model: Path):
    import torch

    model = AutoModelForCausalLM.from_pretrained(random_model, dtype=torch.bfloat16)
    model.save_pretrained(tmp_path / "bf16", max_shard_size="500KB")
    assert base_fingerprint(str(tmp_path / "bf16")) == base_fingerprint(str(random_model))


def test_a_directory_that_is_no_adapter_is_named(tmp_path: Path, random_model: Path):
    with pytest.raises(InputError, match=r"no adapter_config\.json"):
        check_adapter(tmp_path, str(random_model))
