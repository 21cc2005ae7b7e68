"""What the model is shown: a plain text to continue, examples and a text to continue, or chat messages.

`PromptFormat` says how; `docs/prompts.md` shows each style for each kind of problem. All token ids that a policy
samples from or is trained on come from `tokenize_prompt`.

There are no default stop strings. Every customary one (`"\\ndef "`, `"\\nclass "`, `"\\n#"`, `"\\nprint("`,
`"\\n```"`) also stands inside valid programs and would cut them; `rlcode.extraction` finds the end of the program.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Protocol, Self

from rlcode import few_shot
from rlcode.errors import InputError
from rlcode.types import METHODS_CLASS, Problem, TestKind

Message = dict[str, str]
Prompt = str | list[Message]
"""A text to continue, or messages with `role` and `content`."""

MAX_SHOTS = min(map(len, (few_shot.IN_WORDS, few_shot.STDIN, few_shot.HEADS)))
_ANSWER = "Answer with one Python code block that holds the whole program."
_OPENED = re.compile(r"(<(?:think(?:ing)?|thoughts?|reason(?:ing)?)>|\[THINK\]|<\|begin_of_thought\|>)\s*\Z")


class PromptStyle(StrEnum):
    """`AUTO` is `CHAT` where the tokenizer is an instruction model's, else `COMPLETION`; see `PromptFormat.for_model`.

    `COMPLETION` is for base models, `FEW_SHOT` for base models that should see the form of an answer first.
    """

    AUTO = "auto"
    COMPLETION = "completion"
    CHAT = "chat"
    FEW_SHOT = "few_shot"


class Tokenizer(Protocol):
    """The part of a `transformers` tokenizer that prompts need."""

    chat_template: Any

    def apply_chat_template(self, conversation: Any, **kwargs: Any) -> Any: ...

    def __call__(self, text: str, *, add_special_tokens: bool) -> Any: ...


@dataclass(frozen=True)
class PromptFormat:
    """How problems are put to a model.

    Raises:
        InputError: an unknown style, or options that the style has no place for.
    """

    style: str = PromptStyle.AUTO
    system_prompt: str | None = None
    """Chat only: the system message; None leaves it to the template, which may bring its own; an empty one is sent."""
    num_shots: int | None = None
    """Few-shot only: how many of the project's own examples come first; None is three."""
    enable_thinking: bool | None = None
    """Chat only: switches thinking on or off in templates that know the variable; None leaves it to the template."""

    def __post_init__(self) -> None:
        if self.style not in list(PromptStyle):
            raise InputError(f"unknown prompt style {self.style!r}; known: {', '.join(PromptStyle)}")
        if self.style in (PromptStyle.COMPLETION, PromptStyle.FEW_SHOT):
            for name in ("system_prompt", "enable_thinking"):
                if getattr(self, name) is not None:
                    raise InputError(f"{name} needs the prompt style 'chat'; leave it away or change the style")
        if self.num_shots is None:
            return
        if self.style != PromptStyle.FEW_SHOT:
            raise InputError("num_shots needs the prompt style 'few_shot'; leave it away or change the style")
        if not 1 <= self.num_shots <= MAX_SHOTS:
            raise InputError(
                f"num_shots must be from 1 to {MAX_SHOTS}, got {self.num_shots}; for none use 'completion'"
            )

    @classmethod
    def from_arguments(cls, args: Any) -> Self:
        """From the options `prompt_style`, `system_prompt`, `num_shots` and `enable_thinking` of a command."""
        return cls(args.prompt_style, args.system_prompt, args.num_shots, args.enable_thinking)

    def for_model(self, tokenizer: Tokenizer) -> Self:
        """This format with the style that `auto` stands for, checked against the model's chat template.

        `auto` is `chat` where the template ends an answer with the tokenizer's end-of-text token: so does an
        instruction model's. Many base models ship a template too (Qwen2.5-Coder), but their end of text is another
        token, since they never saw it used. An option that only a chat has makes `auto` a chat.

        Raises:
            InputError: a chat without a template, a system message or a thinking switch that the template ignores.
        """
        style = _style_for(tokenizer, self) if self.style == PromptStyle.AUTO else PromptStyle(self.style)
        resolved = replace(self, style=style)
        if style == PromptStyle.CHAT:
            _check_template(resolved, tokenizer)
        return resolved


def _style_for(tokenizer: Tokenizer, prompts: PromptFormat) -> PromptStyle:
    wants_chat = prompts.system_prompt is not None or prompts.enable_thinking is not None
    return PromptStyle.CHAT if wants_chat or is_instruction_model(tokenizer) else PromptStyle.COMPLETION


def is_instruction_model(tokenizer: Tokenizer) -> bool:
    """Whether the chat template ends an answer with the tokenizer's end-of-text token."""
    eos = getattr(tokenizer, "eos_token", None)
    if not has_template(tokenizer) or not eos:
        return False
    turn = [{"role": "user", "content": "question"}, {"role": "assistant", "content": "answer"}]
    return eos in _render(tokenizer, turn, add_generation_prompt=False).rpartition("answer")[2]


def has_template(tokenizer: Tokenizer) -> bool:
    return bool(getattr(tokenizer, "chat_template", None))


