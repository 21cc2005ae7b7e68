"""Runs of a few steps on a random model, of all three methods, in this process."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from transformers import TrainerCallback
from trl import DPOConfig, GRPOConfig, ModelConfig, SFTConfig

from sampling.store import read_rollouts
from sandbox.pool import open_sandbox
from sandbox.protocol import Sandbox
from tests.train.test_policy_rollouts import ScriptedEngine, problem
from train.arguments import GrpoArguments, PairArguments, PolicyArguments, SftArguments
from train.checkpoints import WHOLE
from train.dpo import train_dpo
from train.grpo import train_grpo
from train.sft import train_sft

STEPS = 5
CHANCES = {f"t{number}": 0.5 for number in range(8)}

ShortRun = Callable[..., Path]


class At(TrainerCallback):
    """Does something when step `number` (from 1) begins."""

    def __init__(self, number: int, action: Callable[[], object]) -> None:
        self._number = number
        self._action = action

    def on_step_begin(self, args: object, state: Any, control: object, **kwargs: object) -> None:
        if state.global_step == self._number - 1:
            self._action()


def dpo(path: Path, model: Path, rollouts: Path, *callbacks: TrainerCallback, **options: Any) -> Path:
    config = DPOConfig(**_training(path, {"per_device_train_batch_size": 4, **options}))
    args = PairArguments(rollouts=[str(rollouts)], num_pairs=12)  # two epochs
    return train_dpo(args, PolicyArguments(), _model(model), config, callbacks)


def sft(path: Path, model: Path, rollouts: Path, *callbacks: TrainerCallback, **options: Any) -> Path:
    config = SFTConfig(**_training(path, {"per_device_train_batch_size": 4, **options}))
    return train_sft(SftArguments(rollouts=[str(rollouts)]), PolicyArguments(), _model(model), config, callbacks)


def grpo(
    path: Path,
    model: Path,
    rollouts: Path,
    *callbacks: TrainerCallback,
    sandbox: Sandbox | None = None,
    engine: Any = None,
    **options: Any,
) -> Path:
    """`rollouts` are for the other methods."""
    defaults = {"num_generations": 4, "per_device_train_batch_size": 16, "beta": 0.0, "max_completion_length": 16}
    config = GRPOConfig(**_training(path, {**defaults, **options}))
    args = GrpoArguments(prompt_style="completion", sandbox="local", sandbox_workers=2)
    engine = engine or ScriptedEngine(model, CHANCES)
    with open_sandbox("local", 2) as own:
        judge = sandbox or own
        return train_grpo(args, _model(model), config, list(map(problem, CHANCES)), callbacks, engine, judge)


METHODS: dict[str, ShortRun] = {"dpo": dpo, "sft": sft, "grpo": grpo}


def _model(path: Path) -> ModelConfig:
    return ModelConfig(model_name_or_path=str(path), lora_r=4, lora_dropout=0.1)


def _training(path: Path, options: dict[str, Any]) -> dict[str, Any]:
    return {
        "output_dir": str(path),
        "max_steps": STEPS,
        "learning_rate": 1e-3,
        "lr_scheduler_type": "linear",
        "logging_steps": 1,
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        **options,
    }


def whole_checkpoints(path: Path) -> list[str]:
    return sorted(marker.parent.name for marker in path.glob(f"checkpoint-*/{WHOLE}"))


def gap(one: Path, other: Path) -> float:
    """The largest difference of two adapters' weights."""
    weights, others = (load_file(adapter / "adapter_model.safetensors") for adapter in (one, other))
    assert weights.keys() == others.keys()
    return max((weights[name] - others[name]).abs().max().item() for name in weights)


def seen(path: Path, method: str) -> Sequence[Any]:
    """What a run was trained on."""
    if method == "grpo":  # stored in the order in which they were judged, which is chance
        completions = [rollout.completion for rollout in read_rollouts([path])]
        return sorted((c.policy_version, c.task_id, c.index, c.token_ids) for c in completions)
    name = {"dpo": "draws.jsonl", "sft": "examples.jsonl"}[method]
    return [json.loads(line) for line in (path / name).read_text().splitlines()]
