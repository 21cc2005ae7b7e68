"""What went wrong, as one of the error types of `rlcode.types.ErrorType` (their plain strings: the guest stands alone).

The type of an exception is decided by the first built-in class among its bases, so a program can't invent types.
"""

from __future__ import annotations

import builtins
import errno
import functools
import os
import re
import signal
from collections.abc import Mapping
from typing import Any, NamedTuple

NO_CODE = "no_code"
MISSING_ENTRY_POINT = "missing_entry_point"
WRONG_ANSWER = "wrong_answer"
NO_RESULT = "no_result"
TIMEOUT = "timeout"
MEMORY = "memory"
OUTPUT = "output"
CRASH = "crash"
FORBIDDEN = "forbidden"
OTHER_RUNTIME = "other_runtime"

COMPILE = "compile"
RUN = "run"
TEST = "test"
"""Phases in which an exception can come up: the last is code of a test that runs in the program's interpreter."""

_COMPILE_TYPES = {
    "IndentationError": "indentation",
    "SyntaxError": "syntax",
    "UnicodeError": "syntax",  # a lone surrogate in the source
    "ValueError": "syntax",  # a NUL in the source, on older Pythons
    "OverflowError": "syntax",
    "RecursionError": "recursion",
    "MemoryError": MEMORY,
}
_RUN_TYPES = {
    "ImportError": "import",
    "NameError": "name",
    "TypeError": "type",
    "AttributeError": "attribute",
    "IndexError": "index",
    "KeyError": "key",
    "UnicodeError": "unicode",
    "ValueError": "value",
    "ZeroDivisionError": "zero_division",
    "RecursionError": "recursion",
    "OverflowError": "overflow",
    "OSError": "os",
    "EOFError": "stdin",
    "MemoryError": MEMORY,
}
_TEST_TYPES = {"ImportError": "import", "NameError": "name", "MemoryError": MEMORY}
"""A name that a test finds nowhere is one that the program was to have, or to import. Whatever else a test raises, it
raises over what the program did."""
ERROR_TYPES = frozenset(
    {NO_CODE, MISSING_ENTRY_POINT, WRONG_ANSWER, NO_RESULT, TIMEOUT, MEMORY, OUTPUT, CRASH, FORBIDDEN, OTHER_RUNTIME}
    | set(_COMPILE_TYPES.values())
    | set(_RUN_TYPES.values())
)

_SIGNAL_TYPES = {int(signal.SIGXCPU): TIMEOUT, int(signal.SIGXFSZ): OUTPUT, int(signal.SIGSYS): FORBIDDEN}

_NO_MEMORY = f"[Errno {errno.ENOMEM}]"

_MAX_NAME = 100
_MAX_SIGNATURE = 200
_MAX_DETAIL = 500
_MAX_MRO = 50

