"""One cell of the comparison of samplers: train by one arm from the bed's base model, then measure.

Everything but the choice of pairs is shared by the arms of a seed: problems, the completions of round one, the
adapter's start, the noise of every later completion (it belongs to problem, index and seed) and of the evaluation.
"""

from __future__ import annotations

import copy
import gc
import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

# Idle OpenMP threads that spin slow a busy machine down; read once, when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

import numpy as np
import torch
from transformers import PrinterCallback
from trl import DPOConfig, ModelConfig

from benchmarks.sampler_arms import ARMS
from benchmarks.sampler_beds import BEDS, HELD_OUT_PROBLEMS, OBJECTIVES, QUIZ_PROBLEMS, base_of, problems_of
from benchmarks.sampler_results import NO_TRAINING, Cell, Result, Round
from eval.pass_at_k import pass_at_k
from rlcode.extraction_worker import Extractor
from rlcode.prompts import PromptFormat
from rlcode.types import PartialLimits, Problem, Rollout
from sampling.engine import Engine, EngineSettings, SamplingParams, open_engine
from sampling.notebook import ErrorNotebook
from sampling.pool import PairPool, build_pair_pool
from sampling.rollouts import key_of, make_requests, roll_out
from sampling.snapshots import QuizResult, Snapshot, SnapshotHistory
from sampling.store import read_rollouts, write_rollouts
from sandbox.cache import open_cache
from sandbox.pool import open_sandbox
from train.draw_log import FILE_NAME as DRAWS
from train.draw_log import DrawLog
from train.pair_sampler import PairSampler, StepPlan
from train.pair_trainer import PairTrainer
from train.policy import load_policy, load_tokenizer, save_policy
from train.quickstart import quieten
from train.quickstart_report import passed_by_task

MAX_COMPLETION_LENGTH = 100
EVAL_SAMPLES = 10
QUIZ_SAMPLES = 4


class Workshop:
    """What the cells of one process share: sandbox, verdict cache, extractor, the files of the work directory."""

    def __init__(self, work: Path, sandbox: str) -> None:
        torch.set_num_threads(1)  # a step is too small for two
        quieten()
        self.work = work
        with ExitStack() as stack:
            # programs repeat a lot, and their limits count what they use: a busy machine makes no other verdict
            cache = stack.enter_context(open_cache(work / "verdicts.sqlite", keep_limit_failures=True))
            self.sandbox = stack.enter_context(open_sandbox(sandbox, workers=1, cache=cache))
            self.extractor = stack.enter_context(Extractor())
            self._stack = stack.pop_all()
        gc.freeze()  # what is here stays; TRL collects garbage after every run

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        gc.unfreeze()
        self._stack.close()


def run_cell(cell: Cell, workshop: Workshop) -> Result:
    """Train and measure."""
    wall, cpu = time.monotonic(), time.process_time()
    base = base_of(BEDS[cell.bed], workshop.work, cell.seed)
    with open_engine(EngineSettings("transformers", batch_size=256), str(base)) as engine:
        run = Run(cell, workshop, engine, base)
        if cell.arm != NO_TRAINING:
            with tempfile.TemporaryDirectory(prefix="rlcode-cell-") as folder:
                run.train(Path(folder))
        return run.measure(wall, cpu)


