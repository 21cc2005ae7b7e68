"""Reference solutions as examples: in the form that the prompt asks for, and judged before they are trained on."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from accelerate.utils import broadcast_object_list

from rlcode.data.registry import training_problems_from
from rlcode.errors import DataError, InputError
from rlcode.extraction_worker import Extractor
from rlcode.limits import limits_from
from rlcode.prompts import PromptFormat, build_prompt, opened_thinking, tokenize_prompt
from rlcode.reference_answers import reference_answer
from rlcode.run_directory import read_json_lines, write_json_lines
from rlcode.types import Answer, Problem, Unscored, Verdict
from sandbox.judging import UnscoredShare, judge_answers
from sandbox.protocol import Sandbox
from train.arguments import SftArguments
from train.policy_sync import open_training_sandbox
from train.sft_examples import Example, ExampleSet, write_examples

FILE_NAME = "references.jsonl"
"""Where a run directory says what became of each problem's reference solution."""

PASSED = "passed"
NOT_JUDGED = "not judged"
NO_REFERENCE = "no reference solution"
NO_CONTINUATION = "does not begin with its prompt"
TOO_LONG = "too long"
UNSCORED = "could not be judged"
_STILL_JUDGING_S = 60.0
TAKEN = (PASSED, NOT_JUDGED)
"""Outcomes of those that are trained on. One that did not pass has its error type."""


def reference_examples(
    args: SftArguments, training_args: Any, tokenizer: Any, folder: Path, sandbox: Sandbox | None = None
) -> ExampleSet:
    """The reference solutions that pass their own tests; the first process judges them, once in a run.

    Raises:
        InputError: the problems can't be loaded, or can't be put to this model in a way that they have answers to.
        DataError: no reference solution is left.
        SandboxError: too many could not be judged.
    """
    problems = training_problems_from(args)
    prompts = PromptFormat.from_arguments(args).for_model(tokenizer)
    _require_answerable(prompts, tokenizer)
    examples, outcomes = _render(problems, prompts, tokenizer, training_args.max_length)
    record = Path(training_args.output_dir) / FILE_NAME
    if training_args.process_index == 0:
        rendered = [problem for problem in problems if problem.task_id in examples]
        outcomes = _judged_once(record, args, rendered, outcomes, prompts, sandbox)
        broadcast_object_list([outcomes])
    else:
        outcomes = _told_by_first()
    taken = [example for task_id, example in examples.items() if outcomes.get(task_id) in TAKEN]
    counts = Counter(outcomes.values())
    left_out = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()) if name not in TAKEN)
    summary = f"reference solutions of {len(taken)} of {len(problems)} problems; left out: {left_out or 'none'}"
    if not taken:
        if training_args.process_index == 0:
            record.unlink(missing_ok=True)  # so that the directory can be used when that is mended
        raise DataError(
            f"no reference solution to train on ({summary}); take problems with reference solutions that pass, "
            "or another --prompt_style"
        )
    if training_args.process_index == 0:
        write_json_lines(record, _rows(outcomes))
    return ExampleSet(write_examples(folder / "examples.arrow", taken), 0, summary)


def _told_by_first() -> dict[str, str]:
    """The outcomes; until they are there None comes now and then, since a collective may take only so long."""
    told: list[dict[str, str] | None] = [None]
    while told[0] is None:
        broadcast_object_list(told)
    return told[0]


def _judged_once(
    record: Path,
    args: SftArguments,
    problems: Sequence[Problem],
    others: dict[str, str],
    prompts: PromptFormat,
    sandbox: Sandbox | None,
) -> dict[str, str]:
    """What becomes of all problems: of `problems` what the run found before it was killed, since a verdict that came
    out otherwise now would change its data, and of those that are left what is found now. Each is in `record` at once.
    """
    found = {row["task_id"]: row["outcome"] for row in read_json_lines(record)}
    if record.exists():
        write_json_lines(record, _rows(found))  # without a last line that a crash tore
    told = time.monotonic()
    for task_id, outcome in _judge(args, [one for one in problems if one.task_id not in found], prompts, sandbox):
        found[task_id] = outcome
        record.parent.mkdir(parents=True, exist_ok=True)
        with open(record, "a", encoding="utf-8") as file:
            file.write(json.dumps({"task_id": task_id, "outcome": outcome}) + "\n")
        if time.monotonic() - told > _STILL_JUDGING_S:
            broadcast_object_list([None])
            told = time.monotonic()
    return {**others, **found}


def _rows(outcomes: Mapping[str, str]) -> Iterator[dict[str, str]]:
    return ({"task_id": task_id, "outcome": outcome} for task_id, outcome in outcomes.items())


def _require_answerable(prompts: PromptFormat, tokenizer: Any) -> None:
    if opened_thinking(prompts, tokenizer):
        raise InputError(
            "the model's chat template opens a thinking section, and reference solutions have no thoughts; "
            "use --enable_thinking false if the template knows it, or --prompt_style completion"
        )
    if tokenizer.eos_token_id is None:
        raise InputError("the model's tokenizer has no end-of-text token, so no answer can end; set its eos_token")


def _render(
    problems: Sequence[Problem], prompts: PromptFormat, tokenizer: Any, max_length: int | None
) -> tuple[dict[str, Example], dict[str, str]]:
    """The examples by task, and what is known of each problem before anything is judged."""
    examples: dict[str, Example] = {}
    outcomes: dict[str, str] = {}
    for problem in problems:
        outcomes[problem.task_id] = NOT_JUDGED
        if not problem.reference_solution.strip():
            outcomes[problem.task_id] = NO_REFERENCE
        elif (answer := reference_answer(problem, prompts)) is None:
            outcomes[problem.task_id] = NO_CONTINUATION
        else:
            prompt_ids = tokenize_prompt(build_prompt(problem, prompts), tokenizer, prompts.enable_thinking)
            completion_ids = [*tokenizer(answer, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
            if max_length is not None and len(prompt_ids) + len(completion_ids) > max_length:
                outcomes[problem.task_id] = TOO_LONG
            else:
                examples[problem.task_id] = Example(problem.task_id, prompt_ids, completion_ids)
    return examples, outcomes


def _judge(
    args: SftArguments, problems: Sequence[Problem], prompts: PromptFormat, sandbox: Sandbox | None
) -> Iterator[tuple[str, str]]:
    """What becomes of each answer, by its task. They are judged as a policy's would be: so it is sure that the program
    is found in what is trained on."""
    if not args.verify_references or not problems:
        return
    share = UnscoredShare(args.max_unscored_share, len(problems))
    answers = (
        (problem.task_id, Answer(answer, problem))
        for problem in problems
        if (answer := reference_answer(problem, prompts)) is not None
    )
    with ExitStack() as stack:
        judged = judge_answers(
            answers,
            sandbox=sandbox or open_training_sandbox(args, stack),
            extractor=stack.enter_context(Extractor()),
            limits=limits_from(args),
        )
        for one in judged:
            share.count(one.outcome.reason if isinstance(one.outcome, Unscored) else None)
            yield one.item, _outcome_of(one.outcome)


def _outcome_of(outcome: Verdict | Unscored) -> str:
    if isinstance(outcome, Unscored) or not (outcome.passed or outcome.error_type):
        return UNSCORED
    return outcome.error_type or PASSED
