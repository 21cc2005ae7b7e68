"""The program's functions and objects, as trusted tests see them.

What a program returns comes as a plain value wherever it has a form to travel in (see `codec`). Anything else stays
in the program's interpreter, and the test gets a `Remote` that stands for it. What a test may ask of one depends on
what it is, so that no object of the program can pose as the answer that a test looks for:

- An iterator can be iterated over, a function can be called, a coroutine can be awaited: their results are values.
- Of any other object nothing can be asked. It is equal to itself and to nothing else, has no length, no items and no
  attributes; it is no truth value either: `assert f(1)` is meant for a plain value, so the question is an error (which
  makes a wrong answer), also of iterators and functions, which Python would take for true.
- Instances of the classes that the problem declares, and what is reached through those, answer for themselves: the
  tests of such a problem are about their behaviour. Still they are equal only to themselves; or, where their class
  derives from a built-in, to what the built-in's part of them is equal to, which is compared here.

Arguments are copies: what the program does to a list that it was given is not seen by the test.
"""

from __future__ import annotations

import operator
import threading
import types
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from .bounds import bounded_time
from .classify import (
    COMPILE,
    FORBIDDEN,
    MISSING_ENTRY_POINT,
    OUTPUT,
    RUN,
    TIMEOUT,
    WRONG_ANSWER,
    Failure,
    kind_for,
    of_exception,
    printable,
)
from .codec import ARITHMETIC, OPERATORS, CannotCross, Codec, Malformed, special
from .execution import WAITS, Execution
from .stops import BadTests, CandidateGone, Stopped, TestTimeUp

_MAX_REMOTES = 1 << 20
_SHOWN_ABOUT_FUNCTIONS = ("__name__", "__qualname__")
_MAKING_NUMBERS = {"abs", "neg", "pos", "invert"}
_UNCHANGING = (int, float, complex, str, bytes)


class Remote:
    """Something that lives in the program's interpreter, of which nothing can be asked."""

    __slots__ = ("__weakref__", "_link_", "_name_", "_number_", "_reaches_")
    _link_: Link
    _name_: str
    _number_: int
    _reaches_: bool

    def __init__(self, link: Link, number: int, name: str, *, reaches: bool = False) -> None:
        """`name`: its own for what was asked for by name, otherwise that of its class. `reaches`: it was reached
        through an object of a declared class, and what is reached through it is to answer for itself too."""
        slots = (("_link_", link), ("_number_", number), ("_name_", name), ("_reaches_", reaches))
        for slot, value in slots:
            object.__setattr__(self, slot, value)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"{self!r} of an undeclared class has no attributes for a test: {name}")

    def __bool__(self) -> bool:
        raise TypeError(f"{self!r} is no truth value")

    def __repr__(self) -> str:
        return "<an object of the program>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an object of the program can't be copied")


class RemoteFunction(Remote):
    """A function of the program, or another thing that can be called."""

    __slots__ = ()

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._link_.ask("call", self, arguments, named)


class RemoteIterable(Remote):
    """An object of the program that can be iterated over."""

    __slots__ = ()

    def __iter__(self) -> Iterator[Any]:
        return self._link_.iterator(self)


class RemoteIterator(Remote):
    """An iterator of the program."""

    __slots__ = ()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return self._link_.ask("next", self)


class RemoteGenerator(RemoteIterator):
    """A generator of the program."""

    __slots__ = ()
    __class__ = property(lambda self: types.GeneratorType)

    def send(self, value: Any) -> Any:
        """As a generator's own."""
        return self._link_.ask("send", self, (value,))

    def close(self) -> None:
        """As a generator's own."""
        self._link_.ask("close", self)


