"""The types that travel between the rooms: one for each hop, frozen, plain data.

Nothing here knows of tensors, engines or containers. Every type can be written to one JSON line with
`to_json` and read back with `from_json`, exactly.
"""

from __future__ import annotations

import dataclasses
import functools
import types as _types
import typing
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any, TypeVar


class ErrorType(StrEnum):
    """Why a program did not pass: a closed set that a submission cannot extend by naming a class."""

    NO_CODE = "no_code"
    MISSING_ENTRY_POINT = "missing_entry_point"
    SYNTAX = "syntax"
    INDENTATION = "indentation"
    IMPORT = "import"
    NAME = "name"
    TYPE = "type"
    ATTRIBUTE = "attribute"
    INDEX = "index"
    KEY = "key"
    VALUE = "value"
    ZERO_DIVISION = "zero_division"
    RECURSION = "recursion"
    OVERFLOW = "overflow"
    UNICODE = "unicode"
    OS = "os"
    STDIN = "stdin"
    OTHER_RUNTIME = "other_runtime"
    WRONG_ANSWER = "wrong_answer"
    NO_RESULT = "no_result"
    TIMEOUT = "timeout"
    MEMORY = "memory"
    OUTPUT = "output"
    CRASH = "crash"
    FORBIDDEN = "forbidden"

    @property
    def stage(self) -> Stage:
        """How far a program with this error got."""
        return _STAGES.get(self, Stage.RUN)


class Stage(IntEnum):
    """How far a program got, the least first: a failure of a later stage is the better one of two.

    A program that was stopped at a limit, crashed or ended without a result ran and gave no answer: `RUN`.
    One that the sandbox stopped in an attempt is at the lowest stage, so that it is better than no other.
    """

    EXTRACT = 0
    """No program with the entry point was found."""
    COMPILE = 1
    """It is no Python."""
    LOAD = 2
    """It imports what is not there."""
    RUN = 3
    """It gave no answer to a test."""
    ANSWER = 4
    """It answered, wrongly."""
    PASS = 5


_STAGES = {
    ErrorType.NO_CODE: Stage.EXTRACT,
    ErrorType.MISSING_ENTRY_POINT: Stage.EXTRACT,
    ErrorType.FORBIDDEN: Stage.EXTRACT,
    ErrorType.SYNTAX: Stage.COMPILE,
    ErrorType.INDENTATION: Stage.COMPILE,
    ErrorType.IMPORT: Stage.LOAD,
    ErrorType.WRONG_ANSWER: Stage.ANSWER,
}
"""All other errors come up while the program runs."""


class TestKind(StrEnum):
    """How a test asks its question."""

    __test__ = False  # not a pytest class

    ASSERTS = "asserts"
    CHECK = "check"
    STDIO = "stdio"
    CALL = "call"
    UNITTEST = "unittest"


class Comparison(StrEnum):
    """When an answer is the expected one. Printed texts are compared by the rule; returned values only know whether
    it is `FLOATS`.

    `LINES`: line by line; blanks at the end of lines and newlines at the end of the text are no matter.
    `TOKENS`: what stands between blanks and newlines, one after the other.
    `FLOATS`: as `TOKENS`, but two numbers may differ by the problem's `tolerance`.
    `EXACT`: every byte.
    """

    LINES = "lines"
    TOKENS = "tokens"
    FLOATS = "floats"
    EXACT = "exact"


METHODS_CLASS = "Solution"
"""The class whose method an entry point may be, as in LeetCode's programs."""


@dataclass(frozen=True)
class TestCase:
    """One trusted test of a problem.

    `ASSERTS`: `code` holds statements with asserts that call the entry point by its name (MBPP).
    `CHECK`: `code` defines `check(candidate)` (HumanEval).
    `STDIO`: the program gets `stdin` and must print `expected_stdout`.
    `CALL`: the entry point is called with `arguments` (JSON text of the list of them) and must return `expected` (JSON
    text of a value; may be empty where a checker needs none). It is a function, or else a method of the program's
    class `Solution`, which is made anew for each case (APPS, TACO, LiveCodeBench).
    `UNITTEST`: `code` defines `unittest.TestCase` classes that run in the module of the program, in its interpreter,
    where it can forge what they say (BigCodeBench).
    """

    __test__ = False  # not a pytest class

    kind: TestKind
    code: str = ""
    stdin: str = ""
    expected_stdout: str = ""
    arguments: str = ""
    expected: str = ""


