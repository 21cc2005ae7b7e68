"""Our own fields of the training scripts, beside TRL's `ModelConfig`, `DPOConfig`, `SFTConfig` and `GRPOConfig`.

They live here and not in the scripts, because a type that is defined in a launched script is `__main__.X`.
"""

from __future__ import annotations

from dataclasses import dataclass

from rewards.composite import DEFAULT_TERMS, CompositeReward
from rewards.held_back import check_share
from rewards.length import SoftOverlong
from sampling.arguments import (
    EngineArguments,
    PoolArguments,
    ProblemArguments,
    PromptArguments,
    SandboxArguments,
    mapping_from,
    option,
    require,
    strategy_options_from,
)
from sampling.prompt_sampler import PromptSampling
from train.groups import GroupFilter


@dataclass
class PolicyArguments:
    """Which policy training starts from, what of it is trained, and whether it is watched."""

    adapter: str | None = option(
        None,
        "LoRA adapter to go on training (with full_finetuning: checkpoint of such a run); none starts from the base",
    )
    full_finetuning: bool = option(False, "train all weights and no adapter; takes many times the memory")
    dry_run: bool = option(
        False, "two steps at maximum lengths in a directory of their own, and what they took; exit code 0: it fits"
    )
    alarms: bool = option(True, "warn when the run goes wrong: entropy, KL, compile errors … (docs/metrics.md)")


_SHARE = 0.4
_SHARE_HELP = "vllm only: share of the GPU's memory that it takes beside the training"


@dataclass
class QuizArguments(PromptArguments, EngineArguments, SandboxArguments):
    """What the policy is asked while it is trained, and by what means. The `transformers` engine is the trainer's own
    model."""

    engine_gpu_memory_utilization: float = option(_SHARE, _SHARE_HELP)
    quiz_steps: int = option(0, "a quiz at the start, every so many optimizer steps and at the end; 0: none")
    quiz_delay: int = option(
        1, "a quiz after g steps counts from step g + quiz_delay on (from 0); data loader workers need more than 1"
    )
    quiz_benchmark: str = option("jsonl", "validation problems, by name; jsonl: of your own")
    quiz_benchmark_file: str | None = option(
        None, "local file of the validation problems; none takes them from the hub"
    )
    quiz_split: str | None = option(None, "part of the benchmark, where it has parts")
    quiz_exclude: str | None = option(None, "file of task ids to leave out, such as `rlcode validate` writes")
    quiz_generations: int = option(1, "completions for each validation problem")
    quiz_temperature: float = option(1.0, "1 is what the notebook counts elsewhere too; 0 is greedy")
    quiz_max_completion_length: int = option(512, "in tokens")

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.quiz_steps >= 0, "quiz_steps must not be negative; 0 means no quiz")
        require(self.quiz_delay >= 1, "quiz_delay must be at least 1: pairs of the next step were read already")
        require(self.quiz_generations >= 1, "quiz_generations must be at least 1")
        require(self.quiz_temperature >= 0, "quiz_temperature must not be negative; 0 is greedy")
        require(self.quiz_max_completion_length >= 1, "quiz_max_completion_length must be at least 1")


@dataclass
class PairArguments(PoolArguments, QuizArguments):
    """Where DPO's pairs come from, and what they go by."""

    rollouts: list[str] = option([], "rollout files or directories that `rlcode rollout` wrote; must be given")
    strategy: str = option("frequency", "which failures are drawn: the name of a strategy in sampling/strategies")
    strategy_options: dict | str | None = option(None, "the strategy's own options, as a mapping: {power: 2}")
    num_pairs: int = option(256, "pairs drawn in each epoch; rounded up to whole optimizer steps")
    notebook: str | None = option(None, "error notebook of earlier rounds; these rollouts are added to it")
    reference: str = option(
        "previous_round",
        "DPO's reference: base (the adapter switched off) or previous_round (a frozen copy of --adapter); with "
        "full_finetuning either is a second copy of the model",
        choices=["base", "previous_round"],
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.num_pairs >= 1, "num_pairs must be at least 1")
        self.strategy_options = strategy_options_from(self.strategy_options)


@dataclass
class SftArguments(PromptArguments, SandboxArguments):
    """What SFT trains on: passed programs of rollouts, or the reference solutions of problems. How the policy is asked
    and what judges serve the reference solutions alone; rollouts have their prompts and verdicts."""

    rollouts: list[str] = option([], "rollout files or directories whose passed programs are trained on")
    max_per_problem: int = option(4, "rollouts only: different programs of a problem at most; 0: all")
    newest_policy_only: bool = option(False, "rollouts only: none but the programs of the newest policy in them")
    benchmark: str | None = option(
        None, "problems whose reference solutions are trained on, by name; jsonl: of your own"
    )
    benchmark_file: str | None = option(None, "local file of the benchmark (none: jsonl); none takes it from the hub")
    split: str | None = option(None, "part of the benchmark, where it has parts")
    exclude: str | None = option(None, "benchmark only: file of task ids to leave out, as `rlcode validate` writes")
    verify_references: bool = option(True, "judge the reference solutions first and leave out what does not pass")

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.max_per_problem >= 0, "max_per_problem must not be negative; 0 takes all")

    def check_source(self) -> None:
        """
        Raises:
            ConfigError: not exactly one source was named.
        """
        problems = self.benchmark or self.benchmark_file
        require(
            bool(self.rollouts or problems),
            "nothing to train on: name what `rlcode rollout` wrote with --rollouts, or problems with reference "
            "solutions with --benchmark or --benchmark_file",
        )
        require(
            not (self.rollouts and problems),
            "--rollouts and --benchmark name two sources, and a run has one; train on the reference solutions first, "
            "then on the rollouts with --adapter",
        )
        require(
            bool(problems) or not self.exclude,
            "exclude leaves out problems of --benchmark; with --rollouts, give it to `rlcode rollout`",
        )


