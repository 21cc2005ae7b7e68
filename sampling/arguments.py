"""Fields of the configuration that say which problems, which engine, which sandbox: the same in every command."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

from rlcode.errors import ConfigError
from rlcode.limits import LimitArguments
from rlcode.prompts import PromptFormat
from sampling.pool_options import RULE_NAMES, PoolOptions


def option(default: Any, help_text: str, **metadata: Any) -> Any:
    """A dataclass field with its help; a default that is a list or a mapping is copied for each instance."""
    if isinstance(default, list | dict):
        return field(default_factory=default.copy, metadata={"help": help_text, **metadata})
    return field(default=default, metadata={"help": help_text, **metadata})


@dataclass
class PromptArguments:
    """How the policy is asked."""

    prompt_style: str = option(
        "auto",
        "completion, chat, few_shot, or auto: chat for instruction models, completion for base models",
        choices=["auto", "completion", "chat", "few_shot"],
    )
    system_prompt: str | None = option(None, "chat only: the system message; none leaves it to the template")
    num_shots: int | None = option(None, "few_shot only: examples that come first; none: three")
    enable_thinking: bool | None = option(None, "chat only: thinking on or off; none leaves it to the template")

    def __post_init__(self) -> None:
        PromptFormat.from_arguments(self)  # refuses what does not fit together
        getattr(super(), "__post_init__", lambda: None)()  # of a class that it stands beside: the limits


@dataclass
class ProblemArguments(PromptArguments):
    """Which problems the policy answers, and how it is asked."""

    benchmark: str = option("jsonl", "by name, or jsonl for problems of your own: docs/benchmarks.md")
    benchmark_file: str | None = option(None, "local file of the benchmark; none takes it from the hub")
    split: str | None = option(None, "part of the benchmark, where it has parts")
    exclude: str | None = option(None, "file of task ids to leave out, such as `rlcode validate` writes")


@dataclass
class EngineArguments:
    """What writes the completions."""

    engine: str = option(
        "transformers", "transformers, vllm or vllm-server", choices=["transformers", "vllm", "vllm-server"]
    )
    engine_sync: str = option(
        "adapter",
        "how a policy gets to the engine: adapter, or merged into whole weights (transformers and vllm)",
        choices=["adapter", "merged"],
    )
    engine_batch_size: int = option(64, "transformers only: completions decoded together")
    engine_max_model_length: int = option(
        2048, "vllm only: longest prompt plus completion, in tokens; at most what the model has"
    )
    engine_max_lora_rank: int = option(64, "vllm only: highest rank of an adapter that it may get")
    engine_gpu_memory_utilization: float = option(0.9, "vllm only: share of the GPU's memory that it takes")
    engine_urls: list[str] = option([], "vllm-server only: URLs of the servers that `rlcode serve` started")
    engine_server_wait_s: float = option(
        300.0, "servers, also those that --engine vllm starts: seconds that a lost one is waited for"
    )
    engine_server_timeout_s: float = option(600.0, "servers: seconds that one request may take")


@dataclass
class SandboxArguments(LimitArguments):
    """What judges the programs."""

    sandbox: str = option(
        "auto",
        "docker, local, or auto: docker where an engine runs and the image is built",
        choices=["auto", "docker", "local"],
    )
    sandbox_workers: int | None = option(None, "programs judged at once on each machine; none: one for each core")
    cache: str | None = option(None, "file that keeps verdicts, so that no program is judged twice; none: no cache")
    max_unscored_share: float = option(0.1, "stop when more than this share could not be judged")


@dataclass
class PoolArguments:
    """Which judged completions become sides of preference pairs, and which of them is chosen."""

    chosen: str = option(
        "random",
        "which of those that can be chosen over a failure: random, nearest (in edit distance), shortest, or "
        "most_recent (policy)",
        choices=list(RULE_NAMES),
    )
    failure_pairs: float = option(
        0.0, "share of the draws whose chosen side is a failure that got further (a wrong answer over a syntax error)"
    )
    min_passed: int = option(1, "different programs of a problem that must have passed for its passes to be chosen")
    min_failed: int = option(1, "different programs of a problem that must have failed for it to give pairs")
    max_length_ratio: float | None = option(None, "tokens of the longer side to those of the shorter one; none: any")
    max_side_tokens: int | None = option(None, "completions with more tokens are left out; none: any length")

    def __post_init__(self) -> None:
        self.pool_options()  # refuses what is out of range
        getattr(super(), "__post_init__", lambda: None)()

    def pool_options(self) -> PoolOptions:
        """These fields as the pool takes them.

        Raises:
            ConfigError: one is out of range.
        """
        try:
            return PoolOptions(**{one.name: getattr(self, one.name) for one in fields(PoolArguments)})
        except ValueError as error:
            raise ConfigError(str(error)) from error


def add_prompt_options(group: Any) -> None:
    """The fields of `PromptArguments` as options of an argparse group."""
    _add_options(group, PromptArguments, {"num_shots": int, "enable_thinking": _switch})


def _switch(text: str) -> bool:
    values = {"true": True, "false": False}
    if text.lower() not in values:
        raise ValueError(text)
    return values[text.lower()]


def add_engine_options(group: Any) -> None:
    """The fields of `EngineArguments` as options of an argparse group."""
    _add_options(group, EngineArguments, {})


def mapping_from(name: str, value: dict | str | None, example: str) -> dict[str, Any]:
    """An option that is a mapping: one from a YAML file as it is, one from the command line as JSON; None is empty.

    Raises:
        ConfigError: it is neither; `example` shows how the option `name` looks.
    """
    try:
        mapping = json.loads(value) if isinstance(value, str) else value or {}
    except ValueError as error:
        raise ConfigError(f"{name} is not JSON: {error}; it must be a JSON object such as '{example}'") from error
    require(isinstance(mapping, dict), f"{name} must be a JSON object such as '{example}', got {mapping!r}")
    return mapping


def strategy_options_from(value: dict | str | None) -> dict[str, Any]:
    """A strategy's own options; see `mapping_from`."""
    return mapping_from("strategy_options", value, '{"power": 2}')


