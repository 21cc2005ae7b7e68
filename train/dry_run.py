"""`--dry_run`: does this run fit on this machine? Asked by doing the costliest part of it, before the night.

    accelerate launch train/dpo.py --config configs/dpo.yaml --dry_run true

Two optimizer steps of the real script on the real model, engine and sandbox, with a checkpoint, all sequences as long
as they may be: pairs and examples are made up, completions ignore the end token, problems are those with the longest
prompts. (Two, for the optimizer's states are there from the second on.) It works in a temporary directory and leaves
nothing. Seconds and peak memory of each part stand beside the estimate of `rlcode plan`.

GRPO's groups are not filtered, so that a step draws one batch; how often a real run refills it nobody knows before.
What `rlcode run --dry_run` tries beside the training scripts is here too: `python -m train.dry_run rollout …`.
"""

from __future__ import annotations

import copy
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast_object_list
from transformers import AutoConfig
from transformers.trainer_utils import SaveStrategy

from rlcode.cli import run_main
from rlcode.data import jsonl
from rlcode.data.registry import problems_from, training_problems_from
from rlcode.errors import ConfigError
from rlcode.extraction_worker import Extractor
from rlcode.limits import limits_from
from rlcode.prompts import PromptFormat, build_prompt, opened_thinking, tokenize_prompt
from rlcode.types import Completion, ErrorType, Problem, Program, Rollout, Verdict
from sampling.engine import Engine, EngineSettings, SamplingParams, open_engine
from sampling.rollouts import make_requests, roll_out
from sampling.store import write_rollouts
from sandbox.pool import open_sandbox
from train.arguments import PlanArguments
from train.memory_plan import GIB, Layout, Memory, Phase
from train.meter import Meter, TrainerWatch
from train.planning import Fields, make_plan
from train.policy import load_tokenizer
from train.policy_sync import open_training_engine, open_training_sandbox

STEPS = 2
_PROBLEMS = 64
"""Asked in a quiz, for rollouts and in a validation: what an engine decodes together by default."""
_ANY_PAIR: dict[str, Any] = {
    "min_passed": 1,
    "min_failed": 1,
    "failure_pairs": 0.0,
    "max_length_ratio": None,
    "max_side_tokens": None,
}


@dataclass(frozen=True)
class Trial:
    """A training script's configuration, made short; GRPO's policy and `own` arguments are one."""

    own: Any
    policy_args: Any
    model_args: Any
    training_args: Any
    folder: Path
    meter: Meter
    stack: ExitStack

    def engine(self, *, by_all: bool = True) -> Engine:
        """The engine that the run would open, measured. `by_all`: whether every process calls this, or the first one
        alone."""
        tokenizer = load_tokenizer(self.model_args)
        return self.meter.watch_engine(
            open_training_engine(self.own, self.model_args, tokenizer, self.folder, self.stack, by_all=by_all)
        )

    def watched(self) -> dict[str, Any]:
        """What a training function gets to be measured by."""
        sandbox = self.meter.watch_sandbox(open_training_sandbox(self.own, self.stack, by_all=True))
        return {"callbacks": [TrainerWatch(self.meter)], "sandbox": sandbox}


def dry_run(method: str, own: Any, policy_args: Any, model_args: Any, training_args: Any) -> int:
    """Try a run of `method` (dpo, sft or grpo), print what it took, and return the exit code: 0 where it fits, 1 where
    memory ran out.

    Raises:
        RlcodeError: what the run itself would raise.
    """
    meter = Meter()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rlcode-dry-run-")))
        (shared,) = broadcast_object_list([str(folder)])
        short = _shortened(training_args, Path(shared) / "run")
        trial = Trial(replace(own, cache=None), policy_args, model_args, short, folder, meter, stack)
        fits = _attempt(lambda: _RUNS[method](trial), meter)
        if training_args.process_index == 0:
            parts = (training_args, model_args, policy_args, own)
            fields = Fields(method, {name: value for part in parts for name, value in vars(part).items()})
            show(meter, _estimate(fields, training_args, folder), fits)
    return 0 if fits else 1


def _attempt(run: Callable[[], Any], meter: Meter) -> bool:
    """Whether it ends without running out of memory."""
    try:
        run()
    except (torch.OutOfMemoryError, MemoryError) as error:
        print(f"memory ran out in the part {meter.now!r}: {error}", file=sys.stderr)
        return False
    finally:
        meter.switch("end")
    return True


