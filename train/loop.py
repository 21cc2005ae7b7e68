"""`rlcode run`: rounds of rollouts, training and validation, each from the last one's adapter.

    rlcode run --config configs/run.yaml --output_dir runs/night

A round draws and judges completions of the policy on some of the training problems, trains on them by the methods that
are configured, one after the other, and validates the new adapter. Each stage is a command of ours, in a process of
its own and in a directory of its own below the run's. What is done is not done again: the same command goes on behind
the last stage that was finished, and the stage that was under way goes on where it was.

    round-01/problems.jsonl, rollouts/, dpo/ …, validation/    and so on for each round; start/validation/
    stages.jsonl                                               each finished stage, with its command and seconds
    summary.json, summary.md                                   what came of each round so far
    best_adapter                                               a link to the adapter that validated best
"""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eval.arguments import SWITCHES
from rlcode.config import parse_config
from rlcode.errors import ConfigError
from rlcode.run_directory import RunDirectory, read_json_lines, write_json_lines
from rlcode.types import Problem
from train.loop_arguments import LoopArguments, command_line
from train.loop_summary import Outcome, best_of, print_outcomes, write_summary
from train.stage_check import DORA
from train.stage_process import end_leftover, run_stage

SCRIPTS = {"dpo": "dpo.py", "rft": "sft.py", "grpo": "grpo.py"}
_STAGES = "stages.jsonl"


def main(argv: list[str]) -> int:
    """Run the command and return 0 when all rounds are done, or the last ones were no better.

    Raises:
        ConfigError: the configuration, or that of a stage, can't be used. RunDirectoryError: the directory is of
            another run. StageFailedError: a stage ended with an error. LoopStoppedError: a signal came.
    """
    (args,) = parse_config([LoopArguments], argv, prog="rlcode run")
    check_stages(args)
    if args.dry_run:
        return try_stages(args)
    with RunDirectory(Path(args.output_dir), "loop", args.record()) as directory:
        Loop(args, directory.path, print).run()
    print(f"to look at it: rlcode report {args.output_dir}")
    return 0


