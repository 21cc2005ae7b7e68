"""Every kind of policy trains, is the same in an engine, goes on from a checkpoint, and costs no copy that it need not."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback, TrainerState
from trl import DPOConfig, GRPOConfig, ModelConfig, SFTConfig

from rlcode.errors import ConfigError, InputError, PolicyMismatchError
from rlcode.types import Problem, TestCase, TestKind
from sampling.adapters import adapter_version, read_metadata
from sampling.arguments import EngineArguments
from sampling.engine import Engine, EngineSettings, open_engine
from sampling.identity import fixed_sequences, mean_gap, read_record, record_policy
from sandbox.pool import open_sandbox
from tests.random_models import make_adapter, make_model
from tests.train.test_policy_rollouts import ScriptedEngine
from train.arguments import GrpoArguments, PairArguments, PolicyArguments, SftArguments
from train.dpo import build_pool, make_trainer, train_dpo
from train.export import export_merged
from train.grpo import train_grpo
from train.pair_trainer import PairTrainer
from train.policy import load_policy, load_tokenizer, save_adapter
from train.policy_kinds import check_kind
from train.sft import train_sft

KINDS: dict[str, dict[str, Any]] = {
    "lora": {},
    "rslora": {"use_rslora": True},
    "dora": {"use_dora": True},
    "qlora_4_bits": {"load_in_4bit": True},
    "qlora_8_bits": {"load_in_8bit": True},
    "dora_on_4_bits": {"load_in_4bit": True, "use_dora": True},
    "full": {},
}


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def model_config(model: Path, kind: str) -> ModelConfig:
    return ModelConfig(model_name_or_path=str(model), lora_r=4, lora_dropout=0.0, **KINDS[kind])


def policy_arguments(kind: str, start: Path | None = None) -> PolicyArguments:
    return PolicyArguments(adapter=str(start) if start else None, full_finetuning=kind == "full")


def options(output_dir: Path, kind: str, **given: Any) -> dict[str, Any]:
    return {
        "output_dir": str(output_dir),
        "per_device_train_batch_size": 4,
        "max_steps": 3,
        "learning_rate": 1e-4 if kind == "full" else 1e-2,
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "report_to": "none",
        "save_strategy": "no",
        "logging_steps": 1,
        "disable_tqdm": True,
        **given,
    }


def dpo(
    output_dir: Path,
    kind: str,
    model: Path,
    rollouts: Path,
    start: Path | None = None,
    callbacks: tuple = (),
    reference: str = "previous_round",
    **given: Any,
) -> Path:
    return train_dpo(
        PairArguments(rollouts=[str(rollouts)], num_pairs=16, reference=reference),
        policy_arguments(kind, start),
        model_config(model, kind),
        DPOConfig(**options(output_dir, kind, **given)),
        callbacks,
    )


def engine_for(kind: str, base: Path, policy: Path | None = None) -> Engine:
    """The engine of its own that serves this kind."""
    sync = "merged" if kind == "full" or "dora" in kind else "adapter"
    return open_engine(EngineSettings(sync=sync), str(base), policy)


def weights(policy: Path) -> dict[str, torch.Tensor]:
    (file,) = policy.glob("*model.safetensors")
    return load_file(file)


def largest_gap(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    assert one.keys() == other.keys()
    return max((one[name].float() - other[name].float()).abs().max().item() for name in one)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, random_model: Path, judged_rollouts: Path) -> dict[str, Path]:
    """A round of DPO with each kind."""
    folder = tmp_path_factory.mktemp("kinds")
    return {kind: dpo(folder / kind, kind, random_model, judged_rollouts) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_an_engine_of_its_own_says_what_the_trainer_said(trained: dict[str, Path], random_model: Path, kind: str):
    record, version = read_record(trained[kind]), adapter_version(trained[kind])
    assert record is not None
    with engine_for(kind, random_model) as engine:
        base = engine.score(record.token_ids)
        gap = engine.load_adapter(version, trained[kind])
        assert engine.policy_version == version == 4
        assert mean_gap(engine.score(record.token_ids), base) > 1e-3, "nothing was learnt"
    if record.base_logprobs is None:
        assert gap < 1e-4
    else:
        assert gap < mean_gap(base, record.base_logprobs) * 1.5
