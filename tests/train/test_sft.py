"""SFT learns programs that passed, as they were sampled, and reference solutions as answers to what is asked."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import SFTConfig

from rlcode import few_shot
from rlcode.cli import run_main
from rlcode.data import jsonl
from rlcode.errors import DataError, InputError
from rlcode.extraction import extract
from rlcode.prompts import PromptFormat, build_prompt, tokenize_prompt
from rlcode.reference_answers import reference_answer
from rlcode.tiny.tasks import SMALL_WORLD, make_problems
from rlcode.types import Completion, ErrorType, Problem, Program, Rollout, Verdict
from sampling.adapters import adapter_version
from sampling.decoding import sequence_logprobs
from sampling.identity import read_record
from sampling.store import read_rollouts, write_rollouts
from sandbox.pool import open_sandbox
from sandbox.protocol import Sandbox
from tests.tokenizers import CHATML, THINKING, make_tokenizer
from tests.train.killed import Killed, kill_all
from tests.train.model_configs import model_config
from train.arguments import PolicyArguments, SftArguments
from train.checkpoints import WHOLE
from train.data_order import ExampleSampler
from train.example_trainer import ExampleTrainer
from train.sft import main, make_examples, make_trainer, train_sft
from train.sft_examples import NO_LOSS, ExampleSet

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).resolve().parents[2]
PROMPT = "def solve(xs):\n"


@pytest.fixture(scope="module")
def tokenizer(random_model: Path) -> Any:
    return AutoTokenizer.from_pretrained(random_model)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with open_sandbox("local", workers=1) as opened:
        yield opened


OPTIONS = {
    "per_device_train_batch_size": 4,
    "learning_rate": 1e-3,
    "use_cpu": True,
    "bf16": False,
    "gradient_checkpointing": False,
    "report_to": "none",
    "save_strategy": "no",
    "logging_steps": 1,
}


def sft_config(output_dir: Path, **options: object) -> SFTConfig:
    return SFTConfig(output_dir=str(output_dir), disable_tqdm=True, **{**OPTIONS, **options})


def rollout(
    tokenizer: Any,
    task_id: str,
    body: str,
    error: ErrorType | None = None,
    *,
    index: int = 0,
    finished: bool = True,
    version: int = 0,
    prompt: str = PROMPT,
) -> Rollout:
    """One whose tokens are single characters, as no tokenizer would write them."""
    ids = [token for character in body for token in tokenizer(character)["input_ids"]]
    completion = Completion(
        task_id,
        index,
        body,
        tuple(tokenizer(prompt)["input_ids"]),
        (*ids, tokenizer.eos_token_id) if finished else tuple(ids),
        finish_reason="stop" if finished else "length",
        policy_version=version,
    )
    return Rollout(completion, Program(prompt + body, "continuation"), Verdict(error, int(error is None), 1))


def examples_of(tmp_path: Path, tokenizer: Any, rollouts: Sequence[Rollout], **options: Any) -> ExampleSet:
    """What a run on these rollouts would train on; `max_length` and `seed` are TRL's."""
    trl = {name: options.pop(name) for name in ("max_length", "seed") if name in options}
    folder = tmp_path / str(len(list(tmp_path.iterdir())))
    folder.mkdir()
    write_rollouts(folder / "rollouts.jsonl", rollouts)
    arguments = SftArguments(rollouts=[str(folder / "rollouts.jsonl")], **options)
    return make_examples(arguments, sft_config(tmp_path / "out", **trl), tokenizer, folder)


def bodies(examples: ExampleSet, tokenizer: Any) -> list[tuple[str, str]]:
    """Task and completion of each example, as text."""
    learnt = [[label for label in row["labels"] if label != NO_LOSS] for row in examples.rows]
    return list(zip(examples.rows["task_id"], map(tokenizer.decode, learnt), strict=True))


def test_an_example_is_the_tokens_that_were_sampled_and_the_loss_is_the_completions(tmp_path: Path, tokenizer: Any):
    sampled = rollout(tokenizer, "a", "    return xs")
    (row,) = examples_of(tmp_path, tokenizer, [sampled]).rows
    prompt, completion = list(sampled.completion.prompt_token_ids), list(sampled.completion.token_ids)
    assert len(completion) == len("    return xs") + 1
    assert row["input_ids"] == prompt + completion
    assert row["labels"] == [-100] * len(prompt) + completion
    assert row["input_ids"][-1] == tokenizer.eos_token_id
    assert (row["task_id"], row["index"], row["policy_version"]) == ("a", 0, 0)


