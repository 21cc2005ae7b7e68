"""Every shipped configuration is parsed by what it is for, and the batches of the recipes come out even."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.utils import DeepSpeedPlugin, FullyShardedDataParallelPlugin
from trl import DPOConfig, GRPOConfig, ModelConfig, SFTConfig
from trl.experimental.async_grpo import AsyncGRPOConfig

from eval.arguments import SWITCHES, parse_arguments
from rlcode.config import parse_config
from sampling.arguments import RolloutArguments
from sampling.strategies import make_strategy
from tests.shown_commands import shown_commands
from train.arguments import AsyncGrpoArguments, GrpoArguments, PairArguments, PolicyArguments, SftArguments
from train.batch_plan import BatchPlan
from train.loop_arguments import LoopArguments, command_line
from train.model_shapes import KNOWN

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
RECIPES = sorted((CONFIGS / "recipes").glob("*/*.yaml"))
CLASSES = {
    "rollout": [RolloutArguments],
    "dpo": [PairArguments, PolicyArguments, ModelConfig, DPOConfig],
    "sft": [SftArguments, PolicyArguments, ModelConfig, SFTConfig],
    "grpo": [GrpoArguments, ModelConfig, GRPOConfig],
    "async_grpo": [AsyncGrpoArguments, AsyncGRPOConfig],
}
# parsed here on a machine without a GPU
ON_A_CPU = ["--use_cpu", "true", "--bf16", "false"]


LOOPS = sorted(CONFIGS.glob("**/run.yaml"))
OTHERS = sorted({*CONFIGS.glob("tiny/*.yaml"), *CONFIGS.glob("*.yaml"), *RECIPES} - {*LOOPS})


@pytest.mark.parametrize("path", OTHERS, ids=str)
def test_a_configuration_is_understood(path: Path, tmp_path: Path):
    classes = CLASSES[path.stem]
    cpu = [] if path.stem == "rollout" else ON_A_CPU
    parsed = parse_config(classes, ["--config", str(path), "--output_dir", str(tmp_path), *cpu], prog="test")
    written = yaml.safe_load(path.read_text())
    values = {key: value for part in parsed for key, value in vars(part).items()}
    for key in {"num_generations", "max_completion_length", "strategy", "engine", "learning_rate"} & written.keys():
        assert values[key] == pytest.approx(written[key]) if key == "learning_rate" else values[key] == written[key]
    if "strategy" in written:
        make_strategy(written["strategy"], **written.get("strategy_options", {}))


@pytest.mark.parametrize("path", LOOPS, ids=str)
def test_a_loop_and_all_of_its_stages_are_understood(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(CONFIGS.parent)
    own = ["--model", "base", "--output_dir", str(tmp_path), "--methods", "dpo", "rft", "grpo"]
    (args,) = parse_config([LoopArguments], ["--config", str(path), *own], prog="test")
    assert load_config_from_file(args.accelerate_config)
    for stage, kind in {"rollout": "rollout", "dpo": "dpo", "rft": "sft", "grpo": "grpo"}.items():
        cpu = [] if stage == "rollout" else ON_A_CPU
        words = [*command_line({**args.options(stage), "output_dir": str(tmp_path)}), *cpu]
        parse_config(CLASSES[kind], words, prog=stage)
    validation = {**args.options("validation"), "model": "base", "output_dir": str(tmp_path)}
    assert parse_arguments([*command_line(validation, switches=SWITCHES)]).greedy


@pytest.mark.parametrize("path", sorted((CONFIGS / "accelerate").glob("*.yaml")), ids=str)
def test_an_accelerate_configuration_is_understood_and_says_what_its_name_says(
    path: Path, monkeypatch: pytest.MonkeyPatch
):
    config = load_config_from_file(str(path))
    assert (config.num_machines > 1) == (path.stem == "several_nodes")
    assert path.read_text().startswith("# ")
    assert f"accelerate launch --config_file configs/accelerate/{path.name}" in path.read_text()
    kind = config.distributed_type.value
    if path.stem == "fsdp2":
        monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
        plugin = FullyShardedDataParallelPlugin(fsdp_version=config.fsdp_config["fsdp_version"])
        assert (kind, plugin.fsdp_version, plugin.reshard_after_forward) == ("FSDP", 2, True)
    elif path.stem == "single":
        assert (kind, config.num_processes) == ("NO", 1)
    else:
        settings = config.deepspeed_config
        plugin = DeepSpeedPlugin(
            zero_stage=settings["zero_stage"],
            offload_optimizer_device=settings["offload_optimizer_device"],
            offload_param_device=settings["offload_param_device"],
            zero3_init_flag=settings["zero3_init_flag"],
            zero3_save_16bit_model=settings.get("zero3_save_16bit_model"),
        )
        stage = {"several_nodes": 3}.get(path.stem) or int(path.stem[4])
        assert (kind, plugin.zero_stage) == ("DEEPSPEED", stage)
        zero = plugin.deepspeed_config["zero_optimization"]
        assert (zero["offload_optimizer"]["device"] == "cpu") == ("offload" in path.stem)
        assert (zero["offload_param"]["device"] == "cpu") == (path.stem == "zero3_offload")


def test_there_is_a_recipe_of_each_method_for_every_size_but_3b():
    for size in KNOWN.keys() - {"Qwen2.5-Coder-3B"}:
        folder = CONFIGS / "recipes" / size.lower()
        written = [yaml.safe_load((folder / f"{method}.yaml").read_text()) for method in ("dpo", "grpo")]
        assert {one["model_name_or_path"] for one in written} == {f"Qwen/{size}-Instruct"}


@pytest.mark.parametrize("processes", [1, 2, 4, 8])
@pytest.mark.parametrize("path", [path for path in RECIPES if path.parent.name.startswith("qwen")], ids=str)
def test_a_recipe_makes_the_same_step_on_any_number_of_processes(path: Path, processes: int):
    """Its accumulation is written for one process, and divided by their number."""
    recipe = yaml.safe_load(path.read_text())
    per_device, written = recipe["per_device_train_batch_size"], recipe["gradient_accumulation_steps"]
    accumulation = written // processes
    assert accumulation * processes == written
    if path.stem == "dpo":
        assert BatchPlan("pairs", per_device, accumulation, processes).per_step == 32
        assert recipe["num_pairs"] % 32 == 0, "an epoch ends with a whole step"
    else:
        plan = BatchPlan("completions", per_device, accumulation, processes, recipe["num_generations"])
        assert (plan.per_step, plan.groups) == (64, 8)
        assert f"{recipe['max_steps']} x 8 problems" in path.read_text()


def test_a_shown_launch_on_several_gpus_makes_the_step_that_its_configuration_says():
    seen = 0
    for shown in shown_commands():
        given = {word: value for word, value in zip(shown.words, shown.words[1:], strict=False) if word[:2] == "--"}
        processes = int(given.get("--num_processes", given.get("--gpus", 1)))
        path = CONFIGS.parent / given.get("--config", "")
        if processes == 1 or path.parent.name.startswith("ap2o"):
            continue
        written = yaml.safe_load(path.read_text())
        accumulation = int(given.get("--gradient_accumulation_steps", written["gradient_accumulation_steps"]))
        assert accumulation * processes == written["gradient_accumulation_steps"], str(shown)
        seen += 1
    assert seen >= 8


@pytest.mark.parametrize("name", ["ap2o-0.5b", "ap2o-0.5b-ours"])
def test_the_recipe_of_ap2o_has_its_batch_and_a_quiz_after_each_epoch(name: str):
    recipe = yaml.safe_load((CONFIGS / "recipes" / name / "dpo.yaml").read_text())
    per_step = 2 * recipe["per_device_train_batch_size"] * recipe["gradient_accumulation_steps"]  # two GPUs, as theirs
    assert per_step == 32
    assert recipe["quiz_steps"] == -(-recipe["num_pairs"] // per_step)
    for processes, per_device in {1: 16, 2: 16, 4: 8, 8: 4}.items():
        assert per_device * processes * {1: 2}.get(processes, 1) == per_step
