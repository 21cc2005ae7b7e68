"""The quiz: while it is trained, the policy answers validation problems, is judged, and what it got wrong decides which
pairs are drawn next.

One process asks and judges; all get the result and announce the same snapshot. Every quiz has the same problems and the
same noise, so that two of them differ by the policy alone. It trains on nothing.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelerate.utils import broadcast_object_list
from transformers import TrainerCallback

from rlcode.data.registry import training_problems_from
from rlcode.extraction_worker import Extractor
from rlcode.limits import limits_from
from rlcode.prompts import PromptFormat, opened_thinking
from rlcode.types import ErrorType, PartialLimits, Problem, Rollout
from sampling.engine import Engine, SamplingParams
from sampling.notebook import ErrorNotebook
from sampling.rollouts import make_requests, roll_out
from sampling.snapshots import QuizResult
from sampling.store import RolloutStore
from sampling.transformers_engine import TransformersEngine
from sandbox.judging import UnscoredShare
from sandbox.protocol import Sandbox
from train.best_adapter import BestAdapter
from train.pair_trainer import SNAPSHOTS, PairTrainer
from train.policy_sync import open_training_engine, open_training_sandbox, send_policy, sharing

if TYPE_CHECKING:
    from train.arguments import PairArguments

FOLDER = "quiz"
"""Where a run directory has the answers, as a rollout store."""


@dataclass
class Examiner:
    """Asks the policy that an engine holds, and judges and keeps its answers."""

    problems: Sequence[Problem]
    prompts: PromptFormat
    num_generations: int
    params: SamplingParams
    engine: Engine
    sandbox: Sandbox
    extractor: Extractor
    limits: PartialLimits
    store: RolloutStore
    max_unscored_share: float

    def __post_init__(self) -> None:
        self.prompts = self.prompts.for_model(self.engine.tokenizer)
        self._opened = opened_thinking(self.prompts, self.engine.tokenizer)

    def examine(self) -> list[Rollout]:
        """All answers of one quiz, judged.

        Raises:
            SandboxError: too many could not be judged.
        """
        requests = list(make_requests(self.problems, self.engine, self.num_generations, self.prompts))
        share = UnscoredShare(self.max_unscored_share, len(requests))
        rollouts = []
        for rollout in roll_out(
            requests,
            self.problems,
            engine=self.engine,
            params=self.params,
            sandbox=self.sandbox,
            extractor=self.extractor,
            limits=self.limits,
            opened=self._opened,
        ):
            self.store.append(rollout)
            share.count(rollout.unscored_reason)
            rollouts.append(rollout)
        return rollouts


@dataclass(frozen=True)
class Outcome:
    """What every process learns of a quiz."""

    result: QuizResult
    unscored: int
    notebook: ErrorNotebook
    """The last one, with this quiz taken down."""


class Quiz(TrainerCallback):
    """Holds a quiz at the start, after every `quiz_steps` optimizer steps and at the end.

    What it shows counts from a step on of which nothing was read yet; at the start that is the first one. The
    adapter that did best so far is kept, of equal ones the earlier.
    """

    def __init__(
        self,
        trainer: PairTrainer,
        engine: Engine | None,
        examiner: Examiner | None,
        *,
        quiz_steps: int,
        first_version: int,
        base_model: str,
        adapters: Path,
        best: BestAdapter,
    ) -> None:
        """`examiner` is there on the first process alone, and so is the `engine` if it is not the trainer's own model.
        The policy that the run begins with has `first_version`; each optimizer step adds one."""
        self._trainer = trainer
        self._engine = engine
        self._examiner = examiner
        self._quiz_steps = quiz_steps
        self._first_version = first_version
        self._base_model = base_model
        self._adapters = adapters
        self._best = best
        self._gap: float | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The quiz before the first step, unless the run goes on from a checkpoint."""
        if state.global_step == 0:
            outcome = self._hold(0)
            self._trainer.sampler.begin_with(outcome.notebook, outcome.result)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """A quiz where one is due."""
        step = state.global_step
        if step % self._quiz_steps == 0 or step == state.max_steps:
            outcome = self._hold(step)
            self._trainer.sampler.announce(outcome.notebook, outcome.result)

    def _hold(self, step: int) -> Outcome:
        version = self._first_version + step
        with self._trainer.stopwatch.measure("quiz"), self._policy_in_force(version):
            outcomes = [self._outcome(step, version)]
            broadcast_object_list(outcomes)
        (outcome,) = outcomes
        if outcome is None:
            raise RuntimeError("the first process has no examiner")
        self._keep_best(outcome.result, version)
        self._trainer.log_apart(self._metrics(outcome))
        return outcome

    def _policy_in_force(self, version: int) -> AbstractContextManager[Any]:
        if isinstance(self._engine, TransformersEngine):
            return sharing(self._engine, self._trainer, version)
        self._gap = send_policy(self._engine, self._trainer, self._adapters, self._base_model, version)
        return nullcontext()

    def _outcome(self, step: int, version: int) -> Outcome | None:
        if self._examiner is None:
            return None
        rollouts = self._examiner.examine()
        notebook = copy.deepcopy(self._trainer.sampler.history.last.notebook)
        notebook.observe(rollouts)
        result = QuizResult.of(rollouts, policy_version=version, step=step)
        return Outcome(result, len(rollouts) - result.samples, notebook)

    def _earlier(self) -> list[QuizResult]:
        return [snapshot.quiz for snapshot in self._trainer.sampler.history if snapshot.quiz is not None]

    def _keep_best(self, result: QuizResult, version: int) -> None:
        if result.pass_at_1 > max((quiz.pass_at_1 for quiz in self._earlier()), default=-1.0):
            self._best.keep(self._trainer, self._base_model, version)

    def _metrics(self, outcome: Outcome) -> dict[str, float]:
        result, quizzes = outcome.result, [*self._earlier(), outcome.result]
        types = sorted({error_type for quiz in quizzes for error_type in quiz.errors})
        return {
            "quiz/pass@1": result.pass_at_1,
            "quiz/best_pass@1": max(quiz.pass_at_1 for quiz in quizzes),
            "quiz/samples": float(result.samples),
            "quiz/unscored": float(outcome.unscored),
            **({} if self._gap is None else {"quiz/logprob_gap": self._gap}),
            **{f"quiz/error/{name}": _rate(result, name) for name in types},
        }


