"""`rlcode plan` as people run it: on every shipped configuration, without a GPU and without a network."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from rlcode.errors import ConfigError
from train.plan import main

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
ACCELERATE = CONFIGS / "accelerate"
SHIPPED = [
    path
    for path in (*CONFIGS.glob("*.yaml"), *(CONFIGS / "recipes").glob("*/*.yaml"))
    if path.stem in ("dpo", "sft", "grpo")
]


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise AssertionError("a plan asked the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def plan(tmp_path: Path, config: str | Path, *arguments: object) -> dict:
    """The plan as JSON, with the exit code under `code`."""
    path = tmp_path / "plan.json"
    words = ["--config", str(CONFIGS / config), "--json", str(path), *map(str, arguments)]
    code = main(words)
    return {**json.loads(path.read_text()), "code": code}


@pytest.mark.parametrize("config", sorted(SHIPPED), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_shipped_configuration_can_be_planned_and_fits_80_gib(tmp_path: Path, config: Path):
    done = plan(tmp_path, config)
    assert (done["code"], done["verdict"]) == (0, "fits")


def test_the_small_dpo_run_is_32_steps_of_32_pairs(tmp_path: Path, capsys: pytest.CaptureFixture):
    done = plan(tmp_path, "dpo.yaml")
    assert done["batch"]["per_step"] == 32
    assert (done["length"]["steps"], done["length"]["tokens"]) == (32, 2 * 1024 * 2048)
    assert done["length"]["checkpoints"] == 3
    weights = next(line for line in done["memory"] if line["name"] == "model weights")
    assert weights["device"] == 2 * 494_032_768
    shown = capsys.readouterr().out
    assert "4 × 8 × 1 = 32 pairs a step" in shown
    assert "estimated" in shown
    assert "fits: an estimated" in shown


def test_the_bound_of_grpo_has_all_the_batches_that_a_step_may_draw(tmp_path: Path):
    filtered, plain = plan(tmp_path, "grpo.yaml"), plan(tmp_path, "grpo.yaml", "--group_filter", "false")
    assert plain["length"]["generated_tokens"] == 500 * 64 * 512
    assert filtered["length"]["generated_tokens"] == (1 + 3) * 500 * 64 * 512
    assert filtered["length"]["log_bytes"] == 4 * plain["length"]["log_bytes"]
    assert filtered["length"]["tokens"] == plain["length"]["tokens"]


def test_the_shipped_loop_is_planned_as_it_is(tmp_path: Path):
    path = tmp_path / "plan.json"
    assert main(["--config", str(CONFIGS / "run.yaml"), "--json", str(path)]) == 0
    assert json.loads(path.read_text())["dpo"]["length"]["steps"] == 16


def test_the_command_line_wins_over_the_file(tmp_path: Path):
    before, after = (plan(tmp_path, "dpo.yaml", "--per_device_train_batch_size", size) for size in (4, 8))
    assert after["batch"]["per_step"] == 2 * before["batch"]["per_step"]
    assert after["device"] > before["device"]


def test_what_does_not_fit_says_by_how_much_and_what_would(tmp_path: Path, capsys: pytest.CaptureFixture):
    done = plan(tmp_path, "recipes/qwen2.5-coder-32b/dpo.yaml", "--gpu_memory_gb", 40)
    assert (done["code"], done["verdict"]) == (1, "does not fit")
    assert any("ZeRO stage 3 on 4 GPUs" in way for way in done["what_fits"])
    assert not any("gradient_accumulation" in way for way in done["what_fits"]), "the batch is as small as can be"
    assert "GiB too much for each device; one of these would do: " in capsys.readouterr().out
    split = plan(tmp_path, "recipes/qwen2.5-coder-32b/dpo.yaml", "--gpu_memory_gb", 40, "--gpus", 4, *zero("zero3"))
    assert (split["code"], split["what_fits"]) == (0, [])


def test_two_copies_of_32b_do_not_fit_on_one_gpu(tmp_path: Path):
    recipe, share = "recipes/qwen2.5-coder-32b/grpo.yaml", ("--engine_gpu_memory_utilization", 0.85)
    done = plan(tmp_path, recipe, "--engine", "vllm", *share)
    assert done["verdict"] == "does not fit"
    assert any("vllm-server" in way for way in done["what_fits"])


def test_the_share_of_trls_own_vllm_is_counted(tmp_path: Path):
    options = ("--engine", "trl", "--use_vllm", "true", "--vllm_mode")
    alone = plan(tmp_path, "grpo.yaml", *options, "server")
    beside = plan(tmp_path, "grpo.yaml", *options, "colocate", "--vllm_gpu_memory_utilization", 0.5)
    assert beside["device"] > alone["device"]


def zero(name: str) -> tuple[str, Path]:
    return "--accelerate_config", ACCELERATE / f"{name}.yaml"


def test_the_file_for_accelerate_says_how_the_model_is_shared(tmp_path: Path):
    config = "recipes/qwen2.5-coder-7b/dpo.yaml"
    whole = plan(tmp_path, config, "--gpus", 4)
    sizes = {name: plan(tmp_path, config, "--gpus", 4, *zero(name))["device"] for name in ("zero1", "zero2", "zero3")}
    assert whole["device"] > sizes["zero1"] > sizes["zero2"] > sizes["zero3"]
    assert plan(tmp_path, config, *zero("several_nodes"))["batch"]["processes"] == 16
    assert plan(tmp_path, config, "--gpus", 1, *zero("zero3_offload"))["host"] > 2 * 7_615_616_512
    fsdp = plan(tmp_path, config, "--gpus", 4, *zero("fsdp2"))
    assert fsdp["device"] < sizes["zero2"]


def test_grpo_on_several_gpus_is_told_of_servers(tmp_path: Path):
    assert any("a server on each GPU" in note for note in plan(tmp_path, "grpo.yaml", "--gpus", 4)["notes"])


def test_groups_are_counted_over_all_processes_and_torn_ones_refused(tmp_path: Path):
    small = ("--per_device_train_batch_size", 2, "--gradient_accumulation_steps", 1)
    assert plan(tmp_path, "grpo.yaml", *small, "--gpus", 4)["batch"]["per_step"] == 8
    assert plan(tmp_path, "grpo.yaml", *small, *zero("zero2"), "--gpus", 8)["batch"]["per_step"] == 16
    with pytest.raises(ConfigError, match="must be divisible by num_generations"):
        plan(tmp_path, "grpo.yaml", *small)


def test_a_plan_of_grpo_without_a_number_of_steps_says_why_it_has_none(tmp_path: Path):
    done = plan(tmp_path, "grpo.yaml", "--max_steps", -1)
    assert done["length"] is None
    assert any("number of problems" in note for note in done["notes"])


def test_the_method_is_known_by_the_fields_or_asked_for(tmp_path: Path):
    (tmp_path / "either.yaml").write_text("model_name_or_path: Qwen/Qwen2.5-Coder-7B\nlearning_rate: 1.0e-6\n")
    with pytest.raises(ConfigError, match="--method"):
        main(["--config", str(tmp_path / "either.yaml")])
    assert main(["--config", str(tmp_path / "either.yaml"), "--method", "dpo"]) == 0


def test_an_unknown_key_is_refused_as_the_training_script_would(tmp_path: Path):
    (tmp_path / "typo.yaml").write_text((CONFIGS / "dpo.yaml").read_text() + "\nlearning_rat: 1\n")
    with pytest.raises(ConfigError, match="did you mean 'learning_rate'"):
        main(["--config", str(tmp_path / "typo.yaml")])


def test_a_file_for_accelerate_that_is_none_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="accelerate_config"):
        plan(tmp_path, "dpo.yaml", "--accelerate_config", CONFIGS / "dpo.yaml")


def test_a_plan_of_sft_is_for_examples_of_one_sequence(tmp_path: Path):
    done = plan(tmp_path, "sft.yaml", "--max_steps", 10)
    assert (done["batch"]["unit"], done["batch"]["per_step"]) == ("examples", 32)
    assert done["length"]["tokens"] == 10 * 32 * 2048
    assert plan(tmp_path, "sft.yaml")["length"] is None
    assert done["device"] < plan(tmp_path, "dpo.yaml")["device"]


def test_the_plan_of_a_loop_has_one_for_each_method(tmp_path: Path, capsys: pytest.CaptureFixture):
    shipped = (CONFIGS / "run.yaml").read_text().replace("[dpo]", "[rft, dpo]").replace("configs/", f"{CONFIGS}/")
    (tmp_path / "run.yaml").write_text(shipped)
    words = ["--config", str(tmp_path / "run.yaml"), "--output_dir", "never/made", "--json", str(tmp_path / "p.json")]
    assert main(words) == 0
    plans = json.loads((tmp_path / "p.json").read_text())
    assert plans.keys() == {"rft", "dpo"}
    assert plans["dpo"]["length"]["steps"] == 16, "512 pairs of the loop's own, 32 a step"
    reference = next(line for line in plans["dpo"]["memory"] if line["name"] == "reference")
    assert reference["note"] == "a frozen copy of the adapter", "that of the round before"
    assert "── rft" in capsys.readouterr().out
    assert main([*words, "--gpu_memory_gb", "2"]) == 1


def test_full_finetuning_takes_many_times_the_memory(tmp_path: Path):
    full = ("--full_finetuning", "true", "--dtype", "float32")
    one, other = plan(tmp_path, "dpo.yaml"), plan(tmp_path, "dpo.yaml", *full)
    sizes = {line["name"]: line["device"] for line in other["memory"]}
    parameters = 494_032_768
    assert sizes["model weights"] == sizes["gradients"] == sizes["reference"] == 4 * parameters
    assert (sizes["adapter"], sizes["optimizer states"]) == (0, 8 * parameters)
    assert other["device"] > one["device"] + 4 * 4 * parameters
    assert "no full_finetuning: LoRA" in plan(tmp_path, "dpo.yaml", *full, "--gpu_memory_gb", 8)["what_fits"]


def test_qlora_makes_room(tmp_path: Path):
    recipe = "recipes/qwen2.5-coder-32b/dpo.yaml"
    assert "load_in_4bit: true (QLoRA)" in plan(tmp_path, recipe, "--gpu_memory_gb", 40)["what_fits"]
    assert plan(tmp_path, recipe, "--gpu_memory_gb", 40, "--load_in_4bit", "true")["code"] == 0
