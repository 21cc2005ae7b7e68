"""What it takes to build a pair pool from many rollouts, and to draw from it.

Building: the time and memory of `build_pair_pool` over rollouts on disk, read as training reads them; with a part of
them alone the growth by each rollout shows. Drawing: the time of a batch of draws by every strategy and every rule for
`chosen`, against an optimizer step of TRL's DPO on the tiny model, the shortest step that anybody trains with.

The rollouts are synthetic: problems of different difficulty, a third of the programs written before, errors of
several types. Run: python -m benchmarks.pool [--rollouts 1000000] [--json FILE]
"""

from __future__ import annotations

import argparse
import math
import random
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.measuring import in_new_process, resident_mb
from rlcode.run_directory import write_json
from rlcode.types import Completion, ErrorType, Program, Rollout, Verdict
from sampling.choices import RULES
from sampling.draws import PairSequence
from sampling.notebook import ErrorNotebook
from sampling.pairing import Pairing
from sampling.pool import PairPool, PoolOptions, build_pair_pool
from sampling.rollout_lines import encode
from sampling.side_collector import BYTES_HELD
from sampling.snapshots import Snapshot, SnapshotHistory
from sampling.store import read_rollouts
from sampling.strategies import STRATEGIES, make_strategy

SAMPLES = 100
"""Completions of each problem."""
VARIANTS = 67
"""Different programs among them."""
IDS = tuple(random.Random(1).choices(range(50_000), k=100_000))
LOGPROBS = tuple(math.log(random.Random(token).random()) for token in IDS)
ERRORS = (ErrorType.WRONG_ANSWER, ErrorType.SYNTAX, ErrorType.TYPE, ErrorType.NAME, ErrorType.INDEX, ErrorType.TIMEOUT)
TOKENS_OF_A_BODY = 30
"""In the tiny model's corpus, about."""
BATCH = 8
DRAWS = 512


def main() -> None:
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory(dir=arguments.directory) as folder:
        path = Path(folder) / "rollouts.jsonl"
        write_synthetic(path, arguments.rollouts, arguments.tokens)
        figures: dict[str, Any] = {"rollouts": arguments.rollouts, "tokens": arguments.tokens}
        figures["reading"] = in_new_process(reading, path, min(arguments.rollouts, 50_000))
        figures["building"], figures["drawing"] = in_new_process(building_and_drawing, path, folder)
        figures["step_s"] = in_new_process(training_step_s, arguments.tokens)
    show(figures)
    if arguments.json:
        write_json(arguments.json, figures)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rollouts", type=int, default=1_000_000)
    parser.add_argument("--tokens", type=int, default=100, help="of a completion, on average (default %(default)s)")
    parser.add_argument("--directory", help="where rollouts and pool are written; some GB")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    return parser.parse_args()


# Rollouts.


def write_synthetic(path: Path, count: int, tokens: int) -> None:
    with open(path, "wb") as file:
        file.writelines(encode(synthetic(number, tokens)) for number in range(count))


