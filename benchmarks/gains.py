"""What two rounds of DPO, and GRPO by itself, raise held-out pass@1 by on the tiny model.

For each seed everything is new: problems, base model, adapters. DPO and GRPO both begin from the base, with the
quickstart's settings. Held-out problems are compositions of operations that were not in training; each has ten samples
with the same noise for every policy. An interval is the 95 % t-interval over the problems of the paired differences to
the base.

Run: python -m benchmarks.gains --output_dir DIR [--seeds 3] [--preset full] [--engine transformers] [--json FILE]
A seed whose line is in DIR/gains.jsonl is not measured again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.console import Console
from rich.table import Table

from eval.paired import PairedDifference, paired_difference
from rlcode.extraction_worker import Extractor
from rlcode.run_directory import read_json_lines, write_json
from rlcode.types import Problem
from sampling.adapters import adapter_version
from sampling.engine import EngineSettings, open_engine
from sampling.store import read_rollouts
from sandbox.pool import open_sandbox
from train import quickstart
from train.quickstart import PRESETS, Loop
from train.quickstart_report import Reporter, passed_by_task

STAGES = ("base", "DPO, two rounds", "GRPO")


@dataclass(frozen=True)
class Seed:
    """One seed: of each stage the share of the samples of every held-out problem that passed, and the greedy pass@1."""

    seed: int
    pass_rates: dict[str, list[float]]
    greedy: dict[str, float]
    seconds: float

    def gain(self, stage: str) -> PairedDifference:
        """Of pass@1 over the base."""
        return paired_difference(self.pass_rates[stage], self.pass_rates["base"])


def main() -> None:
    arguments = parse_arguments()
    path = arguments.output_dir / "gains.jsonl"
    seeds = [Seed(**line) for line in read_json_lines(path)]
    for number in range(arguments.seeds):
        if all(seed.seed != number for seed in seeds):
            seeds.append(measure(arguments, number))
            with open(path, "a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(seeds[-1])) + "\n")
    show(seeds)
    if arguments.json:
        write_json(arguments.json, [asdict(seed) for seed in seeds])


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output_dir", type=Path, required=True, help="gets gains.jsonl and a directory for each seed")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--preset", choices=sorted(PRESETS), default="full", help="the quickstart's (default: full)")
    parser.add_argument("--engine", choices=("transformers", "vllm"), default="transformers")
    parser.add_argument("--sandbox", choices=("auto", "docker", "local"), default="auto")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    return parser.parse_args()


def measure(arguments: argparse.Namespace, seed: int) -> Seed:
    """Everything of one seed, from the problems on; what a run that was killed left of it is measured anew."""
    run, preset = arguments.output_dir / f"seed-{seed}", PRESETS[arguments.preset]
    shutil.rmtree(run, ignore_errors=True)
    run.mkdir(parents=True)
    started = time.monotonic()
    settings = EngineSettings(arguments.engine, batch_size=256, max_model_length=256)
    with Reporter() as reporter, open_sandbox(arguments.sandbox) as sandbox, Extractor() as extractor:
        problems = quickstart.make_all_problems(run, preset, seed)
        quickstart.make_base_model(run / "model", preset, seed, reporter)
        common = (run, preset, seed, arguments.engine)
        rest = (sandbox, extractor, reporter, problems["held_out"], started)
        with open_engine(settings, str(run / "model")) as engine:
            loop = Loop(*common, engine, *rest)
            quickstart.evaluate(loop, STAGES[0], engine)
            quickstart.run_dpo(loop, problems["train"][: -preset.grpo_problems])
            quickstart.evaluate(loop, STAGES[1], engine)
        with open_engine(settings, str(run / "model")) as engine:
            loop = Loop(*common, engine, *rest, stages=loop.stages)
            evaluate_grpo(loop, problems["train"][-preset.grpo_problems :])
    greedy = {stage.name: stage.greedy.value for stage in loop.stages if stage.greedy}
    return Seed(seed, {stage: pass_rates(run, stage) for stage in STAGES}, greedy, time.monotonic() - started)


def evaluate_grpo(loop: Loop, problems: Sequence[Problem]) -> None:
    adapter = quickstart.run_grpo(loop, problems, None)
    # a vLLM engine was used by the run, and has seen its versions
    loop.engine.load_adapter(max(adapter_version(adapter), loop.engine.policy_version + 1), adapter)
    quickstart.evaluate(loop, STAGES[2], loop.engine)


def pass_rates(run: Path, stage: str) -> list[float]:
    """Of the samples that were scored, by problem, in the order of their names."""
    passed = passed_by_task(read_rollouts([run / "eval" / stage.replace(" ", "_") / "rollouts.jsonl"]))
    return [fmean(passed[task_id]) for task_id in sorted(passed)]


def show(seeds: Sequence[Seed]) -> None:
    table = Table(title="Held-out pass@1, greedy in brackets")
    for heading in ("seed", "base", *(f"{stage}{what}" for stage in STAGES[1:] for what in ("", ": gain"))):
        table.add_column(heading)
    for seed in seeds:
        table.add_row(str(seed.seed), describe(seed, "base"), *cells(seed))
    Console(width=160).print(table)


def cells(seed: Seed) -> list[str]:
    return [cell for stage in STAGES[1:] for cell in (describe(seed, stage), describe_gain(seed.gain(stage)))]


def describe(seed: Seed, stage: str) -> str:
    return f"{fmean(seed.pass_rates[stage]):.3f} ({seed.greedy[stage]:.3f})"


def describe_gain(gain: Any) -> str:
    return f"{gain.mean:+.3f} [{gain.mean - gain.half_width:+.3f}, {gain.mean + gain.half_width:+.3f}]"


if __name__ == "__main__":
    main()
