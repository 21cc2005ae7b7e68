"""Where code stands in what a model wrote: thinking and answer sections, marks, fenced blocks, runs of code in prose.

Part of `rlcode.extraction`: it parses hostile text, so it runs in a process that can be killed.
"""

from __future__ import annotations

import functools
import html
import itertools
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

from rlcode.extraction_source import compiles, is_program, repaired, whole_statements

PYTHON_TAGS = {"", "py", "python", "python2", "python3", "py3", "ipython", "code", "pycon"}
# fmt: off
OTHER_TAGS = {
    "bash", "c", "c#", "c++", "console", "cpp", "cs", "csharp", "css", "csv", "dart", "diff", "dockerfile", "elixir",
    "go", "golang", "haskell", "html", "java", "javascript", "js", "json", "julia", "kotlin", "latex", "lua",
    "makefile", "matlab", "mermaid", "output", "perl", "php", "plain", "plaintext", "powershell", "r", "ruby", "rust",
    "scala", "sh", "shell", "shellsession", "sql", "swift", "terminal", "tex", "text", "toml", "ts", "txt",
    "typescript", "xml", "yaml", "yml", "zsh",
}
# fmt: on
_MAX_STARTS = 40  # lines of a plain answer at which a program is looked for
_MAX_CLOSINGS = 8  # later fences that may end a block whose code holds a fence itself

_THINKING = r"think(?:ing)?|thoughts?|reason(?:ing)?"
# a mark that a quote, a backslash or a lone backtick follows stands in a string or is talked about
_NOT_QUOTED = r"""(?!["'\\]|`(?!`))"""
_THINK_END = re.compile(rf"(?:</(?:{_THINKING})>|\[/THINK\]|<\|end_of_thought\|>){_NOT_QUOTED}")
_THINK_START = re.compile(rf"\s*(?:<(?:{_THINKING})>|\[THINK\]|<\|begin_of_thought\|>)")
_TEXT_END = re.compile(rf"<\|(?:endoftext|im_end|eot_id|end_of_text|eom_id|end)\|>{_NOT_QUOTED}")
_ANSWER = re.compile(r"^[ \t]*<answer>(?P<inner>.*?)(?:</answer>[ \t]*$|\Z)", re.M | re.S)

_CODE_AHEAD = r"(?=def |class |import |from |@|async )"
_BRACKET_OPEN = re.compile(rf"^\[(?:PYTHON|BEGIN)\][ \t]*(?:$|(?P<code>{_CODE_AHEAD}))", re.M)
_BRACKET_CLOSE = re.compile(r"^\[(?:DONE|/PYTHON)\][ \t]*$|(?P<code>\[/PYTHON\])[ \t]*$", re.M)
_HTML = re.compile(r"<(?P<tag>pre|code|python|solution)\b[^<>]*>(?P<inner>.*?)(?:</(?P=tag)>|\Z)", re.S)

_OPENING = re.compile(r"(?P<lead>[ \t]*)(?P<fence>`{3,}|~{3,})[ \t]*(?P<tag>[^`]*)")
_OPENING_IN_LINE = re.compile(r"(?P<lead>[^`]*)(?P<fence>`{3,})(?P<tag>[\w+#.-]*)[ \t]*")
_INLINE = re.compile(r"```(?!`)(?:(?:python|py)\s)?(.+?)```")
_CODE_ON_FENCE = re.compile(r"(?:def|class|import|from|@|async)\b.*\S\s")
_LONE_TAG = re.compile(r"[ \t]*(?:python3?|py)[ \t]*", re.I)

_HEAD_LINE = re.compile(
    r"import \w|from \w+(\.\w+)* import|(async )?def \w|class \w|@\w|#|\"\"\"|'''|\w+( *:.*)? *=[^=]|if __name__"
)
_CODE_LINE = re.compile(
    rf"{_HEAD_LINE.pattern}|[\w.]+(?:\[.*\])? *(?:[-+*/%&|^]|//|\*\*|<<|>>)?=[^=]|\w+(?: *, *\w+)+,? *=[^=]"
    r"|[\w.]+\(|for .+ in .+:|(?:while|if|with) .+:|try:"
)
_PROSE_LINE = re.compile(
    r"[A-Z][\w'’-]*(?:[,:;.!]? +[^\s=(].*|[:!.])$|(?:[-*•>]|\d+[.)]) +\S|#{2,} |\*\*|</?\w|\[/?[A-Z]+\]|<\|"
)
_BLOCK_HEAD = re.compile(
    r"\s*(?:if|elif|else|try|except|finally|for|while|with|def|class|async|match|case)\b.*:\s*(?:#.*)?$"
)