def _shortened(training_args: Any, output_dir: Path) -> Any:
    args = copy.copy(training_args)
    args.output_dir, args.resume_from_checkpoint = str(output_dir), None
    args.max_steps = args.save_steps = STEPS
    args.save_strategy, args.report_to, args.disable_tqdm = SaveStrategy.STEPS, [], True
    return args


def _dpo(trial: Trial) -> None:
    from train.dpo import train_dpo

    rollouts, quiz_steps = write_longest_rollouts(trial), min(trial.own.quiz_steps, STEPS)
    changed = {"rollouts": [str(rollouts)], "notebook": None, "num_pairs": _per_step(trial), "quiz_steps": quiz_steps}
    own, engine = replace(trial.own, **changed, **_ANY_PAIR), None
    if quiz_steps:
        problems = training_problems_from(own, "quiz_")
        file = trial.folder / "quiz.jsonl"
        jsonl.save(longest(problems, own, trial, _PROBLEMS), file)
        made = {"quiz_benchmark": "jsonl", "quiz_benchmark_file": str(file), "quiz_split": None, "quiz_exclude": None}
        own = replace(own, **made, quiz_generations=1)
        if trial.training_args.process_index == 0 or own.engine == "transformers":
            engine = trial.engine(by_all=False)
    parts = (own, trial.policy_args, trial.model_args, trial.training_args)
    train_dpo(*parts, engine=engine, **trial.watched())


def _sft(trial: Trial) -> None:
    from train.sft import train_sft

    source = {"rollouts": [str(write_longest_rollouts(trial))], "benchmark": None, "benchmark_file": None}
    own = replace(trial.own, **source, newest_policy_only=False)
    train_sft(own, trial.policy_args, trial.model_args, trial.training_args, **trial.watched())


def _grpo(trial: Trial) -> None:
    from train.grpo import train_grpo

    own, training = trial.own, trial.training_args
    groups = training.generation_batch_size // training.num_generations
    problems = longest(training_problems_from(own), own, trial, groups)
    args = replace(own, group_filter=False, notebook=None)
    engine = None if own.engine == "trl" else trial.engine()
    train_grpo(args, trial.model_args, training, problems, engine=engine, **trial.watched())


_RUNS: dict[str, Callable[[Trial], None]] = {"dpo": _dpo, "sft": _sft, "grpo": _grpo}


def _per_step(trial: Trial) -> int:
    """Rows of an optimizer step over all processes."""
    args = trial.training_args
    return int(args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size)


def longest(problems: Sequence[Problem], args: Any, trial: Trial, count: int) -> list[Problem]:
    """The `count` problems with the longest prompts, in tokens."""
    tokenizer = load_tokenizer(trial.model_args)
    prompts = PromptFormat.from_arguments(args).for_model(tokenizer)

    def tokens(problem: Problem) -> int:
        return len(tokenize_prompt(build_prompt(problem, prompts), tokenizer, prompts.enable_thinking))

    return sorted(problems, key=tokens, reverse=True)[:count]


def write_longest_rollouts(trial: Trial) -> Path:
    """Made-up rollouts, a pass and a failure for each row of a step, which are `max_length` tokens long.

    Raises:
        ConfigError: nothing bounds the length.
    """
    length = trial.training_args.max_length
    if length is None:
        raise ConfigError("max_length is none, so nothing is the longest; set it for --dry_run")
    tokenizer, path = load_tokenizer(trial.model_args), trial.folder / "rollouts.jsonl"
    write_rollouts(path, _longest_rollouts(tokenizer, length, _per_step(trial)))
    return path


def _longest_rollouts(tokenizer: Any, length: int, count: int) -> Iterator[Rollout]:
    for number in range(count):
        for index, error in enumerate((None, ErrorType.WRONG_ANSWER)):
            ids = tokenizer(f"n = {number}\nm = {index}\n" + "x = x + 1\n" * length)["input_ids"][: length - 1]
            text = tokenizer.decode(ids, skip_special_tokens=True)
            names = (f"made-up/{number}", index, text, (tokenizer.pad_token_id,), tuple(ids), (0.0,) * len(ids))
            verdict = Verdict(error, int(error is None), 1)
            yield Rollout(Completion(*names, "stop"), Program(text, "continuation"), verdict)


@dataclass(frozen=True)
class Estimate:
    """What `rlcode plan` says of the same run."""

    memory: Memory

    def of(self, part: str) -> int | None:
        """Bytes while a part is under way; None where it says nothing of it."""
        lines = [line for line in self.memory.lines if line.phase == Phase.ALWAYS or line.phase == _PHASES.get(part)]
        return sum(line.device for line in lines) if part in _PHASES else None