def synthetic(number: int, tokens: int) -> Rollout:
    """The `number`-th rollout; the same each time. It shares its program with those of its problem and variant."""
    problem, index = divmod(number, SAMPLES)
    variant = index % VARIANTS
    chance = random.Random(problem * SAMPLES + variant)
    length = chance.randint(tokens // 2, tokens * 3 // 2)
    lines = [f"    x{at} = xs[{chance.randrange(9)}] + {variant}  # step {at}" for at in range(length // 10)]
    text = "\n".join([*lines, f"    return x{chance.randrange(99)}", f"# {index}"])
    start = chance.randrange(len(IDS) - 2 * tokens)
    ids, logprobs = IDS[start : start + length], LOGPROBS[start : start + length]
    completion = Completion(
        f"synthetic/{problem}", index, text, tuple(range(tokens)), ids, logprobs, "stop", index % 4, seed=number
    )
    passed = chance.random() < (problem % 10) / 10
    error = None if passed else chance.choices(ERRORS, weights=[2.0**-i for i in range(len(ERRORS))])[0]
    signature = None if passed else f"message {chance.randrange(50)} of <q>"
    verdict = Verdict(error, 3 * passed, 3, None if passed else "Error", signature, detail="what was expected and got")
    return Rollout(completion, Program("def f(xs):\n" + text, "continuation"), verdict)


# Building.


def reading(path: Path, count: int) -> dict[str, float]:
    """CPU microseconds to read a rollout, whole and without its log-probabilities."""
    figures = {}
    for name, logprobs in (("whole_us", True), ("without_logprobs_us", False)):
        started = time.process_time()
        read = sum(1 for _ in islice(read_rollouts([path], logprobs=logprobs), count))
        figures[name] = 1e6 * (time.process_time() - started) / read
    return figures


def building_and_drawing(path: Path, folder: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """With one pool, since it takes its time."""
    held: list[float] = []
    build_pair_pool(islice(read_rollouts([path]), 5_000), cache_dir=Path(folder))
    before, started, started_cpu = resident_mb(), time.monotonic(), time.process_time()
    pool = build_pair_pool(watched(read_rollouts([path], logprobs=False), held), cache_dir=Path(folder))
    seconds, cpu = time.monotonic() - started, time.process_time() - started_cpu
    read = pool.summary.read
    figures = {
        "seconds": seconds,
        "cpu_s": cpu,
        "rollouts_per_cpu_s": read / cpu,
        "after_reading_s": seconds - held[-1],
        "bytes_per_rollout": (held[-2] - held[0]) * (1 << 20) / read,
        "bytes_of_columns": BYTES_HELD,
        "grown_mb": resident_mb() - before,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before,
        "summary": vars(pool.summary),
    }
    notebook = ErrorNotebook()
    notebook.observe(islice(read_rollouts([path], logprobs=False), 10_000))
    return figures, drawing(pool, notebook)


def watched(rollouts: Iterator[Rollout], held: list[float]) -> Iterator[Rollout]:
    """Hand the rollouts on; leaves MiB at the start and at the end, and then how many seconds it took."""
    started = time.monotonic()
    held.append(resident_mb())
    yield from rollouts
    held.append(resident_mb())
    held.append(time.monotonic() - started)


# Drawing.


def training_step_s(tokens: int) -> float:
    """Seconds of the fastest of some optimizer steps, each a batch of pairs with about so many tokens a side. It is CPU
    time by thread, so other work on the machine does not count."""
    import torch
    from peft import LoraConfig
    from transformers import TrainerCallback
    from trl import DPOConfig, DPOTrainer

    from rlcode.tiny.corpus import make_corpus
    from train.tiny_model import new_model, train_tokenizer

    corpus = list(make_corpus(400, 0, 0.5))
    tokenizer = train_tokenizer(corpus)
    ended: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            ended.append(time.process_time())

    with tempfile.TemporaryDirectory() as folder:
        from datasets import Dataset

        args = DPOConfig(
            output_dir=folder,
            per_device_train_batch_size=BATCH,
            max_steps=12,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
        )
        times = max(1, round(tokens / TOKENS_OF_A_BODY))
        rows = [
            {"prompt": prompt, "chosen": one * times, "rejected": two * times}
            for (prompt, one), (_, two) in pairwise(corpus)
        ]
        trainer = DPOTrainer(
            new_model(tokenizer, layers=4),
            args=args,
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
            peft_config=LoraConfig(r=16, target_modules="all-linear", task_type="CAUSAL_LM"),
            callbacks=[Clock()],
        )
        trainer.train()
    return float(np.diff(ended[2:]).min()) / torch.get_num_threads()


def drawing(pool: PairPool, notebook: ErrorNotebook) -> list[dict[str, Any]]:
    """Seconds of making a plan and of a batch of draws: strategies with random `chosen`, then the rules."""
    cases = [(name, pool) for name in STRATEGIES]
    for rule in RULES:
        cases.append((f"uniform, {rule}", with_options(pool, PoolOptions(chosen=rule))))
    cases.append(("uniform, failure pairs", with_options(pool, PoolOptions(failure_pairs=0.5))))
    return [{"case": name, **draws_of(name.partition(",")[0], case, notebook)} for name, case in cases]


def with_options(pool: PairPool, options: PoolOptions) -> PairPool:
    """The same sides, paired by other rules."""
    own_folder = Path(tempfile.mkdtemp())
    pairing = Pairing(pool.sides, options)
    return PairPool(pool.sides, pool.scored, pool.rows, pairing, options, pool.summary, own_folder)


def draws_of(strategy: str, pool: PairPool, notebook: ErrorNotebook) -> dict[str, float]:
    history = SnapshotHistory(Snapshot(0, notebook))
    sequence = PairSequence(pool, make_strategy(strategy), history, length=DRAWS, seed=0)
    started = time.perf_counter()
    sequence.draw(0)
    plan_s = time.perf_counter() - started
    seconds = []
    for first in range(1, DRAWS - BATCH, BATCH):
        started = time.process_time()
        for position in range(first, first + BATCH):
            sequence.draw(position)
        seconds.append(time.process_time() - started)
    return {"plan_s": plan_s, "batch_s": statistics.mean(seconds)}


# The report.


def show(figures: dict[str, Any]) -> None:
    built, read = figures["building"], figures["reading"]
    table = Table("what", "", title=f"A pool from {figures['rollouts']:,} rollouts of {figures['tokens']} tokens")
    table.columns[1].justify = "right"
    table.add_row("reading a rollout, CPU time", f"{read['whole_us']:.0f} µs")
    table.add_row("reading it without log-probabilities", f"{read['without_logprobs_us']:.0f} µs")
    table.add_row("building, CPU time", f"{built['cpu_s']:.0f} s")
    table.add_row("building, wall time", f"{built['seconds']:.0f} s")
    table.add_row("of that, after the last rollout was read", f"{built['after_reading_s']:.1f} s")
    table.add_row("rollouts per second of CPU time", f"{built['rollouts_per_cpu_s']:,.0f}")
    table.add_row("memory by rollout while they are read", f"{built['bytes_per_rollout']:.0f} bytes")
    table.add_row("of that, columns", f"{built['bytes_of_columns']} bytes")
    table.add_row("growth of the process at most", f"{built['peak_mb']:.0f} MiB")
    table.add_row("growth that stays", f"{built['grown_mb']:.0f} MiB")
    table.add_row("different pairs", f"{built['summary']['pairs']:,}")
    Console(width=120).print(table)
    draws = Table("strategy, rule", "plan", f"batch of {BATCH}", "share of a training step", title="Drawing")
    for column in draws.columns[1:]:
        column.justify = "right"
    for one in figures["drawing"]:
        share = one["batch_s"] / figures["step_s"]
        draws.add_row(one["case"], f"{one['plan_s']:.2f} s", f"{1000 * one['batch_s']:.2f} ms", f"{share:.2%}")
    Console(width=120).print(draws)
    print(f"a training step takes {figures['step_s']:.2f} s")


if __name__ == "__main__":
    main()
