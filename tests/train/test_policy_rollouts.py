"""GRPO with an engine that writes what a script says: the groups that TRL really trains on, what is stored of the
others, and one notebook for GRPO and DPO."""

from __future__ import annotations

import json
import logging
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from transformers import AutoTokenizer
from trl import DPOConfig, GRPOConfig

from rewards.held_back import HeldBackCheck, split_tests
from rlcode.extraction_worker import Extractor
from rlcode.prompts import PromptFormat
from rlcode.types import (
    Completion,
    ErrorType,
    PartialLimits,
    Problem,
    Program,
    Rollout,
    TestCase,
    TestKind,
    Unscored,
    Verdict,
)
from sampling.engine import GenerationRequest, SamplingParams, request_seed
from sampling.notebook import ErrorNotebook
from sampling.prompt_sampler import PromptSampler, PromptSampling
from sampling.store import RolloutStore, read_rollouts
from sandbox.pool import open_sandbox
from tests.train.model_configs import model_config
from train.arguments import GrpoArguments, PairArguments, PolicyArguments
from train.dpo import train_dpo
from train.grpo import train_grpo
from train.held_back import HeldBackTests
from train.policy_rollouts import PolicyRollouts

G, GROUPS, STEPS = 8, 8, 4
RIGHT = "    return 1\n"
WRONG = ("    return 2\n", "    return one\n", "    return [][0]\n")


class ScriptedEngine:
    """Writes a program that passes with the chance that its task has."""

    name, block_size = "scripted", None

    def __init__(self, model: Path, chances: dict[str, float]) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(model)
        self.policy_version = 0
        self._chances = chances

    def load_adapter(self, version: int, path: Path) -> float:
        assert version > self.policy_version
        self.policy_version = version
        return 0.0

    def generate(self, requests: Iterable[GenerationRequest], params: SamplingParams) -> Iterator[Completion]:
        for request in requests:
            seed = request_seed(params.seed, request)
            chance = random.Random(seed)
            text = RIGHT if chance.random() < self._chances[request.task_id] else chance.choice(WRONG)
            ids = (*self.tokenizer(text)["input_ids"], self.tokenizer.eos_token_id)
            logprobs = (-1.0,) * len(ids)
            yield Completion(
                *(request.task_id, request.index, text, request.prompt_token_ids, ids, logprobs, "stop"),
                policy_version=self.policy_version,
                seed=seed,
            )


def problem(task_id: str, *more: str) -> Problem:
    tests = tuple(TestCase(TestKind.ASSERTS, code=code) for code in ("assert solve() == 1", *more))
    return Problem(task_id, f"def solve():  # {task_id}\n", tests, entry_point="solve")


@dataclass
class Run:
    path: Path
    rollouts: list[Rollout]
    logged: list[dict[str, Any]]
    """TRL's metrics of each step."""
    trained: list[list[pd.DataFrame]]
    """The rows of each group of each step, as TRL logged them."""

    def total(self, metric: str) -> float:
        return sum(step[f"groups/{metric}"] for step in self.logged)


def run(
    path: Path,
    model: Path,
    chances: dict[str, float],
    *,
    steps: int = STEPS,
    problems: Iterable[Problem] | None = None,
    **options: Any,
) -> Run:
    args = GrpoArguments(prompt_style="completion", **options)
    training = GRPOConfig(
        output_dir=str(path),
        num_generations=G,
        per_device_train_batch_size=G * GROUPS,
        max_steps=steps,
        beta=0.0,
        max_completion_length=16,
        learning_rate=1e-4,
        logging_steps=1,
        log_completions=True,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to="none",
        save_strategy="steps",
        save_steps=steps,
        disable_tqdm=True,
    )
    with open_sandbox("local", 2) as sandbox:
        train_grpo(
            *(args, model_config(model), training),
            list(problems or map(problem, chances)),
            engine=ScriptedEngine(model, chances),
            sandbox=sandbox,
        )
    state = json.loads((path / f"checkpoint-{steps}" / "trainer_state.json").read_text())
    return Run(
        path,
        list(read_rollouts([path])),
        [entry for entry in state["log_history"] if "groups/drawn" in entry],
        [groups_of(path / "completions" / f"completions_{step:05d}.parquet") for step in range(1, steps + 1)],
    )