_PHASES = {"update": Phase.STEP, "generation": Phase.GENERATION}


def _estimate(fields: Fields, training_args: Any, folder: Path) -> Estimate | str:
    """The estimate, or why there is none."""
    try:
        AutoConfig.from_pretrained(fields.model_name_or_path).to_json_file(folder / "config.json", use_diff=False)
        options = PlanArguments(gpu_memory_gb=_memory() / GIB, model_config=str(folder / "config.json"))
        return Estimate(make_plan(options, fields, _layout(training_args)).memory)
    except ConfigError as error:
        return str(error)


def _layout(training_args: Any) -> Layout:
    """How this very run is spread over devices."""
    plugin, gpus = training_args.deepspeed_plugin, training_args.world_size
    if plugin is None:
        return Layout(gpus, zero_stage=3 if os.environ.get("ACCELERATE_USE_FSDP") == "true" else 0)
    offloaded = [
        device not in (None, "none") for device in (plugin.offload_optimizer_device, plugin.offload_param_device)
    ]
    return Layout(gpus, int(plugin.zero_stage), True, *offloaded)


def _memory() -> int:
    """Bytes of this process's GPU, else of the machine."""
    if torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[1])
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def show(meter: Meter, estimate: Estimate | str | None, fits: bool) -> None:
    """Print what each part took, for people."""
    from rich.console import Console
    from rich.table import Table

    table = Table("part", "seconds", "peak GiB", "estimated GiB", title="dry run at maximum lengths")
    for name, part in meter.parts.items():
        expected = estimate.of(name) if isinstance(estimate, Estimate) else None
        table.add_row(
            name, f"{part.seconds:.1f}", f"{part.peak / GIB:.2f}", f"{expected / GIB:.2f}" if expected else "–"
        )
    table.add_row("judging, beside them", f"{meter.judging:.1f}", "", "")
    console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
    console.print(table)
    if isinstance(estimate, str):
        console.print(f"no estimate: {estimate}")
    console.print(_verdict(meter, fits))


def _verdict(meter: Meter, fits: bool) -> str:
    if not fits:
        return "does not fit: memory ran out; `rlcode plan` says what would help"
    peak, whole = max(part.peak for part in meter.parts.values()) / GIB, _memory() / GIB
    where = "the GPU" if torch.cuda.is_available() else "the machine"
    return f"fits: at most {peak:.1f} of {whole:.1f} GiB of {where} were taken"


def try_generation(stage: str, args: Any) -> int:
    """Let the engine of `rlcode rollout` or `rlcode eval` write the longest completions, and judge them."""
    meter = Meter()
    with ExitStack() as stack:
        adapter = Path(args.adapter) if args.adapter else None
        run = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rlcode-dry-run-"))) / "run"
        engine = stack.enter_context(open_engine(EngineSettings.from_arguments(args), args.model, adapter, run=run))
        sandbox = meter.watch_sandbox(stack.enter_context(open_sandbox(args.sandbox)))
        prompts = PromptFormat.from_arguments(args).for_model(engine.tokenizer)
        problems = problems_from(args) if stage == "validation" else training_problems_from(args)
        requests = sorted(make_requests(problems, engine, 1, prompts), key=lambda one: -len(one.prompt_token_ids))
        rollouts = roll_out(
            requests[:_PROBLEMS],
            problems,
            engine=meter.watch_engine(engine),
            params=SamplingParams(args.temperature, args.top_p, args.top_k, args.max_completion_length),
            sandbox=sandbox,
            extractor=stack.enter_context(Extractor()),
            limits=limits_from(args),
            opened=opened_thinking(prompts, engine.tokenizer),
        )
        meter.switch(stage)
        fits = _attempt(lambda: list(islice(rollouts, len(requests))), meter)
    show(meter, None, fits)
    return 0 if fits else 1


def main(argv: list[str]) -> int:
    """`rollout` or `validation`, then the options of `rlcode rollout` or `rlcode eval`."""
    from eval.arguments import parse_arguments
    from rlcode.config import parse_config
    from sampling.arguments import RolloutArguments

    stage, *words = argv
    if stage == "validation":
        return try_generation(stage, parse_arguments(words))
    (args,) = parse_config([RolloutArguments], words, prog="rollout")
    return try_generation(stage, args)


if __name__ == "__main__":
    sys.exit(run_main(main))