def test_a_completion_that_was_cut_off_gets_no_end(tmp_path: Path, tokenizer: Any):
    cut = rollout(tokenizer, "a", "    return xs\n\n\n#", finished=False)
    (row,) = examples_of(tmp_path, tokenizer, [cut]).rows
    assert row["input_ids"] == [*cut.completion.prompt_token_ids, *cut.completion.token_ids]
    assert tokenizer.eos_token_id not in row["input_ids"]


def test_the_trainer_gets_them_as_they_are_and_padding_is_not_trained_on(
    tmp_path: Path, random_model: Path, tokenizer: Any
):
    rollouts = [rollout(tokenizer, name, f"    return {'xs' * (i + 1)}") for i, name in enumerate("abcd")]
    examples = examples_of(tmp_path, tokenizer, rollouts)
    trainer = make_trainer(PolicyArguments(), model_config(random_model), sft_config(tmp_path / "out"), examples)
    (batch,) = trainer.get_train_dataloader()
    for ids, labels, mask, number in zip(
        batch["input_ids"], batch["labels"], batch["attention_mask"], trainer.sampler, strict=True
    ):
        row = examples.rows[number]
        assert ids[mask.bool()].tolist() == row["input_ids"]
        assert labels[mask.bool()].tolist() == row["labels"]
        assert torch.all(labels[~mask.bool()] == NO_LOSS)


def test_only_what_passed_for_sure_is_taken_and_each_program_once(tmp_path: Path, tokenizer: Any):
    unscored = replace(rollout(tokenizer, "a", "    return 1"), verdict=None, unscored_reason="the sandbox broke")
    without_tests = replace(rollout(tokenizer, "a", "    return 2"), verdict=Verdict(None, 0, 0))
    rollouts = [
        rollout(tokenizer, "a", "    return xs"),
        rollout(tokenizer, "a", "    return xs  # the same", index=1),
        rollout(tokenizer, "a", "    return xs", index=2, prompt="# Another prompt.\n" + PROMPT),
        rollout(tokenizer, "a", "    return ys", ErrorType.NAME),
        rollout(tokenizer, "a", "    return sorted(xs)"),
        rollout(tokenizer, "a", "    return sorted(xs)", ErrorType.TIMEOUT, index=1),
        unscored,
        without_tests,
        rollout(tokenizer, "b", "    return xs"),
        rollout(tokenizer, "c", "    return xs", ErrorType.WRONG_ANSWER),
    ]
    end = tokenizer.eos_token
    for given in (rollouts, rollouts[::-1]):
        examples = examples_of(tmp_path, tokenizer, given)
        assert bodies(examples, tokenizer) == [("a", f"    return xs{end}"), ("b", f"    return xs{end}")]
    assert "2 programs of 2 problems" in examples.summary
    assert "of 10 rollouts were left out: 2 unscored, 2 unstable, 2 failed, 2 duplicates" in examples.summary


def test_a_problem_gives_at_most_so_many_programs_chosen_by_the_seed_alone(tmp_path: Path, tokenizer: Any):
    rollouts = [
        rollout(tokenizer, f"p{task}", f"    return xs[:{number}]", index=number)
        for task in range(3)
        for number in range(20)
    ]
    shuffled = random.Random(0).sample(rollouts, len(rollouts))
    first, again, other = (
        bodies(examples_of(tmp_path, tokenizer, given, max_per_problem=4, seed=seed), tokenizer)
        for given, seed in ((rollouts, 1), (shuffled, 1), (rollouts, 2))
    )
    assert Counter(task for task, _ in first) == {"p0": 4, "p1": 4, "p2": 4}
    assert first == again
    assert first != other
    assert len(bodies(examples_of(tmp_path, tokenizer, rollouts, max_per_problem=0), tokenizer)) == 60


def test_finished_programs_come_before_those_that_were_cut_off(tmp_path: Path, tokenizer: Any):
    rollouts = [rollout(tokenizer, "a", f"    return xs[:{n}]", index=n, finished=n >= 6) for n in range(10)]
    for seed in range(3):
        taken = examples_of(tmp_path, tokenizer, rollouts, max_per_problem=4, seed=seed).rows["index"]
        assert sorted(taken) == [6, 7, 8, 9]


