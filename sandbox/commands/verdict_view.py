"""A verdict as a person wants to see it. All that comes from the program is made harmless first."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rich.text import Text

from rlcode.data.forgeable import FORGEABLE
from rlcode.types import ErrorType, Problem, TestKind, Verdict
from sandbox.protocol import Job
from sandbox.terminal import harmless, one_line

AROUND = 2
"""Lines shown before and after the one that went wrong."""
MOST_PRINTED = 20
"""Lines shown of what the program printed."""
_WIDTH = 110
_NEWLINE = re.compile(r"\r\n|\r|\n")  # what ends a line for Python; `splitlines` knows more
_DIFFERENCE = re.compile(r"(?:(?P<at>[a-z]+ \d+): )?(?P<got>.*) != (?P<expected>.*)", re.DOTALL)


def view(job: Job, verdict: Verdict, *, is_script: bool = False) -> Iterator[Text]:
    """The lines to print; `is_script` says that the program had no task."""
    yield _headline(verdict, is_script)
    if verdict.error_type is not None:
        yield from _reason(job.problem, verdict)
    if verdict.line is not None and job.program.source is not None:
        yield from excerpt(job.program.source, verdict.line)
    yield Text("")
    if verdict.stdout:
        yield from _printed(verdict.stdout)
    yield _consumption(verdict)
    if verdict.forgeable:
        yield Text(FORGEABLE, "yellow")


def _headline(verdict: Verdict, is_script: bool) -> Text:
    if is_script:
        return _mark(verdict.error_type is None, "came to its end" if verdict.error_type is None else _type(verdict))
    tests = f"{verdict.tests_passed} of {verdict.tests_total} tests passed"
    name = "passed" if verdict.passed else _type(verdict)
    return _mark(verdict.passed, name).append(f"  {tests}")


def _mark(good: bool, text: str) -> Text:
    return Text("✓ " if good else "✗ ", "bold green" if good else "bold red").append(text)


def _type(verdict: Verdict) -> str:
    return str(verdict.error_type or "no test")


def _reason(problem: Problem, verdict: Verdict) -> Iterator[Text]:
    if verdict.first_failing_test:
        yield _row("test", verdict.first_failing_test)
    difference = _difference(problem, verdict)
    if difference:
        yield from (_row(name, text) for name, text in difference.groupdict().items() if text)
    elif verdict.detail:
        yield _row("because", verdict.detail)


def _difference(problem: Problem, verdict: Verdict) -> re.Match[str] | None:
    """What was got and expected, where the detail says so beyond doubt."""
    if verdict.error_type is not ErrorType.WRONG_ANSWER or verdict.detail.count(" != ") != 1:
        return None
    if not _names_answer_first(problem, verdict.first_failing_test or ""):
        return None
    return _DIFFERENCE.fullmatch(verdict.detail)


def _names_answer_first(problem: Problem, test: str) -> bool:
    """Whether what stands before the `!=` is the program's answer."""
    if not any(case.kind in (TestKind.ASSERTS, TestKind.CHECK, TestKind.UNITTEST) for case in problem.tests):
        return True
    left, compared, right = test.partition("==")
    call = re.compile(rf"\b(candidate|{re.escape(problem.entry_point)})\(")
    return bool(compared and call.search(left) and not call.search(right))


def _row(name: str, text: str) -> Text:
    return Text.assemble((f"  {name:<10}", "dim"), one_line(text, 4 * _WIDTH))


def excerpt(source: str, line: int | None) -> Iterator[Text]:
    """The lines around `line`, counted from 1, with a mark at it; the first lines where it is not known."""
    lines = _NEWLINE.split(source.rstrip())
    at = line or AROUND + 1
    first, last = max(1, at - AROUND), min(len(lines), at + AROUND)
    yield Text("")
    for number in range(first, last + 1):
        text = one_line(lines[number - 1], _WIDTH)
        if number == line:
            yield Text.assemble((f"> {number:>4} | ", "bold red"), (text, "bold"))
        else:
            yield Text.assemble((f"  {number:>4} | ", "dim"), text)


def _printed(text: str) -> Iterator[Text]:
    """What the program printed; a verdict holds but its start."""
    lines = harmless(text).removesuffix("\n").split("\n")
    more = len(lines) - MOST_PRINTED
    yield Text("printed (its start)", "bold")
    yield from (Text.assemble(("  | ", "dim"), one_line(line, _WIDTH)) for line in lines[:MOST_PRINTED])
    if more > 0:
        yield Text(f"  … {more} more lines; all that is known is in `--json`", "dim")


def _consumption(verdict: Verdict) -> Text:
    limits = verdict.limits
    where = " ".join(part for part in (verdict.backend, verdict.image_digest[:19]) if part)
    return Text.assemble(
        ("time ", "dim"),
        f"{verdict.time_s:.3f} of {limits.time_s:g} s",
        ("   memory ", "dim"),
        f"{verdict.memory_mb:.0f} of {limits.memory_mb} MiB",
        ("   in ", "dim"),
        where,
    )