class RemoteCoroutine(Remote):
    """A coroutine of the program: it runs in an event loop of the program's, to its end, when it is awaited."""

    __slots__ = ()
    __class__ = property(lambda self: types.CoroutineType)

    def __await__(self) -> Iterator[Any]:
        return self._link_.ask("await", self)
        yield  # never reached: it makes this a generator, as the protocol wants

    def send(self, value: Any) -> NoReturn:
        """As a coroutine's own."""
        raise StopIteration(self._link_.ask("await", self))

    def throw(self, *error: Any) -> NoReturn:
        """Raise what an event loop wants to be raised where the coroutine waits."""
        raise error[0] if len(error) == 1 else error[1] or error[0]

    def close(self) -> None:
        """Nothing is left to be done."""


class RemoteObject(Remote):
    """An instance of a class that the problem declares, or what was reached through one: it answers for itself."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        if name in _SHOWN_ABOUT_FUNCTIONS:
            return self._name_
        if name.startswith("__"):  # protocols that Python and libraries probe for
            raise AttributeError(name)
        return self._link_.ask("getattr", self, (name,))

    def __setattr__(self, name: str, value: Any) -> None:
        self._link_.ask("setattr", self, (name, value))

    def __delattr__(self, name: str) -> None:
        self._link_.ask("delattr", self, (name,))

    def __iter__(self) -> Iterator[Any]:
        return self._link_.iterator(self)

    def __next__(self) -> Any:
        return self._link_.ask("next", self)

    def __bool__(self) -> bool:
        return self._link_.ask("bool", self)

    def __str__(self) -> str:
        return self._link_.ask("str", self)

    def __enter__(self) -> Any:
        return self._link_.ask("enter", self)

    def __exit__(self, *error: Any) -> None:
        """It never swallows an exception: that could be the one of an assert."""
        self._link_.ask("exit", self)

    def __instancecheck__(self, instance: Any) -> bool:
        return is_remote(instance) and self._link_.ask("isinstance", self, (instance,)) is True


_SPECIAL: dict[str, Callable[..., Any]] = {name: special(name) for name in (*ARITHMETIC, "lt", "le", "gt", "ge")}


def _operation(name: str) -> Callable[..., Any]:
    def method(self: RemoteObject, *others: Any) -> Any:
        own = _plain(self) if type(self) is RemoteValue and name in ARITHMETIC else None  # it has not seen `others` yet
        result = self._link_.ask(name, self, others)
        if is_remote(result):
            self._link_.note_difference(name, result, self, *others)
            return result
        if name in _MAKING_NUMBERS and self._link_.is_difference(self):
            raise TypeError(f"what is left of {self!r} and a plain value makes no plain value")
        if name not in ARITHMETIC or is_remote(others[0]):
            return result
        if type(self) is RemoteValue:  # the built-in's own result
            return _SPECIAL[name](own, *others)
        # `abs(f(1) - 2.5) < 1e-6` is meant for a number
        raise TypeError(f"{self!r} and a plain value make no plain value")

    return method


def _comparison(name: str) -> Callable[..., Any]:
    """An order is asked for between two of them only: one alone could claim any place beside a plain value."""

    def method(self: RemoteObject, other: Any) -> Any:
        if issubclass(type(other), RemoteObject):
            return self._link_.ask(name, self, (other,))
        return _SPECIAL[name](_plain(self), other) if type(self) is RemoteValue else NotImplemented

    return method


for _name in OPERATORS:
    setattr(RemoteObject, f"__{_name}__", _operation(_name))
for _name in ("lt", "le", "gt", "ge"):
    setattr(RemoteObject, f"__{_name}__", _comparison(_name))


class RemoteCallable(RemoteObject):
    """Such an object that can be called, and whatever was asked for by name: functions and classes."""

    __slots__ = ()

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._link_.ask("call", self, arguments, named)

    def __bool__(self) -> bool:
        return True


class RemoteValue(RemoteObject):
    """An instance of a declared class that derives from a built-in: equal to what the built-in is equal to."""

    __slots__ = ()
    __class__ = property(lambda self: type(_plain(self)))

    def __eq__(self, other: object) -> bool:
        return self is other or bool(_plain(self) == (_plain(other) if type(other) is RemoteValue else other))

    def __hash__(self) -> int:
        return hash(_plain(self))

    def __int__(self) -> int:
        return int(_plain(self))

    def __float__(self) -> float:
        return float(_plain(self))

    def __index__(self) -> int:
        return operator.index(_plain(self))

    def __format__(self, how: str) -> str:
        return format(_plain(self), how) if how else str(self)


def _plain(value: Any) -> Any:
    """The built-in part of an object, as it is now. One that can't change is asked for once: later the program may have
    seen what it should be."""
    known = value._link_.plain_parts
    if value._number_ in known:
        return known[value._number_]
    plain = value._link_.ask("plain", value)
    if type(plain) in _UNCHANGING:
        known[value._number_] = plain
    return object() if is_remote(plain) else plain


def is_remote(value: Any) -> bool:
    """Whether it stands for something in the program; `isinstance` believes what that says of itself."""
    return issubclass(type(value), Remote)


_KINDS: dict[str, type[Remote]] = {
    "opaque": Remote,
    "function": RemoteFunction,
    "iterable": RemoteIterable,
    "iterator": RemoteIterator,
    "generator": RemoteGenerator,
    "coroutine": RemoteCoroutine,
}
_OBJECT_KINDS: dict[str, type[Remote]] = {"object": RemoteObject, "callable": RemoteCallable, "value": RemoteValue}


class Link:
    """Asks the program, and remembers if that ever stopped working: a test may swallow what was raised."""

    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        self._codec = Codec(self._export, self._resolve, lambda kind: issubclass(kind, Remote))
        self._asking = threading.Lock()  # a test may have threads
        self._remotes: dict[int, Remote] = {}
        self._differences: set[int] = set()
        self._new_values: list[RemoteValue] = []
        self._asked = 0
        self._may_lack_some = False
        self._has_objects = False
        self._reaching = False
        self.plain_parts: dict[int, Any] = {}
        """What is known for good of the built-in parts of objects, by their numbers."""
        self.is_loading = True
        """Whether the program has yet to come to its end as a module."""
        self.has_answered = False
        """Whether a test can have met an answer: what goes wrong in the test then may be the answer's fault."""
        self.is_under_test = False
        """Whether the test that runs now has asked the program: where it goes then may be the answer's doing."""
        self.failure: Failure | None = None
        """Why the program can't be asked any more."""
        self.finished = False
        """Whether that is because it ended by itself, with code 0."""

    @property
    def time_s(self) -> float:
        """The program's time limit."""
        return self._execution.time_s

    def forget(self) -> None:
        """Let go of what stands for the program's objects: they refer to this and this to them."""
        self._remotes.clear()
        self._new_values.clear()

    def load(self, source: str, names: list[str]) -> dict[str, Any]:
        """Have the program run, and get what it defines under `names`, the entry point first.

        The entry point is taken for a class where its name begins as the names of classes do.

        Raises:
            Exception: as the program raised it; see `classify.failure_in`.
            CandidateGone: the program did not come to its end, or lacks a name.
        """
        self._send(self._codec.dumps(["functions", source, names]))
        exceptions = self._take_reply(0)
        self.is_loading = False
        self._has_objects = len(names) > 1 or names[0][:1].isupper()
        found: dict[str, Any] = {name: RemoteCallable(self, number, name) for number, name in enumerate(names)}
        return {**found, **self._declare(exceptions, names)}

    def _declare(self, exceptions: Any, names: list[str]) -> dict[str, type[Exception]]:
        """Classes that stand for the exceptions that the problem declares, so that a test can catch them."""
        right = type(exceptions) is list and all(type(pair) is list and len(pair) == 2 for pair in exceptions)
        if not right or not all(pair[0] in names and _is_texts(pair[1]) for pair in exceptions):
            self.give_up(Failure(FORBIDDEN, "the program sent no names of exceptions"))
        found: dict[str, type[Exception]] = {}
        for name, bases in sorted(exceptions, key=lambda pair: len(pair[1])):  # what it derives from comes first
            parents = tuple(base for base in bases if base != f".{name}")
            found[name] = kind_for(name, parents, found)
        self._codec.exceptions = dict(found)
        self.has_answered = bool(found)  # a test that takes one for another class may fail over it
        return found

    def load_any(self, source: str, names: list[str]) -> dict[str, Any]:
        """As `load`, but the program need not define more than one of `names`."""
        self._may_lack_some = True
        self._send(self._codec.dumps(["functions", source, names]))
        missing = self._take_reply(0)
        self.is_loading = False
        lacking = set(missing) if _is_texts(missing) else set()
        if lacking.issuperset(names):
            self.give_up(Failure(MISSING_ENTRY_POINT, f"the program defines neither {' nor '.join(names)}"))
        self._has_objects = True
        return {name: RemoteCallable(self, n, name) for n, name in enumerate(names) if name not in lacking}

    def run_script(self, source: str) -> None:
        """Have the program run as a script.

        Raises:
            Exception: as the program raised it.
            CandidateGone: it has ended; `finished` says whether well.
        """
        self._send(self._codec.dumps(["script", source, []]))
        try:
            with bounded_time(self._execution.time_s, WAITS):
                self._take_reply(0)
        except TestTimeUp:
            self.give_up(Failure(TIMEOUT, "what the program sent took too long to read"))

    def ask(
        self, operation: str, target: Remote, arguments: tuple[Any, ...] = (), named: dict[str, Any] | None = None
    ) -> Any:
        """The program's answer.

        Raises:
            Exception: as the program raised it; see `classify.failure_in`.
            CandidateGone: there is no answer.
            BadTests: an argument can't travel.
        """
        while self._new_values and operation != "plain":  # before the program sees more of what they should be
            _plain(self._new_values.pop())
        with self._asking:
            return self._ask(operation, target, arguments, named)

    def _ask(self, operation: str, target: Remote, arguments: tuple[Any, ...], named: dict[str, Any] | None) -> Any:
        if self.failure:
            raise CandidateGone
        self._asked += 1
        self._reaching = self._has_objects and (
            target._reaches_ or (type(target) is RemoteCallable and operation != "call")
        )
        names = list(named) if named else []
        values = (*arguments, *named.values()) if named else arguments
        try:
            body = self._codec.dumps([self._asked, operation, target._number_, names], *values)
        except CannotCross as error:
            if self.has_answered:  # the argument may be made of an answer
                self.give_up(Failure(WRONG_ANSWER, f"an answer that can't be handed back: {error}"))
            raise BadTests(f"an argument can't be handed to the program: {error}") from None
        self._send(body)
        self.has_answered = self.is_under_test = True
        try:
            return self._take_reply(self._asked)
        except (StopIteration, StopAsyncIteration) as error:
            if operation == "next":
                raise
            # a loop of the test over its own inputs would take it for their end
            raise RuntimeError(f"the program raised {type(error).__name__}") from error

    def iterator(self, target: Remote) -> Iterator[Any]:
        """An iterator in the program, asked for one item at a time."""
        items = self.ask("iter", target)
        if not issubclass(type(items), RemoteIterator | RemoteObject):
            self.give_up(Failure(FORBIDDEN, "an iterator that is none"))
        return items

    def note_difference(self, name: str, result: Remote, *operands: Any) -> None:
        """Remember objects that are left where a plain value was subtracted, or that come of such a one: the program
        must not say how large they are, which `abs(f(1) - 2.5) < 1e-6` asks."""
        plain = any(not is_remote(operand) for operand in operands)
        if (name in ("sub", "rsub") and plain) or any(map(self.is_difference, operands)):
            self._differences.add(result._number_)

    def is_difference(self, value: Any) -> bool:
        """Whether `note_difference` noted it."""
        return is_remote(value) and value._number_ in self._differences

    def _send(self, body: bytes) -> None:
        try:
            self._execution.send(body)
        except Stopped as stopped:
            self.give_up(stopped.failure, finished=stopped.finished)

    def _take_reply(self, number: int) -> Any:
        try:
            reply = self._codec.loads(self._execution.receive())
            return self._unpack(reply, number)
        except Stopped as stopped:
            self.give_up(stopped.failure, finished=stopped.finished)
        except Malformed as error:
            self.give_up(Failure(FORBIDDEN, f"the program sent what is no answer: {error}"))

    def _unpack(self, reply: list[Any], number: int) -> Any:
        if len(reply) < 3 or type(reply[0]) is not int or reply[0] != number or type(reply[1]) is not str:
            raise Malformed("not the answer to the question")
        kind, body = reply[1], reply[2:]
        if kind == "v" and len(body) == 1:
            return body[0]
        if kind == "x" and len(body) == 3:
            line, phase, exception = body
            raise _exception(line, phase, exception, (COMPILE, RUN) if number == 0 else (RUN,))
        if kind == "big" and len(body) == 1 and type(body[0]) is int:
            self.give_up(Failure(OUTPUT, f"the program returned a value of {body[0] >> 20} MiB"))
        if kind == "missing" and number == 0 and len(body) == 1 and _is_texts(body[0]):
            if self._may_lack_some:
                return body[0]
            names = printable(", ".join(body[0]))
            self.give_up(Failure(MISSING_ENTRY_POINT, f"the program does not define {names}"))
        raise Malformed("an answer of no known kind")

    def give_up(self, failure: Failure, *, finished: bool = False) -> NoReturn:
        """Ask nothing more; `failure` is why.

        Raises:
            CandidateGone: always.
        """
        self.failure, self.finished = failure, finished
        raise CandidateGone

    def _export(self, value: Any) -> list[Any]:
        if is_remote(value) and value._link_ is self:
            return [value._number_, "", ""]
        raise CannotCross(f"a value of type {type(value).__name__}")

    def _resolve(self, number: Any, name: Any, kind: Any) -> Remote:
        right = type(number) is int and 0 <= number < _MAX_REMOTES and type(name) is str and type(kind) is str
        if not right or not (kind in _KINDS or kind in _OBJECT_KINDS):
            raise Malformed("a handle that is none")
        if number not in self._remotes:  # one for each number, so that the same object is equal to itself
            remote = self._remotes[number] = self._remote(number, printable(name, 100), kind)
            if type(remote) is RemoteValue:
                self._new_values.append(remote)
        return self._remotes[number]

    def _remote(self, number: int, name: str, kind: str) -> Remote:
        declared = self._has_objects and kind in _OBJECT_KINDS
        if declared:
            return _OBJECT_KINDS[kind](self, number, name, reaches=True)
        if self._reaching and kind in ("opaque", "iterable"):
            return RemoteObject(self, number, name, reaches=True)
        return _KINDS.get(kind, Remote)(self, number, name, reaches=self._reaching)


def _exception(line: Any, phase: Any, exception: Any, phases: tuple[str, ...]) -> Exception:
    """The exception that a message describes.

    Raises:
        Malformed: the message is not in form.
    """
    said = getattr(exception, "__rlcode_said__", None) if isinstance(exception, Exception) else None
    if said is None or phase not in phases:
        raise Malformed("an exception that is none")
    if line is not None and not (type(line) is int and 0 <= line < 1 << 31):
        raise Malformed("an exception without a line")
    name, bases, message = said
    vars(exception)["__rlcode_failure__"] = of_exception(name, bases, message, line, phase)
    return exception


def _is_texts(value: Any) -> bool:
    return type(value) is list and len(value) <= 100 and all(type(text) is str for text in value)