def test_none_but_the_newest_policys_programs_are_taken_if_asked(tmp_path: Path, tokenizer: Any):
    rollouts = [rollout(tokenizer, "a", f"    return xs[:{n}]", version=n) for n in range(4)]
    rollouts.append(rollout(tokenizer, "b", "    return ys", ErrorType.NAME, version=3))
    assert examples_of(tmp_path, tokenizer, rollouts).rows["policy_version"] == [0, 1, 2, 3]
    examples = examples_of(tmp_path, tokenizer, rollouts, newest_policy_only=True)
    assert list(examples.rows["policy_version"]) == [3]
    assert examples.newest_version == 3


def test_what_is_longer_than_max_length_is_left_out_and_not_cut(tmp_path: Path, tokenizer: Any):
    short, long = (rollout(tokenizer, name, f"    return {name * 10}") for name in ("x", "y" * 5))
    length = len(short.completion.prompt_token_ids) + len(short.completion.token_ids)
    examples = examples_of(tmp_path, tokenizer, [short, long], max_length=length)
    assert [len(row["input_ids"]) for row in examples.rows] == [length]
    assert "1 too long" in examples.summary
    with pytest.raises(DataError, match=r"no program passed .*2 too long.*--num_generations"):
        examples_of(tmp_path, tokenizer, [short, long], max_length=length - 1)


def test_rollouts_without_a_pass_are_refused(tmp_path: Path, tokenizer: Any):
    failed = rollout(tokenizer, "a", "    return ys", ErrorType.NAME)
    unscored = replace(failed, verdict=None, unscored_reason="the sandbox broke")
    for rollouts in ([failed], [unscored], [failed, unscored]):
        with pytest.raises(DataError, match="no program passed that could be trained on"):
            examples_of(tmp_path, tokenizer, rollouts)
    with pytest.raises(DataError, match="no program passed that could be trained on"):
        examples_of(tmp_path, tokenizer, [unscored], newest_policy_only=True, max_per_problem=0)


def test_rollouts_of_a_model_with_another_tokenizer_are_refused(tmp_path: Path, judged_rollouts: Path):
    arguments = SftArguments(rollouts=[str(judged_rollouts)])
    with pytest.raises(DataError, match="must come from the model that is trained"):
        make_examples(arguments, sft_config(tmp_path / "out"), make_tokenizer(), tmp_path)


# reference solutions

BODY = "    return sum(1 for seat in row if seat == 0)"


@pytest.mark.parametrize(
    ("style", "problem", "answer"),
    [
        ("completion", few_shot.HEADS[0], BODY),
        ("few_shot", few_shot.HEADS[0], BODY),
        ("chat", few_shot.HEADS[0], f"```python\n{few_shot.HEADS[0].prompt}{BODY}\n```"),
        ("completion", few_shot.IN_WORDS[0], f"def free_seats(row):\n{BODY}\n```"),
        ("few_shot", few_shot.IN_WORDS[0], f"def free_seats(row):\n{BODY}\n[DONE]"),
        ("chat", few_shot.IN_WORDS[0], f"```python\ndef free_seats(row):\n{BODY}\n```"),
    ],
)
def test_a_reference_solution_has_the_form_that_the_prompt_asks_for(style: str, problem: Problem, answer: str):
    assert reference_answer(problem, PromptFormat(style)) == answer


@pytest.mark.parametrize("style", ["completion", "few_shot", "chat"])
def test_the_program_in_such_an_answer_is_the_reference_solution(style: str):
    for problem in (*few_shot.HEADS, *few_shot.IN_WORDS, *few_shot.STDIN):
        answer = reference_answer(problem, PromptFormat(style))
        assert extract(answer, problem).source.rstrip() == problem.reference_solution.rstrip()


def test_a_solution_that_does_not_begin_with_its_prompt_can_answer_in_a_chat_alone():
    other = replace(few_shot.HEADS[0], reference_solution=f"def free_seats(row, /):\n{BODY}\n")
    assert reference_answer(other, PromptFormat("completion")) is None
    assert f"def free_seats(row, /):\n{BODY}" in reference_answer(other, PromptFormat("chat"))


def reference_examples(
    tmp_path: Path, problems: Sequence[Problem], tokenizer: Any, sandbox: Sandbox | None = None, **options: Any
) -> ExampleSet:
    jsonl.save(problems, tmp_path / "problems.jsonl")
    arguments = SftArguments(benchmark_file=str(tmp_path / "problems.jsonl"), **options)
    return make_examples(arguments, sft_config(tmp_path / "out"), tokenizer, tmp_path, sandbox)


