"""HTML and SVG as text in which everything that is not markup of ours is escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any

_VOID = ("input", "meta", "br")
_UNSEEN = {code: "\N{REPLACEMENT CHARACTER}" for code in range(32) if chr(code) not in "\t\n"}
"""Control characters, which HTML does not allow."""


class Html(str):
    """Text that is markup already. Nothing but the functions here makes it."""


def escape(value: object) -> Html:
    """`value` as text; a lone surrogate, which UTF-8 has no bytes for, becomes `?`."""
    if isinstance(value, Html):
        return value
    text = str(value).translate(_UNSEEN).encode(errors="replace").decode()
    return Html(html.escape(text))


def tag(name: str, *children: object, **attributes: Any) -> Html:
    """An element. In the names of attributes `_` stands for `-`, and one at the end is dropped (`class_`); an attribute
    that is None or False is left away, one that is True has no value."""
    given = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{escape(value)}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in _VOID:
        return Html(f"<{name}{given}>")
    return Html(f"<{name}{given}>{join(children)}</{name}>")


def join(parts: Iterable[object]) -> Html:
    """One after the other."""
    return Html("".join(map(escape, parts)))


def table(heads: Sequence[object], rows: Iterable[Sequence[object]], caption: str = "") -> Html:
    """A table whose first column names the rows; it scrolls by itself where it is too wide."""
    head = tag("tr", *(tag("th", one, scope="col") for one in heads))
    body = [tag("tr", tag("th", row[0], scope="row"), *(tag("td", cell) for cell in row[1:])) for row in rows]
    named = [tag("caption", caption)] if caption else []
    whole = tag("table", *named, tag("thead", head), tag("tbody", *body))
    return tag("div", whole, class_="scroll", tabindex="0", role="region", aria_label=caption or "table")


def folded(summary: object, *children: object) -> Html:
    """What is shown when it is asked for."""
    return tag("details", tag("summary", summary), *children)


def section(anchor: str, title: str, *children: object) -> Html:
    """A part of the page with its heading."""
    return tag(
        "section", tag("h2", title, id=f"{anchor}-title"), *children, id=anchor, aria_labelledby=f"{anchor}-title"
    )


def said(text: str) -> Html:
    """Why something is not here."""
    return tag("p", text, class_="absent")
