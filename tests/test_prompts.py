from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eval.arguments import parse_arguments
from rlcode.config import parse_config
from rlcode.data.registry import load_problems
from rlcode.errors import InputError
from rlcode.extraction import NoCode, extract
from rlcode.few_shot import HEADS, IN_WORDS, STDIN
from rlcode.prompts import (
    PromptFormat,
    PromptStyle,
    build_prompt,
    opened_thinking,
    render_prompt,
    tokenize_prompt,
)
from rlcode.types import Problem, TestCase, TestKind
from sampling.arguments import RolloutArguments
from tests.tokenizers import CHATML, DROPS_SYSTEM, REFUSES_SYSTEM, SWITCHED, THINKING, WITH_BOS, make_tokenizer
from train.arguments import GrpoArguments

CODE = Problem("c", 'def add(a, b):\n    """ Add. """\n', (), entry_point="add")
WORDS = Problem("w", "Add two numbers.\n", (TestCase(TestKind.ASSERTS),), entry_point="add", prompt_is_code=False)
CALLED = Problem("k", "Add two numbers.\n", (TestCase(TestKind.CALL),), entry_point="add", prompt_is_code=False)
READS = Problem("s", "Print the sum.\n", (TestCase(TestKind.STDIO),), prompt_is_code=False)
KINDS = [CODE, WORDS, CALLED, READS]
BLOCK = "Answer with one Python code block that holds the whole program."
STDIN_TASK = "Write a Python program that reads its input from stdin and prints the answer to stdout."

COMPLETION = PromptFormat("completion")
CHAT = PromptFormat("chat")
FEW_SHOT = PromptFormat("few_shot")


def content(problem: Problem) -> str:
    (message,) = build_prompt(problem, CHAT)
    assert isinstance(message, dict)
    return message["content"]


def bos_count(ids: list[int], tokenizer: Any) -> int:
    return ids.count(tokenizer.bos_token_id)


# what is asked, by style and kind


def test_a_completion_goes_on_with_the_head_of_a_program_byte_for_byte() -> None:
    assert build_prompt(CODE, COMPLETION) == CODE.prompt


@pytest.mark.parametrize(
    ("problem", "task"),
    [
        (WORDS, "Write the Python function `add`."),
        (CALLED, "Write the Python function `add`, or a class `Solution` with the method `add`."),
    ],
)
def test_a_task_in_words_names_the_function_before_an_open_fence(problem: Problem, task: str) -> None:
    assert build_prompt(problem, COMPLETION) == f"Add two numbers.\n\n{task}\n\n```python\n"
    assert content(problem) == f"Add two numbers.\n\n{task} {BLOCK}"


def test_a_stdin_task_says_where_input_comes_from() -> None:
    assert build_prompt(READS, COMPLETION) == f"Print the sum.\n\n{STDIN_TASK}\n\n```python\n"
    assert content(READS) == f"Print the sum.\n\n{STDIN_TASK} {BLOCK}"


def test_a_chat_shows_the_head_of_a_program_in_a_fence() -> None:
    assert content(CODE) == f"Complete this Python program. {BLOCK}\n\n```python\n{CODE.prompt}```"


def test_a_task_names_the_classes_that_its_tests_need() -> None:
    problem = Problem("p", "Chain.", (), entry_point="chain", declares=("Pair",), prompt_is_code=False)
    assert "Write the Python function `chain` and define `Pair`." in content(problem)


def test_the_examples_of_a_few_shot_prompt_are_of_the_problems_kind() -> None:
    for problem, examples in ((CODE, HEADS), (WORDS, IN_WORDS), (CALLED, IN_WORDS), (READS, STDIN)):
        prompt = build_prompt(problem, FEW_SHOT)
        assert isinstance(prompt, str)
        places = [prompt.index(example.reference_solution) for example in examples]
        assert places == sorted(places)
        assert prompt.index(problem.prompt.strip()) > places[-1]


def test_words_have_the_form_of_the_mbpp_paper_and_heads_go_on_as_a_program() -> None:
    words = build_prompt(WORDS, PromptFormat("few_shot", num_shots=1))
    assert words == (
        "You are an expert Python programmer, and here is your task: Count the free seats of a row, a list in which 0 "
        "stands for a free seat.\nYour code should pass these tests:\n\nassert free_seats([0, 1, 0]) == 2\n"
        "assert free_seats([]) == 0\n\nWrite the Python function `free_seats`.\n[BEGIN]\ndef free_seats(row):\n"
        "    return sum(1 for seat in row if seat == 0)\n[DONE]\n\n"
        "You are an expert Python programmer, and here is your task: Add two numbers.\n\n"
        "Write the Python function `add`.\n[BEGIN]\n"
    )
    head = build_prompt(CODE, PromptFormat("few_shot", num_shots=1))
    assert head == f"{HEADS[0].reference_solution}\n\n{CODE.prompt}"


