"""Adapters made into one: it is what PEFT's methods say, an adapter like any other, and it says where it is from."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from rlcode.cli import main
from rlcode.errors import ConfigError, InputError
from rlcode.run_directory import file_hash
from sampling.adapters import MERGE_FILE, adapter_version, check_adapter
from sampling.engine import EngineSettings, open_engine
from tests.random_models import make_adapter, make_model
from train.export_proof import lora_layers
from train.merging import METHODS, SPARSE, Merger, Recipe, check_sources


@pytest.fixture(scope="module")
def other_adapter(tmp_path_factory, random_model: Path) -> Path:
    """A second adapter of the same rank."""
    return make_adapter(tmp_path_factory.mktemp("merge") / "other", random_model, seed=2)


@pytest.fixture(scope="module")
def pair(random_adapter: Path, other_adapter: Path) -> list[Path]:
    return [random_adapter, other_adapter]


def recipe(method: str, **more: object) -> Recipe:
    return Recipe(method, density=0.5 if method in SPARSE else None, **more)


def merged(adapters: Sequence[Path], weights: Sequence[float], how: Recipe, output: Path) -> Path:
    base = check_sources(adapters, None, how)
    return Merger(adapters, base, how).merge(weights, 9, output)


def deltas(model: Path, adapter: Path) -> dict[str, torch.Tensor]:
    """What an adapter adds to each matrix."""
    policy = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(model), str(adapter))
    return {name: layer.get_delta_weight("default").detach() for name, layer in lora_layers(policy)}


@pytest.mark.parametrize("method", METHODS)
def test_the_result_of_each_method_is_an_adapter_that_engines_take(
    tmp_path: Path, random_model: Path, pair: list[Path], method: str
):
    adapter = merged(pair, (0.5, 0.5), recipe(method), tmp_path / "merged")
    with open_engine(EngineSettings(), str(random_model)) as engine:
        before = engine.score([[5, 17, 99, 3]])
        gap = engine.load_adapter(9, adapter)
        assert gap is not None
        assert gap < 1e-5, "its record is its own"
        assert engine.score([[5, 17, 99, 3]]) != before
    assert adapter_version(adapter) == 9


@pytest.mark.parametrize("method", METHODS)
def test_an_adapter_that_alone_has_a_weight_comes_out_as_it_is(
    tmp_path: Path, random_model: Path, pair: list[Path], method: str
):
    adapter = merged(pair, (0.0, 1.0), recipe(method), tmp_path / "merged")
    wanted, given = deltas(random_model, pair[1]), deltas(random_model, adapter)
    assert all(torch.allclose(given[name], wanted[name], atol=1e-5) for name in wanted)


def test_cat_is_the_weighted_sum_of_what_the_adapters_add(tmp_path: Path, random_model: Path, pair: list[Path]):
    adapter = merged(pair, (0.3, -0.8), recipe("cat"), tmp_path / "merged")
    one, other, both = (deltas(random_model, path) for path in (*pair, adapter))
    assert all(torch.allclose(both[name], 0.3 * one[name] - 0.8 * other[name], atol=1e-5) for name in both)


def test_the_scale_of_rslora_is_kept(tmp_path: Path, random_model: Path, random_adapter: Path):
    """PEFT gives the result the kind of the first adapter, whose scale would be applied once more."""
    rslora = make_adapter(tmp_path / "rslora", random_model, rank=16, seed=3, use_rslora=True)
    adapter = merged([rslora, random_adapter], (0.5, 1.0), recipe("svd", rank=24), tmp_path / "merged")
    one, other, both = (deltas(random_model, path) for path in (rslora, random_adapter, adapter))
    assert all(torch.allclose(both[name], 0.5 * one[name] + other[name], atol=1e-4) for name in both)


def test_dare_drops_what_its_seed_says(tmp_path: Path, pair: list[Path]):
    hashes = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        path = merged(pair, (0.5, 0.5), recipe("dare_linear", seed=seed), tmp_path / name)
        hashes.append(file_hash(path / "adapter_model.safetensors"))
    assert hashes[0] == hashes[1] != hashes[2]


def test_one_merger_makes_the_same_whatever_it_made_before(tmp_path: Path, pair: list[Path]):
    how = recipe("dare_ties")
    merger = Merger(pair, check_sources(pair, None, how), how)
    for name, weights in (("a", (0.5, 0.5)), ("b", (1.0, 0.25)), ("c", (0.5, 0.5))):
        merger.merge(weights, 9, tmp_path / name)
    a, b, c = (load_file(tmp_path / name / "adapter_model.safetensors") for name in "abc")
    assert all(torch.equal(a[name], c[name]) for name in a)
    assert not all(torch.equal(a[name], b[name]) for name in a)


def test_the_command_says_where_the_adapter_is_from(tmp_path: Path, pair: list[Path], random_model: Path, capsys):
    words = [*map(str, pair), "--output", str(tmp_path / "merged"), "--method", "ties", "--density", "0.4"]
    assert main(["merge-adapters", *words]) == 0
    record = json.loads((tmp_path / "merged" / MERGE_FILE).read_text())
    assert (record["method"], record["density"], record["base_model"]) == ("ties", 0.4, str(random_model))
    assert [one["adapter"] for one in record["adapters"]] == list(map(str, pair))
    assert [one["weight"] for one in record["adapters"]] == [1.0, 1.0], "TIES takes the mean itself"
    assert record["adapters"][1]["adapter_sha256"] == file_hash(pair[1] / "adapter_model.safetensors")
    assert adapter_version(tmp_path / "merged") == 2, "it is a policy after those that it was made of"
    check_adapter(tmp_path / "merged", str(random_model))
    assert "ties of" in capsys.readouterr().out


# What can't be merged.


def refused(adapters: Sequence[Path], how: Recipe | None = None) -> str:
    with pytest.raises(InputError) as caught:
        check_sources(adapters, None, how or recipe("linear"))
    return str(caught.value)


def test_adapters_of_different_bases_are_refused(tmp_path: Path, random_adapter: Path):
    model = make_model(tmp_path / "model", seed=1)
    assert "another base model" in refused([random_adapter, make_adapter(tmp_path / "adapter", model)])


def test_different_ranks_are_refused_where_the_method_needs_the_same(
    tmp_path: Path, random_model: Path, random_adapter: Path
):
    small = make_adapter(tmp_path / "small", random_model, rank=4)
    assert "rank 4" in refused([random_adapter, small])
    assert "choose an svd method or cat" in refused([random_adapter, small], recipe("dare_ties"))
    for method in ("svd", "ties_svd", "cat"):
        merged([random_adapter, small], (0.5, 0.5), recipe(method), tmp_path / method)


def test_a_missing_matrix_is_named(tmp_path: Path, random_model: Path, random_adapter: Path):
    policy = get_peft_model(
        AutoModelForCausalLM.from_pretrained(random_model), LoraConfig(r=8, target_modules=["q_proj", "v_proj"])
    )
    for name, weight in policy.named_parameters():
        if "lora_B" in name:
            weight.data.fill_(0.1)
    policy.save_pretrained(tmp_path / "narrow")
    said = refused([random_adapter, tmp_path / "narrow"])
    assert f"{tmp_path / 'narrow'} has no base_model.model.model.layers.0.mlp.down_proj.lora_A.weight" in said


def test_what_is_more_than_lora_or_nothing_at_all_is_refused(tmp_path: Path, random_model: Path, random_adapter: Path):
    dora = make_adapter(tmp_path / "dora", random_model, use_dora=True)
    assert "use_dora" in refused([random_adapter, dora])
    blank = get_peft_model(
        AutoModelForCausalLM.from_pretrained(random_model), LoraConfig(r=8, target_modules="all-linear")
    )
    blank.save_pretrained(tmp_path / "blank")
    assert "changes nothing" in refused([random_adapter, tmp_path / "blank"])
    assert "each once" in refused([random_adapter, random_adapter])
    assert "two adapters" in refused([random_adapter])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--weights", "1"], "as many --weights"),
        (["--weights", "0", "0"], "must not all be 0"),
        (["--method", "ties"], "needs --density"),
        (["--density", "0.5"], "leave out --density"),
        (["--rank", "4"], "svd methods alone"),
        (["--num_samples", "4"], "no option --num_samples; with --search"),
        (["--search", "--weights", "1", "1"], "leave out --weights"),
        (["--search", "--benchmark", "mbpp", "--adapter", "x"], "--adapter is the search's own affair"),
    ],
)
def test_options_that_do_not_fit_are_refused_and_nothing_is_made(
    tmp_path: Path, pair: list[Path], capsys, words: list[str], said: str
):
    assert main(["merge-adapters", *map(str, pair), "--output", str(tmp_path / "merged"), *words]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_an_existing_output_is_not_touched(tmp_path: Path, pair: list[Path]):
    shutil.copytree(pair[0], tmp_path / "merged")
    with pytest.raises(InputError, match="exists"):
        merged(pair, (0.5, 0.5), recipe("linear"), tmp_path / "merged")


def test_a_density_is_a_share():
    with pytest.raises(ConfigError, match="--density"):
        Recipe("ties", density=1.5)
