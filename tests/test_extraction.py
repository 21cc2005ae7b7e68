"""What the extraction makes of answers as models write them: a golden table, and the properties behind it."""

from __future__ import annotations

import dataclasses
import gzip
import json
import re
from pathlib import Path

import pytest

from rlcode.data.registry import load_problems
from rlcode.extraction import NoCode, extract, too_long
from rlcode.extraction_markup import fenced_blocks
from rlcode.types import Problem, Program, TestCase, TestKind
from tests.extraction_table import BODY, CODE, FOUND, NOT_FOUND, PROMPT, WHOLE, WORDS


@pytest.fixture(scope="module")
def problems(shared_data: Path) -> list[Problem]:
    return [
        *load_problems("humaneval", shared_data / "HumanEval.jsonl.gz"),
        *load_problems("mbpp", shared_data / "mbpp.jsonl.gz"),
    ]


@pytest.mark.parametrize(("problem", "text", "source"), [case[1:] for case in FOUND], ids=[case[0] for case in FOUND])
def test_the_program_is_found_in(problem: Problem, text: str, source: str) -> None:
    assert extract(text, problem).source == source


@pytest.mark.parametrize(
    ("problem", "text", "reason"), [case[1:] for case in NOT_FOUND], ids=[case[0] for case in NOT_FOUND]
)
def test_no_program_is_found_in(problem: Problem, text: str, reason: NoCode) -> None:
    program = too_long(text) or extract(text, problem)
    assert program.source is None
    assert program.how.startswith(reason)


def test_nothing_comes_from_outside_the_text_and_the_prompt() -> None:
    for name, problem, text, source in FOUND:
        prompt = problem.prompt if problem.prompt_is_code else ""
        assert set(re.findall(r"\w+", source)) <= set(re.findall(r"\w+", f"{prompt} {text}")), name


def test_tests_and_reference_are_never_looked_at() -> None:
    answer = "```python\ndef helper():\n    return add(1, 2)\n```"
    tests = (TestCase(TestKind.ASSERTS, code=WHOLE, expected=WHOLE),)
    problem = dataclasses.replace(WORDS, tests=tests, reference_solution=WHOLE, test_setup=WHOLE, prompt=WHOLE)
    assert extract(answer, problem).source == "def helper():\n    return add(1, 2)\n"


@pytest.mark.parametrize(
    ("text", "source"),
    [
        (BODY + "\ndef next_task(x):\n    return [", PROMPT + BODY + "\n"),
        (BODY + "\ndef more():\n    return 1\n\nprint(add(1,", PROMPT + BODY + "\ndef more():\n    return 1\n\n"),
        (BODY + "\nThis adds them, doesn't it?\n", PROMPT + BODY + "\n"),
        (BODY + '\n"""\nTask 2: subtr', PROMPT + BODY + "\n"),
        ("    return [a,", PROMPT + "    return [a,"),
        (BODY, PROMPT + BODY),
    ],
)
def test_trim_cuts_what_follows_the_last_whole_statement(text: str, source: str) -> None:
    assert extract(text, CODE, trim=True).source == source


def test_every_continuation_that_a_real_model_wrote_is_kept_byte_for_byte(shared_data: Path) -> None:
    problems = {p.task_id: p for p in load_problems("humaneval", shared_data / "HumanEval.jsonl.gz")}
    with gzip.open(shared_data / "humaneval_codegen16b_n20.jsonl.gz") as file:
        rows = [json.loads(line) for line in file]
    assert len(rows) == 3280
    changed = [
        index
        for index, row in enumerate(rows)
        if extract(row["completion"], problems[row["task_id"]]).source
        != problems[row["task_id"]].prompt + row["completion"]
    ]
    assert changed == []


@pytest.mark.parametrize(
    "wrapping",
    [
        "{}",
        "Sure:\n\n```py\n{}\n```\nThat's it.",
        "Here you go:\n\n{}\n\nThis works, doesn't it?",
        "{}\n```\nI hope that helps",
        "<think>Let me see ...</think>\n~~~\n{}\n~~~",
    ],
)
def test_every_reference_solution_is_found_in_an_answer(problems: list[Problem], wrapping: str) -> None:
    lost = [
        problem.task_id
        for problem in problems
        if problem.reference_solution.strip()
        not in (extract(wrapping.format(problem.reference_solution), problem).source or "")
    ]
    assert lost == []


def test_a_text_over_the_limit_is_refused_by_its_length_alone() -> None:
    assert too_long("x" * 200_000) is None
    assert too_long("x" * 200_001) == Program(
        None, "the completion is too long: 200,001 characters; the limit is 200,000"
    )


def test_the_table_has_no_two_cases_of_one_name_and_problem() -> None:
    names = [(case[0], case[1].task_id) for case in [*FOUND, *NOT_FOUND]]
    assert len(names) == len(set(names))


def test_blocks_bear_their_tags_and_say_whether_they_are_closed() -> None:
    blocks = list(fenced_blocks("```Python\na = 1\n```\n~~~\nb = 2\n~~~\n```json\n{"))
    assert [(b.code, b.tag, b.closed) for b in blocks] == [
        ("a = 1\n", "python", True),
        ("b = 2\n", "", True),
        ("{\n", "json", False),
    ]