def _check_template(prompts: PromptFormat, tokenizer: Tokenizer) -> None:
    if not has_template(tokenizer):
        raise InputError("the model's tokenizer has no chat template; use the prompt style 'completion'")
    user = {"role": "user", "content": "question"}
    if prompts.system_prompt:
        system = {"role": "system", "content": prompts.system_prompt}
        if prompts.system_prompt.strip() not in _render(tokenizer, [system, user]):
            raise InputError(
                "the model's chat template leaves the system message out; put it into the problems' prompts"
            )
    if prompts.enable_thinking is not None:
        on, off = (_render(tokenizer, [user], enable_thinking=switch) for switch in (True, False))
        if on == off:
            raise InputError("the model's chat template has no switch for thinking; leave enable_thinking away")


def _render(tokenizer: Tokenizer, messages: Sequence[Message], **options: Any) -> str:
    from jinja2 import TemplateError

    options.setdefault("add_generation_prompt", True)
    try:
        return str(tokenizer.apply_chat_template(list(messages), tokenize=False, **options))
    except TemplateError as error:
        roles = ", ".join(message["role"] for message in messages)
        raise InputError(f"the model's chat template refuses messages of {roles}: {error}") from error


def build_prompt(problem: Problem, prompts: PromptFormat) -> Prompt:
    """The prompt of `problem` in a style that is not `auto` (`PromptFormat.for_model`).

    A completion prompt is the problem's own text where that is the head of a program (HumanEval) or asks by itself
    (`prompt_asks`), byte for byte; else it is the request and an open Python fence.
    """
    if prompts.style == PromptStyle.CHAT:
        user = {"role": "user", "content": _chat_request(problem)}
        system = prompts.system_prompt
        return [user] if system is None else [{"role": "system", "content": system}, user]
    if prompts.style == PromptStyle.FEW_SHOT:
        return _few_shot(problem, prompts.num_shots or MAX_SHOTS)
    if prompts.style == PromptStyle.COMPLETION:
        whole = problem.prompt_is_code or problem.prompt_asks
        return problem.prompt if whole else f"{_request(problem)}\n\n```python\n"
    raise ValueError("the style 'auto' depends on the model: call PromptFormat.for_model first")


def _chat_request(problem: Problem) -> str:
    if problem.prompt_asks:
        return problem.prompt
    if not problem.prompt_is_code:
        return f"{_request(problem)} {_ANSWER}"
    return f"Complete this Python program. {_ANSWER}\n\n```python\n{problem.prompt.rstrip()}\n```"


def _request(problem: Problem) -> str:
    if problem.prompt_asks:
        return problem.prompt.rstrip()
    return f"{problem.prompt.rstrip()}\n\n{_task(problem)}"


def _task(problem: Problem) -> str:
    """What is to be written, in a sentence: it depends on how the problem is tested."""
    if not problem.entry_point:
        return "Write a Python program that reads its input from stdin and prints the answer to stdout."
    names = f"the Python function `{problem.entry_point}`"
    if any(test.kind is TestKind.CALL for test in problem.tests):
        names += f", or a class `{METHODS_CLASS}` with the method `{problem.entry_point}`"
    if problem.declares:
        names += " and define " + ", ".join(f"`{name}`" for name in problem.declares)
    return f"Write {names}."


# few-shot


def _few_shot(problem: Problem, count: int) -> str:
    """Examples of the problem's kind, then the problem: one program after another where the prompt is the head of one
    (HumanEval), else in the form of MBPP's paper."""
    if problem.prompt_is_code:
        return "\n\n".join([*(example.reference_solution for example in few_shot.HEADS[:count]), problem.prompt])
    examples = (few_shot.IN_WORDS if problem.entry_point else few_shot.STDIN)[:count]
    shown = (f"{_begun(example)}{example.reference_solution}[DONE]\n\n" for example in examples)
    return "".join(shown) + _begun(problem)


def _begun(problem: Problem) -> str:
    return f"You are an expert Python programmer, and here is your task: {_request(problem)}\n[BEGIN]\n"


# text and tokens


def render_prompt(prompt: Prompt, tokenizer: Tokenizer, enable_thinking: bool | None = None) -> str:
    """The text that the model continues: `prompt` itself, or the messages through the tokenizer's chat template.

    Raises:
        InputError: messages, and a tokenizer without a chat template or whose template refuses them.
    """
    if isinstance(prompt, str):
        return prompt
    if not has_template(tokenizer):
        raise InputError("the model's tokenizer has no chat template; use the prompt style 'completion'")
    options = {} if enable_thinking is None else {"enable_thinking": enable_thinking}
    return _render(tokenizer, prompt, **options)


def tokenize_prompt(prompt: Prompt, tokenizer: Tokenizer, enable_thinking: bool | None = None) -> list[int]:
    """The token ids of the rendered prompt.

    A plain text gets the beginning-of-sequence token that the tokenizer adds by itself, once, and no end. A chat
    template writes its own special tokens, or leaves them out on purpose, so messages get no further ones.
    """
    text = render_prompt(prompt, tokenizer, enable_thinking)
    ids = list(tokenizer(text, add_special_tokens=False)["input_ids"])
    if not isinstance(prompt, str):
        return ids
    bos = list(tokenizer("", add_special_tokens=True)["input_ids"])[:1]
    known = bos == [getattr(tokenizer, "bos_token_id", None)]
    return bos + ids if known and ids[:1] != bos else ids


def opened_thinking(prompts: PromptFormat, tokenizer: Tokenizer) -> str:
    """The tag of a thinking section that the chat template itself opens, or nothing: what stands before an answer."""
    if prompts.style != PromptStyle.CHAT:
        return ""
    text = render_prompt([{"role": "user", "content": "question"}], tokenizer, prompts.enable_thinking)
    match = _OPENED.search(text)
    return match[0] if match else ""
