"""What the prompt sampler and the group filter of GRPO are worth on the tiny model.

For each seed new problems, new held-out problems and a new adapter; within a seed all arms share them, the noise of
training as far as they draw the same, and the noise of evaluation. Every arm trains until it has generated as many
tokens, dropped groups included, and is evaluated on held-out problems whenever it reaches one of `--budgets`. `again`
is `neither` with other noise: what it differs by is chance. `--unsolvable 0.5` gives half of the problems a test that
no program passes.

The intervals are t-intervals over seeds of the paired differences to the mean of `neither` and `again`; p-values are
corrected by Holm for the comparisons of the table.

Run: python -m benchmarks.groups --model RUN/model [--seeds 4] [--unsolvable 0.5] [--cells FILE] [--json FILE]
RUN is the run directory of a quickstart. With `--cells` each finished cell is a line of FILE, and the same command goes
on behind the last one.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from transformers import TrainerCallback
from trl import GRPOConfig, ModelConfig

from eval.paired import PairedDifference, holm, paired_difference
from rlcode.extraction_worker import Extractor
from rlcode.prompts import PromptFormat
from rlcode.run_directory import read_json_lines, write_json
from rlcode.tiny.tasks import FULL_WORLD, make_problems
from rlcode.types import Completion, PartialLimits, Problem, TestCase, TestKind
from sampling.engine import GenerationRequest, SamplingParams
from sampling.identity import record_policy
from sampling.rollouts import make_requests, roll_out
from sampling.transformers_engine import TransformersEngine
from sandbox.pool import open_sandbox
from train.arguments import GrpoArguments
from train.grpo import train_grpo
from train.policy import load_policy, load_tokenizer, save_adapter

ARMS: dict[str, dict[str, Any]] = {
    "neither": {"prompt_sampling": "uniform", "group_filter": False},
    "again": {"prompt_sampling": "uniform", "group_filter": False},
    "filter": {"prompt_sampling": "uniform"},
    "sampler": {"group_filter": False},
    "both": {},
    "both, no error weight": {"error_type_power": 0.0},
}
BASELINES = ("neither", "again")
OTHER_NOISE = 1_000_000
"""Added to the seed of training for `again`."""
MAX_COMPLETION_LENGTH = 100


@dataclass(frozen=True)
class Settings:
    """What a cell depends on beside its arm and seed."""

    budgets: tuple[int, ...]
    """Generated tokens at which is evaluated; the last ends the training."""
    problems: int
    unsolvable: float
    held_out: int
    samples: int
    split: str
    learning_rate: float


def main() -> None:
    arguments = parse_arguments()
    settings = Settings(
        tuple(sorted(arguments.budgets)),
        *(arguments.problems, arguments.unsolvable, arguments.held_out, arguments.samples),
        *(arguments.split, arguments.learning_rate),
    )
    cells = list(read_cells(arguments.cells, settings))
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
        for arm in arguments.arms:
            if not any((cell["seed"], cell["arm"]) == (seed, arm) for cell in cells):
                cells.append(run_cell(arguments.model, arm, seed, settings))
                write_cell(arguments.cells, cells[-1])
    show(cells, settings, arguments.arms)
    if arguments.json:
        write_json(arguments.json, cells)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="the tiny model, as the quickstart makes it")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--first_seed", type=int, default=0)
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--budgets", type=int, nargs="+", default=[24_000, 48_000], help="generated tokens")
    parser.add_argument("--problems", type=int, default=80)
    parser.add_argument("--unsolvable", type=float, default=0.0, help="share of the problems that nothing solves")
    parser.add_argument("--held_out", type=int, default=120, help="problems to evaluate on")
    parser.add_argument("--samples", type=int, default=8, help="of each of these")
    parser.add_argument("--split", default="held_out", choices=["held_out", "validation"])
    parser.add_argument("--learning_rate", type=float, default=1e-3)
    parser.add_argument("--cells", type=Path, help="JSON lines of finished cells, to go on with")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    return parser.parse_args()


def read_cells(path: Path | None, settings: Settings) -> Iterator[dict[str, Any]]:
    """The finished cells of these settings."""
    wanted = json.loads(json.dumps(asdict(settings)))
    if path is not None:
        yield from (cell for cell in read_json_lines(path) if cell["settings"] == wanted)


def write_cell(path: Path | None, cell: dict[str, Any]) -> None:
    if path is not None:
        with open(path, "a") as file:
            file.write(json.dumps(cell) + "\n")


# One cell.


class CountingEngine(TransformersEngine):
    """Counts the tokens that it writes for training."""

    tokens = 0

    def generate(self, requests: Iterable[GenerationRequest], params: SamplingParams) -> Iterator[Completion]:
        for completion in super().generate(requests, params):
            self.tokens += len(completion.token_ids)
            yield completion


class Watch(TrainerCallback):
    """Evaluates at each budget, ends the training at the last, and keeps what TRL logs."""

    def __init__(self, engine: CountingEngine, budgets: Sequence[int], evaluate: Any) -> None:
        self.points: list[dict[str, float]] = []
        self.logged: list[dict[str, float]] = []
        self._engine = engine
        self._budgets = list(budgets)
        self._evaluate = evaluate

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **rest: Any) -> None:
        if "groups/drawn" in logs:
            self.logged.append(logs)

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any, **rest: Any) -> None:
        if self._engine.tokens >= self._budgets[0]:
            reached = self._budgets.pop(0)
            pass_at_1 = self._evaluate(model)
            self.points.append({"budget": reached, "tokens": self._engine.tokens, "pass_at_1": pass_at_1})
        control.should_training_stop = not self._budgets


def run_cell(model: str, arm: str, seed: int, settings: Settings) -> dict[str, Any]:
    started = time.monotonic()
    model_args = ModelConfig(model_name_or_path=model, lora_r=16, lora_alpha=32, lora_dropout=0.0)
    engine = CountingEngine(None, load_tokenizer(model_args), base_model=model)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        sandbox = stack.enter_context(open_sandbox("local"))
        extractor = stack.enter_context(Extractor())
        judging = {"sandbox": sandbox, "extractor": extractor, "limits": PartialLimits()}
        held_out = make_problems(settings.split, settings.held_out, seed, FULL_WORLD)
        watch = Watch(engine, settings.budgets, lambda policy: pass_at_1(policy, engine, held_out, settings, judging))
        start = new_adapter(model_args, seed, folder / "start")
        train_grpo(
            GrpoArguments(adapter=str(start), prompt_style="completion", **ARMS[arm]),
            model_args,
            training_config(folder / "run", seed + OTHER_NOISE * (arm == "again"), settings),
            training_problems(seed, settings),
            callbacks=[watch],
            engine=engine,
            sandbox=sandbox,
        )
    flat = [step["groups/zero_variance_trained"] for step in watch.logged]
    return {
        "arm": arm,
        "seed": seed,
        "settings": asdict(settings),
        "points": watch.points,
        "steps": len(watch.logged),
        "zero_variance_trained": statistics.mean(flat),
        "groups_drawn": sum(step["groups/drawn"] for step in watch.logged),
        "seconds": time.monotonic() - started,
    }


def new_adapter(model_args: ModelConfig, seed: int, path: Path) -> Path:
    policy = load_policy(model_args, None, seed)
    record = record_policy(policy, load_tokenizer(model_args))
    save_adapter(policy, path, str(model_args.model_name_or_path), 1, record)
    return path


def training_config(output_dir: Path, seed: int, settings: Settings) -> GRPOConfig:
    return GRPOConfig(
        output_dir=str(output_dir),
        num_generations=8,
        per_device_train_batch_size=64,
        max_steps=100_000,
        beta=0.0,
        seed=seed,
        max_completion_length=MAX_COMPLETION_LENGTH,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="constant",
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        disable_tqdm=True,
    )


def training_problems(seed: int, settings: Settings) -> list[Problem]:
    """So many of them unsolvable, evenly spread."""
    problems = make_problems("train", settings.problems, seed, FULL_WORLD)
    hopeless = round(len(problems) * settings.unsolvable)
    places = {round(i * len(problems) / hopeless) for i in range(hopeless)}
    return [unsolvable(problem) if place in places else problem for place, problem in enumerate(problems)]


def unsolvable(problem: Problem) -> Problem:
    """With a last test that contradicts what is asked, as data sets have them."""
    call = problem.tests[-1].code.rpartition(" == ")[0]
    return replace(problem, tests=(*problem.tests, TestCase(TestKind.ASSERTS, code=f"{call} == 'nothing'")))


def pass_at_1(
    policy: Any, engine: CountingEngine, problems: Sequence[Problem], settings: Settings, judging: dict[str, Any]
) -> float:
    """With the same noise for every arm and point of training."""
    asked = TransformersEngine(policy, engine.tokenizer, base_model="", batch_size=256)
    requests = make_requests(problems, asked, settings.samples, PromptFormat("completion"))
    params = SamplingParams(max_completion_length=MAX_COMPLETION_LENGTH, seed=1)
    rollouts = list(roll_out(requests, problems, engine=asked, params=params, **judging))
    return statistics.mean(bool(r.verdict and r.verdict.passed) for r in rollouts)


# The report.


def show(cells: Sequence[dict[str, Any]], settings: Settings, arms: Sequence[str]) -> None:
    table = Table(title=f"GRPO, pass@1 on {settings.split} problems, {settings.unsolvable:.0%} of training unsolvable")
    headings = ["arm", "seeds", "trained without variance", "groups drawn / trained", "steps"]
    for heading in headings:
        table.add_column(heading)
    for budget in settings.budgets:
        table.add_column(f"pass@1 at {budget:,} tokens", justify="right")
        table.add_column("to neither", justify="right")
    found = differences(cells, [arm for arm in arms if arm not in BASELINES])
    corrected = dict(zip(found, holm([difference.p for difference in found.values()]), strict=True))
    for arm in arms:
        own = [cell for cell in cells if cell["arm"] == arm]
        if own:
            table.add_row(*row(arm, own), *points(arm, own, found, corrected))
    Console(width=180).print(table)


def row(arm: str, own: Sequence[dict[str, Any]]) -> list[str]:
    steps = statistics.mean(cell["steps"] for cell in own)
    drawn = statistics.mean(cell["groups_drawn"] / (8 * cell["steps"]) for cell in own)
    flat = statistics.mean(cell["zero_variance_trained"] for cell in own)
    return [arm, str(len(own)), f"{flat:.1%}", f"{drawn:.2f}", f"{steps:.0f}"]


def points(
    arm: str, own: Sequence[dict[str, Any]], found: dict[Any, PairedDifference], corrected: dict[Any, float]
) -> Iterator[str]:
    for at in range(len(own[0]["points"])):
        yield f"{statistics.mean(cell['points'][at]['pass_at_1'] for cell in own):.3f}"
        if (arm, at) not in found:
            yield "–"
            continue
        difference = found[arm, at]
        yield f"{difference.mean:+.3f} ± {difference.half_width:.3f} (p {corrected[arm, at]:.2f})"


def differences(cells: Sequence[dict[str, Any]], arms: Sequence[str]) -> dict[Any, PairedDifference]:
    """To the mean of the baselines, seed by seed, for each arm and budget where two seeds or more can be compared."""
    budgets = range(len(cells[0]["points"]) if cells else 0)
    found = {(arm, at): _paired(cells, arm, at) for arm in arms for at in budgets}
    return {key: paired_difference(*pair) for key, pair in found.items() if len(pair[0]) > 1}


def _paired(cells: Sequence[dict[str, Any]], arm: str, at: int) -> tuple[list[float], list[float]]:
    """The arm's pass@1 and that of the baselines in the mean, for each seed that has both."""
    value = {(cell["arm"], cell["seed"]): cell["points"][at]["pass_at_1"] for cell in cells}
    baselines = {s: [value[b, s] for b in BASELINES if (b, s) in value] for name, s in value if name == arm}
    seeds = sorted(seed for seed, values in baselines.items() if values)
    return [value[arm, seed] for seed in seeds], [statistics.mean(baselines[seed]) for seed in seeds]


if __name__ == "__main__":
    main()
