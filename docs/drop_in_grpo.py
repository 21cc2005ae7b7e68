"""A stock TRL script for GRPO whose reward is what rlcode's sandbox says of the program.

    CUDA_VISIBLE_DEVICES=0 python docs/drop_in_grpo.py --model_name_or_path Qwen/Qwen2.5-Coder-0.5B-Instruct \\
        --benchmark mbpp --split train --use_peft --output_dir runs/stock-grpo --max_steps 100

Nothing of rlcode's own trainers, engines or prompt samplers is here: TRL generates and trains, by all of its fields.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer, ModelConfig, TrlParser, get_peft_config

from rlcode import CompositeReward, CorrectnessReward, load_problems, open_sandbox


@dataclass
class Script:
    benchmark: str = "mbpp"
    benchmark_file: str | None = None
    split: str | None = None
    sandbox: str = "auto"
    length_weight: float = 0.0
    """Above 0: completions near the length limit lose up to so much."""


def main() -> None:
    script, training, model = TrlParser((Script, GRPOConfig, ModelConfig)).parse_args_and_config()
    file = Path(script.benchmark_file) if script.benchmark_file else None
    problems = load_problems(script.benchmark, file, script.split)
    with open_sandbox(script.sandbox) as sandbox:
        reward = CorrectnessReward(problems, sandbox)
        if script.length_weight:
            terms = {"correctness": 1.0, "length": script.length_weight}
            reward = CompositeReward(terms, problems, sandbox, max_completion_length=training.max_completion_length)
        trainer = GRPOTrainer(
            model=model.model_name_or_path,
            args=training,
            reward_funcs=[reward],
            train_dataset=Dataset.from_list([{"prompt": p.prompt, "task_id": p.task_id} for p in problems]),
            peft_config=get_peft_config(model),
        )
        trainer.train()
    trainer.save_model(training.output_dir)


if __name__ == "__main__":
    main()
