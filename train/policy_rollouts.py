"""GRPO's `rollout_func`: completions of the policy as it is now, judged, handed to TRL with their verdicts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate.utils import broadcast_object_list
from trl.models import unwrap_model_for_generation

from rlcode.errors import ConfigError, DataError
from rlcode.extraction_worker import Extractor
from rlcode.prompts import PromptFormat, build_prompt, opened_thinking
from rlcode.types import Completion, PartialLimits, Problem, Rollout
from sampling.engine import Engine, GenerationRequest, SamplingParams
from sampling.rollouts import encode_prompt, judge_completions, key_of
from sampling.store import RolloutStore
from sampling.transformers_engine import TransformersEngine
from sandbox.judging import UnscoredShare
from sandbox.protocol import Sandbox
from train.policy import save_policy


@dataclass
class PolicyRollouts:
    """Callable as TRL's `rollout_func(prompts, trainer)`.

    Each time the policy changed, an engine of its own gets the adapter under a new version, and is checked to compute
    what the trainer does; the `transformers` engine shares the trainer's model. All rollouts of this process are
    appended to `store`.
    """

    problems: Sequence[Problem]
    prompts: PromptFormat
    engine: Engine
    sandbox: Sandbox
    extractor: Extractor
    limits: PartialLimits
    store: RolloutStore
    adapters: Path
    base_model: str
    first_version: int
    """Of the policy that the run begins with; each optimizer step adds one."""
    max_unscored_share: float

    def __post_init__(self) -> None:
        self.prompts = self.prompts.for_model(self.engine.tokenizer)
        self._opened = opened_thinking(self.prompts, self.engine.tokenizer)
        self._by_prompt = {self._key(build_prompt(p, self.prompts)): p for p in self.problems}
        self._by_id = {problem.task_id: problem for problem in self.problems}
        self._synced_step: int | None = None

    def dataset_rows(self) -> list[dict[str, Any]]:
        """One row for each problem with a prompt of its own: `prompt`, `task_id`."""
        return [
            {"prompt": json.loads(prompt), "task_id": problem.task_id} for prompt, problem in self._by_prompt.items()
        ]

    def __call__(self, prompts: list[Any], trainer: Any) -> dict[str, list[Any]]:
        if self._synced_step is None:
            self._forget_after(self.first_version + trainer.state.global_step)
        with self._policy_in_force(trainer):
            requests = self._requests(prompts, trainer)
            drawn = {c.index: c for c in self.engine.generate(requests, self._params(trainer))}
            completions = [drawn[request.index] for request in requests]  # the trainer wants its own order
        rollouts = self._judge(completions)
        return {
            "prompt_ids": [list(c.prompt_token_ids) for c in completions],
            "completion_ids": [list(c.token_ids) for c in completions],
            "logprobs": [list(c.logprobs) for c in completions],
            "verdict": [rollout.verdict for rollout in rollouts],
        }

    def _requests(self, prompts: list[Any], trainer: Any) -> list[GenerationRequest]:
        # the place in the batch of all processes, so that a group that straddles two of them has no twins
        offset = trainer.accelerator.process_index * len(prompts)
        problems = [self._problem(prompt) for prompt in prompts]
        return [
            GenerationRequest(p.task_id, offset + place, encode_prompt(p, self.engine, self.prompts))
            for place, p in enumerate(problems)
        ]

    def _problem(self, prompt: Any) -> Problem:
        problem = self._by_prompt.get(self._key(prompt))
        if problem is None:
            raise DataError(f"the trainer asks for a prompt that belongs to no problem: {str(prompt)[:200]!r}")
        return problem

    @staticmethod
    def _key(prompt: Any) -> str:
        return json.dumps(prompt)

    @staticmethod
    def _params(trainer: Any) -> SamplingParams:
        args = trainer.args
        if args.min_p or args.repetition_penalty != 1.0 or args.generation_kwargs:
            raise ConfigError("min_p, repetition_penalty and generation_kwargs are not supported by our engines")
        return SamplingParams(
            temperature=args.temperature,
            top_p=args.top_p,
            top_k=args.top_k or 0,
            max_completion_length=args.max_completion_length,
            seed=(args.seed << 32) + trainer.state.global_step,
        )

    def _policy_in_force(self, trainer: Any) -> AbstractContextManager[Any]:
        """Bring the engine to the policy as it is now."""
        step, version = trainer.state.global_step, self.first_version + trainer.state.global_step
        changed, self._synced_step = step != self._synced_step, step
        if isinstance(self.engine, TransformersEngine):
            self.engine.policy_version = version
            return _sharing(self.engine, trainer)
        if changed:
            self._sync(trainer, version)
        return nullcontext()

    def _sync(self, trainer: Any, version: int) -> None:
        # the first process writes, so all of them load from its directory
        (path,) = broadcast_object_list([str(self.adapters / f"v{version}")])
        save_policy(trainer, Path(path), self.base_model, version)
        gap = self.engine.load_adapter(version, Path(path))
        trainer._log_metric("policy/logprob_gap", gap)
        trainer.accelerator.wait_for_everyone()
        if trainer.accelerator.is_main_process:
            _keep_only(Path(path))

    def _forget_after(self, version: int) -> None:
        """A run that resumes from a checkpoint draws again what it drew after it."""
        self.store.keep_only(lambda rollout: rollout.completion.policy_version < version)

    def _judge(self, completions: Sequence[Completion]) -> list[Rollout]:
        judged: dict[tuple[str, int], Rollout] = {}
        share = UnscoredShare(self.max_unscored_share, len(completions))
        for rollout in judge_completions(
            completions,
            self._by_id,
            sandbox=self.sandbox,
            extractor=self.extractor,
            limits=self.limits,
            opened=self._opened,
        ):
            self.store.append(rollout)
            share.count(rollout.unscored_reason)
            judged[key_of(rollout.completion)] = rollout
        return [judged[key_of(completion)] for completion in completions]


class _sharing:  # noqa: N801 - a context manager, read as a verb
    """Lends the trainer's model to the engine for the time of a `with`."""

    def __init__(self, engine: TransformersEngine, trainer: Any) -> None:
        self._engine = engine
        self._unwrapped = unwrap_model_for_generation(trainer.model_wrapped, trainer.accelerator)

    def __enter__(self) -> Any:
        self._engine.model = self._unwrapped.__enter__()
        return self._engine.model

    def __exit__(self, *exc: Any) -> None:
        self._engine.model = None
        self._unwrapped.__exit__(*exc)


def _keep_only(adapter: Path) -> None:
    """Remove the adapters beside it; the one in force stays, for a server that comes back asks for it again."""
    for other in adapter.parent.iterdir():
        if other != adapter:
            shutil.rmtree(other)