class Run:
    """A cell on its way: the policy in the engine, and what the rounds so far left behind."""

    def __init__(self, cell: Cell, workshop: Workshop, engine: Engine, base: Path) -> None:
        self.cell = cell
        self.workshop = workshop
        self.engine = engine
        self.base = base
        self.adapter: Path | None = None
        self.notebook = ErrorNotebook()
        self.rounds: list[Round] = []
        self.quiz_samples = 0

    def train(self, folder: Path) -> None:
        """All rounds, each on new problems."""
        budget = self.cell.budget
        problems = problems_of("train", budget.rounds * budget.problems, self.cell.seed)
        for number in range(budget.rounds):
            self._round(number, problems[number * budget.problems :][: budget.problems], folder / str(number))

    def _round(self, number: int, problems: Sequence[Problem], folder: Path) -> None:
        arm = ARMS[self.cell.arm]
        folder.mkdir()
        rollouts = self._first_rollouts(problems) if number == 0 else self._rollouts(problems, number)
        quiz, quizzed = self._quiz(number) if arm.quiz else (None, [])
        self.notebook.observe([*rollouts, *quizzed])
        pool = build_pair_pool(rollouts, arm.pool, cache_dir=folder)
        snapshot = Snapshot(0, copy.deepcopy(self.notebook), quiz)
        trainer = self._trainer(pool, snapshot, number, folder)
        trainer.train()
        self.adapter = folder / "adapter"
        save_policy(trainer, self.adapter, str(self.base), number + 1)
        self.engine.load_adapter(number + 1, self.adapter)
        self.rounds.append(_round_of(rollouts, quizzed, pool, folder / DRAWS))

    def _trainer(self, pool: PairPool, snapshot: Snapshot, number: int, folder: Path) -> PairTrainer:
        """The framework's DPO trainer, from the last round's adapter on. Arms of one seed and draw have the same random
        numbers at the same position."""
        cell, args = self.cell, training_config(self.cell, folder)
        model_args = ModelConfig(model_name_or_path=str(self.base), lora_r=16, lora_alpha=32, lora_dropout=0.0)
        trainer = PairTrainer(
            model=load_policy(model_args, str(self.adapter) if self.adapter else None, cell.seed),
            args=args,
            sampler=PairSampler(
                pool,
                ARMS[cell.arm].make(),
                SnapshotHistory(snapshot),
                StepPlan.from_arguments(args, cell.budget.pairs),
                seed=1000 * (100 * cell.seed + number) + cell.draw,
            ),
            draw_log=DrawLog(folder / DRAWS, pool, writes=True),
            processing_class=load_tokenizer(model_args),
        )
        if self.adapter is None:
            trainer.model.delete_adapter("ref")  # TRL then takes the model without adapter as the reference
        trainer.remove_callback(PrinterCallback)
        return trainer

    def _first_rollouts(self, problems: Sequence[Problem]) -> list[Rollout]:
        """Those of round one, which all arms of a seed share, from a file."""
        cell = self.cell
        path = self.workshop.work / (
            f"{cell.bed}-rollouts-{cell.seed}-{cell.budget.rounds}x{cell.budget.problems}x{cell.budget.samples}.jsonl"
        )
        if not path.exists():
            write_rollouts(path, self._rollouts(problems, 0))
        return list(read_rollouts([path]))

    def _rollouts(self, problems: Sequence[Problem], number: int) -> list[Rollout]:
        return self.roll_out(problems, self.cell.budget.samples, seed=100 * self.cell.seed + number)

    def _quiz(self, number: int) -> tuple[QuizResult, list[Rollout]]:
        """How the policy does on the validation problems now; the same problems and noise before every round."""
        rollouts = self.roll_out(problems_of("validation", QUIZ_PROBLEMS, self.cell.seed), QUIZ_SAMPLES, seed=1)
        self.quiz_samples += len(rollouts)
        return QuizResult.of(rollouts, policy_version=self.engine.policy_version, step=number), rollouts

    def roll_out(self, problems: Sequence[Problem], samples: int, seed: int, *, greedy: bool = False) -> list[Rollout]:
        """Judged completions of the policy in force, in the order of the problems."""
        params = SamplingParams(0.0 if greedy else 1.0, max_completion_length=MAX_COMPLETION_LENGTH, seed=seed)
        requests = list(make_requests(problems, self.engine, samples, PromptFormat("completion")))
        rollouts = roll_out(
            requests,
            problems,
            engine=self.engine,
            params=params,
            sandbox=self.workshop.sandbox,
            extractor=self.workshop.extractor,
            limits=PartialLimits(),
        )
        judged = {key_of(rollout.completion): rollout for rollout in rollouts}
        return [judged[key_of(request)] for request in requests]

    def measure(self, wall: float, cpu: float) -> Result:
        """The policy in force on the problems of the cell's split; `wall` and `cpu` are when the run began."""
        problems = problems_of(self.cell.split, HELD_OUT_PROBLEMS, self.cell.seed)
        sampled = self.roll_out(problems, EVAL_SAMPLES, seed=100 * self.cell.seed + 99)
        greedy = self.roll_out(problems, 1, seed=0, greedy=True)
        return Result(
            pass_at_1=_pass_at(1, sampled),
            pass_at_10=_pass_at(EVAL_SAMPLES, sampled),
            greedy=_pass_at(1, greedy),
            error_rates=_error_rates(sampled),
            greedy_error_rates=_error_rates(greedy),
            unscored=sum(rollout.verdict is None for rollout in sampled),
            pairs=len(self.rounds) * self.cell.budget.pairs,
            distinct_pairs=sum(one.distinct_pairs for one in self.rounds),
            trained_tokens=sum(one.trained_tokens for one in self.rounds),
            generated_tokens=sum(one.generated_tokens for one in self.rounds),
            quiz_samples=self.quiz_samples,
            rounds=tuple(self.rounds),
            wall_s=time.monotonic() - wall,
            cpu_s=time.process_time() - cpu,
        )