def outcomes(tmp_path: Path) -> dict[str, str]:
    lines = (tmp_path / "out" / "references.jsonl").read_text().splitlines()
    return {row["task_id"]: row["outcome"] for row in map(json.loads, lines)}


@pytest.mark.parametrize("style", ["completion", "chat"])
def test_a_reference_solution_is_learnt_behind_the_prompt_that_engines_would_ask(tmp_path: Path, style: str):
    tokenizer = make_tokenizer(CHATML)
    problem = few_shot.IN_WORDS[0]
    (row,) = reference_examples(tmp_path, [problem], tokenizer, verify_references=False, prompt_style=style).rows
    prompt = tokenize_prompt(build_prompt(problem, PromptFormat(style)), tokenizer)
    answer = tokenizer(reference_answer(problem, PromptFormat(style)), add_special_tokens=False)["input_ids"]
    assert row["input_ids"] == [*prompt, *answer, tokenizer.eos_token_id]
    assert row["labels"] == [*[-100] * len(prompt), *answer, tokenizer.eos_token_id]
    assert (prompt[0] == tokenizer.bos_token_id) == (style == "completion")
    assert outcomes(tmp_path) == {problem.task_id: "not judged"}


def test_a_reference_solution_that_does_not_pass_is_left_out_and_told(tmp_path: Path, tokenizer: Any, sandbox: Sandbox):
    good, wrong, broken, without, unlike = make_problems("train", 5, 0, SMALL_WORLD)
    wrong = replace(wrong, reference_solution=wrong.prompt + "    return 'nothing'\n")
    broken = replace(broken, reference_solution=broken.prompt + "    return (\n")
    without = replace(without, reference_solution="")
    unlike = replace(unlike, reference_solution="def solve(ys):\n    return ys\n")
    problems = [good, wrong, broken, without, unlike]
    examples = reference_examples(tmp_path, problems, tokenizer, sandbox, prompt_style="completion")
    answer = good.reference_solution.removeprefix(good.prompt).rstrip()
    assert bodies(examples, tokenizer) == [(good.task_id, answer + tokenizer.eos_token)]
    assert outcomes(tmp_path) == {
        good.task_id: "passed",
        wrong.task_id: "wrong_answer",
        broken.task_id: "syntax",
        without.task_id: "no reference solution",
        unlike.task_id: "does not begin with its prompt",
    }
    assert examples.summary == (
        "reference solutions of 1 of 5 problems; left out: "
        "1 does not begin with its prompt, 1 no reference solution, 1 syntax, 1 wrong_answer"
    )


def test_reference_solutions_that_were_judged_before_a_kill_are_not_judged_again(
    tmp_path: Path, tokenizer: Any, sandbox: Sandbox
):
    first, second = make_problems("train", 2, 0, SMALL_WORLD)
    (tmp_path / "out").mkdir()
    found = json.dumps({"task_id": first.task_id, "outcome": "timeout"})
    (tmp_path / "out" / "references.jsonl").write_text(found + '\n{"task_id": "tor')
    examples = reference_examples(tmp_path, [first, second], tokenizer, sandbox, prompt_style="completion")
    assert outcomes(tmp_path) == {first.task_id: "timeout", second.task_id: "passed"}
    assert [task_id for task_id, _ in bodies(examples, tokenizer)] == [second.task_id]


def test_problems_of_which_no_reference_solution_is_left_are_refused(tmp_path: Path, tokenizer: Any):
    without = replace(few_shot.HEADS[0], reference_solution="")
    with pytest.raises(DataError, match=r"no reference solution to train on .*1 no reference solution"):
        reference_examples(tmp_path, [without], tokenizer)
    assert not (tmp_path / "out").exists()


def test_a_run_that_goes_on_takes_the_references_that_it_began_with(tmp_path: Path, tokenizer: Any, sandbox: Sandbox):
    problems = make_problems("train", 3, 0, SMALL_WORLD)
    before = reference_examples(tmp_path, problems, tokenizer, sandbox, prompt_style="completion")
    not_asked: Any = object()
    after = reference_examples(tmp_path, problems, tokenizer, not_asked, prompt_style="completion")
    assert list(after.rows["input_ids"]) == list(before.rows["input_ids"])


def test_a_template_that_opens_a_thought_has_no_place_for_a_reference(tmp_path: Path):
    with pytest.raises(InputError, match="reference solutions have no thoughts"):
        reference_examples(tmp_path, few_shot.HEADS, make_tokenizer(THINKING), prompt_style="chat")


