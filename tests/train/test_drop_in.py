"""The stock TRL scripts in docs/, launched as people do: what they train on is what the sandbox said."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
from safetensors.torch import load_file

from rewards.correctness import CorrectnessReward
from rlcode.data.registry import load_problems
from sandbox.pool import open_sandbox

ROOT = Path(__file__).resolve().parents[2]
ON_THE_CPU = ("--use_cpu", "true", "--bf16", "false", "--gradient_checkpointing", "false", "--report_to", "none")
LORA = ("--use_peft", "--lora_r", "8", "--lora_target_modules", "all-linear", "--learning_rate", "1e-3")


def run(script: str, *arguments: object) -> None:
    command = [sys.executable, f"docs/{script}.py", *map(str, (*arguments, *ON_THE_CPU, *LORA))]
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


def has_learned(adapter: Path) -> bool:
    weights = load_file(adapter / "adapter_model.safetensors")
    return any(float(weight.abs().max()) > 0 for name, weight in weights.items() if "lora_B" in name)


def test_a_stock_grpo_script_is_rewarded_by_the_verdicts(tmp_path: Path, quickstart_run: Path):
    file = quickstart_run / "problems" / "train.jsonl"
    run(
        "drop_in_grpo",
        *("--model_name_or_path", quickstart_run / "model", "--benchmark", "jsonl", "--benchmark_file", file),
        *("--sandbox", "local", "--output_dir", tmp_path, "--max_steps", 2, "--per_device_train_batch_size", 32),
        *("--num_generations", 8, "--max_completion_length", 100, "--log_completions", "true", "--logging_steps", 1),
    )
    rows = pd.concat(pd.read_parquet(table) for table in sorted((tmp_path / "completions").glob("*.parquet")))
    assert len(rows) == 2 * 32
    by_prompt = {problem.prompt: problem for problem in load_problems("jsonl", file)}
    with open_sandbox("local", 2) as sandbox:
        reward = CorrectnessReward(by_prompt.values(), sandbox)
        task_ids = [by_prompt[prompt].task_id for prompt in rows["prompt"]]
        said = reward(list(rows["prompt"]), list(rows["completion"]), task_id=task_ids)
        reward.close()
    assert list(rows["correctness"]) == said
    assert set(said) == {0.0, 1.0}
    assert has_learned(tmp_path)


def test_a_stock_dpo_script_takes_the_pairs(tmp_path: Path, quickstart_run: Path):
    rlcode = Path(sys.executable).with_name("rlcode")
    model = quickstart_run / "model"
    command = [rlcode, "pairs", quickstart_run / "dpo-1" / "rollouts.jsonl", "--output", tmp_path / "pairs"]
    subprocess.run([*map(str, command), "--model", str(model), "--num_pairs", "16"], cwd=ROOT, timeout=300, check=True)
    run(
        "drop_in_dpo",
        *("--model_name_or_path", model, "--pairs", tmp_path / "pairs", "--output_dir", tmp_path / "dpo"),
        *("--max_steps", 2, "--per_device_train_batch_size", 8),
    )
    assert has_learned(tmp_path / "dpo")


def test_the_readme_shows_lines_of_the_script():
    (block,) = re.findall(r"## In your own TRL script\n\n```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    script = {line.strip() for line in (ROOT / "docs" / "drop_in_grpo.py").read_text().splitlines()}
    assert [line for line in block.splitlines() if line.strip() and line.strip() not in script] == []