def _rate(result: QuizResult, error_type: ErrorType) -> float:
    return result.errors.get(error_type, 0) / result.samples if result.samples else 0.0


def add_quiz(
    trainer: PairTrainer,
    args: PairArguments,
    model_args: Any,
    *,
    first_version: int,
    resumed_from: Path | None,
    stack: ExitStack,
    engine: Engine | None = None,
    sandbox: Sandbox | None = None,
) -> None:
    """Let `trainer` hold quizzes as `args` says. What is opened here is closed by `stack`; `engine` and `sandbox` are
    used and left open where they are given.

    Raises:
        InputError: the validation problems can't be loaded.
    """
    problems = training_problems_from(args, "quiz_")
    is_first, run = trainer.accelerator.is_main_process, Path(trainer.args.output_dir)
    if engine is None and (is_first or args.engine == "transformers"):
        engine = open_training_engine(args, model_args, trainer.processing_class, run, stack, by_all=False)
    examiner = None
    if is_first and engine is not None:
        examiner = _open_examiner(trainer, args, problems, engine, sandbox, stack)
    trainer.best_adapter = BestAdapter(run, is_first)
    trainer.best_adapter.go_on_from(resumed_from / SNAPSHOTS if resumed_from else None)
    quiz = Quiz(
        trainer,
        engine,
        examiner,
        quiz_steps=args.quiz_steps,
        first_version=first_version,
        base_model=str(model_args.model_name_or_path),
        adapters=Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rlcode-adapters-"))),
        best=trainer.best_adapter,
    )
    trainer.add_callback(quiz)


def _open_examiner(
    trainer: PairTrainer,
    args: PairArguments,
    problems: Sequence[Problem],
    engine: Engine,
    sandbox: Sandbox | None,
    stack: ExitStack,
) -> Examiner:
    store = stack.enter_context(RolloutStore(Path(trainer.args.output_dir) / FOLDER))
    held = {snapshot.quiz.policy_version for snapshot in trainer.sampler.history if snapshot.quiz is not None}
    store.keep_only(lambda rollout: rollout.completion.policy_version in held)
    return Examiner(
        problems=problems,
        prompts=PromptFormat.from_arguments(args),
        num_generations=args.quiz_generations,
        params=SamplingParams(
            temperature=args.quiz_temperature,
            max_completion_length=args.quiz_max_completion_length,
            seed=trainer.args.seed,
        ),
        engine=engine,
        sandbox=sandbox or open_training_sandbox(args, stack),
        extractor=stack.enter_context(Extractor()),
        limits=limits_from(args),
        store=store,
        max_unscored_share=args.max_unscored_share,
    )
