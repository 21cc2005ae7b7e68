"""A problem's reference solution as an answer: what a policy that knows the solution would write after the prompt."""

from __future__ import annotations

from rlcode.prompts import PromptFormat, PromptStyle
from rlcode.types import Problem


def reference_answer(problem: Problem, prompts: PromptFormat) -> str | None:
    """The text to follow `build_prompt(problem, prompts)`, without an end token and without blanks at its end.

    A chat asks for one block with the whole program, and gets it. A completion goes on where the prompt ends: with the
    rest of the program where the prompt is its head, else with the program and what closes it (the fence that the
    prompt opened, `[DONE]` after examples).

    Returns:
        None where the prompt is the head of a program, is to be continued, and the solution does not begin with it.
    """
    program = problem.reference_solution.rstrip()
    if prompts.style == PromptStyle.CHAT:
        return f"```python\n{program}\n```"
    if not problem.prompt_is_code:
        return f"{program}\n[DONE]" if prompts.style == PromptStyle.FEW_SHOT else f"{program}\n```"
    return program.removeprefix(problem.prompt) if program.startswith(problem.prompt) else None
