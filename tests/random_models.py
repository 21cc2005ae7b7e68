"""Models that are made on the spot: random weights, a real tokenizer, real adapters."""

from __future__ import annotations

from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlcode.tiny.corpus import make_corpus
from rlcode.types import to_json
from sampling.adapters import write_adapter_metadata
from sampling.identity import record_policy
from train.tiny_model import new_model, train_tokenizer


def make_model(path: Path, seed: int) -> Path:
    tokenizer = train_tokenizer(list(make_corpus(200, 0, 1.0)))
    torch.manual_seed(seed)
    model = new_model(tokenizer, layers=4)
    model.model.embed_tokens.weight.data.mul_(4)  # a livelier distribution than that of a fresh initialisation
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def make_adapter(path: Path, model: Path, *, rank: int = 8, seed: int = 1, **options: bool) -> Path:
    """A trained adapter with its record; `options` are PEFT's, such as `use_dora`."""
    torch.manual_seed(seed)
    base = AutoModelForCausalLM.from_pretrained(model)
    policy = get_peft_model(base, LoraConfig(r=rank, target_modules="all-linear", task_type="CAUSAL_LM", **options))
    for name, weight in policy.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.3)
    policy.save_pretrained(path)
    record = record_policy(policy.eval(), AutoTokenizer.from_pretrained(model))
    write_adapter_metadata(path, str(model), 1, to_json(record))
    return path