def groups_of(table: Path) -> list[pd.DataFrame]:
    rows = pd.read_parquet(table)
    return [rows.iloc[start : start + G] for start in range(0, len(rows), G)]


HALF_FLAT = {**{f"mixed{i}": 0.5 for i in range(16)}, **{f"easy{i}": 1.0 for i in range(8)}}
HALF_FLAT |= {f"hard{i}": 0.0 for i in range(8)}


@pytest.fixture(scope="module")
def half_flat(tmp_path_factory, random_model: Path) -> Run:
    """A run on problems of which half are always passed or never."""
    path = tmp_path_factory.mktemp("grpo") / "half_flat"
    return run(path, random_model, HALF_FLAT, prompt_sampling="uniform")


def test_where_half_of_the_groups_have_no_variance_under_five_percent_of_the_trained_ones_have_none(half_flat: Run):
    assert half_flat.total("dropped_all_pass") + half_flat.total("dropped_all_fail") > STEPS
    trained = [group for step in half_flat.trained for group in step]
    assert len(trained) == STEPS * GROUPS
    flat = sum(group["correctness"].nunique() == 1 for group in trained) / len(trained)
    assert flat < 0.05
    assert flat == half_flat.total("zero_variance_trained") / STEPS
    assert [step["frac_reward_zero_std"] for step in half_flat.logged] == pytest.approx(
        [step["groups/zero_variance_trained"] for step in half_flat.logged]
    )


def test_trl_sees_whole_groups_under_the_prompts_of_their_problems(half_flat: Run):
    prompts = {problem(task_id).prompt for task_id in HALF_FLAT}
    for group in (group for step in half_flat.trained for group in step):
        assert group["prompt"].nunique() == 1
        assert set(group["prompt"]) <= prompts
        assert group["advantage"].sum() == pytest.approx(0, abs=1e-4)


def test_what_was_dropped_is_stored_and_taken_down_too(half_flat: Run):
    assert len(half_flat.rollouts) == half_flat.total("drawn") * G > STEPS * GROUPS * G
    keys = Counter((r.completion.policy_version, r.completion.task_id, r.completion.index) for r in half_flat.rollouts)
    assert set(keys.values()) == {1}
    assert len({rollout.completion.seed for rollout in half_flat.rollouts}) == len(half_flat.rollouts)
    saved, expected = ErrorNotebook.load(half_flat.path / "notebook.json"), ErrorNotebook()
    expected.observe(half_flat.rollouts)
    assert saved.evidence() == expected.evidence()
    assert saved.scored == len(half_flat.rollouts)


@pytest.fixture(scope="module")
def dpo_run(tmp_path_factory, half_flat: Run, random_model: Path) -> Path:
    """A run of DPO on what GRPO stored."""
    path = tmp_path_factory.mktemp("dpo") / "run"
    config = DPOConfig(
        output_dir=str(path),
        per_device_train_batch_size=8,
        max_steps=2,
        learning_rate=1e-4,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
    )
    train_dpo(
        PairArguments(rollouts=[str(half_flat.path)], num_pairs=32),
        PolicyArguments(),
        model_config(random_model),
        config,
    )
    return path


def test_dpo_draws_its_pairs_from_what_grpo_stored(dpo_run: Path, half_flat: Run):
    pairs = [json.loads(line) for line in (dpo_run / "draws.jsonl").read_text().splitlines()]
    assert len(pairs) == 2 * 8
    assert {pair["task_id"][:5] for pair in pairs} == {"mixed"}
    assert {pair["error_type"] for pair in pairs} <= {ErrorType.WRONG_ANSWER, ErrorType.NAME, ErrorType.INDEX}
    assert ErrorNotebook.load(dpo_run / "notebook.json").scored == len(half_flat.rollouts)