def test_no_example_is_a_task_of_a_benchmark(shared_data: Any) -> None:
    names = {example.entry_point for example in (*IN_WORDS, *HEADS)}
    for benchmark, file in (("humaneval", "HumanEval.jsonl.gz"), ("mbpp", "mbpp.jsonl.gz")):
        assert names.isdisjoint(problem.entry_point for problem in load_problems(benchmark, shared_data / file))


def test_nothing_of_the_examples_gets_into_a_program() -> None:
    answer = "def add(a, b):\n    return free_seats([a, b])\n[DONE]\n"
    assert extract(answer, WORDS).source == answer.replace("[DONE]\n", "")


def test_a_system_message_comes_first_and_an_empty_one_is_sent_too() -> None:
    for text in ("Be brief.", ""):
        messages = build_prompt(WORDS, PromptFormat("chat", text))
        assert isinstance(messages, list)
        assert messages[0] == {"role": "system", "content": text}
        assert [message["role"] for message in messages] == ["system", "user"]


# the style that auto stands for


@pytest.mark.parametrize(
    ("template", "eos", "style"),
    [
        (None, "</s>", "completion"),
        (WITH_BOS, "</s>", "chat"),
        (CHATML, "<|im_end|>", "chat"),
        (CHATML, "</s>", "completion"),  # a base model that ships a template that it was not trained with
    ],
)
def test_auto_is_a_chat_where_answers_end_with_the_models_end_of_text(
    template: str | None, eos: str, style: str
) -> None:
    assert PromptFormat().for_model(make_tokenizer(template, eos=eos)).style == style


def test_an_explicit_style_wins_and_an_option_of_chats_makes_auto_one() -> None:
    base, instructed = make_tokenizer(CHATML), make_tokenizer(CHATML, eos="<|im_end|>")
    assert CHAT.for_model(base).style == "chat"
    assert COMPLETION.for_model(instructed).style == "completion"
    assert FEW_SHOT.for_model(instructed).style == "few_shot"
    assert PromptFormat(system_prompt="Be brief.").for_model(base).style == "chat"


def test_a_prompt_is_not_built_before_auto_is_decided() -> None:
    with pytest.raises(ValueError, match=r"call PromptFormat\.for_model first"):
        build_prompt(WORDS, PromptFormat())