LIMIT_BOUNDS: dict[str, tuple[float, float]] = {
    "time_s": (0.05, 3600),
    "memory_mb": (16, 1 << 20),
    "output_kb": (1, 1 << 16),
    "processes": (1, 1 << 15),
    "open_files": (8, 256),
    "disk_mb": (1, 1 << 16),
    "failures": (1, 1 << 20),
}
"""Lowest and highest value of each limit: a program can start with the lowest, the judge can bear the highest."""


@dataclass(frozen=True)
class Limits:
    """What one program may consume. A program within its limits passes however busy the machine is.

    A stdin test runs in a process of its own, so each has all of this; the other tests of a problem share one process.

    Raises:
        ValueError: a value outside `LIMIT_BOUNDS`.
    """

    time_s: float = 5.0
    """CPU time of the whole process tree plus the time it was blocked; waiting for a core does not count."""
    memory_mb: int = 1024
    """Address space of each process of the program."""
    output_kb: int = 1024
    """Bytes that the program may write to stdout and stderr together, and to any one file."""
    processes: int = 16
    open_files: int = 64
    disk_mb: int = 64
    """MiB of files that the program may have in its work folder."""
    failures: int = 1 << 20
    """Tests that may fail: after so many the program is asked no more, and `tests_passed` counts those until then."""

    def __post_init__(self) -> None:
        _check_limits(self)


@dataclass(frozen=True)
class PartialLimits:
    """Some of the fields of `Limits`; None leaves one to whoever decides next.

    For each field the first of these that sets it decides: the run (a flag of the command or a key of its YAML file),
    the problem, its data set (whose loader writes it into the problem), the default of `Limits`.

    Raises:
        ValueError: a value outside `LIMIT_BOUNDS`.
    """

    time_s: float | None = None
    memory_mb: int | None = None
    output_kb: int | None = None
    processes: int | None = None
    open_files: int | None = None
    disk_mb: int | None = None
    failures: int | None = None

    def __post_init__(self) -> None:
        _check_limits(self)

    def over(self, limits: Limits) -> Limits:
        """`limits` with the fields that are set here."""
        return dataclasses.replace(limits, **{name: value for name, value in vars(self).items() if value is not None})


def _check_limits(limits: Limits | PartialLimits) -> None:
    for name, (least, most) in LIMIT_BOUNDS.items():
        value = getattr(limits, name)
        if value is not None and not least <= value <= most:  # a NaN is not between anything
            raise ValueError(f"limits.{name} must be from {least:g} to {most:,}, got {value}")


@dataclass(frozen=True)
class Problem:
    """A task with tests that decide, as a data set gives it.

    `prompt` is shown to the model: the head of a program that the model continues (`prompt_is_code`), or a
    request in words. `entry_point` is the name that the tests call; empty for stdin problems. `declares` are
    further names (classes, mostly) that the submission itself must bring because the tests use them.
    `test_setup` is trusted code that runs before the tests, beside the expected values, never in the
    submission's interpreter; but with `UNITTEST` in the submission's module, before it.
    """

    task_id: str
    prompt: str
    tests: tuple[TestCase, ...]
    entry_point: str = ""
    declares: tuple[str, ...] = ()
    prompt_is_code: bool = True
    test_setup: str = ""
    reference_solution: str = ""
    """A whole program that passes, or empty."""
    source: str = ""
    """The data set that the problem came from."""
    limits: PartialLimits | None = None
    """Limits that this problem needs, where a run does not say otherwise."""
    comparison: Comparison = Comparison.LINES
    tolerance: float = 1e-6
    """For `Comparison.FLOATS`: how far a number may be from the expected one, absolute or as a share of it."""
    checker: str = ""
    """Trusted code that decides in the place of a comparison, where several answers are right. It defines
    `check(given, printed, expected)`, called with three texts for a stdin test, and with the list of arguments, the
    value and the expected value for a call. Only `True` is a pass. It sees plain values, never an object of the
    program, but any of them: a comparison with NaN is false, so ask `abs(x - y) <= e`, never `abs(x - y) > e`."""
    prompt_asks: bool = False
    """The prompt says by itself what to write and how, in its paper's words: nothing is added to it."""
    base_tests: int = 0
    """In the plus sets: so many of `tests`, from the first, are those of the set that it extends. 0: no such border."""
    difficulty: str = ""
    """As the data set names it, or empty."""
    tags: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()
    """Modules beside the standard library that a program needs: where the sandbox lacks one, nothing can be judged."""

    @property
    def forgeable(self) -> bool:
        """Whether a program can make its verdict say what it likes: fit for evaluation alone, nothing to train on."""
        return any(test.kind is TestKind.UNITTEST for test in self.tests)

    def limits_in(self, run: PartialLimits) -> Limits:
        """The limits of the problem's programs in a run that sets `run`."""
        return run.over((self.limits or PartialLimits()).over(Limits()))