_ADDRESS = re.compile(r"0x[0-9a-fA-F]+")
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|`[^`]*`")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_SPACE = re.compile(r"\s+")


class Failure(NamedTuple):
    """Why a program did not pass; the fields are those of `rlcode.types.Verdict`."""

    error_type: str
    detail: str = ""
    exception: str | None = None
    signature: str | None = None
    line: int | None = None


def printable(text: str, length: int = _MAX_DETAIL) -> str:
    """`text` cut, and with what UTF-8 can't say replaced."""
    return text[:length].encode("utf-8", "replace").decode()


def signature(message: str) -> str:
    """The message of an exception without what differs from one occurrence to the next."""
    text = printable(message, 2 * _MAX_SIGNATURE)
    for pattern, replacement in ((_ADDRESS, "0x_"), (_QUOTED, "'_'"), (_NUMBER, "0"), (_SPACE, " ")):
        text = pattern.sub(replacement, text)
    return text.strip()[:_MAX_SIGNATURE]


def of_exception(name: str, bases: list[str], message: str, line: int | None, phase: str) -> Failure:
    """The failure that an exception of the program is. `bases` names the built-in classes that it derives from,
    nearest first."""
    types = {COMPILE: _COMPILE_TYPES, TEST: _TEST_TYPES}.get(phase, _RUN_TYPES)
    otherwise = WRONG_ANSWER if phase == TEST else OTHER_RUNTIME
    error_type = next((types[base] for base in bases[:_MAX_MRO] if base in types), otherwise)
    if error_type == "os" and message.startswith(_NO_MEMORY):
        error_type = MEMORY
    name = printable(name, _MAX_NAME)
    detail = printable(f"{name}: {message}" if message else name)
    return Failure(error_type, detail, exception=name, signature=signature(message), line=line)


def exception_for(
    failure: Failure,
    bases: list[str],
    message: str,
    arguments: tuple[Any, ...],
    attributes: dict[str, Any],
    declared: Mapping[str, type[BaseException]],
) -> Exception:
    """An exception to raise in the judge in the place of the program's, that bears the failure (see `failure_in`).

    It is caught by what catches the program's (the same built-in classes, and those of `declared` that `bases` names
    with a dot), says the same, and has its arguments and its attributes; the name of its class is the failure's.
    """
    kind = kind_for(failure.exception or "", tuple(bases[:_MAX_MRO]), declared)
    try:
        # the kinds of UnicodeError look their arguments up unchecked when they are printed
        exception = kind(message) if issubclass(kind, UnicodeError) else kind(*arguments)
    except Exception:  # a class that takes certain arguments only
        exception = _blank(kind)
        exception.args = (message,)
    plain = {name: value for name, value in attributes.items() if name[:1] != "_" and not hasattr(Exception, name)}
    vars(exception).update(plain, __rlcode_failure__=failure, __rlcode_message__=message)
    return exception


def failure_in(exception: BaseException | None) -> Failure | None:
    """The program's own failure, where the exception came from the program (or from what came from it: a
    StopIteration that crosses a generator)."""
    if exception is None:
        return None
    return getattr(exception, "__rlcode_failure__", None) or failure_in(exception.__cause__)


def kind_for(name: str, bases: tuple[str, ...], declared: Mapping[str, type[BaseException]]) -> type[Exception]:
    """The class itself where the name says so, otherwise a class that derives from all of those."""
    if not any(base[:1] == "." for base in bases):
        return _built_in_kind_for(name, bases)
    known = (declared.get(base[1:]) if base[:1] == "." else getattr(builtins, base, None) for base in bases)
    return _derived(name, tuple(known))


@functools.lru_cache(256)
def _built_in_kind_for(name: str, bases: tuple[str, ...]) -> type[Exception]:
    return _derived(name, tuple(getattr(builtins, base, None) for base in bases))


def _derived(name: str, bases: tuple[Any, ...]) -> type[Exception]:
    kinds = [kind for kind in bases if isinstance(kind, type) and issubclass(kind, Exception)] or [Exception]
    nearest = [kind for kind in kinds if not any(k is not kind and issubclass(k, kind) for k in kinds)]
    if len(nearest) == 1 and nearest[0].__name__ == name:
        return nearest[0]
    for parents in (nearest, nearest[:1]):  # some classes do not go together
        try:
            return type(name, tuple(parents), {"__str__": _said, "__module__": "program"})
        except (TypeError, ValueError):  # the latter for a name with a NUL
            continue
    return nearest[0]


def _said(exception: Any) -> str:
    said = vars(exception).get("__rlcode_message__")
    return Exception.__str__(exception) if said is None else str(said)  # without where a test made it itself


def _blank(kind: type[Exception]) -> Exception:
    try:
        return kind.__new__(kind)
    except TypeError:  # a group of exceptions, say
        return Exception()


def of_exit(status: int) -> Failure:
    """The failure of a program that ended by itself before it answered. `status` is as `os.wait` gives it."""
    if os.WIFEXITED(status):
        return Failure(NO_RESULT, f"the program exited with code {os.WEXITSTATUS(status)} before it was done")
    number = os.WTERMSIG(status)
    names = {member.value: member.name for member in signal.Signals}
    detail = f"the program was ended by {names.get(number, f'signal {number}')}"
    return Failure(_SIGNAL_TYPES.get(number, CRASH), detail)
