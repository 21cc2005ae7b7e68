"""Every kind of policy trains, is the same in an engine, goes on from a checkpoint, and has no copy in vain."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM
from trl import DPOConfig, GRPOConfig, ModelConfig, SFTConfig

from rlcode.cli import run
from rlcode.data import jsonl
from rlcode.errors import ConfigError, InputError, PolicyMismatchError
from rlcode.types import Problem, TestCase, TestKind
from sampling.adapters import adapter_version
from sampling.arguments import EngineArguments
from sampling.decoding import sequence_logprobs
from sampling.engine import Engine, EngineSettings, open_engine
from sampling.identity import mean_gap, read_record
from sampling.store import read_rollouts
from sandbox.pool import open_sandbox
from tests.random_models import make_model
from tests.train.killed import Killed
from tests.train.test_policy_rollouts import ScriptedEngine, problem
from train.arguments import GrpoArguments, PairArguments, PolicyArguments, SftArguments
from train.dpo import train_dpo
from train.exporter import ExportOptions, export_adapter
from train.grpo import train_grpo
from train.pair_opening import build_pool, make_trainer
from train.pair_trainer import PairTrainer
from train.policy import load_policy, save_adapter
from train.policy_kinds import check_kind
from train.sft import train_sft

pytestmark = pytest.mark.usefixtures("one_thread")

KINDS: dict[str, dict[str, Any]] = {
    "lora": {},
    "rslora": {"use_rslora": True},
    "dora": {"use_dora": True},
    "qlora_4_bits": {"load_in_4bit": True},
    "qlora_8_bits": {"load_in_8bit": True},
    "dora_on_4_bits": {"load_in_4bit": True, "use_dora": True},
    "full": {},
}


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


@pytest.mark.parametrize("kind", ["rslora", "dora", "qlora_4_bits"])
def test_an_export_says_what_the_trainer_said(tmp_path: Path, trained: dict[str, Path], kind: str):
    proof = export_adapter(ExportOptions(trained[kind], tmp_path / "merged"))
    assert proof.changed_matrices == proof.target_matrices == 28
    assert proof.logit_gap < 1e-5, "merging into the same base is exact"
    assert proof.trainer_gap is not None
    assert (proof.trainer_gap < 1e-4) == (kind != "qlora_4_bits")


def test_rslora_is_scaled_by_the_square_root_of_the_rank(trained: dict[str, Path], random_model: Path):
    policy = load_policy(model_config(random_model, "rslora"), str(trained["rslora"]), 0)
    (scaling,) = {layer.scaling["default"] for layer in policy.modules() if hasattr(layer, "lora_A")}
    assert scaling == pytest.approx(32 / math.sqrt(4))


def test_another_adapter_of_a_quantised_base_is_found_out(
    tmp_path: Path, trained: dict[str, Path], random_model: Path, random_adapter: Path
):
    """The tolerance is that of the two bases, not any."""
    other = load_policy(model_config(random_model, "qlora_8_bits"), str(random_adapter), 0)
    record = read_record(trained["qlora_8_bits"])
    assert record is not None
    save_adapter(other, tmp_path / "other", str(random_model), 9, record)
    with engine_for("qlora_8_bits", random_model) as engine, pytest.raises(PolicyMismatchError, match="8 bits"):
        engine.load_adapter(9, tmp_path / "other")


@pytest.mark.parametrize("kind", ["dora", "full"])
def test_a_killed_run_ends_where_the_undisturbed_one_does(
    tmp_path: Path, trained: dict[str, Path], random_model: Path, judged_rollouts: Path, kind: str
):
    saved = {"save_strategy": "steps", "save_steps": 1}
    with pytest.raises(KeyboardInterrupt):
        dpo(tmp_path, kind, random_model, judged_rollouts, callbacks=(Killed(2),), **saved)
    resumed = dpo(tmp_path, kind, random_model, judged_rollouts, **saved)
    assert resumed.name == ("model" if kind == "full" else "adapter")
    assert largest_gap(weights(trained[kind]), weights(resumed)) < 1e-6
    with engine_for(kind, random_model) as engine:
        engine.load_adapter(adapter_version(resumed), resumed)


def trainer_of(
    tmp_path: Path, kind: str, model: Path, rollouts: Path, start: Path | None, reference: str
) -> PairTrainer:
    pair_args = PairArguments(rollouts=[str(rollouts)], num_pairs=16, reference=reference)
    config = DPOConfig(**options(tmp_path, kind, max_steps=1))
    policy_args = policy_arguments(kind, start)
    return make_trainer(pair_args, policy_args, model_config(model, kind), config, *build_pool(pair_args))


def sizes(*models: torch.nn.Module) -> list[int]:
    """Of every piece of memory that holds weights; what is shared counts once."""
    held = {w.untyped_storage().data_ptr(): w.numel() for model in models for w in model.parameters()}
    return list(held.values())


def test_the_base_as_reference_takes_no_second_set_of_weights(
    tmp_path: Path, random_model: Path, random_adapter: Path, judged_rollouts: Path
):
    run = trainer_of(tmp_path, "lora", random_model, judged_rollouts, random_adapter, "base")
    assert run.ref_model is None
    base = AutoModelForCausalLM.from_pretrained(random_model)
    adapter = sum(weight.numel() for weight in weights(random_adapter).values())
    assert sum(sizes(run.model)) == sum(sizes(base)) + adapter
    assert list(run.model.peft_config) == ["default"]
    assert reference_logps(run) == pytest.approx(logps_by_hand(base, run), abs=1e-3)


@pytest.mark.parametrize("reference", ["base", "previous_round"])
def test_full_finetuning_has_a_second_copy_of_what_was_asked_for(
    tmp_path: Path, trained: dict[str, Path], random_model: Path, judged_rollouts: Path, reference: str
):
    run = trainer_of(tmp_path, "full", random_model, judged_rollouts, trained["full"], reference)
    expected = AutoModelForCausalLM.from_pretrained(random_model if reference == "base" else trained["full"])
    assert sum(sizes(run.model, run.ref_model)) == 2 * sum(sizes(expected))
    assert not any(weight.requires_grad for weight in run.ref_model.parameters())
    assert reference_logps(run) == pytest.approx(logps_by_hand(expected, run), abs=1e-3)
    run.train()
    margin = run.state.log_history[0]["rewards/margins"]
    assert (abs(margin) < 1e-5) == (reference == "previous_round")


def reference_logps(run: PairTrainer) -> list[float]:
    """What the reference says of the completions of the first batch, as TRL asks it."""
    batch = next(iter(run.get_train_dataloader()))
    batch.pop("draws")
    return torch.cat(run.compute_ref_log_probs(run.ref_model or run.model, batch)).tolist()


def logps_by_hand(model: torch.nn.Module, run: PairTrainer) -> list[float]:
    batch, found = next(iter(run.get_train_dataloader())), []
    for ids, mask, completion in zip(
        batch["input_ids"], batch["attention_mask"].bool(), batch["completion_mask"].bool(), strict=True
    ):
        scores = torch.tensor(sequence_logprobs(model, ids[mask].tolist()))
        found.append(scores[completion[mask][1:]].sum().item())
    return found


def test_the_adapter_on_a_quantised_base_stays_in_32_bits(
    tmp_path: Path, trained: dict[str, Path], random_model: Path, judged_rollouts: Path
):
    start = trained["qlora_4_bits"]
    run = trainer_of(tmp_path, "qlora_4_bits", random_model, judged_rollouts, start, "previous_round")
    for name, weight in weights(start).items():
        module, _, matrix = name.removesuffix(".weight").rpartition(".")
        assert torch.equal(run.model.get_parameter(f"{module}.{matrix}.default.weight"), weight)
    run.train()
    assert run.state.log_history[0]["rewards/margins"] == pytest.approx(0, abs=1e-5)


class CheckedEngine(ScriptedEngine):
    """Writes what a script says, and holds each policy in a real engine, which checks it."""

    def __init__(self, model: Path, kind: str) -> None:
        super().__init__(model, {f"p{n}": 0.5 for n in range(4)})
        self.real = engine_for(kind, model)
        self.gaps: list[float] = []

    def load_adapter(self, version: int, path: Path) -> float:
        gap = self.real.load_adapter(version, path)
        assert gap is not None
        self.gaps.append(gap)
        return super().load_adapter(version, path)


@pytest.mark.parametrize("kind", ["dora", "qlora_4_bits", "full"])
def test_grpo_brings_every_new_policy_to_the_engine(tmp_path: Path, random_model: Path, kind: str):
    model = random_model
    tests = (TestCase(TestKind.ASSERTS, code="assert solve(0) == 1"),)
    problems = [Problem(f"p{n}", "def solve(n):\n", tests, "solve") for n in range(4)]
    sizes = {"num_generations": 4, "per_device_train_batch_size": 8, "max_completion_length": 16, "beta": 0.04}
    sizes["vllm_importance_sampling_correction"] = False  # the policy would hardly write what a script says
    args = GrpoArguments(
        engine="vllm", engine_sync="merged", prompt_style="completion", full_finetuning=kind == "full", sandbox="local"
    )
    engine = CheckedEngine(model, kind)
    with engine.real, open_sandbox("local", workers=1) as sandbox:
        config = GRPOConfig(**options(tmp_path, kind, **sizes))
        final = train_grpo(args, model_config(model, kind), config, problems, engine=engine, sandbox=sandbox)
        engine.load_adapter(4, final)
    assert len(engine.gaps) == 4
    if kind == "qlora_4_bits":
        assert engine.gaps[0] > 1e-2, "the two bases are not the same"
    else:
        assert max(engine.gaps) < 1e-4


@pytest.mark.parametrize("kind", ["dora", "qlora_4_bits", "full"])
def test_sft_trains_it_too(tmp_path: Path, random_model: Path, judged_rollouts: Path, kind: str):
    arguments = SftArguments(rollouts=[str(judged_rollouts)])
    config = SFTConfig(**options(tmp_path, kind))
    final = train_sft(arguments, policy_arguments(kind), model_config(random_model, kind), config)
    with engine_for(kind, random_model, final) as engine:
        assert engine.policy_version == 4


# What does not go together is told before anything is loaded.

VLLM, SERVER = EngineArguments(engine="vllm"), EngineArguments(engine="vllm-server")
ZERO_3 = SimpleNamespace(deepspeed_plugin=SimpleNamespace(zero_stage=3))
ALONE = SimpleNamespace(deepspeed_plugin=None)


@pytest.mark.parametrize(
    ("policy", "model", "training", "engine", "message"),
    [
        ({}, {"use_dora": True}, ALONE, VLLM, "engine_sync: merged"),
        ({}, {"use_dora": True}, ALONE, SERVER, "takes LoRA adapters alone"),
        ({"full_finetuning": True}, {}, ALONE, VLLM, "engine_sync: merged"),
        ({"full_finetuning": True}, {"load_in_4bit": True}, ALONE, None, "leave load_in_4bit out"),
        ({"full_finetuning": True}, {"use_dora": True}, ALONE, None, "leave use_dora out"),
        ({"full_finetuning": True}, {"dtype": "bfloat16"}, ALONE, None, "use dtype: float32"),
        ({}, {"load_in_4bit": True}, ZERO_3, None, "zero2.yaml"),
        ({}, {"load_in_4bit": True, "dtype": "auto"}, ALONE, None, "dtype: bfloat16"),
        ({}, {"lora_modules_to_save": ["lm_head"]}, ALONE, None, "lora_modules_to_save is not supported"),
    ],
)
def test_what_does_not_go_together_is_refused(policy: dict, model: dict, training: Any, engine: Any, message: str):
    with pytest.raises(ConfigError, match=message):
        check_kind(PolicyArguments(**policy), ModelConfig("base", **model), training, engine)


def test_under_fsdp_the_trainers_own_model_writes_no_completions(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(ConfigError, match="use engine: vllm, or ZeRO"):
        check_kind(PolicyArguments(), ModelConfig("base"), ALONE, EngineArguments())
    for engine in (VLLM, SERVER, None):
        check_kind(PolicyArguments(), ModelConfig("base"), ALONE, engine)


def test_dora_and_full_finetuning_go_with_merged_weights_and_the_trainers_own_model():
    for engine in (EngineArguments(), EngineArguments(engine="vllm", engine_sync="merged"), None):
        check_kind(PolicyArguments(), ModelConfig("base", use_dora=True), ALONE, engine)
        check_kind(PolicyArguments(full_finetuning=True), ModelConfig("base"), ALONE, engine)


def test_a_missing_bitsandbytes_is_told_with_the_command(monkeypatch: pytest.MonkeyPatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "bitsandbytes" else real(name))
    with pytest.raises(ConfigError, match=r"pip install 'rlcode\[qlora\]'"):
        check_kind(PolicyArguments(), ModelConfig("base", load_in_8bit=True), ALONE)


def test_rollouts_are_drawn_from_whole_weights_that_were_trained(
    tmp_path: Path, trained: dict[str, Path], random_model: Path
):
    jsonl.save([problem("t1")], tmp_path / "problems.jsonl")
    line = ["--model", random_model, "--adapter", trained["full"], "--engine_sync", "merged", "--sandbox", "local"]
    line += ["--benchmark_file", tmp_path / "problems.jsonl", "--num_generations", 2, "--max_completion_length", 4]
    assert run("sampling.main", [*map(str, line), "--output_dir", str(tmp_path / "run")]) == 0
    versions = {rollout.completion.policy_version for rollout in read_rollouts([tmp_path / "run"])}
    assert versions == {adapter_version(trained["full"])}


def test_an_adapter_is_no_start_for_full_finetuning_nor_a_checkpoint_one_for_lora(
    tmp_path: Path, trained: dict[str, Path], random_model: Path, random_adapter: Path
):
    with pytest.raises(InputError, match="rlcode export"):
        load_policy(model_config(random_model, "full"), str(random_adapter), 0, full=True)
    with pytest.raises(InputError, match="--full_finetuning true"):
        load_policy(model_config(random_model, "lora"), str(trained["full"]), 0)
    with pytest.raises(InputError, match="--engine_sync merged"):
        open_engine(EngineSettings(), str(random_model), trained["full"])
    other = make_model(tmp_path / "other", seed=3)
    with pytest.raises(InputError, match="another base model"):
        load_policy(model_config(other, "full"), str(trained["full"]), 0, full=True)
