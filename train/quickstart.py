"""`rlcode quickstart`: the whole loop on a tiny model that is made on the spot. No GPU, no Docker, no download.

    make a model → pass@k → rollouts → error notebook → pairs → DPO → pass@k → GRPO → pass@k → export → pass@k

Everything is the real thing, only small: TRL and PEFT through the functions of the training scripts, the sandbox, the
engines. All of it lies in the run directory; the table at its end is `summary.md` there.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlcode.errors import RunDirectoryError
from rlcode.run_directory import RunDirectory, package_versions, write_atomically, write_json, write_json_lines
from rlcode.types import PartialLimits, Problem, Rollout, to_json
from train.arguments import GrpoArguments, PairArguments, PolicyArguments

if TYPE_CHECKING:
    from rlcode.extraction_worker import Extractor
    from sampling.engine import Engine
    from sandbox.protocol import Sandbox
    from train.quickstart_report import Reporter, Stage

_MAX_COMPLETION_LENGTH = 100
# found on validation problems of the small world
_DPO_NLL_WEIGHT = 5.0
_GRPO_LEARNING_RATE = 1e-3
_SAMPLES = 10


@dataclass(frozen=True)
class Preset:
    """How large everything is."""

    small_world: bool
    held_out_problems: int
    dpo_problems: int
    """Of each round; every round has new ones."""
    dpo_samples: int
    dpo_pairs: int
    dpo_learning_rates: tuple[float, ...]
    """One round of DPO for each."""
    grpo_problems: int
    grpo_steps: int

    @property
    def train_problems(self) -> int:
        return self.dpo_problems * len(self.dpo_learning_rates) + self.grpo_problems


PRESETS = {
    "full": Preset(
        small_world=False,
        held_out_problems=150,
        dpo_problems=120,
        dpo_samples=12,
        dpo_pairs=256,
        dpo_learning_rates=(2e-3, 1.5e-3),
        grpo_problems=160,
        grpo_steps=20,
    ),
    "ci": Preset(
        small_world=True,
        held_out_problems=100,
        dpo_problems=80,
        dpo_samples=12,
        dpo_pairs=192,
        dpo_learning_rates=(2e-3, 1.5e-3),
        grpo_problems=80,
        grpo_steps=10,
    ),
}


def main(argv: list[str]) -> int:
    args = _parser().parse_args(argv)
    output_dir = args.output_dir or Path("runs") / f"quickstart-{datetime.now():%Y%m%d-%H%M%S}"
    # Idle OpenMP threads that spin slow a busy machine down fourfold; read once, when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    warnings.filterwarnings("ignore", category=FutureWarning)
    if output_dir.is_dir() and any(output_dir.iterdir()):
        raise RunDirectoryError(f"{output_dir} is not empty; a quickstart begins in a new directory")
    config = {"preset": args.preset, "seed": args.seed, "engine": args.engine, "sandbox": args.sandbox}
    with RunDirectory(output_dir, "quickstart", config):
        run_quickstart(output_dir, PRESETS[args.preset], args.engine, args.sandbox, args.seed)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rlcode quickstart", description="The whole loop on a tiny model, in a few minutes on a laptop."
    )
    parser.add_argument("--preset", choices=sorted(PRESETS), default="full", help="ci is smaller (default: full)")
    parser.add_argument("--engine", choices=("transformers", "vllm"), default="transformers", help="what generates")
    parser.add_argument(
        "--sandbox", choices=("auto", "docker", "local"), default="auto", help="auto is docker where an engine runs"
    )
    parser.add_argument("--output_dir", type=Path, help="default: runs/quickstart-<date>-<time>")
    parser.add_argument("--seed", type=int, default=0)
    return parser


@dataclass
class Loop:
    """What all stages share."""

    run: Path
    preset: Preset
    seed: int
    engine_name: str
    engine: Engine
    sandbox: Sandbox
    extractor: Extractor
    reporter: Reporter
    held_out: list[Problem]
    started: float
    stages: list[Stage] = field(default_factory=list)

    @property
    def base(self) -> str:
        return str(self.run / "model")


def run_quickstart(run: Path, preset: Preset, engine_name: str, sandbox_name: str, seed: int) -> list[Stage]:
    """Run every stage in `run` and return their held-out figures, first to last."""
    quieten()
    from rlcode.extraction_worker import Extractor
    from sampling.adapters import adapter_version
    from sampling.engine import EngineSettings, open_engine
    from sandbox.pool import open_sandbox
    from train.quickstart_report import Reporter

    started = time.monotonic()
    engine_settings = EngineSettings(engine_name, batch_size=256, max_model_length=256)
    with Reporter() as reporter, open_sandbox(sandbox_name) as sandbox, Extractor() as extractor:
        reporter.say(f"run directory {run}; engine {engine_name}; sandbox {sandbox.backend}")
        problems = make_all_problems(run, preset, seed)
        make_base_model(run / "model", preset, seed, reporter)
        with open_engine(engine_settings, str(run / "model")) as engine:
            loop = Loop(
                run, preset, seed, engine_name, engine, sandbox, extractor, reporter, problems["held_out"], started
            )
            evaluate(loop, "base", engine)
            adapter = run_dpo(loop, problems["train"][: -preset.grpo_problems])
            evaluate(loop, "after DPO", engine)
            adapter = run_grpo(loop, problems["train"][-preset.grpo_problems :], adapter)
            engine.load_adapter(adapter_version(adapter), adapter)
            evaluate(loop, "after GRPO", engine)
        exported = export(loop, adapter)
        with open_engine(engine_settings, str(exported)) as merged:
            evaluate(loop, "exported", merged)
    _finish(loop)
    return loop.stages


def quieten() -> None:
    """The libraries' own chatter would tear the progress bars apart."""
    import datasets
    import transformers

    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    datasets.disable_progress_bars()