def check_stages(args: LoopArguments) -> None:
    """Refuse options of a stage now that it would refuse in the middle of the night.

    Raises:
        ConfigError: there are such.
    """
    from eval.arguments import parse_arguments
    from sampling.arguments import RolloutArguments

    placeholder = {"output_dir": args.output_dir, "model": args.model}
    with _options_of("validation"):
        words = [*command_line({**args.options("validation"), **placeholder}, switches=SWITCHES)]
        engines = {"validation": parse_arguments(words)}
    if "rollout" in args.stages:
        with _options_of("rollout"):
            words = [*command_line({**args.options("rollout"), **placeholder})]
            (engines["rollout"],) = parse_config([RolloutArguments], words, prog="rlcode rollout")
    for method in args.methods:
        words = [*command_line({**args.options(method), "output_dir": args.output_dir})]
        done = subprocess.run(
            [sys.executable, "-m", "train.stage_check", method, *words], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise ConfigError(f"{method}: " + done.stderr.strip().splitlines()[-1].removeprefix("error: "))
        if DORA in done.stdout.split():
            _require_merged(method, engines)


@contextlib.contextmanager
def _options_of(stage: str) -> Iterator[None]:
    """Errors within are told to be of that stage's options."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{stage}: {error}") from error


def _require_merged(method: str, engines: Mapping[str, Any]) -> None:
    for stage, engine in engines.items():
        if engine.engine != "transformers" and engine.engine_sync != "merged":
            raise ConfigError(
                f"{stage}: vLLM does not serve the DoRA adapter of {method}; give {stage} engine: vllm with "
                "engine_sync: merged, or engine: transformers"
            )


def try_stages(args: LoopArguments) -> int:
    """Try each stage of a round at maximum lengths, in a process of its own as in the night; 1 where one does not fit.
    Nothing is written to the run directory."""
    failed = [name for name, line in trial_commands(args) if _try(name, line)]
    print(f"does not fit: {', '.join(failed)}" if failed else "all stages fit")
    return 1 if failed else 0


def _try(name: str, line: Sequence[str]) -> int:
    print(f"── {name}", flush=True)
    return subprocess.run(line, check=False).returncode


def trial_commands(args: LoopArguments) -> Iterator[tuple[str, list[str]]]:
    """The commands that try the stages, by name."""
    names = ("benchmark", "benchmark_file", "split", "exclude")
    problems = {name: getattr(args, name) for name in names}
    own = {"adapter": args.adapter, "output_dir": args.output_dir, "seed": args.seed}
    generate = [sys.executable, "-m", "train.dry_run"]
    if "rollout" in args.stages:
        options = {**args.options("rollout"), **own, **problems, "model": args.model}
        yield "rollouts", [*generate, "rollout", *command_line(options)]
    for method in args.methods:
        options = {**args.options(method), **own, "model_name_or_path": args.model, "dry_run": True}
        options |= problems if method == "grpo" else {}
        yield method, [*launch_line(args, method), *command_line(options)]
    options = {**args.options("validation"), **own, "model": args.model, "k": 1}
    yield "validation", [*generate, "validation", *command_line(options, switches=SWITCHES)]


def launch_line(args: LoopArguments, method: str) -> Iterator[str]:
    """How the training script of a method is started."""
    yield from (sys.executable, "-m", "accelerate.commands.launch")
    if args.accelerate_config:
        yield from ("--config_file", args.accelerate_config)
    yield str(Path(__file__).with_name(SCRIPTS[method]))


@dataclass(frozen=True)
class Policy:
    """What the next stage starts from."""

    adapter: Path | None
    notebook: Path | None
    """What was seen of the policies so far; none before the first round."""


@dataclass
class Loop:
    """A run on its way. Walks through all stages; those that are done say at once what came of them."""

    args: LoopArguments
    directory: Path
    say: Callable[[str], None]
    outcomes: list[Outcome] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._done = {stage["name"]: stage for stage in read_json_lines(self.directory / _STAGES)}

    def run(self) -> None:
        """All rounds that are to be done."""
        if left := end_leftover(self.directory):
            self.say(f"ended {left}, which a loop that was killed had left running; it goes on from there")
        policy = Policy(Path(self.args.adapter) if self.args.adapter else None, None)
        self._validate("start", policy)
        for number in range(1, self.args.rounds + 1):
            if self._is_in_vain():
                self.say(f"stopped after {number - 1} rounds: the last {self.args.patience} were no better")
                break
            policy = self._round(number, policy)
            self._validate(_round_name(number), policy)
        print_outcomes(self.outcomes)

    def _round(self, number: int, policy: Policy) -> Policy:
        name = _round_name(number)
        problems = self._problems(number)
        rollouts = self._roll_out(name, number, policy, problems) if "rollout" in self.args.stages else None
        if rollouts is not None and "dpo" not in self.args.methods:  # which takes the rollouts down itself
            policy = Policy(policy.adapter, self._take_down(name, policy.notebook, rollouts))
        for method in self.args.methods:
            policy = self._train(name, number, method, policy, rollouts, problems)
        return policy

    def _problems(self, number: int) -> Path:
        """The file of the round's problems; all are used before one comes again."""
        from rlcode.data import jsonl

        path = self.directory / _round_name(number) / "problems.jsonl"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            jsonl.save(problems_of_round(self._all_problems(), number, self.args), path)
        return path

    def _all_problems(self) -> list[Problem]:
        from rlcode.data.registry import training_problems_from

        return training_problems_from(self.args)

    def _roll_out(self, name: str, number: int, policy: Policy, problems: Path) -> Path:
        output = self.directory / name / "rollouts"
        options = {
            **self.args.options("rollout"),
            "model": self.args.model,
            "adapter": _text(policy.adapter),
            "benchmark": "jsonl",
            "benchmark_file": str(problems),
            "output_dir": str(output),
            "seed": self._seed(number),
        }
        self._do(f"{name}/rollouts", [*_rlcode("rollout"), *command_line(options)])
        return output

    def _train(
        self,
        name: str,
        number: int,
        method: str,
        policy: Policy,
        rollouts: Path | None,
        problems: Path,
    ) -> Policy:
        output = self.directory / name / method
        options = {
            **self.args.options(method),
            "model_name_or_path": self.args.model,
            "adapter": _text(policy.adapter),
            "output_dir": str(output),
            "seed": self._seed(number),
        }
        if method == "grpo":
            options |= {"benchmark": "jsonl", "benchmark_file": str(problems), "notebook": _text(policy.notebook)}
        else:
            options |= {"rollouts": [str(rollouts)]}
        if method == "dpo":
            options["notebook"] = _text(policy.notebook)
        finished = output / "adapter" / "adapter_config.json"
        self._do(f"{name}/{method}", [*launch_line(self.args, method), *command_line(options)], finished)
        notebook = output / "notebook.json"
        return Policy(output / "adapter", notebook if notebook.exists() else policy.notebook)

    def _take_down(self, name: str, seen: Path | None, rollouts: Path) -> Path:
        """A notebook with the round's rollouts, where no stage will write one."""
        from sampling.notebook import ErrorNotebook
        from sampling.store import read_rollouts

        path = self.directory / name / "notebook.json"
        if not path.exists():
            notebook = ErrorNotebook.load(seen) if seen else ErrorNotebook()
            notebook.observe(read_rollouts([rollouts], logprobs=False))
            notebook.save(path)
        return path

    def _validate(self, name: str, policy: Policy) -> None:
        output = self.directory / name / "validation"
        options = {
            **self.args.options("validation"),
            "model": self.args.model,
            "adapter": _text(policy.adapter),
            "output_dir": str(output),
            "seed": self.args.seed,
            "k": 1,
            "overwrite": True,
        }
        self._do(f"{name}/validation", [*_rlcode("eval"), *command_line(options, switches=SWITCHES)])
        self.outcomes.append(Outcome.read(name, policy.adapter, self.directory / name, self._seconds(name)))
        write_summary(self.directory, self.outcomes)
        self.say(self.outcomes[-1].describe())

    def _is_in_vain(self) -> bool:
        best = self.outcomes.index(best_of(self.outcomes))
        return 0 < self.args.patience <= len(self.outcomes) - 1 - best

    def _do(self, name: str, command: Sequence[str], finished: Path | None = None) -> None:
        """Run a stage unless it is done, which `finished`, where it is there, says too."""
        if name in self._done:
            return
        started = time.monotonic()
        if finished is None or not finished.exists():
            self.say(f"── {name}")
            run_stage(command, self.directory, name)
        stage = {"name": name, "seconds": time.monotonic() - started, "command": list(command)}
        self._done[name] = stage
        write_json_lines(self.directory / _STAGES, self._done.values())

    def _seconds(self, name: str) -> float:
        """That the stages of a round took, without its validation."""
        own = [stage for stage in self._done.values() if stage["name"].startswith(f"{name}/")]
        return float(sum(stage["seconds"] for stage in own if stage["name"] != f"{name}/validation"))

    def _seed(self, number: int) -> int:
        return self.args.seed * 10_000 + number


def problems_of_round(problems: Sequence[Problem], number: int, args: LoopArguments) -> list[Problem]:
    """Those of round `number` (from 1): shuffled once by the seed and dealt out, from the start again when all had
    their turn."""
    count = min(args.problems_per_round or len(problems), len(problems))
    order = sorted(problems, key=lambda problem: problem.task_id)
    random.Random(args.seed).shuffle(order)
    first = (number - 1) * count
    return [order[place % len(order)] for place in range(first, first + count)]


def _round_name(number: int) -> str:
    return f"round-{number:02}"


def _rlcode(command: str) -> list[str]:
    return [sys.executable, "-m", "rlcode.cli", command]


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