@dataclass(frozen=True)
class Completion:
    """What the policy wrote for one prompt, and which policy it was.

    `logprobs[i]` is the log-probability (nats) of `token_ids[i]` under the distribution that it was drawn from
    (after temperature and truncation). `policy_version` counts the adapters: 0 is the base model.
    """

    task_id: str
    index: int
    text: str
    prompt_token_ids: tuple[int, ...] = ()
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    finish_reason: str = ""
    """`stop` (the model ended or a stop string was met) or `length`."""
    policy_version: int = 0
    seed: int = 0


@dataclass(frozen=True)
class Answer:
    """What a model wrote for a problem. `cut_off`: it was stopped at the length limit, so an unfinished last statement
    is not its own mistake and is dropped."""

    text: str
    problem: Problem
    cut_off: bool = False


@dataclass(frozen=True)
class Program:
    """The source taken from a completion and how it was found; `source` is None where none could be, with the
    reason in `how`."""

    source: str | None
    how: str


@dataclass(frozen=True)
class Verdict:
    """What the sandbox saw. `passed` is derived: no error, and all of at least one test passed."""

    error_type: ErrorType | None
    tests_passed: int
    tests_total: int
    exception: str | None = None
    """Name of the exception class as the program raised it, for people; the type above is what counts."""
    signature: str | None = None
    """The exception's message, normalised (quoted names and numbers replaced), for the notebook's second depth."""
    line: int | None = None
    """Line of the submission where it went wrong."""
    first_failing_test: str | None = None
    detail: str = ""
    """One or two lines for people: the message, or what was expected and got, cut."""
    time_s: float = 0.0
    memory_mb: float = 0.0
    stdout: str = ""
    """What the program printed, cut."""
    backend: str = ""
    image_digest: str = ""
    limits: Limits = field(default_factory=Limits)
    forgeable: bool = False
    """The tests ran in the program's interpreter, where it can forge a pass."""

    @property
    def passed(self) -> bool:
        return self.error_type is None and 0 < self.tests_total == self.tests_passed


@dataclass(frozen=True)
class Unscored:
    """No verdict could be had, through no fault of the program: the sandbox broke, and retries did not mend it."""

    reason: str


@dataclass(frozen=True)
class Rollout:
    """A completion, the program in it, and its verdict; `verdict` is None where it could not be scored."""

    completion: Completion
    program: Program
    verdict: Verdict | None
    unscored_reason: str | None = None


@dataclass(frozen=True)
class Interval:
    """A value between 0 and 1 with its 95 % confidence interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class PartReport:
    """The figures of some of a benchmark's problems: those of one difficulty, or with one tag."""

    num_tasks: int
    """With samples."""
    num_samples: int
    pass_at_k: dict[str, Interval]
    """By k. Only where every one of these tasks has k scored samples."""