def make_all_problems(run: Path, preset: Preset, seed: int) -> dict[str, list[Problem]]:
    """Train, validation and held-out problems, written to `problems/` as the project's JSON lines."""
    from rlcode.tiny.tasks import FULL_WORLD, SMALL_WORLD, make_problems

    world = SMALL_WORLD if preset.small_world else FULL_WORLD
    problems = {
        "train": make_problems("train", preset.train_problems, seed, world),
        "validation": make_problems("validation", 40, seed, world),
        "held_out": make_problems("held_out", preset.held_out_problems, seed, world),
    }
    for split, rows in problems.items():
        write_json_lines(run / "problems" / f"{split}.jsonl", map(to_json, rows))
    return problems


def make_base_model(path: Path, preset: Preset, seed: int, reporter: Reporter) -> None:
    """Train the tiny base model from nothing."""
    from train.tiny_model import CI_RECIPE, FULL_RECIPE, train_tiny_model

    recipe = CI_RECIPE if preset.small_world else FULL_RECIPE
    with reporter.work("base model, from scratch") as bar:
        train_tiny_model(
            path,
            recipe=recipe,
            seed=seed,
            on_progress=lambda step, steps, loss: bar.show(step, steps, f"loss {loss:.3f}"),
        )


def roll_out_all(
    loop: Loop,
    problems: Sequence[Problem],
    samples: int,
    description: str,
    *,
    engine: Engine,
    seed: int,
    greedy: bool = False,
) -> list[Rollout]:
    """Judged completions of every problem, with a progress bar."""
    from rlcode.prompts import PromptFormat
    from sampling.engine import SamplingParams
    from sampling.rollouts import key_of, make_requests, roll_out

    params = SamplingParams(temperature=0.0 if greedy else 1.0, max_completion_length=_MAX_COMPLETION_LENGTH, seed=seed)
    requests = list(make_requests(problems, engine, samples, PromptFormat("completion")))
    rollouts = roll_out(
        requests,
        problems,
        engine=engine,
        params=params,
        sandbox=loop.sandbox,
        extractor=loop.extractor,
        limits=PartialLimits(),
    )
    judged = {key_of(r.completion): r for r in loop.reporter.follow(rollouts, description, len(requests))}
    return [judged[key_of(request)] for request in requests]


def evaluate(loop: Loop, name: str, engine: Engine) -> None:
    """Measure the policy in force on the held-out problems; the same noise for every stage."""
    from sampling.store import write_rollouts
    from train.quickstart_report import describe_stage, measure

    sampled = roll_out_all(loop, loop.held_out, _SAMPLES, f"pass@k, {name}", engine=engine, seed=loop.seed + 1)
    greedy = roll_out_all(loop, loop.held_out, 1, f"greedy, {name}", engine=engine, seed=0, greedy=True)
    folder = loop.run / "eval" / name.replace(" ", "_")
    write_rollouts(folder / "rollouts.jsonl", sampled)
    write_rollouts(folder / "greedy.jsonl", greedy)
    stage = measure(name, sampled, greedy, time.monotonic() - loop.started)
    loop.stages.append(stage)
    loop.reporter.say(describe_stage(stage))