def training_config(cell: Cell, folder: Path) -> DPOConfig:
    """TRL's configuration of one round."""
    losses = OBJECTIVES[cell.objective]
    return DPOConfig(
        beta=0.1,
        loss_type=list(losses),
        loss_weights=[cell.nll_weight if loss == "sft" and len(losses) > 1 else 1.0 for loss in losses],
        learning_rate=cell.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=0.1,
        per_device_train_batch_size=8,
        num_train_epochs=1,
        output_dir=str(folder),
        seed=cell.seed,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )


def _round_of(rollouts: Sequence[Rollout], quizzed: Sequence[Rollout], pool: PairPool, draws_file: Path) -> Round:
    draws = [json.loads(line) for line in draws_file.read_text(encoding="utf-8").splitlines()]
    pairs = [(draw["rejected"]["side"], draw["chosen"]["side"]) for draw in draws]
    return Round(
        passed=_pass_share(rollouts),
        error_rates=_error_rates(rollouts),
        drawn=_shares(draw["error_type"] for draw in draws),
        parts=_shares(draw["part"] for draw in draws),
        distinct_pairs=len(set(pairs)),
        trained_tokens=int(pool.sides.num_tokens[np.array(pairs)].sum()),
        generated_tokens=sum(len(rollout.completion.token_ids) for rollout in (*rollouts, *quizzed)),
    )


def _pass_share(rollouts: Sequence[Rollout]) -> float:
    verdicts = [rollout.verdict for rollout in rollouts if rollout.verdict is not None]
    return sum(verdict.passed for verdict in verdicts) / len(verdicts)


def _error_rates(rollouts: Sequence[Rollout]) -> dict[str, float]:
    verdicts = [rollout.verdict for rollout in rollouts if rollout.verdict is not None]
    errors = Counter(str(verdict.error_type) for verdict in verdicts if verdict.error_type is not None)
    return {name: count / len(verdicts) for name, count in errors.most_common()}


def _shares(labels: Iterator[str]) -> dict[str, float]:
    counts = Counter(labels)
    return {label: count / counts.total() for label, count in counts.most_common()}


def _pass_at(k: int, rollouts: Sequence[Rollout]) -> float:
    """pass@k; a problem with fewer than k scored samples is an error, for then arms could not be compared."""
    interval = pass_at_k(passed_by_task(rollouts), k)
    if interval is None:
        raise RuntimeError(f"pass@{k} needs {k} scored samples of each problem; see the sandbox's log")
    return interval.value
