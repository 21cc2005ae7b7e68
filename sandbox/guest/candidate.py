"""The candidate's side: gets the source of a program over its socket, runs it, and answers calls.

All of this shares an interpreter with hostile code, so nothing here is relied upon: the judge checks what it is sent,
and a program that tampers with this module only spoils its own answers.
"""

from __future__ import annotations

import contextlib
import functools
import json
import mmap
import os
import socket
import sys
import types
from collections.abc import Callable
from typing import Any, NoReturn

from . import channel, program, unittest_runner
from .classify import COMPILE, RUN
from .codec import OPERATORS, CannotCross, Codec, decayed, special
from .kernel import PRIVATE

_INT_DIGITS = 4300
_MAX_TEXT = 1000
_SPARE = 1 << 20
_REHEARSALS = 20
_REHEARSED = """
import math
def f(n, items):
    return [(1 // n, {"key": items}, math.sqrt(n))]
"""


class Link:
    """Frames to and from the judge."""

    def __init__(self, fd: int) -> None:
        """`fd` is a socket, which need not be open yet."""
        # bound now: tests that run in this interpreter may patch `os`
        self._frames = channel.Frames(functools.partial(os.read, fd, channel.CHUNK))
        self._write = functools.partial(os.write, fd)
        self.objects = _Objects()
        self._codec = Codec(self.objects.export, self.objects.resolve, self.objects.is_declared)
        self._spare: mmap.mmap | None = mmap.mmap(-1, _SPARE, flags=PRIVATE)  # given up to say that memory ran out

    def send(self, head: list[Any], *values: Any) -> None:
        body = self._codec.dumps(head, *values)
        if len(body) > channel.MAX_REPLY:
            body = self._codec.dumps([head[0], "big", len(body)])
        rest = memoryview(channel.frame(body))
        while rest:
            rest = rest[self._write(rest) :]

    def read(self) -> list[Any]:
        return self._codec.loads(self._frames.next())

    def answer(self, number: int, value: Any) -> None:
        """Send a value, or where it has no form to travel in, a handle on it."""
        _limit_int_digits()
        try:
            self.send([number, "v"], value)
        except (CannotCross, RecursionError):
            self.send([number, "v", {"h": self.objects.export(value)}])

    def declared_exceptions(self) -> list[list[Any]]:
        """What the problem declares and is a class of exceptions: its name, and what it is and derives from."""
        self._codec.exceptions = self.objects.exceptions
        return [[name, self._codec.bases_of(kind)] for name, kind in self.objects.exceptions.items()]

    def report(self, number: int, error: BaseException, phase: str) -> None:
        """Send what an exception says of itself."""
        self._make_room(error)
        head = [number, "x", program.line_of(error), phase]
        try:
            _limit_int_digits()
            self.send(head, error)
        except BaseException:  # arguments that don't travel, or whatever the program made of them
            self.send([*head, {"E": [*self._codec.describe(error), [], []]}])

    def described(self, error: BaseException) -> list[Any]:
        """The line where an exception was raised, its class's name, the built-in classes that it derives from, and its
        message."""
        self._make_room(error)
        return [program.line_of(error), *self._codec.describe(error)]

    def _make_room(self, error: BaseException) -> None:
        if isinstance(error, MemoryError):
            self._spare = None


def run(link: Link) -> NoReturn:
    """Serve the judge; never returns."""
    mode, source, rest = link.read()
    if mode == "script":
        _run_script(link, source)
    if mode == "unittest":
        unittest_runner.run(link, source, *rest)
    else:
        _serve(link, source, rest)
    os._exit(0)


class _Objects:
    """What the judge knows by number: the names that it asked for, and values that stay here."""

    def __init__(self) -> None:
        self.known: list[Any] = []
        self._numbers: dict[int, int] = {}
        self._declared: set[type] = set()
        self.exceptions: dict[str, type[BaseException]] = {}

    def declare(self, name: str, value: Any) -> None:
        """Know what the judge asked for by name, the entry point first, which is a class only if it is named as one."""
        if isinstance(value, type) and (self.known or name[:1].isupper()):
            if issubclass(value, BaseException):
                self.exceptions[name] = value
            else:
                self._declared.add(value)
        self._numbers.setdefault(id(value), self.add(value))

    def is_declared(self, kind: type) -> bool:
        return bool(self._declared) and not self._declared.isdisjoint(kind.__mro__)

    def export(self, value: Any) -> list[Any]:
        number = self._numbers.get(id(value))
        if number is None:
            number = self.add(value)
            self._numbers[id(value)] = number
        return [number, type(value).__name__[:_MAX_TEXT], self._kind_of(value)]

    def add(self, value: Any) -> int:
        self.known.append(value)
        return len(self.known) - 1

    def resolve(self, number: Any, name: Any, kind: Any) -> Any:
        return self.known[number]

    def _kind_of(self, value: Any) -> str:
        kind = type(value)
        if self.is_declared(kind):
            return "value" if isinstance(value, _BUILT_INS) else "callable" if callable(value) else "object"
        if kind in _KINDS:
            return _KINDS[kind]
        tests = (("iterator", hasattr(kind, "__next__")), ("function", callable(value)))
        may_iterate = hasattr(kind, "__iter__") or hasattr(kind, "__getitem__")
        return next((name for name, holds in tests if holds), "iterable" if may_iterate else "opaque")


