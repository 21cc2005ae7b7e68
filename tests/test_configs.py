"""Every shipped configuration is parsed by what it is for."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from trl import DPOConfig, GRPOConfig, ModelConfig, SFTConfig

from eval.arguments import parse_arguments
from rlcode.config import parse_config
from sampling.arguments import RolloutArguments
from train.arguments import GrpoArguments, PairArguments, PolicyArguments, SftArguments
from train.loop_arguments import LoopArguments, command_line

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
CLASSES = {
    "rollout": [RolloutArguments],
    "dpo": [PairArguments, PolicyArguments, ModelConfig, DPOConfig],
    "sft": [SftArguments, PolicyArguments, ModelConfig, SFTConfig],
    "grpo": [GrpoArguments, ModelConfig, GRPOConfig],
}
# parsed here on a machine without a GPU
ON_A_CPU = ["--use_cpu", "true", "--bf16", "false"]


LOOPS = sorted(CONFIGS.glob("**/run.yaml"))
OTHERS = sorted({*CONFIGS.glob("[!a]*/*.yaml"), *CONFIGS.glob("*.yaml")} - {*LOOPS})


@pytest.mark.parametrize("path", OTHERS, ids=str)
def test_a_configuration_is_understood(path: Path, tmp_path: Path):
    classes = CLASSES[path.stem]
    cpu = [] if path.stem == "rollout" else ON_A_CPU
    parsed = parse_config(classes, ["--config", str(path), "--output_dir", str(tmp_path), *cpu], prog="test")
    written = yaml.safe_load(path.read_text())
    values = {key: value for part in parsed for key, value in vars(part).items()}
    for key in {"num_generations", "max_completion_length", "strategy", "engine", "learning_rate"} & written.keys():
        assert values[key] == pytest.approx(written[key]) if key == "learning_rate" else values[key] == written[key]


@pytest.mark.parametrize("path", LOOPS, ids=str)
def test_a_loop_and_all_of_its_stages_are_understood(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(CONFIGS.parent)
    own = ["--model", "base", "--output_dir", str(tmp_path)]
    (args,) = parse_config([LoopArguments], ["--config", str(path), *own], prog="test")
    assert load_config_from_file(args.accelerate_config)
    for stage, kind in {"rollout": "rollout", "dpo": "dpo", "rft": "sft", "grpo": "grpo"}.items():
        cpu = [] if stage == "rollout" else ON_A_CPU
        words = [*command_line({**args.options(stage), "output_dir": str(tmp_path)}), *cpu]
        parse_config(CLASSES[kind], words, prog=stage)
    validation = {**args.options("validation"), "model": "base", "output_dir": str(tmp_path)}
    assert parse_arguments([*command_line(validation, flags=True)]).greedy


@pytest.mark.parametrize("path", sorted((CONFIGS / "accelerate").glob("*.yaml")), ids=str)
def test_an_accelerate_configuration_is_understood(path: Path):
    assert load_config_from_file(str(path)).num_machines == 1