@dataclass(frozen=True)
class Block:
    """A fenced block: its code, the first word after the opening fence, and whether a closing fence was there."""

    code: str
    tag: str
    closed: bool


# sections


def without_thinking(text: str) -> str | None:
    """What follows the thinking section; None where it is not closed."""
    *_, end = [0, *(match.end() for match in _THINK_END.finditer(text))]
    return None if not end and _THINK_START.match(text) else text[end:]


def up_to_end_mark(text: str) -> str:
    """`text` before the first end-of-text mark that a tokenizer left in it."""
    return _TEXT_END.split(text, maxsplit=1)[0]


def answer_sections(text: str) -> list[str]:
    """The places to look at, best first: inside the last `<answer>` tag, then all of `text`."""
    inner = [match["inner"] for match in _ANSWER.finditer(text)]
    return [*(section for section in inner[-1:] if section.strip()), text]


def with_fences(text: str) -> str:
    """`text` with MBPP's and Code Llama's bracket marks as fences."""
    text = _BRACKET_OPEN.sub(lambda match: "```python" if match["code"] is None else "```python\n", text)
    return _BRACKET_CLOSE.sub(lambda match: "```" if match["code"] is None else "\n```", text)


def tags_as_fences(text: str) -> str:
    """`text` with the code between HTML tags (`<code>`, `<pre>`) or `<python>`, `<solution>` in fences."""
    return _HTML.sub(lambda match: f"\n```python\n{_from_html(match['inner'])}\n```\n", text)


def _from_html(code: str) -> str:
    """Code as it stands in HTML: entities are meant as such unless a bare `<` or `>` shows that it was not escaped."""
    inner = _HTML.fullmatch(code.strip())  # <pre><code>…</code></pre>
    code = inner["inner"] if inner else code
    return code if re.search("[<>]", code) else html.unescape(code)


# fenced blocks


def fenced_blocks(text: str) -> Iterator[Block]:
    """The fenced blocks of `text` in their order: three or more backticks or tildes, any tag, the last one maybe open.

    A fence inside a block's code (in a docstring) does not end it where a later one makes the code compile. A block of
    Markdown gives the blocks in it.
    """
    lines = text.split("\n")
    position, found = 0, False
    while position < len(lines):
        line = lines[position]
        opening = _OPENING.fullmatch(line) or _OPENING_IN_LINE.fullmatch(line)
        position += 1
        if opening:
            found = True
            block, position = _read_block(lines, position, opening)
            yield from fenced_blocks(block.code) if block.tag in ("markdown", "md") else [block]
    if not found:
        yield from (Block(repaired(match.strip()), "", True) for match in _INLINE.findall(text))


def _read_block(lines: list[str], start: int, opening: re.Match[str]) -> tuple[Block, int]:
    """The block whose first line of code is `start`, and the line after it."""
    head, tag = _split_tag(opening["tag"])
    if not tag and start < len(lines) and _LONE_TAG.fullmatch(lines[start]):
        tag, start = lines[start].strip().lower(), start + 1
    margin = len(opening["lead"]) if not opening["lead"].strip() else 0
    code = functools.partial(_code_between, lines, start, head=head, margin=margin, fence=opening["fence"])
    later = (i for i in range(start, len(lines)) if _closes(lines[i], opening["fence"]))
    closings = list(itertools.islice(later, _MAX_CLOSINGS))
    end = next((i for i in closings if compiles(code(i))), None)
    if end is None and (not closings or (len(closings) < _MAX_CLOSINGS and compiles(code(len(lines))))):
        return Block(repaired(code(len(lines))), tag, False), len(lines)
    end = closings[0] if end is None else end
    return Block(repaired(code(end)), tag, True), end + 1


def _split_tag(info: str) -> tuple[list[str], str]:
    """Code that stands on the line of the opening fence, and the block's tag."""
    if _CODE_ON_FENCE.match(info + " "):
        return [info], ""
    tag, _, rest = info.strip().strip("{}.").partition(" ")
    return [rest] if _CODE_ON_FENCE.match(rest + " ") else [], tag.lower()