_KINDS: dict[type, str] = {types.GeneratorType: "generator", types.CoroutineType: "coroutine"}
_BUILT_INS = (int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset)


def _call(target: Any, *arguments: Any, **named: Any) -> Any:
    return target(*arguments, **named)


def _await(target: Any) -> Any:
    import asyncio  # few programs have coroutines

    return asyncio.run(target)


_OPERATIONS: dict[str, Callable[..., Any]] = {
    "call": _call,
    "getattr": getattr,
    "setattr": setattr,
    "delattr": delattr,
    "iter": iter,
    "next": next,
    "send": lambda target, value: target.send(value),
    "close": lambda target: target.close(),
    "await": _await,
    "bool": bool,
    "str": str,
    "plain": decayed,
    "enter": lambda target: type(target).__enter__(target),
    "exit": lambda target: type(target).__exit__(target, None, None, None) and None,
    "isinstance": lambda target, value: isinstance(value, target),
    **{name: special(name) for name in (*OPERATORS, "lt", "le", "gt", "ge")},
}


def _serve(link: Link, source: str, names: list[str]) -> None:
    """Load the program, then answer calls until the judge has had enough."""
    module = _load(link, source, "solution")
    if module is None:
        return
    missing = [name for name in names if name not in module]
    for name in names:
        link.objects.declare(name, module.get(name))
    link.send([0, "missing", missing] if missing else [0, "v", link.declared_exceptions()])
    with contextlib.suppress(EOFError):
        while True:
            _answer(link, *link.read())


def _answer(link: Link, number: int, operation: str, target: int, names: list[str], *values: Any) -> None:
    """Do what a question asks for; the last values are for the arguments that `names` names."""
    process = os.getpid()
    first_named = len(values) - len(names)
    try:
        named = dict(zip(names, values[first_named:], strict=True))
        value = _OPERATIONS[operation](link.objects.known[target], *values[:first_named], **named)
        program.flush()
        if os.getpid() == process:
            link.answer(number, value)
            return
    except SystemExit as error:
        program.finish(program.exit_code(error))
    except BaseException as error:
        # Of a child that came back here, its parent is to give the answer, unless there is no memory for one.
        if os.getpid() == process or isinstance(error, MemoryError):
            link.report(number, error, RUN)
    if os.getpid() != process:
        os._exit(0)


def _load(link: Link, source: str, name: str) -> dict[str, Any] | None:
    """Run the program as the module `name` and return its names, or None after a report of what went wrong."""
    try:
        code = program.compiled(source)
    except BaseException as error:
        link.report(0, error, COMPILE)
        return None
    module = program.new_module(name)
    try:
        exec(code, module.__dict__)
        program.flush()
    except SystemExit as error:
        program.finish(program.exit_code(error))
    except BaseException as error:
        link.report(0, error, RUN)
        return None
    return module.__dict__


def _run_script(link: Link, source: str) -> NoReturn:
    """Run the program as a script that reads stdin and writes stdout, to its end."""
    if _load(link, source, "__main__") is None:
        program.finish(1)
    program.finish(0)


def _limit_int_digits() -> None:
    """The program may have lifted the limit, but the judge does not read longer numbers in decimal."""
    if hasattr(sys, "set_int_max_str_digits") and sys.get_int_max_str_digits() != _INT_DIGITS:
        sys.set_int_max_str_digits(_INT_DIGITS)


def rehearse() -> None:
    """Serve a small program right here, as every process will serve its own.

    What the interpreter writes into its own structures when code first runs is then shared, not copied each time.
    """
    main = sys.modules["__main__"]
    call = [[0, "call", 0, ["items"], number, [1.5, "a"]] for number in (1, 0, 2)]
    for _ in range(_REHEARSALS):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            theirs.sendall(b"".join(channel.frame(json.dumps(message).encode()) for message in call))
            theirs.shutdown(socket.SHUT_WR)
            _serve(Link(ours.fileno()), _REHEARSED, ["f"])
    sys.modules["__main__"] = main
    del sys.modules["solution"]
