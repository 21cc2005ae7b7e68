"""A person's terminal. Text of programs on it is hostile: it may hold what a terminal obeys, or what hides other
text."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

TAB = 4


def harmless(text: str) -> str:
    """`text` with everything but letters, marks, signs, blanks and newlines spelled out: ESC becomes `\\x1b`."""
    unix = text.replace("\r\n", "\n").expandtabs(TAB)
    return "".join(c if c == "\n" or c.isprintable() else _spelled(c) for c in unix)


def one_line(text: str, length: int = 200) -> str:
    """`text` made harmless, in one line, cut to `length` characters."""
    line = harmless(text).replace("\n", "\\n")
    return line if len(line) <= length else line[: length - 1] + "…"


def with_progress(items: Iterable[T], total: int | None = None) -> Iterator[T]:
    """The items, with a progress bar on stderr, where that is a terminal."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    return iter(track(items, total=total, description="judging", console=console, disable=not sys.stderr.isatty()))


def _spelled(character: str) -> str:
    return character.encode("unicode_escape").decode()