def _closes(line: str, fence: str) -> bool:
    """Whether the line ends with a closing fence: alone, or after the last line of code."""
    bare = line.rstrip()
    code = bare.rstrip(fence[0])
    return len(bare) - len(code) >= len(fence) and fence[0] not in code


def _code_between(lines: list[str], start: int, end: int, *, head: list[str], margin: int, fence: str) -> str:
    """Lines `start` to `end`, without the margin of an indented fence; on line `end` what precedes the fence."""
    last = [lines[end].rstrip().rstrip(fence[0])] if end < len(lines) else []
    body = [*head, *(_without_margin(line, margin) for line in [*lines[start:end], *last])]
    return "\n".join(body).rstrip() + "\n" if any(line.strip() for line in body) else ""


def _without_margin(line: str, margin: int) -> str:
    return line[:margin].lstrip() + line[margin:]


def split_at_fence(text: str) -> tuple[str, str]:
    """What stands before the first fence (all of it where there is none), and what follows on the fence's line."""
    before, *after = re.split(r"`{3,}|~{3,}", text, maxsplit=1)
    return before, "".join(after).partition("\n")[0].strip()


def without_lone_tag(code: str) -> str:
    """`code` without a first line that is a fence's tag: the prompt opened the fence, the model names the language."""
    first, newline, rest = code.partition("\n")
    return rest if newline and _LONE_TAG.fullmatch(first) else code


# code in prose


def code_runs(text: str, lines_to_start: int | None = None) -> Iterator[str]:
    """The runs of whole lines, each up to prose or the end, that compile; also those indented as Markdown has them.

    With `lines_to_start` only those that begin in the first so many lines.
    """
    lines = text.split("\n")
    position = 0
    for start in _code_lines(lines)[:_MAX_STARTS]:
        if start < position or (lines_to_start is not None and start >= lines_to_start):
            continue
        run = lines[start:] if not lines[start][:1].isspace() else _indented_run(lines, start)
        whole = whole_statements(repaired("\n".join(run)))
        if whole is not None and is_program(whole):
            position = start + whole.count("\n")
            yield whole


def from_first_indented_line(text: str) -> str | None:
    """`text` from its first indented line on, where nothing but prose stands before it; else None."""
    lines = text.split("\n")
    first = next((i for i, line in enumerate(lines) if line[:1].isspace() and line.strip()), None)
    if first is None or not begins_with_prose(text) or any(_CODE_LINE.match(line) for line in lines[:first]):
        return None
    return "\n".join(lines[first:])


def from_first_code_line(text: str) -> str | None:
    """`text` from the first line on that looks like code, whether it compiles or not; None where none does, but
    headings of Markdown, which look like comments."""
    lines = text.split("\n")
    places = [i for i, line in enumerate(lines) if _HEAD_LINE.match(line) or _is_statement(line)]
    return "\n".join(lines[places[0] :]) if any(not lines[i].startswith("#") for i in places) else None


def _is_statement(line: str) -> bool:
    return _CODE_LINE.match(line) is not None and (compiles(line) or compiles(line + " pass"))


def _code_lines(lines: list[str]) -> list[int]:
    """The lines at which a run of code may begin."""
    return [i for i, line in enumerate(lines) if _CODE_LINE.match(line) or _begins_indented_code(lines, i)]


def _begins_indented_code(lines: list[str], place: int) -> bool:
    """Whether the line begins an indented block of Markdown: a blank line before it, and prose at the margin above."""
    if place < 2 or lines[place - 1].strip() or not lines[place].startswith(("    ", "\t")):
        return False
    above = next((line for line in reversed(lines[:place]) if line.strip()), "")
    return (
        _CODE_LINE.match(lines[place].lstrip()) is not None
        and not above[:1].isspace()
        and not _BLOCK_HEAD.match(above)
        and not _CODE_LINE.match(above)
    )


def _indented_run(lines: list[str], start: int) -> list[str]:
    """The indented lines from `start` on, without their margin."""
    end = next((i for i in range(start, len(lines)) if lines[i][:1].strip()), len(lines))
    return textwrap.dedent("\n".join(lines[start:end])).split("\n")


def begins_with_prose(text: str) -> bool:
    """Whether the first line that is not blank is a sentence, a tag or a mark of Markdown, and not a line of code."""
    first = text.strip().partition("\n")[0]
    return not _CODE_LINE.match(first) and _PROSE_LINE.match(first) is not None and not compiles(first)