def run_dpo(loop: Loop, problems: Sequence[Problem]) -> Path:
    """Rounds of rollouts, notebook, pairs and DPO; the engine ends with the last round's adapter in force."""
    from sampling.adapters import adapter_version
    from sampling.store import write_rollouts

    adapter: Path | None = None
    notebook: Path | None = None
    for number, learning_rate in enumerate(loop.preset.dpo_learning_rates, start=1):
        folder = loop.run / f"dpo-{number}"
        start = (number - 1) * loop.preset.dpo_problems
        rollouts = roll_out_all(
            loop,
            problems[start : start + loop.preset.dpo_problems],
            loop.preset.dpo_samples,
            f"rollouts, round {number}",
            engine=loop.engine,
            seed=loop.seed + 10 * number,
        )
        write_rollouts(folder / "rollouts.jsonl", rollouts)
        adapter = dpo_round(loop, folder, number, learning_rate, adapter, notebook)
        notebook = folder / "notebook.json"
        loop.engine.load_adapter(adapter_version(adapter), adapter)
    if adapter is None:
        raise ValueError("the preset has no DPO round")
    return adapter


def dpo_round(
    loop: Loop, folder: Path, number: int, learning_rate: float, adapter: Path | None, notebook: Path | None
) -> Path:
    from trl import DPOConfig

    from train.dpo import train_dpo
    from train.quickstart_report import BarCallback

    with loop.reporter.work(f"DPO, round {number}") as bar:
        return train_dpo(
            PairArguments(
                rollouts=[str(folder / "rollouts.jsonl")],
                num_pairs=loop.preset.dpo_pairs,
                notebook=str(notebook) if notebook else None,
            ),
            PolicyArguments(adapter=str(adapter) if adapter else None),
            _model_config(loop),
            DPOConfig(
                beta=0.1,
                loss_type=["sigmoid", "sft"],
                loss_weights=[1.0, _DPO_NLL_WEIGHT],
                per_device_train_batch_size=8,
                num_train_epochs=1,
                lr_scheduler_type="linear",
                warmup_steps=0.1,
                **_training_options(loop, folder, learning_rate),
            ),
            callbacks=[BarCallback(bar)],
        )


def run_grpo(loop: Loop, problems: Sequence[Problem], adapter: Path | None) -> Path:
    """GRPO from `adapter` or the base, with the quickstart's own sandbox; `transformers` shares the trainer's model."""
    from trl import GRPOConfig

    from train.grpo import train_grpo
    from train.quickstart_report import BarCallback

    folder = loop.run / "grpo"
    with loop.reporter.work("GRPO") as bar:
        return train_grpo(
            GrpoArguments(adapter=str(adapter) if adapter else None, engine=loop.engine_name),
            _model_config(loop),
            GRPOConfig(
                beta=0.0,
                num_generations=8,
                per_device_train_batch_size=64,
                max_completion_length=_MAX_COMPLETION_LENGTH,
                max_steps=loop.preset.grpo_steps,
                lr_scheduler_type="constant",
                **_training_options(loop, folder, _GRPO_LEARNING_RATE),
            ),
            problems,
            callbacks=[BarCallback(bar)],
            engine=None if loop.engine_name == "transformers" else loop.engine,
            sandbox=loop.sandbox,
        )


def _model_config(loop: Loop) -> Any:
    from trl import ModelConfig

    return ModelConfig(model_name_or_path=loop.base, lora_r=16, lora_alpha=32, lora_dropout=0.0)


def _training_options(loop: Loop, folder: Path, learning_rate: float) -> dict[str, Any]:
    return {
        "output_dir": str(folder),
        "learning_rate": learning_rate,
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "seed": loop.seed,
    }


def export(loop: Loop, adapter: Path) -> Path:
    """Merge the adapter, prove it, and say so."""
    from train.card_figures import of_stage
    from train.exporter import ExportOptions, export_adapter
    from train.model_card import CardOptions

    output = loop.run / "export"
    figures = tuple(of_stage(stage.name, asdict(stage)) for stage in (loop.stages[0], loop.stages[-1]))
    with loop.reporter.work("export", 1) as bar:
        proof = export_adapter(ExportOptions(adapter, output, model=loop.base), CardOptions(figures=figures))
        bar.show(1, 1)
    loop.reporter.say(f"export: {proof.describe()}")
    return output


def _finish(loop: Loop) -> None:
    from rich.console import Console

    from train.quickstart_report import markdown_table, stage_table

    write_json(
        loop.run / "summary.json",
        {
            "stages": [asdict(stage) for stage in loop.stages],
            "engine": loop.engine_name,
            "sandbox": loop.sandbox.backend,
            "image_digest": loop.sandbox.image_digest,
            "versions": package_versions(),
        },
    )
    write_atomically(loop.run / "summary.md", markdown_table(loop.stages))
    console = Console()
    console.print(stage_table(loop.stages))
    console.print(
        f"engine {loop.engine_name}, sandbox {loop.sandbox.backend}, {loop.stages[-1].seconds:.0f} s; "
        f"everything is in {loop.run}; to look at it: rlcode report {loop.run}",
        highlight=False,
    )