def add_pool_options(group: Any) -> None:
    """The fields of `PoolArguments` as options of an argparse group."""
    _add_options(group, PoolArguments, {"max_length_ratio": float, "max_side_tokens": int})


def _add_options(group: Any, arguments: type, readers: Mapping[str, Callable[[str], Any]]) -> None:
    """The fields of a dataclass as options; `readers` of those whose default has another type than their values."""
    for one in fields(arguments):
        default = one.default if one.default_factory is MISSING else one.default_factory()
        is_list, reader = isinstance(default, list), readers.get(one.name, str if default is None else type(default))
        kind: dict[str, Any] = {"nargs": "+"} if is_list else {"type": reader}
        group.add_argument(
            f"--{one.name}",
            **kind,
            default=default,
            choices=one.metadata.get("choices"),
            help=f"{one.metadata['help']} (default {'none' if default in (None, []) else default})",
        )


def require(condition: bool, message: str) -> None:
    """Raise a ConfigError with `message` unless `condition` holds."""
    if not condition:
        raise ConfigError(message)


@dataclass
class RolloutArguments(ProblemArguments, EngineArguments, SandboxArguments):
    """What `rlcode rollout` needs."""

    model: str | None = option(None, "base model: a directory or a hub name; must be given")
    adapter: str | None = option(None, "LoRA adapter on it")
    output_dir: str | None = option(
        None, "run directory to write; the same command goes on with an unfinished one; must be given"
    )
    num_generations: int = option(8, "completions for each problem")
    temperature: float = option(1.0, "0 is greedy")
    top_p: float = option(1.0, "nucleus sampling; 1 is off")
    top_k: int = option(0, "0 is off")
    max_completion_length: int = option(512, "in tokens")
    seed: int = option(0, "fixes every completion, with its task and index")

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.num_generations >= 1, "num_generations must be at least 1")
        require(self.max_completion_length >= 1, "max_completion_length must be at least 1")
        require(self.temperature >= 0, "temperature must not be negative; 0 is greedy")
        require(0 < self.top_p <= 1, "top_p must be above 0 and at most 1")
        require(self.top_k >= 0, "top_k must not be negative; 0 is off")
