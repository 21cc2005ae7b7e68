"""GRPO's `rollout_func`: groups of completions of the policy as it is now, judged, handed to TRL with their verdicts.

TRL hands each process the prompts of its rows, each repeated `num_generations` times, and normalises rewards over
groups that may straddle two processes. Here the rows are slots: which problems fill them is the prompt sampler's and
the group filter's affair, and every process comes to the same groups. Generation and judging are dealt out over the
processes, completion by completion; then each gets all results, draws anew what the filter dropped, and takes the part
that stands in its slots.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

from accelerate.utils import gather_object

from rlcode.errors import ConfigError
from rlcode.extraction_worker import Extractor
from rlcode.prompts import PromptFormat, PromptStyle, build_prompt, opened_thinking
from rlcode.types import Completion, PartialLimits, Problem, Rollout
from sampling.engine import Engine, GenerationRequest, SamplingParams
from sampling.notebook import ErrorNotebook
from sampling.prompt_sampler import PromptSampler
from sampling.rollouts import encode_prompt, judge_completions, key_of
from sampling.store import RolloutStore, read_rollouts
from sampling.transformers_engine import TransformersEngine
from sandbox.judging import UnscoredShare
from sandbox.pool import WorkerPool
from sandbox.protocol import Sandbox
from train.groups import Group, GroupBatch, GroupFilter
from train.held_back import HeldBackTests
from train.policy_sync import send_policy, sharing
from train.rollout_metrics import RolloutMetrics
from train.stopwatch import Stopwatch

logger = logging.getLogger(__name__)

Item = TypeVar("Item")


@dataclass
class _Asked:
    """What was asked for at one step of training, so that nothing is drawn with the same noise twice."""

    step: int
    batches: int = 0
    completions: Counter[str] = field(default_factory=Counter)
    """Of each problem."""


@dataclass
class PolicyRollouts:
    """Callable as TRL's `rollout_func(prompts, trainer)`.

    Each time the policy changed, an engine of its own gets the adapter under a new version, and is checked to compute
    what the trainer does; the `transformers` engine shares the trainer's model. All rollouts of this process are
    appended to `store`, those of dropped groups too.
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
    sampler: PromptSampler
    in_trainers_order: bool
    """Begin each batch with the problems of the rows that TRL drew, and ask the sampler only for what is drawn anew."""
    group_filter: GroupFilter
    notebook: ErrorNotebook
    """What is known before the run; everything that is drawn is added to it, by each process alike."""
    held_back: HeldBackTests = field(default_factory=lambda: HeldBackTests(()))
    """Tests that `problems` do not have: they decide nothing, and are watched."""

    def __post_init__(self) -> None:
        self.prompts = self.prompts.for_model(self.engine.tokenizer)
        self._opened = opened_thinking(self.prompts, self.engine.tokenizer)
        self._by_id = {problem.task_id: problem for problem in self.problems}
        self._synced_step: int | None = None
        self._remembers = False
        self._asked = _Asked(step=-1)
        self._groups: Counter[str] = Counter()
        self._jobs_before = (0, 0.0)
        self.metrics = RolloutMetrics()
        self.stopwatch = Stopwatch()

    def dataset_rows(self, at_least: int = 1) -> list[dict[str, Any]]:
        """Slots for TRL's data set: a `prompt` that is the id of a problem, once for each, or as often as it takes to
        have so many rows."""
        rounds = -(-at_least // len(self.problems))
        return [{"prompt": self._slot(problem.task_id)} for problem in self.problems] * rounds

    def _slot(self, task_id: str) -> Any:
        """In the form of a real prompt, by which TRL decides how completions are decoded."""
        return [{"role": "user", "content": task_id}] if self.prompts.style == PromptStyle.CHAT else task_id

    def __call__(self, prompts: list[Any], trainer: Any) -> dict[str, list[Any]]:
        self.remember(trainer)
        with ExitStack() as stack:
            with self.stopwatch.measure("sync"):
                stack.enter_context(self._policy_in_force(trainer))
            batch = self._fill(prompts, trainer)
        self._tell(batch, trainer)
        chosen = [rollout for group in batch.chosen() for rollout in group.rollouts]
        self.metrics.chose(chosen)
        return self._columns(_part(chosen, trainer.accelerator))

    def _columns(self, rollouts: Sequence[Rollout]) -> dict[str, list[Any]]:
        problems = [self._by_id[rollout.completion.task_id] for rollout in rollouts]
        return {
            "prompt_ids": [list(rollout.completion.prompt_token_ids) for rollout in rollouts],
            "completion_ids": [list(rollout.completion.token_ids) for rollout in rollouts],
            "logprobs": [list(rollout.completion.logprobs) for rollout in rollouts],
            "prompt": [build_prompt(problem, self.prompts) for problem in problems],
            "task_id": [problem.task_id for problem in problems],
            "problem": problems,
            "program": [rollout.program for rollout in rollouts],
            "verdict": [rollout.verdict for rollout in rollouts],
        }

    def _fill(self, slots: Sequence[Any], trainer: Any) -> GroupBatch:
        """A whole batch of all processes. They all draw the same, in as many rounds."""
        batch = GroupBatch(len(slots) * trainer.accelerator.num_processes // trainer.num_generations, self.group_filter)
        order = self._order(slots, trainer)
        while wanted := batch.wanted():
            batch.add(self._draw([self._by_id[task_id] for task_id in islice(order, wanted)], trainer))
        return batch

    def _order(self, slots: Sequence[Any], trainer: Any) -> Iterator[str]:
        """The problems of a batch, those to draw anew after the first ones."""
        step = trainer.state.global_step
        if self._asked.step != step:
            self._asked = _Asked(step)
        order = self.sampler.order(self.notebook, seed=trainer.args.seed, step=step, batch=self._asked.batches)
        self._asked.batches += 1
        if not self.in_trainers_order:
            return order
        rows = [_named(slot) for slot in gather_object(list(slots))[:: trainer.num_generations]]
        others = (task_id for task_id in islice(order, len(self.sampler.task_ids)) if task_id not in rows)
        return chain(rows, others, order)

    def _draw(self, problems: Sequence[Problem], trainer: Any) -> list[Group]:
        """A group of each problem: this process does its part, and gets the parts of the others."""
        requests = list(self._requests(problems, trainer.num_generations))
        completions = self.engine.generate(_part(requests, trainer.accelerator), self._params(trainer))
        own = self._judged(completions)
        with self.stopwatch.measure("gather"):
            rollouts = gather_object(own)
        self.metrics.drew(rollouts)
        # a refill may be so small that one lost sample is a large share of it: it counts as if it were a whole batch
        share = UnscoredShare(self.max_unscored_share, max(len(rollouts), trainer.args.generation_batch_size))
        for rollout in rollouts:
            share.count(rollout.unscored_reason)
        self._check_held_back(own, share)
        self.notebook.observe(rollouts)
        by_key = {key_of(rollout.completion): rollout for rollout in rollouts}
        drawn = iter([by_key[key_of(request)] for request in requests])
        return [Group(problem.task_id, tuple(islice(drawn, trainer.num_generations))) for problem in problems]

    def _requests(self, problems: Iterable[Problem], num_generations: int) -> Iterator[GenerationRequest]:
        """The completions of a problem next to each other; where it comes again in a step, its indices go on."""
        for problem in problems:
            prompt = encode_prompt(problem, self.engine, self.prompts)
            first = self._asked.completions[problem.task_id]
            self._asked.completions[problem.task_id] += num_generations
            for index in range(first, first + num_generations):
                yield GenerationRequest(problem.task_id, index, prompt)

    def _judged(self, completions: Iterable[Completion]) -> list[Rollout]:
        """Judge what the engine writes while it writes on. Time in which neither it nor the store is at work is a wait
        for the sandbox: to take an answer, for which it may have no room, or once the engine is done, for verdicts."""
        rollouts = []
        with self.stopwatch.measure("hand_over"):
            for rollout in judge_completions(
                self._until_done(completions),
                self._by_id,
                sandbox=self.sandbox,
                extractor=self.extractor,
                limits=self.limits,
                opened=self._opened,
            ):
                with self.stopwatch.measure("store"):
                    self.store.append(rollout)
                rollouts.append(rollout)
        return rollouts

    def _until_done(self, completions: Iterable[Completion]) -> Iterator[Completion]:
        yield from self.stopwatch.each("generate", completions)
        self.stopwatch.go_on_as("judge_wait")

    def _check_held_back(self, own: Sequence[Rollout], share: UnscoredShare) -> None:
        """Judge what this process drew against the held-back tests, and count what all processes found."""
        if not self.held_back:
            return
        with self.stopwatch.measure("judge_wait"):
            found = self.held_back.check(own, sandbox=self.sandbox, extractor=self.extractor, limits=self.limits)
        with self.stopwatch.measure("gather"):
            checks = gather_object(found)
        for check in checks:
            share.count(check.unscored_reason)
        self.held_back.count(checks)

    def _tell(self, batch: GroupBatch, trainer: Any) -> None:
        """Log what became of the groups and the held-back tests, and say once that some groups were trained on that
        teach little."""
        metrics = batch.metrics()
        for name, value in {**metrics, **self._waits(), **self.held_back.end_batch()}.items():
            trainer._log_metric(name, float(value))
        if batch.short and not self._groups["short"] and trainer.accelerator.is_main_process:
            logger.warning("step %d: %s", trainer.state.global_step, _shortage(metrics, batch.size))
        self._groups.update(drawn=len(batch.drawn), trained=batch.size, short=batch.short)

    def _waits(self) -> dict[str, float]:
        """How long a job of this process waited for a worker since the last batch, where the sandbox can tell."""
        if not isinstance(self.sandbox, WorkerPool):
            return {}
        (jobs, seconds), before = self.sandbox.waited, self._jobs_before
        self._jobs_before = jobs, seconds
        return {"queue/job_wait": (seconds - before[1]) / (jobs - before[0])} if jobs > before[0] else {}

    def describe_groups(self) -> str:
        """What became of the groups since this process started, in a line."""
        drawn, trained, short = (self._groups[name] for name in ("drawn", "trained", "short"))
        return f"{drawn} groups drawn, {trained} trained on, {short} of them outside the band for want of others"

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
            return sharing(self.engine, trainer, version)
        if changed:
            gap = send_policy(self.engine, trainer, self.adapters, self.base_model, version)
            trainer._log_metric("policy/logprob_gap", gap)
        return nullcontext()

    def remember(self, trainer: Any) -> None:
        """Take what came before a resume into account, unless that was done. Every process must call this."""
        if not self._remembers:
            self._remembers = True
            self._go_on_from(self.first_version + trainer.state.global_step, trainer)

    def _go_on_from(self, version: int, trainer: Any) -> None:
        """A run that resumes from a checkpoint draws again what it drew after it, and remembers what came before."""
        self.store.keep_only(lambda rollout: rollout.completion.policy_version < version)
        trainer.accelerator.wait_for_everyone()
        if any(self.store.directory.glob("rollouts*.jsonl")):
            stored = read_rollouts([self.store.directory])
            self.notebook.observe(rollout for rollout in stored if rollout.completion.policy_version < version)
        self.metrics.go_on_from(trainer.state.log_history)


def _part(items: Sequence[Item], accelerator: Any) -> Sequence[Item]:
    """What this process gets of `items`, which are dealt out evenly and in order."""
    count, rank = accelerator.num_processes, accelerator.process_index
    return items[len(items) * rank // count : len(items) * (rank + 1) // count]


def _named(slot: Any) -> str:
    """The problem whose row a slot is."""
    return slot if isinstance(slot, str) else slot[0]["content"]


def _shortage(metrics: dict[str, float], size: int) -> str:
    return (
        f"{metrics['groups/drawn']:.0f} groups were drawn, and only {size - metrics['groups/short']:.0f} of the {size} "
        "that are needed have a pass rate in the band. Others fill the batch up, of problems that always pass or never "
        "do, and teach little or nothing. Training goes on; this is said once, and `groups/short` counts such groups"
    )