def test_a_run_that_goes_on_knows_what_all_processes_stored_before_the_checkpoint(tmp_path: Path, half_flat: Run):
    stores = [RolloutStore(tmp_path, f"-rank{rank}") for rank in range(2)]
    for place, rollout in enumerate(half_flat.rollouts):
        stores[place % 2].append(rollout)
    nothing: Any = None
    rollouts = PolicyRollouts(
        *([problem("t")], PromptFormat("completion"), SimpleNamespace(tokenizer=nothing), nothing, nothing, nothing),
        *(stores[0], nothing, "base", 1, 0.1, nothing, False, nothing, ErrorNotebook()),
    )
    accelerator, state = SimpleNamespace(wait_for_everyone=lambda: None), SimpleNamespace(log_history=[])
    rollouts._go_on_from(3, SimpleNamespace(accelerator=accelerator, state=state))
    before = [rollout for rollout in half_flat.rollouts if rollout.completion.policy_version < 3]
    expected = ErrorNotebook()
    expected.observe(before)
    assert len(before) < len(half_flat.rollouts)
    assert rollouts.notebook.evidence() == expected.evidence()
    own = read_rollouts([tmp_path / "rollouts-rank0-00000.jsonl"])
    assert all(rollout.completion.policy_version < 3 for rollout in own)


def test_grpo_begins_with_what_the_notebook_of_a_dpo_run_says(
    tmp_path: Path, dpo_run: Path, half_flat: Run, random_model: Path
):
    earlier = ErrorNotebook.load(dpo_run / "notebook.json")
    sampler = PromptSampler(list(HALF_FLAT), PromptSampling(G))
    first = list(islice(sampler.order(earlier, seed=42, step=0), GROUPS))
    assert first != list(islice(sampler.order(ErrorNotebook(), seed=42, step=0), GROUPS))
    options = {"notebook": str(dpo_run / "notebook.json"), "group_filter": False}
    found = run(tmp_path / "run", random_model, HALF_FLAT, **options)
    newest = max(earlier.versions())
    drawn = {r.completion.task_id for r in found.rollouts if r.completion.policy_version == newest + 1}
    assert drawn == set(first)
    assert {rollout.completion.policy_version for rollout in found.rollouts} == {newest + 1 + i for i in range(STEPS)}
    assert ErrorNotebook.load(found.path / "notebook.json").scored == earlier.scored + len(found.rollouts)


def test_where_no_problem_can_be_solved_the_run_finishes_and_says_so_once(
    tmp_path: Path, random_model: Path, caplog, capsys
):
    with caplog.at_level(logging.WARNING):
        found = run(tmp_path / "run", random_model, {f"hard{i}": 0.0 for i in range(6)})
    assert (found.path / "adapter" / "adapter_model.safetensors").is_file()
    for step in found.logged:
        assert step["groups/zero_variance_trained"] == 1
        assert step["groups/short"] == GROUPS
        assert step["groups/drawn"] == 4 * GROUPS
        assert step["groups/dropped_all_fail"] == 3 * GROUPS
    told = [record.getMessage() for record in caplog.records if "groups/short" in record.getMessage()]
    assert len(told) == 1
    assert f"{4 * GROUPS} groups were drawn, and only 0 of the {GROUPS} that are needed" in told[0]
    assert (
        f"{4 * GROUPS * STEPS} groups drawn, {GROUPS * STEPS} trained on, {GROUPS * STEPS} of them"
        in capsys.readouterr().out
    )
    # fewer problems than groups: each comes again, with other noise
    by_step = defaultdict(list)
    for rollout in found.rollouts:
        by_step[rollout.completion.policy_version].append((rollout.completion.task_id, rollout.completion.index))
    assert all(len(set(keys)) == len(keys) == 4 * GROUPS * G for keys in by_step.values())


def test_without_filter_and_sampler_each_pass_gives_every_problem_one_group(tmp_path: Path, random_model: Path):
    chances = {f"t{i}": 0.5 for i in range(GROUPS * STEPS)}
    found = run(tmp_path / "run", random_model, chances, prompt_sampling="uniform", group_filter=False)
    assert Counter(rollout.completion.task_id for rollout in found.rollouts) == dict.fromkeys(chances, G)
    assert found.total("drawn") == GROUPS * STEPS


