"""A process that does not generate with TRL's vLLM does not load it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CODE = """
import sys
import train.pair_trainer, train.example_trainer
assert "vllm" not in sys.modules, "DPO and SFT load vLLM"
from train.trl_without_vllm import load_trl_without_vllm
load_trl_without_vllm()
import train.group_trainer
assert "vllm" not in sys.modules, "GRPO loads vLLM"
from trl.import_utils import is_vllm_available
assert is_vllm_available(), "what TRL says of vLLM was changed for good"
"""


def test_trainers_load_no_vllm_where_rlcode_generates() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