# training


def run(output_dir: Path, model: Path, rollouts: Path, adapter: Path | None = None, *callbacks: Any, **options: Any):
    return train_sft(
        SftArguments(rollouts=[str(rollouts)]),
        PolicyArguments(adapter=str(adapter) if adapter else None),
        model_config(model),
        sft_config(output_dir, **options),
        callbacks,
    )


def logprob_of_completions(model: Any, rollouts: Path, passed: bool) -> float:
    """Mean, in nats per token."""
    logprobs: list[float] = []
    for one in read_rollouts([rollouts]):
        if one.verdict.passed == passed:
            prompt, completion = one.completion.prompt_token_ids, one.completion.token_ids
            logprobs += sequence_logprobs(model, [*prompt, *completion])[len(prompt) - 1 :]
    return sum(logprobs) / len(logprobs)


def test_programs_that_passed_become_likely(tmp_path: Path, random_model: Path, judged_rollouts: Path):
    losses = []

    class Watcher(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: dict, **kwargs: Any) -> None:
            losses.extend([logs["loss"]] if "loss" in logs else [])

    adapter = run(
        tmp_path / "out", random_model, judged_rollouts, None, Watcher(), num_train_epochs=4, learning_rate=5e-3
    )
    base = AutoModelForCausalLM.from_pretrained(random_model)
    before = logprob_of_completions(base, judged_rollouts, passed=True)
    policy = PeftModel.from_pretrained(base, adapter)
    assert len(losses) == 4 * 4
    assert losses[-1] < 0.8 * losses[0]
    assert logprob_of_completions(policy, judged_rollouts, passed=True) > before + 0.5


def test_a_run_writes_the_adapter_with_its_record_and_what_it_was_trained_on(
    tmp_path: Path, random_model: Path, judged_rollouts: Path
):
    adapter = run(tmp_path / "out", random_model, judged_rollouts, max_steps=2)
    assert adapter == tmp_path / "out" / "adapter"
    assert adapter_version(adapter) == 3  # the base is 0, the start of the run 1, and each step adds one
    record = read_record(adapter)
    policy = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(random_model), adapter)
    for ids, logprobs in zip(record.token_ids, record.logprobs, strict=True):
        assert sequence_logprobs(policy, ids) == pytest.approx(logprobs, abs=1e-4)
    lines = [json.loads(line) for line in (tmp_path / "out" / "examples.jsonl").read_text().splitlines()]
    assert [(line["task_id"], line["index"]) for line in lines] == [(f"p{p}", i) for p in range(8) for i in (0, 1)]
    assert lines[0].keys() == {"task_id", "index", "policy_version", "tokens"}


def test_an_adapter_is_gone_on_with(tmp_path: Path, random_model: Path, random_adapter: Path, judged_rollouts: Path):
    adapter = run(tmp_path / "out", random_model, judged_rollouts, random_adapter, max_steps=1, learning_rate=1e-9)
    start, end = (load_file(path / "adapter_model.safetensors") for path in (random_adapter, adapter))
    assert max((start[name] - end[name]).abs().max().item() for name in start) < 1e-6
    assert adapter_version(adapter) == adapter_version(random_adapter) + 2


def test_every_example_comes_as_often_as_any_other_in_a_new_order_each_time():
    sampler, epochs = ExampleSampler(5, 8, seed=0), []
    for epoch in range(5):
        sampler.epoch = lambda epoch=epoch: epoch
        epochs.append(list(sampler))
    drawn = [number for epoch in epochs for number in epoch]
    turns = [drawn[start : start + 5] for start in range(0, 40, 5)]
    assert all(sorted(turn) == [0, 1, 2, 3, 4] for turn in turns)
    assert len(set(map(tuple, turns))) > 5
    assert epochs[3] == list(sampler_at(3))
    assert epochs[0] != list(sampler_at(0, seed=1))


def sampler_at(epoch: int, seed: int = 0) -> ExampleSampler:
    sampler = ExampleSampler(5, 8, seed=seed)
    sampler.epoch = lambda: epoch
    return sampler


def largest_gap(one: Path, two: Path) -> float:
    first, second = (load_file(path / "adapter_model.safetensors") for path in (one, two))
    return max((first[name] - second[name]).abs().max().item() for name in first)


EPOCHS = {"num_train_epochs": 3, "save_strategy": "steps", "save_steps": 3, "learning_rate": 2e-4}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, random_model: Path, judged_rollouts: Path) -> Path:
    """Three epochs of four steps."""
    return run(tmp_path_factory.mktemp("whole") / "out", random_model, judged_rollouts, **EPOCHS)