def test_trl_trains_on_the_sum_of_the_terms_and_logs_each(tmp_path: Path, random_model: Path):
    terms = {"correctness": 1.0, "ladder": 0.5, "length": 0.25}
    options = {"reward_terms": terms, "ladder": {"name": 0.0}, "overlong_share": 1.0}
    found = run(tmp_path / "run", random_model, HALF_FLAT, steps=2, **options)
    by_text = {
        RIGHT: (1.0, 1.0),
        WRONG[0]: (0.0, 0.4),
        WRONG[1]: (0.0, 0.0),
        WRONG[2]: (0.0, 0.3),
    }
    tokens = {rollout.completion.text: len(rollout.completion.token_ids) for rollout in found.rollouts}
    assert len(set(tokens.values())) > 1
    for step, groups in zip(found.logged, found.trained, strict=True):
        rows = pd.concat(groups)
        parts = [(*by_text[text], -tokens[text] / 16) for text in rows["completion"]]
        expected = [sum(weight * value for weight, value in zip(terms.values(), part, strict=True)) for part in parts]
        assert rows["composite"].tolist() == pytest.approx(expected)
        assert step["reward"] == pytest.approx(sum(expected) / len(expected))
        for name, values in zip(terms, zip(*parts, strict=True), strict=True):
            assert step[f"reward/{name}"] == pytest.approx(sum(values) / len(values)), name


def test_by_default_the_binary_reward_is_logged_by_its_name(half_flat: Run):
    for step in half_flat.logged:
        assert step["reward/correctness"] == step["rewards/correctness/mean"] == pytest.approx(step["reward"])
        assert [name for name in step if name.startswith("reward/")] == ["reward/correctness"]


def test_held_back_tests_give_no_reward_and_are_watched(tmp_path: Path, random_model: Path):
    """Each problem accepts 1 in one test, and anything up to 2 in the other: where the latter is shown, 2 has the
    reward too, and fails what is held back."""
    problems = [problem(f"t{n}", "assert solve() < 3") for n in range(16)]
    chances = {one.task_id: 0.5 for one in problems}
    found = run(
        *(tmp_path / "run", random_model, chances), steps=2, problems=problems, held_back_tests=0.5, group_filter=False
    )
    is_easy = {one.task_id: "< 3" in split_tests(one, 0.5, 42).shown.tests[0].code for one in problems}
    assert len(set(is_easy.values())) == 2
    by_step = defaultdict(list)
    for rollout in found.rollouts:
        text, verdict = rollout.completion.text, rollout.verdict
        hacked = text == WRONG[0] and is_easy[rollout.completion.task_id]
        assert (verdict.passed, verdict.tests_total) == (text == RIGHT or hacked, 1)
        by_step[rollout.completion.policy_version].append((verdict.passed, hacked))
    for step, samples in zip(found.logged, (by_step[version] for version in sorted(by_step)), strict=True):
        shown, gap = (sum(part) / len(samples) for part in zip(*samples, strict=True))
        assert gap > 0
        assert step["held_back/gap"] == pytest.approx(gap)
        assert step["held_back/pass_rate_shown"] == pytest.approx(shown)
        assert step["held_back/pass_rate_all"] == pytest.approx(shown - gap)
        assert step["reward"] == pytest.approx(shown)


def test_without_held_back_tests_nothing_is_watched(half_flat: Run):
    assert not [name for step in half_flat.logged for name in step if name.startswith("held_back/")]


def test_what_could_not_be_judged_against_the_held_back_tests_is_counted_as_such():
    class Lost:
        def submit(self, job: Any) -> Future:
            done: Future = Future()
            done.set_result(Unscored("the engine is gone"))
            return done

    rollouts = [
        Rollout(Completion(task_id, 0, "x"), Program("x", "x"), verdict)
        for task_id, verdict in [("t", Verdict(None, 1, 1)), ("t", None), ("other", Verdict(None, 1, 1))]
    ]
    tests, nothing = HeldBackTests([problem("t")]), PartialLimits()
    (check,) = tests.check(rollouts, sandbox=Lost(), extractor=Extractor(), limits=nothing)
    assert check == HeldBackCheck(True, None, "the engine is gone")
    tests.count([check])
    assert tests.end_batch() == {}
