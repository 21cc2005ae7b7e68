"""What merging adapters is worth on the tiny model: two adapters that learnt different families of tasks, made one.

Each adapter is fine-tuned (`train/sft.py`) on the base's own passed programs of one family, lists or strings. Each
method merges them with equal weights; `--search` then looks for weights of `--method` on validation problems of both
families. All are evaluated on held-out problems of either family, with the same noise, and on the validation problems.
An interval is the 95 % interval over problems; the gain of the search is paired.

Run: python -m benchmarks.merging --model RUN/model --output_dir DIR [--json FILE]
RUN is the run directory of a quickstart. What lies in DIR already is not made again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from rlcode.data import jsonl
from rlcode.run_directory import write_json
from rlcode.tiny.tasks import World, make_problems
from rlcode.types import EvalReport, from_json
from train.merging import METHODS, SPARSE

FAMILIES = ("list", "string")
DENSITY = 0.5
_ENOUGH = "100"  # tokens of a completion


def main() -> None:
    arguments = parse_arguments()
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    make_files(arguments)
    adapters = [train(arguments, family) for family in FAMILIES]
    policies: dict[str, Path | None] = {"base": None, **dict(zip(FAMILIES, adapters, strict=True))}
    for method in METHODS:
        policies[method] = merge(arguments, adapters, method)
    policies[f"{arguments.method}, searched"] = search(arguments, adapters)
    figures = {name: evaluate_all(arguments, name, adapter) for name, adapter in policies.items()}
    show(figures)
    if arguments.json:
        write_json(arguments.json, figures)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="the quickstart's base model")
    parser.add_argument("--output_dir", type=Path, required=True, help="gets problems, rollouts, adapters, evaluations")
    parser.add_argument("--method", choices=METHODS, default="svd", help="whose weights are searched (default svd)")
    parser.add_argument("--train_problems", type=int, default=100, help="of each family (default 100)")
    parser.add_argument("--test_problems", type=int, default=40, help="of each family and split (default 40)")
    parser.add_argument("--samples", type=int, default=6, help="of each problem in an evaluation (default 6)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    return parser.parse_args()


def make_files(arguments: argparse.Namespace) -> None:
    """Problems of each family, and the validation problems of both in one file."""
    both = []
    for family in FAMILIES:
        world = World(families=(family,))
        train = make_problems("train", arguments.train_problems, arguments.seed, world)
        jsonl.save(train, arguments.output_dir / f"train-{family}.jsonl")
        for split in ("validation", "held_out"):
            problems = make_problems(split, arguments.test_problems, arguments.seed, world)
            jsonl.save(problems, arguments.output_dir / f"{split}-{family}.jsonl")
            both += problems if split == "validation" else []
    jsonl.save(both, arguments.output_dir / "validation.jsonl")


def train(arguments: argparse.Namespace, family: str) -> Path:
    """An adapter that learnt the base's own passed programs of one family."""
    from trl import ModelConfig, SFTConfig

    from sampling.main import main as rollout
    from train.arguments import PolicyArguments, SftArguments
    from train.sft import train_sft

    rollouts, run = (arguments.output_dir / f"{what}-{family}" for what in ("rollouts", "sft"))
    if (run / "adapter").exists():
        return run / "adapter"
    words = ["--model", str(arguments.model), "--benchmark_file", str(arguments.output_dir / f"train-{family}.jsonl")]
    words += ["--num_generations", "12", "--max_completion_length", _ENOUGH, "--output_dir", str(rollouts)]
    rollout([*words, "--seed", str(arguments.seed), "--prompt_style", "completion"])
    config = SFTConfig(
        output_dir=str(run),
        learning_rate=4e-3,
        num_train_epochs=1,
        per_device_train_batch_size=8,
        max_length=256,
        warmup_steps=0.1,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=arguments.seed,
    )
    model = ModelConfig(model_name_or_path=str(arguments.model), lora_r=16, lora_alpha=32, lora_dropout=0.0)
    return train_sft(SftArguments(rollouts=[str(rollouts)]), PolicyArguments(), model, config)


def merge(arguments: argparse.Namespace, adapters: Sequence[Path], method: str) -> Path:
    """With equal weights."""
    output: Path = arguments.output_dir / f"merged-{method}"
    if not output.exists():
        _merge_adapters(arguments, adapters, output, method)
    return output


def search(arguments: argparse.Namespace, adapters: Sequence[Path]) -> Path:
    output: Path = arguments.output_dir / f"searched-{arguments.method}"
    if not output.exists():
        words = ["--search", *_evaluation(arguments, arguments.output_dir / "validation.jsonl")]
        _merge_adapters(arguments, adapters, output, arguments.method, *words)
    return output


def _merge_adapters(
    arguments: argparse.Namespace, adapters: Sequence[Path], output: Path, method: str, *words: str
) -> None:
    from train.merge_adapters import main as merge_adapters

    density = ["--density", str(DENSITY)] if method in SPARSE else []
    line = [*map(str, adapters), "--model", str(arguments.model), "--output", str(output), "--method", method]
    merge_adapters([*line, *density, "--seed", str(arguments.seed), *words])


def _evaluation(arguments: argparse.Namespace, problems: Path) -> list[str]:
    words = ["--benchmark", "jsonl", "--benchmark_file", str(problems), "--num_samples", str(arguments.samples)]
    words += ["--temperature", "1", "--top_p", "1", "--max_completion_length", _ENOUGH, "--prompt_style", "completion"]
    return [*words, "--engine_batch_size", "256", "--cache", str(arguments.output_dir / "verdicts.cache")]


def evaluate_all(arguments: argparse.Namespace, name: str, adapter: Path | None) -> dict[str, dict[str, float]]:
    """pass@1 on the validation problems of both families, and on held-out problems of either."""
    files = ("validation.jsonl", *(f"held_out-{family}.jsonl" for family in FAMILIES))
    return {file.removesuffix(".jsonl"): evaluate(arguments, name, adapter, file) for file in files}


def evaluate(arguments: argparse.Namespace, name: str, adapter: Path | None, file: str) -> dict[str, float]:
    from eval.main import main as evaluate_command

    output = arguments.output_dir / "evaluations" / f"{name.replace(', ', '-')}-{file.removesuffix('.jsonl')}"
    if not (output / "report.json").exists():
        words = [*_evaluation(arguments, arguments.output_dir / file), "--model", str(arguments.model)]
        words += ["--adapter", str(adapter)] if adapter else []
        evaluate_command([*words, "--output_dir", str(output), "--seed", str(arguments.seed)])
    report = from_json(EvalReport, json.loads((output / "report.json").read_text(encoding="utf-8")))
    return vars(report.pass_at_k["1"])


def show(figures: dict[str, dict[str, Any]]) -> None:
    table = Table(title="pass@1, 95 % intervals over problems")
    for heading in ("", *next(iter(figures.values()))):
        table.add_column(heading)
    for name, row in figures.items():
        cells = (f"{one['value']:.3f} [{one['low']:.3f}, {one['high']:.3f}]" for one in row.values())
        table.add_row(name, *cells)
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
