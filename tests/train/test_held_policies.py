"""One policy held in different ways, base + adapter and merged export, by transformers and vLLM: the same answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlcode.errors import PolicyMismatchError
from rlcode.prompts import PromptFormat
from rlcode.tiny.tasks import make_problems
from sampling.engine import Engine, EngineSettings, SamplingParams, open_engine
from sampling.identity import LoadedPolicy
from sampling.rollouts import make_requests
from tests.random_models import make_adapter
from train import export_proof
from train.export_proof import Reference
from train.exporter import ExportOptions, export_adapter, load_policy, open_vllm
from train.merging import Merger, Recipe

PROBLEMS = make_problems("held_out", 6, 0)
Answers = list[tuple[int, ...]]


@pytest.fixture(scope="module")
def options(tmp_path_factory, random_adapter: Path) -> ExportOptions:
    """A merged export that was made."""
    chosen = ExportOptions(random_adapter, tmp_path_factory.mktemp("export") / "merged")
    export_adapter(chosen)
    return chosen


@pytest.fixture(scope="module")
def vllm_with_adapters(random_model: Path) -> Iterator[Engine]:
    """vLLM on the base; the tests below go from version to version."""
    with open_engine(EngineSettings("vllm", max_model_length=512, max_lora_rank=8), str(random_model)) as engine:
        yield engine


@pytest.fixture(scope="module")
def vllm_merged(random_model: Path, options: ExportOptions) -> Iterator[Engine]:
    """vLLM on the merged export, as `--prove_engines vllm` opens it."""
    with open_vllm(str(random_model), options, options.output) as engine:
        yield engine


def answers(engine: Engine) -> Answers:
    """Greedy, to the fixed problems."""
    requests = make_requests(PROBLEMS, engine, 1, PromptFormat("completion"))
    params = SamplingParams(temperature=0, max_completion_length=24)
    by_task = {completion.task_id: completion.token_ids for completion in engine.generate(requests, params)}
    return [by_task[problem.task_id] for problem in PROBLEMS]


def transformers_answers(model: Path, adapter: Path | None = None) -> Answers:
    with open_engine(EngineSettings(), str(model), adapter) as engine:
        return answers(engine)


def test_the_ways_of_holding_a_policy_give_the_same_answers_and_not_the_base_s(
    random_model: Path, random_adapter: Path, options: ExportOptions, vllm_with_adapters: Engine, vllm_merged: Engine
):
    base, adapted = transformers_answers(random_model), transformers_answers(random_model, random_adapter)
    assert all(one != other for one, other in zip(base, adapted, strict=True))
    assert answers(vllm_with_adapters) == base
    vllm_with_adapters.load_adapter(1, random_adapter)
    assert answers(vllm_with_adapters) == adapted
    assert transformers_answers(options.output) == adapted
    assert answers(vllm_merged) == adapted


@pytest.fixture(scope="module")
def reference(random_model: Path, random_adapter: Path, options: ExportOptions) -> Reference:
    """What base + adapter says."""
    exported = LoadedPolicy(1, random_adapter, "test", "float32")
    tokenizer = AutoTokenizer.from_pretrained(random_model)
    policy = load_policy(str(random_model), options)
    return export_proof.ask_reference(policy, tokenizer, str(random_model), exported)


def test_the_proof_in_vllm_holds_for_the_export(vllm_merged: Engine, reference: Reference):
    proof = export_proof.check_engine(vllm_merged, reference, "float32", "float32")
    assert proof.engine == "vllm"
    assert proof.same_tokens == proof.tokens
    assert proof.logprob_gap < 1e-4


def test_the_proof_in_vllm_fails_for_another_policy(
    tmp_path: Path, random_model: Path, vllm_merged: Engine, options: ExportOptions
):
    other = make_adapter(tmp_path / "other", random_model, seed=2)
    tokenizer = AutoTokenizer.from_pretrained(random_model)
    policy = load_policy(str(random_model), replace(options, adapter=other))
    reference = export_proof.ask_reference(
        policy, tokenizer, str(random_model), LoadedPolicy(1, other, "test", "float32")
    )
    with pytest.raises(PolicyMismatchError, match="vllm gives another greedy answer"):
        export_proof.check_engine(vllm_merged, reference, "float32", "float32")


def test_an_adapter_that_was_merged_of_two_is_served_like_any_other(
    tmp_path: Path, random_model: Path, random_adapter: Path, vllm_with_adapters: Engine
):
    other = make_adapter(tmp_path / "other", random_model, seed=2)
    merger = Merger([random_adapter, other], str(random_model), Recipe("svd"))
    adapter = merger.merge((0.6, 0.6), 2, tmp_path / "merged")
    gap = vllm_with_adapters.load_adapter(2, adapter)
    assert gap is not None
    assert gap < 1e-4
    assert answers(vllm_with_adapters) == transformers_answers(random_model, adapter)


def test_an_export_of_it_is_the_merged_policy(tmp_path: Path, random_model: Path, random_adapter: Path):
    other = make_adapter(tmp_path / "other", random_model, seed=2)
    merger = Merger([random_adapter, other], str(random_model), Recipe("ties", density=0.5))
    adapter = merger.merge((1.0, 1.0), 2, tmp_path / "adapter")
    export_adapter(ExportOptions(adapter, tmp_path / "merged"))
    assert transformers_answers(tmp_path / "merged") == transformers_answers(random_model, adapter)
    card = (tmp_path / "merged" / "README.md").read_text()
    assert "Merged from adapters by `ties`, density 0.5" in card
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "merged").config.model_type == "qwen2"