def test_a_run_that_was_stopped_goes_on_with_the_examples_and_weights_that_it_had(
    tmp_path: Path, random_model: Path, judged_rollouts: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch
):
    trained: list[list[int]] = []
    step = ExampleTrainer.training_step

    def watched(self: Any, model: Any, inputs: dict, *args: Any, **kwargs: Any) -> Any:
        trained.append(inputs["input_ids"].tolist())
        return step(self, model, inputs, *args, **kwargs)

    monkeypatch.setattr(ExampleTrainer, "training_step", watched)
    run(tmp_path / "whole", random_model, judged_rollouts, **EPOCHS)
    expected = trained.copy()
    trained.clear()
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed", random_model, judged_rollouts, None, Killed(7), **EPOCHS)
    assert trained == expected[:7]
    trained.clear()
    adapter = run(tmp_path / "killed", random_model, judged_rollouts, **EPOCHS)
    assert trained == expected[6:]
    assert largest_gap(adapter, undisturbed) < 1e-6


def test_a_run_does_not_go_on_with_other_examples(tmp_path: Path, random_model: Path, judged_rollouts: Path):
    rollouts = tmp_path / "rollouts.jsonl"
    rollouts.write_bytes(judged_rollouts.read_bytes())
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "out", random_model, rollouts, None, Killed(7), **EPOCHS)
    rollouts.write_bytes(b"".join(judged_rollouts.read_bytes().splitlines(keepends=True)[:20]))
    with pytest.raises(DataError, match="not those that this run began with"):
        run(tmp_path / "out", random_model, rollouts, **EPOCHS)


def test_two_processes_that_were_killed_end_at_the_adapter_of_one(
    tmp_path: Path, random_model: Path, judged_rollouts: Path, undisturbed: Path
):
    values = {**OPTIONS, **EPOCHS, "per_device_train_batch_size": 2, "output_dir": tmp_path / "out", "lora_r": 4}
    values |= {"model_name_or_path": random_model, "rollouts": judged_rollouts, "lora_dropout": 0.0}
    line = [str(Path(sys.executable).with_name("accelerate")), "launch"]
    line += ["--config_file", "configs/accelerate/zero2.yaml", "train/sft.py"]
    line += [part for name, value in values.items() for part in (f"--{name}", str(value))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", "PYTHONPATH": str(ROOT)}
    checkpoint = tmp_path / "out" / "checkpoint-3" / WHOLE
    with subprocess.Popen(
        line, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        while not checkpoint.exists() and process.poll() is None:
            time.sleep(0.01)
        kill_all(process)
    assert checkpoint.exists()
    assert not (tmp_path / "out" / "adapter").exists(), "it ended before it could be killed"
    done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert "16 programs of 8 problems" in done.stdout
    assert largest_gap(tmp_path / "out" / "adapter", undisturbed) < 1e-4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name what `rlcode rollout` wrote with --rollouts, or problems"),
        (["--split", "train"], "nothing to train on"),
        (["--rollouts", "r", "--benchmark", "mbpp"], "name two sources"),
        (["--rollouts", "/no/such/place"], "no rollouts at /no/such/place"),
        (["--rollouts", "r", "--max_per_problem", "-1"], "max_per_problem must not be negative"),
        (["--rollouts", "r", "--packing", "true"], "packing=True does not go together with"),
        (["--rollouts", "r", "--completion_only_loss", "false"], "leave it at True"),
        (["--rollouts", "r", "--assistant_only_loss", "true"], "leave it at False"),
        (["--rollouts", "r", "--dataset_text_field", "code"], "leave it at text"),
        (["--rollouts", "r", "--eos_token", "<|im_end|>"], "leave it at None"),
        (["--rollouts", "r", "--shuffle_dataset", "true"], "shuffle_dataset=True"),
        (["--rollouts", "r", "--dataloader_in_order", "false"], "would change what is trained on when"),
        (["--rolouts", "r"], "did you mean '--rollouts'"),
    ],
)
def test_bad_input_ends_with_exit_code_2_and_a_message(
    tmp_path: Path, random_model: Path, capsys, arguments: list[str], message: str
):
    common = ["--model_name_or_path", str(random_model), "--output_dir", str(tmp_path / "out")]
    assert run_main(main, [*common, "--use_cpu", "true", "--bf16", "false", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
