"""The policy that short runs train: a small adapter without dropout."""

from __future__ import annotations

from pathlib import Path

from trl import ModelConfig


def model_config(model: Path) -> ModelConfig:
    return ModelConfig(model_name_or_path=str(model), lora_r=4, lora_dropout=0.0)
