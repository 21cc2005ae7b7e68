"""A stock TRL script for DPO on the pairs that `rlcode pairs` wrote: a program that passed against one that failed.

    rlcode pairs runs/r1 --output pairs --model Qwen/Qwen2.5-Coder-0.5B-Instruct --num_pairs 2000
    CUDA_VISIBLE_DEVICES=0 python docs/drop_in_dpo.py --model_name_or_path Qwen/Qwen2.5-Coder-0.5B-Instruct \\
        --pairs pairs --use_peft --output_dir runs/stock-dpo

TRL tokenises the texts `prompt`, `chosen` and `rejected` itself; the other columns say where a pair comes from.
"""

from __future__ import annotations

from dataclasses import dataclass

from datasets import load_from_disk
from trl import DPOConfig, DPOTrainer, ModelConfig, TrlParser, get_peft_config


@dataclass
class Script:
    pairs: str


def main() -> None:
    script, training, model = TrlParser((Script, DPOConfig, ModelConfig)).parse_args_and_config()
    trainer = DPOTrainer(
        model=model.model_name_or_path,
        args=training,
        train_dataset=load_from_disk(script.pairs),
        peft_config=get_peft_config(model),
    )
    trainer.train()
    trainer.save_model(training.output_dir)


if __name__ == "__main__":
    main()
