"""What the model is shown: a plain text to continue, or chat messages.

There are no default stop strings. Every customary one (`"\\ndef "`, `"\\nclass "`, `"\\n#"`, `"\\nprint("`,
`"\\n```"`) also stands inside valid programs and would cut them; `rlcode.extraction` finds the end of the program.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Protocol

from rlcode.errors import InputError
from rlcode.types import Problem

Message = dict[str, str]
Prompt = str | list[Message]
"""A text to continue, or messages with `role` and `content`."""

DEFAULT_STOP: tuple[str, ...] = ()


class PromptStyle(StrEnum):
    """`COMPLETION` for base models, `CHAT` for models with a chat template."""

    COMPLETION = "completion"
    CHAT = "chat"


class Tokenizer(Protocol):
    """The part of a `transformers` tokenizer that prompts need."""

    chat_template: Any

    def apply_chat_template(self, conversation: Any, *, tokenize: bool, add_generation_prompt: bool) -> Any: ...

    def __call__(self, text: str, *, add_special_tokens: bool) -> Any: ...


def build_prompt(problem: Problem, style: str, system: str | None = None) -> Prompt:
    """The prompt of `problem` in `style`; `system` is the system message of a chat.

    A completion prompt is the problem's own text where that is the head of a program (HumanEval), byte for byte;
    else it is the request and an open Python fence.

    Raises:
        InputError: an unknown style, or a system message for plain completion.
    """
    if style == PromptStyle.CHAT:
        user = {"role": "user", "content": _chat_request(problem)}
        return [{"role": "system", "content": system}, user] if system else [user]
    if style != PromptStyle.COMPLETION:
        raise InputError(f"unknown prompt style {style!r}; known: {', '.join(PromptStyle)}")
    if system:
        raise InputError("a system message needs the prompt style 'chat'; leave it away or change the style")
    return problem.prompt if problem.prompt_is_code else f"{problem.prompt.rstrip()}\n\n```python\n"


def _chat_request(problem: Problem) -> str:
    if problem.prompt_is_code:
        return (
            "Complete this Python program. Answer with one Python code block that holds the whole program.\n\n"
            f"```python\n{problem.prompt.rstrip()}\n```"
        )
    return f"{problem.prompt.rstrip()}\n\nAnswer with one Python code block that holds the whole program."


def render_prompt(prompt: str | Sequence[Message], tokenizer: Tokenizer) -> str:
    """The text that the model continues: `prompt` itself, or the messages through the tokenizer's chat template.

    Raises:
        InputError: messages, and a tokenizer without a chat template.
    """
    if isinstance(prompt, str):
        return prompt
    if not getattr(tokenizer, "chat_template", None):
        raise InputError("the model's tokenizer has no chat template; use the prompt style 'completion'")
    return str(tokenizer.apply_chat_template(list(prompt), tokenize=False, add_generation_prompt=True))


def tokenize_prompt(prompt: str | Sequence[Message], tokenizer: Tokenizer) -> list[int]:
    """The token ids of the rendered prompt, with one beginning-of-sequence token where the model has one.

    A chat template writes it itself, so rendered messages are tokenised without special tokens.
    """
    text = render_prompt(prompt, tokenizer)
    return list(tokenizer(text, add_special_tokens=isinstance(prompt, str))["input_ids"])
