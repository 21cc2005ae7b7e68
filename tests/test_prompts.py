from __future__ import annotations

from typing import Any

import pytest

from rlcode.errors import InputError
from rlcode.extraction import extract
from rlcode.prompts import DEFAULT_STOP, build_prompt, render_prompt, tokenize_prompt
from rlcode.types import Problem

CODE = Problem("c", 'def add(a, b):\n    """ Add. """\n', (), entry_point="add")
WORDS = Problem("w", "Add two numbers.\n", (), entry_point="add", prompt_is_code=False)


class FakeTokenizer:
    """Token 1 is the beginning of the sequence, which the template writes as `<s>`; every character is a token."""

    def __init__(self, chat_template: str | None = "<s>") -> None:
        self.chat_template = chat_template

    def apply_chat_template(self, conversation: Any, *, tokenize: bool, add_generation_prompt: bool) -> str:
        assert not tokenize
        assert add_generation_prompt
        return "<s>" + "".join(f"[{m['role']}]{m['content']}" for m in conversation) + "[assistant]"

    def __call__(self, text: str, *, add_special_tokens: bool) -> dict[str, list[int]]:
        ids = [1] if add_special_tokens else []
        if text.startswith("<s>"):
            ids.append(1)
            text = text.removeprefix("<s>")
        return {"input_ids": ids + [ord(c) for c in text]}


def test_a_prompt_that_is_code_is_shown_byte_for_byte() -> None:
    assert build_prompt(CODE, "completion") == CODE.prompt


def test_a_request_in_words_is_followed_by_an_open_fence() -> None:
    assert build_prompt(WORDS, "completion") == "Add two numbers.\n\n```python\n"


@pytest.mark.parametrize("problem", [CODE, WORDS])
def test_a_chat_asks_for_one_python_block(problem: Problem) -> None:
    (message,) = build_prompt(problem, "chat")
    assert isinstance(message, dict)
    assert message["role"] == "user"
    assert problem.prompt.strip() in message["content"]
    assert "one Python code block" in message["content"]


def test_a_system_message_comes_first() -> None:
    messages = build_prompt(WORDS, "chat", "Be brief.")
    assert isinstance(messages, list)
    assert [m["role"] for m in messages] == ["system", "user"]
    assert messages[0]["content"] == "Be brief."


def test_what_cannot_be_used_is_refused() -> None:
    with pytest.raises(InputError, match="unknown prompt style 'poem'; known: completion, chat"):
        build_prompt(CODE, "poem")
    with pytest.raises(InputError, match="system message needs the prompt style 'chat'"):
        build_prompt(CODE, "completion", "Be brief.")
    with pytest.raises(InputError, match="no chat template; use the prompt style 'completion'"):
        render_prompt(build_prompt(CODE, "chat"), FakeTokenizer(chat_template=None))


@pytest.mark.parametrize("style", ["completion", "chat"])
def test_a_prompt_begins_with_one_beginning_token(style: str) -> None:
    ids = tokenize_prompt(build_prompt(CODE, style), FakeTokenizer())
    assert ids[0] == 1
    assert ids.count(1) == 1


def test_a_text_is_rendered_as_it_is_and_messages_through_the_template() -> None:
    assert render_prompt("abc", FakeTokenizer()) == "abc"
    messages = [{"role": "user", "content": "Hi"}]
    assert render_prompt(messages, FakeTokenizer()) == "<s>[user]Hi[assistant]"


def test_no_stop_string_cuts_a_program_and_extraction_finds_its_end() -> None:
    assert DEFAULT_STOP == ()
    answer = "def add(a, b):\n    return one(a) + b\n\ndef one(x):\n    return x\n```\nIt adds.\n```python\nadd(1,"
    assert extract(answer, WORDS).source == answer.split("```")[0]
