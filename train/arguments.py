"""Our own fields of the training scripts, beside TRL's `ModelConfig`, `DPOConfig` and `GRPOConfig`.

They live here and not in the scripts, because a type that is defined in a launched script is `__main__.X`.
"""

from __future__ import annotations

from dataclasses import dataclass

from sampling.arguments import EngineArguments, ProblemArguments, SandboxArguments, option, require


@dataclass
class PolicyArguments:
    """Which adapter training starts from."""

    adapter: str | None = option(None, "LoRA adapter to go on training; none starts a new one on the base model")


@dataclass
class PairArguments:
    """Where DPO's pairs come from."""

    rollouts: list[str] = option([], "rollout files or directories that `rlcode rollout` wrote")
    strategy: str = option("frequency", "which failures are drawn: uniform or frequency")
    strategy_power: float = option(1.0, "frequency only: exponent of an error type's current frequency")
    num_pairs: int = option(256, "pairs drawn for this run")
    notebook: str | None = option(None, "error notebook of earlier rounds; these rollouts are added to it")
    reference: str = option(
        "previous_round",
        "DPO's reference: base (the adapter switched off) or previous_round (a frozen copy of --adapter)",
        choices=["base", "previous_round"],
    )

    def __post_init__(self) -> None:
        require(self.num_pairs >= 1, "num_pairs must be at least 1")


@dataclass
class GrpoArguments(PolicyArguments, ProblemArguments, EngineArguments, SandboxArguments):
    """Policy, problems, engine and sandbox of GRPO. The `transformers` engine is the trainer's own model."""