@dataclass(frozen=True)
class EvalReport:
    """The result of judging samples of a benchmark."""

    benchmark: str
    num_tasks: int
    num_samples: int
    pass_at_k: dict[str, Interval]
    """By k, as a string (JSON has no other keys). Only where every task with samples has k scored ones."""
    error_types: dict[str, int]
    """Failed samples by error type."""
    unscored: int
    withheld: dict[str, str] = field(default_factory=dict)
    """Why pass@k is not given, by k."""
    tasks_without_samples: tuple[str, ...] = ()
    greedy: Interval | None = None
    """Share of problems whose greedy answer passes, where one was asked for."""
    greedy_unscored: int = 0
    pass_at_k_base: dict[str, Interval] = field(default_factory=dict)
    """In the plus sets: the same with the base tests alone."""
    greedy_base: Interval | None = None
    by_difficulty: dict[str, PartReport] = field(default_factory=dict)
    by_tag: dict[str, PartReport] = field(default_factory=dict)
    """A problem counts for each of its tags."""
    seed: int = 0
    backend: str = ""
    image_digest: str = ""
    policy: dict[str, Any] = field(default_factory=dict)
    """Model, adapter, engine and sampling parameters, or the samples file."""
    data: dict[str, Any] = field(default_factory=dict)
    """The benchmark's file and split, its version, and the limits that the run set."""
    versions: dict[str, str] = field(default_factory=dict)
    forgeable: bool = False
    """Some problems are judged in the program's interpreter, where a pass can be forged."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Tasks that can't be judged here and count for nothing, with the modules that the sandbox lacks."""


T = TypeVar("T")


def to_json(value: Any) -> dict[str, Any]:
    """The dataclass `value` as a JSON-ready dict; fields that have their default value are kept."""
    return dataclasses.asdict(value)


def from_json(cls: type[T], data: dict[str, Any]) -> T:
    """Build the dataclass `cls` from what `to_json` gave.

    Raises:
        ValueError: `data` is no object, has an unknown key, lacks a required one, or a value of the wrong type.
    """
    if not isinstance(data, dict):
        raise ValueError(f"expected an object for {cls.__name__}, got {type(data).__name__}")
    hints, plain, required = _fields(typing.cast(Any, cls))
    unknown = sorted(data.keys() - hints.keys())
    if unknown:
        raise ValueError(f"unknown field {unknown[0]!r} for {cls.__name__}; known: {', '.join(hints)}")
    missing = [name for name in required if name not in data]
    if missing:
        raise ValueError(f"field {missing[0]!r} of {cls.__name__} is missing")
    values = {
        name: value if type(value) in plain[name] else _decode(hints[name], value, f"{cls.__name__}.{name}")
        for name, value in data.items()
    }
    return cls(**values)


@functools.cache  # to evaluate the annotations takes ten times as long as the rest
def _fields(cls: type) -> tuple[dict[str, Any], dict[str, set[type]], list[str]]:
    """The types of a dataclass's fields by name, those of them whose values are taken as they are, and the names of
    fields without a default."""
    hints, fields = typing.get_type_hints(cls), dataclasses.fields(cls)
    missing = dataclasses.MISSING
    required = [f.name for f in fields if f.default is missing and f.default_factory is missing]
    return {f.name: hints[f.name] for f in fields}, {f.name: _plain_types(hints[f.name]) for f in fields}, required


def _plain_types(hint: Any) -> set[type]:
    origin, args = _parts_of(hint)
    if origin in (_types.UnionType, typing.Union):
        return set().union(*map(_plain_types, args))
    return {hint} & {str, int, float, bool, type(None)}


@functools.cache
def _parts_of(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    return typing.get_origin(hint), typing.get_args(hint)


def _decode(hint: Any, value: Any, where: str) -> Any:
    if hint is Any or type(value) is hint:
        return value
    origin, args = _parts_of(hint)
    if origin in (_types.UnionType, typing.Union):
        if value is None and type(None) in args:
            return None
        return _decode(next(a for a in args if a is not type(None)), value, where)
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"{where} must be a list, got {type(value).__name__}")
        if set(map(type, value)) <= {args[0]}:  # hundreds of numbers, mostly
            return tuple(value)
        return tuple(_decode(args[0], item, where) for item in value)
    if origin is dict:
        if not isinstance(value, dict):
            raise ValueError(f"{where} must be an object, got {type(value).__name__}")
        return {key: _decode(args[1], item, where) for key, item in value.items()}
    if dataclasses.is_dataclass(hint):
        return from_json(typing.cast(type, hint), value)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        try:
            return hint(value)
        except ValueError:
            raise ValueError(f"{where} must be one of {', '.join(hint)}, got {value!r}") from None
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and (not isinstance(value, hint) or (hint is int and isinstance(value, bool))):
        raise ValueError(f"{where} must be {hint.__name__}, got {type(value).__name__}")
    return value
