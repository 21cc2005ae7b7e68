"""Values between judge and candidate, as JSON of plain built-ins.

What JSON can say is said plainly (`None`, `True`, whole and finite numbers, strings, lists); everything else is an
object with one key, its tag. Subclasses of built-ins decay to the built-in, NumPy scalars to Python's; named tuples
keep their names, exceptions the built-in classes that they derive from. What has no form here stays where it is, and
only a number travels that stands for it.

The judge decodes what a hostile program wrote: it builds built-ins and values of the standard library only, and
refuses what is not exactly in form. The candidate's own copy of this module may be tampered with; that changes only
what it says of itself.
"""

from __future__ import annotations

import array
import base64
import binascii
import builtins
import collections
import datetime
import functools
import importlib
import itertools
import json
import json.encoder
import math
import operator
import os
import re
import sys
import types
from collections.abc import Callable, Iterable
from decimal import Decimal
from fractions import Fraction
from typing import Any

from .classify import RUN, exception_for, of_exception

MAX_DEPTH = 100
_MAX_NESTING = 3 * MAX_DEPTH + 20  # of JSON: a value takes three levels at most
MAX_BIG_INT_BITS = 1 << 20
MAX_RANGE = 1 << 20
_RANGE_BOUND = 1 << 61  # the length of a longer one does not fit what `len` can give
_JSON_INT_DIGITS = 4000  # Python itself refuses to read more than 4300
_JSON_INT_BITS = 13000
_MAX_DECIMAL_LENGTH = 1000
_DECIMAL = re.compile(r"-?(?:\d{1,1000}(?:\.\d{1,1000})?(?:E[+-]\d{1,4})?|Infinity|s?NaN\d{0,20})")
_ARRAY_KINDS = "biufcSUmM"
_MAX_NAMES = 100
_MAX_TEXT = 1000
_MAX_REMEMBERED_TYPES = 256
_ATOMS = {type(None), bool, int, str, float}
_BINARY = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "lshift", "rshift", "and", "or", "xor")
ARITHMETIC = frozenset(f"{side}{name}" for name in _BINARY for side in ("", "r"))
OPERATORS = ("len", "contains", "getitem", "setitem", "delitem", "reversed", "neg", "pos", "abs", "invert", *ARITHMETIC)
"""Special methods that objects of the program are asked for by their own name."""
_TYPES: dict[str, type] = {
    t.__name__: t for t in (bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset)
}
_TYPES |= {t.__name__: t for t in (collections.OrderedDict, collections.Counter, collections.defaultdict)}
_TYPES |= {t.__name__: t for t in (collections.deque, Decimal, Fraction, range)}
_SPECIAL_FLOATS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def _refuse_unknown(value: Any) -> Any:
    raise TypeError(f"{type(value).__name__} has no form")


# What `json.JSONEncoder` makes anew for every value, made once. Not in ASCII: escaped halves of a surrogate pair would
# be read as one character. No check for circles (the depth is bounded), no NaN.
_chunks = json.encoder.c_make_encoder(  # type: ignore[attr-defined]
    None, _refuse_unknown, json.encoder.encode_basestring, None, ":", ",", False, False, False
)
_LONE_SURROGATES = "surrogatepass"


class Malformed(Exception):  # noqa: N818
    """What arrived is not in the form that an untampered candidate writes."""


class CannotCross(Exception):  # noqa: N818
    """The value has no form to travel in."""