# what does not fit together


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"style": "poem"}, "unknown prompt style 'poem'; known: auto, completion, chat, few_shot"),
        ({"style": "completion", "system_prompt": "Be brief."}, "system_prompt needs the prompt style 'chat'"),
        ({"style": "few_shot", "system_prompt": ""}, "system_prompt needs the prompt style 'chat'"),
        ({"style": "completion", "enable_thinking": False}, "enable_thinking needs the prompt style 'chat'"),
        ({"style": "chat", "num_shots": 2}, "num_shots needs the prompt style 'few_shot'"),
        ({"style": "few_shot", "num_shots": 0}, "num_shots must be from 1 to 3, got 0; for none use 'completion'"),
        ({"style": "few_shot", "num_shots": 4}, "num_shots must be from 1 to 3, got 4"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        PromptFormat(**options)


@pytest.mark.parametrize(
    ("template", "options", "message"),
    [
        (None, {}, "no chat template; use the prompt style 'completion'"),
        (REFUSES_SYSTEM, {"system_prompt": "Be brief."}, "refuses messages of system, user: System role not supported"),
        (DROPS_SYSTEM, {"system_prompt": "Be brief."}, "leaves the system message out"),
        (CHATML, {"enable_thinking": True}, "has no switch for thinking"),
        (THINKING, {"enable_thinking": False}, "has no switch for thinking"),
    ],
)
def test_what_the_models_template_cannot_do_is_refused(
    template: str | None, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        PromptFormat("chat", **options).for_model(make_tokenizer(template))


def test_a_chat_of_a_template_that_refuses_systems_works_without_one() -> None:
    assert CHAT.for_model(make_tokenizer(REFUSES_SYSTEM)).style == "chat"


# thinking


def test_thinking_is_switched_by_the_template() -> None:
    tokenizer = make_tokenizer(SWITCHED)
    texts = [render_prompt(build_prompt(WORDS, CHAT), tokenizer, switch) for switch in (None, True, False)]
    assert texts[0] == texts[1]
    assert texts[2] == texts[1] + "<think>\n\n</think>\n\n"


def test_a_section_that_the_template_opened_is_known_and_code_in_it_is_no_answer() -> None:
    assert opened_thinking(CHAT, make_tokenizer(THINKING)) == "<think>\n"
    assert opened_thinking(CHAT, make_tokenizer(SWITCHED)) == ""
    assert opened_thinking(COMPLETION, make_tokenizer(THINKING)) == ""
    draft = "Maybe\n```python\ndef add(a, b):\n    return a + b\n```\nHm, but"
    assert extract("<think>\n" + draft, WORDS).how == NoCode.THINKING


# tokens


@pytest.mark.parametrize("problem", KINDS, ids=lambda problem: problem.task_id)
@pytest.mark.parametrize("prompts", [COMPLETION, FEW_SHOT], ids=lambda prompts: prompts.style)
def test_a_text_begins_with_one_beginning_token_where_the_tokenizer_adds_it(
    prompts: PromptFormat, problem: Problem
) -> None:
    adds, plain = make_tokenizer(), make_tokenizer(post="")
    prompt = build_prompt(problem, prompts)
    assert tokenize_prompt(prompt, adds) == [adds.bos_token_id, *tokenize_prompt(prompt, plain)]
    assert tokenize_prompt(prompt, adds) == adds(prompt)["input_ids"]
    assert bos_count(tokenize_prompt(prompt, plain), plain) == 0


@pytest.mark.parametrize("problem", KINDS, ids=lambda problem: problem.task_id)
@pytest.mark.parametrize(("template", "expected"), [(WITH_BOS, 1), (CHATML, 0)])
def test_a_chat_has_the_beginning_tokens_that_its_template_writes(
    template: str, expected: int, problem: Problem
) -> None:
    tokenizer = make_tokenizer(template)
    prompt = build_prompt(problem, CHAT)
    ids = tokenize_prompt(prompt, tokenizer)
    assert bos_count(ids, tokenizer) == expected
    theirs = tokenizer.apply_chat_template(prompt, tokenize=True, add_generation_prompt=True, return_dict=True)
    assert ids == theirs["input_ids"]


def test_a_text_that_has_its_beginning_already_gets_no_second_one() -> None:
    tokenizer = make_tokenizer()
    assert tokenizer("<s>Hi")["input_ids"][:2] == [tokenizer.bos_token_id] * 2
    assert bos_count(tokenize_prompt("<s>Hi", tokenizer), tokenizer) == 1


def test_a_prompt_never_ends_with_the_end_of_text() -> None:
    tokenizer = make_tokenizer(post="<s> $A </s>")
    assert tokenizer("Hi")["input_ids"][-1] == tokenizer.eos_token_id
    assert tokenize_prompt("Hi", tokenizer) == tokenizer("Hi")["input_ids"][:-1]


# stop strings


def test_no_stop_string_cuts_a_program_and_extraction_finds_its_end() -> None:
    answer = "def add(a, b):\n    return one(a) + b\n\ndef one(x):\n    return x\n```\nIt adds.\n```python\nadd(1,"
    assert extract(answer, WORDS).source == answer.split("```")[0]


def test_customary_stop_strings_would_cut_reference_solutions(shared_data: Any) -> None:
    def cut(benchmark: str, file: str, stop: str) -> int:
        problems = load_problems(benchmark, shared_data / file)
        return sum(stop in p.reference_solution.removeprefix(p.prompt).rstrip() for p in problems)

    assert cut("humaneval", "HumanEval.jsonl.gz", "\n\n") == 34
    assert cut("mbpp", "mbpp.jsonl.gz", "\ndef ") == 235


# options


def test_every_command_takes_the_options_and_refuses_what_does_not_fit_before_it_starts() -> None:
    options = ["--prompt_style", "chat", "--enable_thinking", "false", "--system_prompt", ""]
    expected = PromptFormat("chat", "", enable_thinking=False)
    required = ["--benchmark", "mbpp", "--model", "m", "--output_dir", "o"]
    (rollout,) = parse_config([RolloutArguments], options, prog="test")
    (grpo,) = parse_config([GrpoArguments], options, prog="test")
    for args in (rollout, grpo, parse_arguments([*required, *options])):
        assert PromptFormat.from_arguments(args) == expected
    wrong = ["--prompt_style", "few_shot", "--num_shots", "0"]
    for classes in (RolloutArguments, GrpoArguments):
        with pytest.raises(InputError, match="num_shots must be from 1 to 3"):
            parse_config([classes], wrong, prog="test")
    with pytest.raises(InputError, match="num_shots must be from 1 to 3"):
        parse_arguments([*required, *wrong])


def test_the_checks_of_limits_are_made_too() -> None:
    with pytest.raises(InputError, match="time_limit"):
        RolloutArguments(time_limit=-1.0)


# docs/prompts.md


def test_the_examples_of_the_documentation_are_what_is_asked() -> None:
    text = (Path(__file__).parents[1] / "docs" / "prompts.md").read_text()
    words = (
        "Write a function to find the minimum of two numbers.\nYour code should pass these tests:\n\n"
        "assert minimum(1, 2) == 1\n"
    )
    mbpp = replace(WORDS, prompt=words, entry_point="minimum")
    reads = replace(READS, prompt="Print the sum of the two numbers of the line.")
    for example in (content(mbpp), build_prompt(mbpp, COMPLETION), build_prompt(reads, COMPLETION)):
        assert str(example).rstrip() in text


def test_the_documentation_names_every_style_and_every_reason() -> None:
    text = (Path(__file__).parents[1] / "docs" / "prompts.md").read_text()
    assert all(f"| `{style}`" in text for style in PromptStyle)
    assert all(f"| {reason} |" in text for reason in NoCode)
