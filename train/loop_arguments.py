"""The configuration of `rlcode run`: what the loop itself decides, and options that it hands to each of its stages."""

from __future__ import annotations

import json
from collections.abc import Container, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rlcode.config import read_yaml
from rlcode.errors import ConfigError
from rlcode.run_directory import OPERATIONAL
from sampling.arguments import mapping_from, option, require

METHODS = ("dpo", "rft", "grpo")
"""How a round can train, by name: preferences, fine-tuning on passed programs, groups."""
TAKEN = {
    "rollout": ("model", "adapter", "benchmark", "benchmark_file", "split", "exclude", "output_dir", "seed"),
    "dpo": ("model_name_or_path", "adapter", "rollouts", "notebook", "output_dir", "seed", "dry_run"),
    "rft": (
        *("model_name_or_path", "adapter", "rollouts", "benchmark", "benchmark_file", "split", "exclude"),
        *("output_dir", "seed", "dry_run"),
    ),
    "grpo": (
        *("model_name_or_path", "adapter", "notebook", "benchmark", "benchmark_file", "split", "exclude"),
        *("output_dir", "seed", "dry_run"),
    ),
    "validation": ("model", "adapter", "samples", "output_dir", "overwrite", "seed", "k"),
}
"""Options of each stage that are the loop's to set: refused here, passed over in a stage's own file."""


@dataclass
class LoopArguments:
    """Rounds of training, each from the last one's adapter."""

    model: str | None = option(None, "base model: a directory or a hub name; must be given")
    adapter: str | None = option(None, "LoRA adapter that the first round starts from; none: the base model")
    benchmark: str = option("jsonl", "training problems, by name; jsonl: of your own")
    benchmark_file: str | None = option(None, "local file of the training problems; none takes them from the hub")
    split: str | None = option(None, "part of the benchmark, where it has parts")
    exclude: str | None = option(None, "file of task ids to leave out, such as `rlcode validate` writes")
    output_dir: str | None = option(None, "run directory to write, must be given; the same command goes on with it")
    rounds: int = option(4, "at most so many rounds")
    methods: list[str] = option(["dpo"], "how each round trains, one after the other: dpo, rft, grpo")
    problems_per_round: int | None = option(None, "training problems of a round, new ones as long as there are any")
    patience: int = option(2, "stop after so many rounds in a row without a better adapter; 0: never")
    accelerate_config: str | None = option(None, "configuration of `accelerate launch`; none: accelerate's own default")
    dry_run: bool = option(False, "try every stage at maximum lengths and tell what it took; exit code 0: all fit")
    seed: int = option(0, "fixes the problems of each round, and every stage's own seed")
    rollout: dict | str | None = option(None, "options of `rlcode rollout`, `config` among them")
    dpo: dict | str | None = option(None, "options of train/dpo.py, `config` among them")
    rft: dict | str | None = option(None, "options of train/sft.py, `config` among them")
    grpo: dict | str | None = option(None, "options of train/grpo.py, `config` among them")
    validation: dict | str | None = option(None, "options of `rlcode eval`, which validates each round's adapter")

    def __post_init__(self) -> None:
        require(bool(self.model and self.output_dir), "rlcode run needs --model and --output_dir")
        require(self.rounds >= 1, "rounds must be at least 1")
        require(self.patience >= 0, "patience must not be negative; 0 means never to stop early")
        require(self.problems_per_round is None or self.problems_per_round >= 1, "problems_per_round must be positive")
        require(bool(self.methods), f"methods must name at least one of {', '.join(METHODS)}")
        for method in self.methods:
            require(method in METHODS, f"methods: no method {method!r}; known: {', '.join(METHODS)}")
        require(len(set(self.methods)) == len(self.methods), "methods: each can be named once")
        for name in TAKEN:
            setattr(self, name, self._options(name, is_used=name in self.stages))
        require("benchmark" in self.options("validation"), "validation must name a benchmark: {benchmark: mbpp, …}")

    @property
    def stages(self) -> list[str]:
        """The stages that a round has, by the names of their options."""
        draws = any(method != "grpo" for method in self.methods)
        return [*(["rollout"] if draws else []), *self.methods, "validation"]

    def record(self) -> dict[str, Any]:
        """What decides the run's outcome: with another one of these its directory is refused."""
        own = {name: value for name, value in asdict(self).items() if name not in ("output_dir", "dry_run", *TAKEN)}
        stages = {stage: self.options(stage).items() for stage in self.stages}
        return own | {stage: {k: v for k, v in items if k not in OPERATIONAL} for stage, items in stages.items()}

    def options(self, stage: str) -> dict[str, Any]:
        """What the stage was given, here and in its own file."""
        options: dict[str, Any] = getattr(self, stage)
        return options

    def _options(self, stage: str, *, is_used: bool) -> dict[str, Any]:
        options = dict(mapping_from(stage, getattr(self, stage), '{"config": "configs/dpo.yaml"}'))
        for name in options:
            require(name not in TAKEN[stage], f"{stage}: {name} is the loop's own affair; leave it out")
        if not is_used:
            return options
        file = options.pop("config", None)
        written = {} if file is None else read_yaml(Path(str(file)))
        require("env" not in written, f"{stage}: {file} sets env, which a stage of a loop does not get; leave it out")
        merged = {name: value for name, value in written.items() if name not in TAKEN[stage]} | options
        require("hub_token" not in merged, f"{stage}: hub_token would stand in files and logs; set HF_TOKEN instead")
        return merged


def command_line(options: Mapping[str, Any], *, switches: Container[str] = ()) -> Iterator[str]:
    """`options` as the words of a command line; of `switches`, which take no value, those that are on."""
    for name, value in options.items():
        if value is None or value == [] or (name in switches and not value):
            continue
        words = [] if name in switches else list(_words(name, value))
        if len(words) == 1 and words[0].startswith("-"):  # else it would be taken for an option
            yield f"--{name}={words[0]}"
        else:
            yield from (f"--{name}", *words)


def _words(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        yield json.dumps(value)
    elif isinstance(value, list):
        for one in value:
            yield from _words(name, one)
    elif isinstance(value, bool):
        yield str(value).lower()
    elif isinstance(value, str | int | float):
        yield str(value)
    else:
        raise ConfigError(f"{name}: {value!r} can't be said on a command line")