class Codec:
    """Writes and reads values.

    `export(value)` gives `[number, type name, kind]` for what has no form (or raises `CannotCross`); `resolve(number,
    name, kind)` gives what stands for such a triple on this side (or raises `Malformed`). `keeps(type)` says whether
    instances of a class have no form even where it derives from a built-in.
    """

    def __init__(
        self,
        export: Callable[[Any], list[Any]],
        resolve: Callable[[Any, Any, Any], Any],
        keeps: Callable[[type], bool] = lambda kind: False,
    ) -> None:
        self._export = export
        self._resolve = resolve
        self._keeps = keeps
        self._exact = False
        self.exceptions: dict[str, type[BaseException]] = {}
        """The classes of exceptions that the problem declares: the program's own, or what stands for them here."""
        self._scan = json.JSONDecoder(
            object_hook=self._untag, parse_constant=_refuse_constant, parse_int=_PARSE_INT
        ).scan_once  # type: ignore[attr-defined]

    def dumps(self, head: list[Any], *values: Any) -> bytes:
        """One message: what `head` holds as it is, then the values.

        Raises:
            CannotCross: a value is nested too deeply, or `export` refused it.
        """
        try:
            return self._dumps(head, values)
        except ValueError:  # a number that JSON has no form for: look at each one
            self._exact = True
            try:
                return self._dumps(head, values)
            finally:
                self._exact = False

    def loads(self, body: bytes) -> list[Any]:
        """The message in `body`.

        Raises:
            Malformed: it is none.
        """
        _check_nesting(body)
        try:
            text = body.decode(errors=_LONE_SURROGATES)
            message, end = self._scan(text, 0)
        except (ValueError, TypeError, OverflowError, RecursionError, StopIteration) as error:
            raise Malformed(f"a message can't be read: {error}"[:200]) from None
        if type(message) is not list or end != len(text):
            raise Malformed("a message is not one list")
        return message

    def _dumps(self, head: list[Any], values: tuple[Any, ...]) -> bytes:
        chunks = _chunks([*head, *(self._tag(value, 0) for value in values)], 0)
        return "".join(chunks).encode(errors=_LONE_SURROGATES)

    def _tag(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if kind in _ATOMS:
            return _exact_number(value) if self._exact else value
        if depth > MAX_DEPTH:
            raise CannotCross(f"a value is nested more than {MAX_DEPTH} deep")
        if kind is list:
            return self._items(value, depth)
        if kind is tuple:
            return {"t": self._items(value, depth)}
        if kind is dict:
            return {"d": [self._tag(part, depth + 1) for item in value.items() for part in item]}
        if kind in (set, frozenset):
            return {"s" if kind is set else "f": self._items(list(value), depth)}
        return self._tag_rare(value, depth)

    def _items(self, items: Any, depth: int) -> Any:
        if not self._exact and _ATOMS.issuperset(map(type, items)):
            return items
        return [self._tag(item, depth + 1) for item in items]

    def _tag_rare(self, value: Any, depth: int) -> Any:
        if issubclass(type(value), BaseException):
            return self._tag_exception(value, depth)
        if self._keeps(type(value)):
            return self._opaque(value)
        for base, tag, take_apart in _CONTAINERS:
            if isinstance(value, base):
                return {tag: self._items(take_apart(value), depth)}
        if isinstance(value, tuple) and _is_named(type(value)):
            names = [str(name) for name in type(value)._fields]  # type: ignore[attr-defined]
            parts = self._items(list(tuple.__iter__(value)), depth)
            return {"N": [type(value).__name__[:_MAX_TEXT], len(names), *names, *parts]}
        return self._tag_decayed(value, depth)

    def _tag_decayed(self, value: Any, depth: int) -> Any:
        for base, decay in _DECAY:
            if isinstance(value, base) and type(value) is not base:
                return self._tag(decay(value), depth)
        for bases, unwrap in _WRAPPERS:
            if isinstance(value, bases):
                return self._tag(unwrap(value), depth + 1)
        for base, write in _RARE:
            if isinstance(value, base):
                tagged = write(value)
                return tagged if tagged is not None else self._opaque(value)
        package = type(value).__module__.partition(".")[
            0
        ]  # `pathlib` keeps its classes in a module below it since 3.13
        late = _LATE.get((package, type(value).__qualname__))
        if late is not None:
            return {late[0]: late[1](value)}
        if type(value).__module__ == "numpy":
            return self._tag_numpy(value, depth)
        return self._opaque(value)

    def _tag_exception(self, error: BaseException, depth: int) -> dict[str, Any]:
        try:
            arguments = self._items(_arguments_of(error), depth)
            attributes = self._items([part for item in list(vars(error).items())[:_MAX_NAMES] for part in item], depth)
        except Exception:  # what does not travel, or whatever the program made of them
            arguments, attributes = [], []
        return {"E": [*self.describe(error), arguments, attributes]}

    def describe(self, error: BaseException) -> list[Any]:
        """Name of an exception's class, the built-in and the declared classes (with a dot) that it is or derives from,
        nearest first, and its message."""
        return [str(type(error).__name__)[:_MAX_TEXT], self.bases_of(type(error)), _text_of(error)]

    def bases_of(self, kind: type[BaseException]) -> list[str]:
        """The built-in and the declared classes that an exception's class is or derives from, nearest first."""
        declared = {base: name for name, base in self.exceptions.items()}
        known = (base for base in kind.__mro__ if base in declared or base.__module__ == "builtins")
        return [f".{declared[base]}" if base in declared else base.__name__ for base in known][:20]

    def _tag_numpy(self, value: Any, depth: int) -> Any:
        numpy = sys.modules["numpy"]
        if isinstance(value, numpy.generic):
            plain = value.item()
            return self._opaque(value) if isinstance(plain, numpy.generic) else self._tag(plain, depth)
        if isinstance(value, numpy.ndarray) and value.dtype.kind in _ARRAY_KINDS:
            data = base64.b64encode(value.tobytes()).decode()
            return {"a": [value.dtype.str, list(value.shape), data, *self._handle_or_none(value)]}
        return self._opaque(value)

    def _handle_or_none(self, value: Any) -> list[Any]:
        """A number for the array itself, for a reader without NumPy."""
        try:
            return self._export(value)
        except CannotCross:
            return [None, None, None]

    def _opaque(self, value: Any) -> dict[str, Any]:
        return {"h": self._export(value)}

    def _untag(self, tagged: dict[str, Any]) -> Any:
        if len(tagged) != 1:
            raise Malformed("an object with other than one key")
        ((tag, body),) = tagged.items()
        if tag == "h" and type(body) is list and len(body) == 3:
            return self._resolve(*body)
        if tag == "a":
            return self._untag_array(body)
        if tag == "E":
            return self._untag_exception(body)
        read = _READERS.get(tag)
        if read is None:
            raise Malformed(f"unknown tag {tag[:20]!r}")
        return read(body)

    def _untag_exception(self, body: Any) -> Exception:
        _check(type(body) is list and len(body) == 5)
        name, bases, message, arguments, attributes = body
        texts = [name, message, *_items_of(bases)]
        _check(all(type(text) is str and len(text) <= _MAX_TEXT for text in texts) and len(bases) <= _MAX_NAMES)
        _check(type(arguments) is list and type(attributes) is list and len(attributes) % 2 == 0)
        named = dict(zip(attributes[::2], attributes[1::2], strict=True))
        _check(all(type(key) is str for key in named) and len(named) <= _MAX_NAMES)
        failure = of_exception(name, bases, message, None, RUN)
        error = exception_for(failure, bases, message, tuple(arguments), named, self.exceptions)
        error.__rlcode_said__ = (name, bases, message)  # type: ignore[attr-defined]
        return error

    def _untag_array(self, body: Any) -> Any:
        _check(type(body) is list and len(body) == 6)
        dtype, shape, data, *handle = body
        numpy = _numpy()
        if numpy is None:
            return self._resolve(*handle)
        _check(type(dtype) is str and re.fullmatch(r"[<>|=]?[biufcSUmM]\d{0,6}(?:\[\w{1,4}\])?", dtype) is not None)
        _check(type(shape) is list and all(type(n) is int and 0 <= n < 1 << 32 for n in shape))
        return numpy.frombuffer(_unbase64(data), dtype).reshape(shape).copy()


def special(name: str) -> Callable[..., Any]:
    """The special method `name`, asked for as the interpreter would."""
    reflected = name[:1] == "r" and hasattr(operator, f"__{name[1:]}__")
    function = getattr(operator, f"__{name[reflected:]}__", None) or getattr(builtins, name)
    return (lambda target, other: function(other, target)) if reflected else function


def decayed(value: Any) -> Any:
    """The built-in part of a value, by the built-in's own methods."""
    return next((decay(value) for base, decay in _DECAY if isinstance(value, base)), value)


def _arguments_of(error: BaseException) -> list[Any]:
    if isinstance(error, OSError) and error.filename is not None:  # which `args` leaves out
        return [error.errno, error.strerror, error.filename]
    return list(error.args)


def _text_of(error: BaseException) -> str:
    """The exception's message; its class may define what that is, even to raise."""
    try:
        text = error.msg if isinstance(error, SyntaxError) else str(error)
        return str.__str__(text)[:_MAX_TEXT]
    except BaseException:
        return ""


def _is_named(kind: type) -> bool:
    names = getattr(kind, "_fields", None)
    return type(names) is tuple and _are_field_names(names)


def _are_field_names(names: tuple[Any, ...]) -> bool:
    right = all(type(name) is str and name.isidentifier() and name[0] != "_" for name in names)
    return right and len(set(names)) == len(names) <= _MAX_NAMES


def _numpy() -> Any:
    """The module, None where it is not installed."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # it would set memory aside for every core
    try:
        return importlib.import_module("numpy")
    except ImportError:
        return None


def _exact_number(value: Any) -> Any:
    if type(value) is float and not math.isfinite(value):
        return {"n": repr(value)}
    if type(value) is int and value.bit_length() > _JSON_INT_BITS:
        if value.bit_length() > MAX_BIG_INT_BITS:
            raise CannotCross(f"a whole number of {value.bit_length()} bits")
        return {"i": hex(value)}
    return value


def _write_decimal(value: Decimal) -> dict[str, Any] | None:
    text = Decimal.__str__(value)
    return {"D": text} if len(text) <= _MAX_DECIMAL_LENGTH and _DECIMAL.fullmatch(text) else None


def _write_range(value: range) -> dict[str, Any] | None:
    bounds = [value.start, value.stop, value.step]
    small = all(abs(bound) < _RANGE_BOUND for bound in bounds)
    return {"r": bounds} if small and len(value) <= MAX_RANGE else None


def _write_datetime(value: datetime.datetime) -> dict[str, Any] | None:
    day = [value.year, value.month, value.day]
    return {"datetime": [*day, *_parts_of_time(value, value.utcoffset())]}


def _write_time(value: datetime.time) -> dict[str, Any] | None:
    return {"time": _parts_of_time(value, value.utcoffset())}


def _parts_of_time(value: Any, offset: datetime.timedelta | None) -> list[Any]:
    zone = None if offset is None else offset // datetime.timedelta(microseconds=1)
    return [value.hour, value.minute, value.second, value.microsecond, value.fold, zone]


def _write_timedelta(value: datetime.timedelta) -> dict[str, Any] | None:
    return {"timedelta": [value.days, value.seconds, value.microseconds]}


def _write_timezone(value: datetime.timezone) -> dict[str, Any] | None:
    return {"timezone": value.utcoffset(None) // datetime.timedelta(microseconds=1)}


def _write_typed_array(value: array.array[Any]) -> dict[str, Any] | None:
    return {"array": [value.typecode, base64.b64encode(value.tobytes()).decode()]}


def _write_match(value: re.Match[Any]) -> dict[str, Any] | None:
    if type(value.string) is not str or len(value.regs) > _MAX_NAMES:
        return None
    names = [part for item in value.re.groupindex.items() for part in item]
    return {"match": [value.string, [part for span in value.regs for part in span], names]}


def _write_type(value: type) -> dict[str, Any] | None:
    return {"T": value.__name__} if _TYPES.get(value.__name__) is value else None


def _write_fraction(value: Fraction) -> dict[str, Any] | None:
    parts = [value.numerator, value.denominator]
    return {"q": parts} if all(part.bit_length() <= _JSON_INT_BITS for part in parts) else None


# The built-in's own methods here and below, since a subclass may override them.
def _pairs(value: Any) -> list[Any]:
    return [part for item in dict.items(value) for part in item]


def _ordered_pairs(value: Any) -> list[Any]:
    return [part for item in collections.OrderedDict.items(value) for part in item]


def _factory_and_pairs(value: collections.defaultdict[Any, Any]) -> list[Any]:
    factory: Any = value.default_factory
    known = isinstance(factory, type) and _TYPES.get(factory.__name__) is factory
    return [factory if known else None, *_pairs(value)]


_VIEWS: tuple[tuple[type, str], ...] = (
    (type({}.keys()), "keys"),
    (type({}.values()), "values"),
    (type({}.items()), "items"),
    (type(collections.OrderedDict().keys()), "keys"),
    (type(collections.OrderedDict().values()), "values"),
    (type(collections.OrderedDict().items()), "items"),
)
# Each with the values that it is rebuilt from.
_CONTAINERS: tuple[tuple[type, str, Callable[[Any], list[Any]]], ...] = (
    (collections.OrderedDict, "O", _ordered_pairs),
    (collections.Counter, "C", _pairs),
    (collections.defaultdict, "F", _factory_and_pairs),
    (collections.deque, "Q", lambda value: [value.maxlen, *collections.deque.__iter__(value)]),
    (types.SimpleNamespace, "S", lambda value: [part for item in vars(value).items() for part in item]),
    *((view, tag, list) for view, tag in _VIEWS),
)
_DECAY: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (int, int.__pos__),
    (float, float.__pos__),
    (str, str.__str__),
    (list, lambda value: list(list.__iter__(value))),
    (tuple, lambda value: tuple(tuple.__iter__(value))),
    (dict, lambda value: dict(dict.items(value))),
    (set, lambda value: set(set.__iter__(value))),
    (frozenset, lambda value: frozenset(frozenset.__iter__(value))),
)
# What is equal to a built-in without being one.
_WRAPPERS: tuple[tuple[tuple[type, ...], Callable[[Any], Any]], ...] = (
    ((collections.UserDict, collections.UserList, collections.UserString), lambda value: value.data),
    ((collections.ChainMap, types.MappingProxyType), dict),
)
_RARE: tuple[tuple[type, Callable[[Any], dict[str, Any] | None]], ...] = (
    (complex, lambda value: {"c": [_exact_number(value.real), _exact_number(value.imag)]}),
    (bytes, lambda value: {"b": base64.b64encode(value).decode()}),
    (bytearray, lambda value: {"y": base64.b64encode(value).decode()}),
    (memoryview, lambda value: {"b": base64.b64encode(value.tobytes()).decode()}),
    (range, _write_range),
    (Decimal, _write_decimal),
    (Fraction, _write_fraction),
    (datetime.datetime, _write_datetime),
    (datetime.date, lambda value: {"date": [value.year, value.month, value.day]}),
    (datetime.time, _write_time),
    (datetime.timedelta, _write_timedelta),
    (datetime.timezone, _write_timezone),
    (array.array, _write_typed_array),
    (re.Match, _write_match),
    (type(...), lambda value: {"e": 0}),
    (type, _write_type),
)


# By package and name: what need not be loaded where no value of it is.
_LATE: dict[tuple[str, str], tuple[str, Callable[[Any], Any]]] = {
    ("uuid", "UUID"): ("uuid", lambda value: value.hex),
    ("pathlib", "PosixPath"): ("path", str),
    ("pathlib", "PurePosixPath"): ("purepath", str),
}

_FEW_KEYS = 64


class Match:
    """What a regular expression found: the part of `re.Match` that can be asked without its pattern. Always true."""

    def __init__(self, string: str, spans: list[tuple[int, int]], names: dict[str, int]) -> None:
        self.string = string
        self.regs = tuple(spans)
        self._names = names

    def group(self, *groups: int | str) -> Any:
        """As `re.Match.group`."""
        found = tuple(self[group] for group in groups or (0,))
        return found if len(found) > 1 else found[0]

    def groups(self, default: Any = None) -> tuple[Any, ...]:
        """As `re.Match.groups`."""
        return tuple(default if self[group] is None else self[group] for group in range(1, len(self.regs)))

    def groupdict(self, default: Any = None) -> dict[str, Any]:
        """As `re.Match.groupdict`."""
        return {name: default if self[name] is None else self[name] for name in self._names}

    def span(self, group: int | str = 0) -> tuple[int, int]:
        """As `re.Match.span`."""
        number = self._names.get(group) if isinstance(group, str) else group
        if number is None or not 0 <= number < len(self.regs):
            raise IndexError("no such group")
        return self.regs[number]

    def start(self, group: int | str = 0) -> int:
        """As `re.Match.start`."""
        return self.span(group)[0]

    def end(self, group: int | str = 0) -> int:
        """As `re.Match.end`."""
        return self.span(group)[1]

    def __getitem__(self, group: int | str) -> str | None:
        start, end = self.span(group)
        return None if start < 0 else self.string[start:end]


def _check(right: bool) -> None:
    if not right:
        raise Malformed("a tagged value is not in form")


def _check_nesting(body: bytes) -> None:
    """Refuse what is nested more deeply than any value, before it is built."""
    if len(body) <= _MAX_NESTING or body.count(b"[") + body.count(b"{") <= _MAX_NESTING:
        return
    outside_strings = b"".join(body.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2])
    brackets = outside_strings.translate(_ONE_KIND_OF_BRACKETS, _NO_BRACKETS)
    for _ in range(_MAX_NESTING):
        inner_gone = brackets.replace(b"[]", b"")
        if len(inner_gone) == len(brackets):
            return  # nothing is left, or what is no JSON
        brackets = inner_gone
    _check(not brackets)


_ONE_KIND_OF_BRACKETS = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def _refuse_constant(name: str) -> Any:
    raise Malformed(f"{name} without a tag")


def _bounded_int(text: str) -> int:
    _check(len(text) <= _JSON_INT_DIGITS)
    return int(text)


# Older Pythons read a number of any length, in quadratic time.
_PARSE_INT = None if hasattr(sys, "set_int_max_str_digits") else _bounded_int


def _items_of(body: Any) -> list[Any]:
    _check(type(body) is list)
    return body


def _keys_of(items: list[Any]) -> list[Any]:
    """Items for a hash table; many with one hash would take time that grows with the square of their number."""
    if len(items) > _FEW_KEYS:
        _check(max(collections.Counter(map(hash, items)).values()) <= _FEW_KEYS)
    return items


def _read_dict(body: Any) -> dict[Any, Any]:
    _check(len(_items_of(body)) % 2 == 0)
    return dict(zip(_keys_of(body[::2]), body[1::2], strict=True))


def _read_ordered(body: Any) -> collections.OrderedDict[Any, Any]:
    return collections.OrderedDict(_read_dict(body))


def _read_counter(body: Any) -> collections.Counter[Any]:
    counter: collections.Counter[Any] = collections.Counter()
    dict.update(counter, _read_dict(body))
    return counter


def _read_defaultdict(body: Any) -> collections.defaultdict[Any, Any]:
    _check(len(_items_of(body)) > 0)
    factory = body[0]
    _check(factory is None or (isinstance(factory, type) and _TYPES.get(factory.__name__) is factory))
    return collections.defaultdict(factory, _read_dict(body[1:]))


def _read_namespace(body: Any) -> types.SimpleNamespace:
    named = _read_dict(body)
    _check(all(type(name) is str for name in named))
    return types.SimpleNamespace(**named)


def _read_deque(body: Any) -> collections.deque[Any]:
    _check(len(_items_of(body)) > 0)
    most = body[0]
    _check(most is None or (type(most) is int and len(body) - 1 <= most < 1 << 32))
    return collections.deque(body[1:], most)


def _read_named(body: Any) -> tuple[Any, ...]:
    _check(len(_items_of(body)) >= 2 and type(body[0]) is str and type(body[1]) is int)
    name, count, *rest = body
    _check(0 <= count <= _MAX_NAMES and len(rest) == 2 * count)
    _check(len(name) <= _MAX_TEXT and _are_field_names(tuple(rest[:count])))
    return _named_tuple(name, tuple(rest[:count]))(*rest[count:])


@functools.lru_cache(_MAX_REMEMBERED_TYPES)
def _named_tuple(name: str, fields: tuple[str, ...]) -> Callable[..., tuple[Any, ...]]:
    getters = {field: property(_getter(place)) for place, field in enumerate(fields)}
    kind = type(
        name if name.isidentifier() else "tuple", (NamedTuple,), {"_fields": fields, "__slots__": (), **getters}
    )
    return lambda *values: tuple.__new__(kind, values)


class NamedTuple(tuple[Any, ...]):
    """A named tuple of the program: what it holds can be asked for by name."""

    __slots__ = ()
    _fields: tuple[str, ...] = ()

    def _asdict(self) -> dict[str, Any]:
        return dict(zip(self._fields, self, strict=True))

    def _replace(self, **values: Any) -> tuple[Any, ...]:
        return tuple.__new__(type(self), [values.get(name, value) for name, value in self._asdict().items()])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self._asdict().items())})"


def _getter(place: int) -> Callable[[Any], Any]:
    return lambda value: tuple.__getitem__(value, place)


def _whole_numbers(body: Any, count: int) -> list[int]:
    _check(type(body) is list and len(body) == count and all(type(n) is int and abs(n) < 1 << 62 for n in body))
    return body


def _read_datetime(body: Any) -> datetime.datetime:
    _check(type(body) is list and len(body) == 9)
    hour, minute, second, microsecond = _whole_numbers(body[3:7], 4)
    fold, zone = body[7:]
    year, month, day = _whole_numbers(body[:3], 3)
    return datetime.datetime(year, month, day, hour, minute, second, microsecond, _zone(zone), fold=_fold(fold))


def _read_time(body: Any) -> datetime.time:
    _check(type(body) is list and len(body) == 6)
    hour, minute, second, microsecond = _whole_numbers(body[:4], 4)
    return datetime.time(hour, minute, second, microsecond, _zone(body[5]), fold=_fold(body[4]))


def _fold(body: Any) -> int:
    _check(type(body) is int and body in (0, 1))
    return int(body)


def _zone(body: Any) -> datetime.timezone | None:
    return None if body is None else _read_timezone(body)


def _read_timezone(body: Any) -> datetime.timezone:
    _check(type(body) is int)
    if body == 0:
        return datetime.timezone.utc  # noqa: UP017  as far back as Python 3.10
    return datetime.timezone(datetime.timedelta(microseconds=body))


def _read_typed_array(body: Any) -> array.array[Any]:
    _check(type(body) is list and len(body) == 2 and type(body[0]) is str and body[0] in set(array.typecodes))
    read: array.array[Any] = array.array(body[0])
    read.frombytes(_unbase64(body[1]))
    return read


def _read_match(body: Any) -> Match:
    _check(type(body) is list and len(body) == 3 and type(body[0]) is str)
    string, bounds, names = body
    _check(0 < len(_items_of(bounds)) <= 2 * _MAX_NAMES and len(bounds) % 2 == 0)
    spans = list(zip(bounds[::2], bounds[1::2], strict=True))
    _check(all(type(n) is int and -1 <= n <= len(string) for n in bounds))
    _check(len(_items_of(names)) % 2 == 0 and len(names) <= 2 * _MAX_NAMES)
    _check(all(type(name) is str for name in names[::2]))
    _check(all(type(number) is int and 0 < number < len(spans) for number in names[1::2]))
    return Match(string, spans, dict(zip(names[::2], names[1::2], strict=True)))


def _read_uuid(body: Any) -> Any:
    import uuid  # few programs make one

    _check(type(body) is str and re.fullmatch(r"[0-9a-f]{32}", body) is not None)
    return uuid.UUID(hex=body)


def _read_path(kind: str) -> Callable[[Any], Any]:
    def read(body: Any) -> Any:
        import pathlib

        _check(type(body) is str)
        return getattr(pathlib, kind)(body)

    return read


def _read_items(body: Any) -> Any:
    _check(all(type(pair) is tuple and len(pair) == 2 for pair in _items_of(body)))
    _keys_of([key for key, _ in body])
    return dict(body).items()


def _view(keys: Iterable[Any], values: Iterable[Any]) -> dict[Any, Any]:
    return dict(zip(keys, values, strict=False))


def _read_big_int(body: Any) -> int:
    _check(type(body) is str and len(body) <= MAX_BIG_INT_BITS // 4 + 3)
    _check(re.fullmatch(r"-?0x[0-9a-f]+", body) is not None)
    return int(body, 16)


def _read_complex(body: Any) -> complex:
    _check(type(body) is list and len(body) == 2 and all(type(part) in (float, int) for part in body))
    return complex(*body)


def _read_special_float(body: Any) -> float:
    _check(type(body) is str and body in _SPECIAL_FLOATS)
    return _SPECIAL_FLOATS[body]


def _read_range(body: Any) -> range:
    _check(type(body) is list and len(body) == 3 and all(type(n) is int and abs(n) < _RANGE_BOUND for n in body))
    _check(body[2] != 0)
    found = range(*body)
    _check(len(found) <= MAX_RANGE)
    return found


def _read_decimal(body: Any) -> Decimal:
    _check(type(body) is str and len(body) <= _MAX_DECIMAL_LENGTH and _DECIMAL.fullmatch(body) is not None)
    return Decimal(body)


def _read_fraction(body: Any) -> Fraction:
    _check(type(body) is list and len(body) == 2 and all(type(n) is int for n in body) and body[1] != 0)
    _check(all(part.bit_length() <= _JSON_INT_BITS for part in body))
    return Fraction(*body)


def _read_ellipsis(body: Any) -> Any:
    return ...


def _read_type(body: Any) -> type:
    _check(type(body) is str and body in _TYPES)
    return _TYPES[body]


def _unbase64(body: Any) -> bytes:
    _check(type(body) is str)
    try:
        return base64.b64decode(body, validate=True)
    except binascii.Error:
        raise Malformed("bytes that are not base64") from None


_READERS: dict[str, Callable[[Any], Any]] = {
    "t": lambda body: tuple(_items_of(body)),
    "d": _read_dict,
    "s": lambda body: set(_keys_of(_items_of(body))),
    "f": lambda body: frozenset(_keys_of(_items_of(body))),
    "n": _read_special_float,
    "i": _read_big_int,
    "c": _read_complex,
    "b": _unbase64,
    "y": lambda body: bytearray(_unbase64(body)),
    "r": _read_range,
    "D": _read_decimal,
    "q": _read_fraction,
    "e": _read_ellipsis,
    "T": _read_type,
    "O": _read_ordered,
    "C": _read_counter,
    "F": _read_defaultdict,
    "Q": _read_deque,
    "N": _read_named,
    "S": _read_namespace,
    "keys": lambda body: _view(_keys_of(_items_of(body)), itertools.repeat(None)).keys(),
    "values": lambda body: _view(itertools.count(), _items_of(body)).values(),
    "items": _read_items,
    "datetime": _read_datetime,
    "date": lambda body: datetime.date(*_whole_numbers(body, 3)),
    "time": _read_time,
    "timedelta": lambda body: datetime.timedelta(*_whole_numbers(body, 3)),
    "timezone": _read_timezone,
    "array": _read_typed_array,
    "match": _read_match,
    "uuid": _read_uuid,
    "path": _read_path("PosixPath"),
    "purepath": _read_path("PurePosixPath"),
}
