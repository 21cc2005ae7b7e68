"""In which precision training computes where nobody said so."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from accelerate.utils import FullyShardedDataParallelPlugin

from rlcode.cli import run_main
from train.precision import keep_outputs_exact, with_precision
from train.sft import main


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch):
    """Says that there is one, with bfloat16 or without."""

    def put_in(*, bf16: bool) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: bf16)

    return put_in


def test_a_gpu_computes_in_the_16_bits_that_it_has(gpu, capsys: pytest.CaptureFixture):
    gpu(bf16=True)
    assert with_precision([]) == ["--bf16", "true", "--fp16", "false"]
    gpu(bf16=False)
    assert with_precision([]) == ["--bf16", "false", "--fp16", "true"]
    assert "precision: float16, since the GPU has no bfloat16" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--use_cpu", "true"], ["--use_cpu"], ["--use_cpu=true"]])
def test_a_cpu_computes_in_32_bits(gpu, words: list[str]):
    gpu(bf16=True)
    assert with_precision(words) == [*words, "--bf16", "false", "--fp16", "false"]


def test_what_was_said_wins(tmp_path: Path, gpu, capsys: pytest.CaptureFixture):
    gpu(bf16=False)
    (tmp_path / "c.yaml").write_text("bf16: true\n")
    for words in (["--bf16", "true"], ["--fp16", "false"], ["--config", str(tmp_path / "c.yaml")]):
        assert with_precision(words) == words
    assert not capsys.readouterr().err


def test_a_script_on_a_machine_without_a_gpu_runs_and_writes_down_what_it_chose(
    tmp_path: Path, random_model: Path, judged_rollouts: Path, capsys: pytest.CaptureFixture
):
    """TRL's own default is refused there."""
    words = ["--model_name_or_path", random_model, "--rollouts", judged_rollouts, "--output_dir", tmp_path / "run"]
    words += ["--lora_r", 4, "--max_steps", 1, "--report_to", "none", "--save_strategy", "no"]
    assert run_main(main, list(map(str, words))) == 0
    assert "precision: float32, since training is on the CPU" in capsys.readouterr().err
    config = json.loads((tmp_path / "run" / "run.json").read_text())["config"]
    assert (config["bf16"], config["fp16"]) == (False, False)


def test_fsdp2_does_not_round_log_probabilities():
    plugin = FullyShardedDataParallelPlugin(fsdp_version=2)
    plugin.set_mixed_precision("bf16")
    assert plugin.mixed_precision_policy.output_dtype == torch.bfloat16, "accelerate has changed; is it still needed?"
    keep_outputs_exact(SimpleNamespace(state=SimpleNamespace(fsdp_plugin=plugin)))
    assert plugin.mixed_precision_policy.output_dtype is None
    assert plugin.mixed_precision_policy.param_dtype == torch.bfloat16
    keep_outputs_exact(SimpleNamespace(state=SimpleNamespace(fsdp_plugin=None)))
