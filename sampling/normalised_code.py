"""Programs without what makes no difference to them: comments, empty lines, blanks at the end of a line.

Model output is hostile, so nothing is parsed: one pass of a regular expression in which some alternative fits wherever
it stands and no repetition gives back what it took, so that no character is looked at more than a few times.
"""

from __future__ import annotations

import re

MAX_LENGTH = 1 << 16
"""Characters; a longer program is left as it is."""

_WORDS = r"""(?>[^\n"'#\\]*[^ \t\f\n"'#\\])"""
_BETWEEN = r"[ \t\f]++(?![#\n]|\Z)"
_JOINED_LINE = r"\\.?"
_STRINGS = (
    r'"""(?:[^"\\]++|\\.?|"(?!""))*+(?:""")?+',
    r"'''(?:[^'\\]++|\\.?|'(?!''))*+(?:''')?+",
    r'"(?:[^"\\\n]++|\\.?)*+"?+',
    r"'(?:[^'\\\n]++|\\.?)*+'?+",
)
_BLANKS = r"[ \t\f]*+(?:#[^\n]*+)?+"
# The groups stay, the rest goes. A # or blanks in a string are part of the program, so strings stay as they are; of
# a newline and the empty lines behind it the newline stays.
_PATTERN = re.compile(
    rf"((?:{'|'.join((_WORDS, _BETWEEN, _JOINED_LINE, *_STRINGS))})++)|(\n)(?:{_BLANKS}\n)*+|{_BLANKS}(?=\n|\Z)",
    re.DOTALL,
)


def normalise(source: str) -> str:
    """`source` without all that; programs that are equal then do the same."""
    if len(source) > MAX_LENGTH:
        return source
    text = source.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(map("".join, _PATTERN.findall(text))).strip("\n")
