"""GRPO with TRL's asynchronous trainer: a vLLM server writes completions while the policy is updated. GPUs only.

    rlcode serve --model MODEL --max_loras 5 --port 8000        # on a GPU that does not train
    accelerate launch train/async_grpo.py --config configs/async_grpo.yaml

What is ours is the reward, judged in the sandbox; which problems come when, how old a completion may be, and how the
policy gets to the server are `AsyncGRPOTrainer`'s own. Writes into `output_dir`: `adapter/` and TRL's checkpoints, from
the last of which the same command goes on.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rlcode.cli import run_main
from rlcode.config import parse_config
from rlcode.errors import ConfigError
from rlcode.run_directory import open_for_training
from rlcode.types import Problem
from train.arguments import AsyncGrpoArguments
from train.launcher import end_with_launcher


def _trl_configs() -> Sequence[type]:
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    from trl.experimental.async_grpo import AsyncGRPOConfig

    return [AsyncGRPOConfig]


def main(argv: list[str]) -> int:
    import torch

    from rlcode.data.registry import training_problems_from

    end_with_launcher()
    args, training_args = parse_config([AsyncGrpoArguments], argv, prog="train/async_grpo.py", others=_trl_configs)
    if not torch.cuda.is_available():
        raise ConfigError("TRL's asynchronous trainer needs a GPU, and there is none; train/grpo.py runs without")
    if importlib.util.find_spec("kernels") is None:
        raise ConfigError("TRL's asynchronous trainer takes its attention from `kernels`: pip install 'rlcode[async]'")
    with open_for_training(Path(training_args.output_dir), "async_grpo", [args, training_args]):
        adapter = train_async_grpo(args, training_args, training_problems_from(args))
    if os.environ.get("RANK", "0") == "0":
        print(f"GRPO: adapter in {adapter}")
    return 0


def train_async_grpo(args: AsyncGrpoArguments, training_args: Any, problems: Sequence[Problem]) -> Path:
    """Train on `problems` and return the directory of the adapter."""
    from sampling.adapters import write_adapter_metadata
    from train.checkpoints import checkpoint_to_resume
    from train.interrupt import run_training

    adapter = Path(training_args.output_dir) / "adapter"
    checkpoint = checkpoint_to_resume(training_args)
    with ExitStack() as stack:
        trainer = open_async_trainer(args, training_args, problems, stack)
        run_training(trainer, checkpoint)
        trainer.save_model(str(adapter))
    if trainer.accelerator.is_main_process:
        write_adapter_metadata(adapter, str(args.model_name_or_path), 1 + trainer.state.global_step)
    return adapter


def open_async_trainer(
    args: AsyncGrpoArguments, training_args: Any, problems: Sequence[Problem], stack: ExitStack
) -> Any:
    """TRL's trainer. Its first process has the rewards computed in a child process, which asks the sandbox that is
    opened here; `stack` closes it."""
    from datasets import Dataset
    from peft import LoraConfig
    from trl import ModelConfig
    from trl.experimental.async_grpo import AsyncGRPOTrainer

    from rlcode.prompts import PromptFormat
    from sandbox.service import SandboxClient, SandboxService
    from train.checkpoints import WholeCheckpoints
    from train.policy import load_tokenizer
    from train.policy_sync import open_training_sandbox
    from train.trl_generation import WatchedReward, prompt_rows

    tokenizer = load_tokenizer(ModelConfig(model_name_or_path=args.model_name_or_path))
    reward = None
    if int(os.environ.get("RANK", "0")) == 0:
        service = stack.enter_context(SandboxService(open_training_sandbox(args, stack)))
        client = stack.enter_context(SandboxClient(service.address))
        reward = WatchedReward.watching(args, training_args.max_completion_length, problems, client)
    rows = prompt_rows(problems, PromptFormat.from_arguments(args).for_model(tokenizer))

    class AsyncTrainer(WholeCheckpoints, AsyncGRPOTrainer):
        pass

    return AsyncTrainer(
        model=str(args.model_name_or_path),
        reward_funcs=reward,
        args=training_args,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        peft_config=LoraConfig(
            task_type="CAUSAL_LM",
            r=args.lora_r,
            lora_alpha=args.lora_alpha,
            lora_dropout=0.0,
            target_modules=args.lora_target_modules or "all-linear",
        ),
    )


if __name__ == "__main__":
    sys.exit(run_main(main))