@dataclass
class RewardArguments:
    """What a completion is worth."""

    reward_terms: dict | str | None = option(
        DEFAULT_TERMS, "terms of the reward with their weights: correctness, fraction, ladder, length, format"
    )
    ladder: dict | str | None = option(
        None, "ladder only: values by rung or error type that differ from the default: {run: 0.2, timeout: 0}"
    )
    overlong_share: float = option(
        SoftOverlong.share, "length only: last share of max_completion_length, over which the penalty grows to -1"
    )
    held_back_tests: float = option(
        0.0, "share of each problem's tests that the reward leaves out, to watch whether the policy learns the tests"
    )

    def __post_init__(self) -> None:
        self.reward_terms = mapping_from("reward_terms", self.reward_terms, '{"correctness": 1, "length": 0.1}')
        self.ladder = mapping_from("ladder", self.ladder, '{"run": 0.2, "timeout": 0}')
        CompositeReward.from_arguments(self, max_completion_length=1)  # refuses what can't be
        check_share(self.held_back_tests)
        getattr(super(), "__post_init__", lambda: None)()


@dataclass
class GrpoArguments(PolicyArguments, RewardArguments, ProblemArguments, EngineArguments, SandboxArguments):
    """Policy, reward, problems, groups, engine and sandbox of GRPO. The `transformers` engine is the trainer's own
    model."""

    engine: str = option(
        "transformers",
        "transformers, vllm or vllm-server; trl: TRL generates, by its own fields use_vllm, vllm_mode and so on",
        choices=["transformers", "vllm", "vllm-server", "trl"],
    )
    engine_gpu_memory_utilization: float = option(_SHARE, _SHARE_HELP)
    prompt_sampling: str = option(
        "notebook",
        "which problems get a group: notebook (by the errors and the chance of a mixed group) or uniform",
        choices=["notebook", "uniform"],
    )
    exploration: float = option(0.1, "notebook only: share of the draws in which all problems have the same chance")
    error_type_power: float = option(1.0, "notebook only: exponent of an error type's current frequency; 0: no weight")
    notebook: str | None = option(None, "error notebook of earlier rounds; what this run draws is added to it")
    group_filter: bool = option(True, "drop groups whose pass rate is outside group_band and draw others for them")
    group_band: list[float] = option([0.0, 1.0], "groups are trained on whose pass rate lies strictly between the two")
    max_refills: int = option(3, "rounds that draw others for dropped groups, together so many batches at most")

    def __post_init__(self) -> None:
        super().__post_init__()
        PromptSampling.from_arguments(self, num_generations=2)  # both refuse what can't be
        GroupFilter.from_arguments(self)


@dataclass
class AsyncGrpoArguments(RewardArguments, ProblemArguments, SandboxArguments):
    """Policy, reward, problems and sandbox of TRL's asynchronous GRPO. TRL's `AsyncGRPOConfig` has the rest."""

    model_name_or_path: str | None = option(None, "base model: a directory or a hub name")
    lora_r: int = option(16, "rank of the new LoRA adapter")
    lora_alpha: int = option(32, "its scale is lora_alpha / lora_r")
    lora_target_modules: list[str] = option([], "matrices that get an adapter; none: all linear ones but the head")

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.held_back_tests == 0, "held_back_tests is for train/grpo.py; remove it")


@dataclass
class DeviceArguments:
    """What a run is planned for. All fields of the training script, or of `rlcode run`, are taken too."""

    gpus: int | None = option(None, "training processes; none: as --accelerate_config says, else 1")
    gpu_memory_gb: float = option(80.0, "memory of one GPU in GiB, as nvidia-smi shows it")
    model_config: str | None = option(None, "config.json of a model that is neither a directory nor known here")
    prompt_tokens: int = option(512, "GRPO: tokens of the longest prompt, assumed")
    json: str | None = option(None, "file to write the plan to")

    def __post_init__(self) -> None:
        require(self.gpus is None or self.gpus >= 1, "gpus must be at least 1")
        require(self.gpu_memory_gb > 0, "gpu_memory_gb must be above 0")
        require(self.prompt_tokens >= 1, "prompt_tokens must be at least 1")


@dataclass
class PlanArguments(DeviceArguments):
    """Which training script's run is planned, and how it is launched."""

    accelerate_config: str | None = option(None, "the file that accelerate launch will get; none: plain processes")
    method: str | None = option(
        None, "dpo, sft or grpo; none: by the fields that are given", choices=["dpo", "sft", "grpo"]
    )
