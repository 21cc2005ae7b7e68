"""LiveCodeBench (Jain et al. 2024, arXiv 2403.07974): contest problems with their dates, tested by stdin or by calls.

The rows come from a file in the format of `livecodebench/code_generation_lite` (`question_content, platform,
question_id, contest_date, starter_code, difficulty, public_test_cases, private_test_cases, metadata`), or from that
data set on the hub, which keeps a script, so its raw files are read. A split names a release, a window of contest dates
(inclusive), or both:

    v6        2024-08-01..2025-01-31        v5:2024-08-01..        ..2023-12-31

Without a release all rows of a file count, and of the hub those of the latest release that is known here. The private
tests are compressed pickles of one JSON text; a pickle of anything else than a text is refused unread.

Printed answers are compared by tokens, where equal numbers are equal however they are written; the paper's grader also
wants the tokens on the same lines. Limits are the grader's: 6 s for each case.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import io
import json
import pickle
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlcode.data import hub
from rlcode.data.rows import json_field, text_field
from rlcode.errors import DataError, InputError
from rlcode.types import Comparison, PartialLimits, Problem, TestCase, TestKind

HUB_NAME = "livecodebench/code_generation_lite"
RELEASES = tuple(f"v{number}" for number in range(1, 7))
"""Each is the files of those before, and one more."""
SOURCE = "livecodebench"
FIELDS = ("question_content", "question_id", "contest_date", "public_test_cases", "private_test_cases", "metadata")
MOST_BYTES = 1 << 30
"""Of the private tests of one problem, unpacked."""
CASE_S = 6.0
_MOST_CALLS_S = 60.0
_SPLIT = re.compile(r"(?:(?P<release>v\d+)(?::|$))?(?:(?P<first>[\d-]*)\.\.(?P<last>[\d-]*))?")

_STDIN = """\
### Question:
{question}

### Format: Read the inputs from stdin solve the problem and write the answer to stdout (do not directly test on the \
sample inputs). Enclose your code within delimiters as follows. Ensure that when the python program runs, it reads the \
inputs, runs the algorithm and writes output to STDOUT.
```python
# YOUR CODE HERE
```

### Answer: (use the provided format with backticks)

"""
_STARTER = """\
### Question:
{question}

### Format: You will use the following starter code to write the solution to the problem and enclose your code within \
delimiters.
```python
{starter}
```

### Answer: (use the provided format with backticks)

"""


@dataclass(frozen=True)
class Window:
    """The contest dates that count, both inclusive."""

    first: datetime.date = datetime.date.min
    last: datetime.date = datetime.date.max

    def has(self, date: datetime.date) -> bool:
        return self.first <= date <= self.last


def load(file: Path | None, split: str | None) -> list[Problem]:
    """The problems of a release and a window of dates; see above for `split`.

    Raises:
        DataError: a row that can't be used. InputError: another form of `split`, or a window without a problem.
    """
    release, window = _parse_split(split or "")
    if file is not None and release is not None:
        raise InputError(f"a file has no releases; leave {release!r} away, and name dates alone")
    found = ((where, row) for where, row in hub.rows(file, raw_files(release)) if window.has(_date(row, where)))
    problems = [problem_from_row(row, where) for where, row in found]
    if not problems:
        raise InputError(f"{file or HUB_NAME} has no problem of the dates {window.first} to {window.last}")
    return problems


def aliases(task_id: str) -> tuple[str, ...]:
    """Other names that a samples file may use for the task: none."""
    return ()


def version(file: Path | None) -> dict[str, Any]:
    """What tells one version of the data from another."""
    return hub.version(file, raw_files(None))


def raw_files(release: str | None) -> hub.RawFiles:
    """The files of a release; without one, of the latest."""
    count = RELEASES.index(release) + 1 if release else len(RELEASES)
    return hub.RawFiles(HUB_NAME, tuple(f"test{number if number > 1 else ''}.jsonl" for number in range(1, count + 1)))


def _parse_split(split: str) -> tuple[str | None, Window]:
    match = _SPLIT.fullmatch(split)
    if match is None or (match["release"] and match["release"] not in RELEASES):
        raise InputError(
            f"livecodebench has no split {split!r}; name a release ({', '.join(RELEASES)}), dates "
            "(2024-08-01..2025-01-31), or both with a colon between them"
        )
    return match["release"], Window(*(_bound(match, name) for name in ("first", "last")))


def _bound(match: re.Match[str], name: str) -> datetime.date:
    if not match[name]:
        return getattr(Window, name)
    try:
        return datetime.date.fromisoformat(match[name])
    except ValueError as error:
        raise InputError(f"{match[name]!r} in the split is no date: {error}; write 2024-08-01") from error


def _date(row: dict[str, Any], where: str) -> datetime.date:
    written = row.get("contest_date")
    try:  # from a table it is a time already
        return datetime.datetime.fromisoformat(str(written)).date()
    except ValueError as error:
        raise DataError(f"{where}: field 'contest_date' is no date: {error}") from error


def problem_from_row(row: dict[str, Any], where: str) -> Problem:
    """One row in the original format as a `Problem`; `where` names it in errors.

    Raises:
        DataError: a field is missing or of a wrong type, or the tests can't be read.
    """
    cases = [*_cases(json_field(row, "public_test_cases", where), where), *_cases(_private(row, where), where)]
    if not cases:
        raise DataError(f"{where}: no tests: both lists of test cases are empty")
    entry_point = _entry_point(row, where)
    tests = tuple(_test(case, entry_point, where) for case in cases)
    question, starter = text_field(row, "question_content", where), text_field(row, "starter_code", where)
    calls_s = min(CASE_S * len(tests), _MOST_CALLS_S)
    return Problem(
        task_id=text_field(row, "question_id", where),
        prompt=(_STARTER if starter else _STDIN).format(question=question, starter=starter),
        tests=tests,
        entry_point=entry_point,
        prompt_is_code=False,
        prompt_asks=True,
        source=SOURCE,
        limits=PartialLimits(time_s=calls_s if entry_point else CASE_S),
        comparison=Comparison.FLOATS,
        tolerance=0.0,
        difficulty=text_field(row, "difficulty", where, required=False),
        tags=tuple(filter(None, [text_field(row, "platform", where, required=False)])),
    )


def _entry_point(row: dict[str, Any], where: str) -> str:
    metadata = json_field(row, "metadata", where)
    name = metadata.get("func_name") if isinstance(metadata, dict) else None
    if name is not None and not isinstance(name, str):
        raise DataError(f"{where}: 'func_name' in field 'metadata' must be a string, got {type(name).__name__}")
    return name or ""


def _cases(value: Any, where: str) -> list[dict[str, str]]:
    names = ("input", "output")
    fits = isinstance(value, list) and all(
        isinstance(case, dict) and all(isinstance(case.get(name), str) for name in names) for case in value
    )
    if not fits:
        raise DataError(f"{where}: test cases must be a list of objects with the strings 'input' and 'output'")
    return list(value)


def _test(case: dict[str, str], entry_point: str, where: str) -> TestCase:
    if not entry_point:
        return TestCase(TestKind.STDIO, stdin=case["input"], expected_stdout=case["output"])
    try:
        arguments = [json.loads(line) for line in case["input"].split("\n") if line.strip()]
        json.loads(case["output"])
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: a call's arguments or output are not JSON text: {error}") from error
    return TestCase(TestKind.CALL, arguments=json.dumps(arguments), expected=case["output"])


def _private(row: dict[str, Any], where: str) -> Any:
    """The private test cases: a JSON text, plain or packed."""
    text = text_field(row, "private_test_cases", where)
    if not text.lstrip().startswith("["):
        try:
            text = unpack(text)
        except (ValueError, zlib.error, pickle.UnpicklingError, EOFError, IndexError, KeyError) as error:
            raise DataError(f"{where}: field 'private_test_cases' can't be unpacked: {error}") from error
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: field 'private_test_cases' is not JSON text: {error}") from error


def unpack(text: str) -> str:
    """The text in base64 of zlib of a pickle.

    Raises:
        ValueError, zlib.error, pickle.UnpicklingError, EOFError: it is none, or too large.
    """
    try:
        packed = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from error
    unpacking = zlib.decompressobj()
    data = unpacking.decompress(packed, MOST_BYTES)
    if unpacking.unconsumed_tail:
        raise ValueError(f"it is larger than {MOST_BYTES:,} bytes")
    value = _TextUnpickler(io.BytesIO(data)).load()
    if not isinstance(value, str):
        raise ValueError(f"it holds a {type(value).__name__}, no text")
    return value


class _TextUnpickler(pickle.Unpickler):
    """Reads plain values; what would import or call anything is refused before it is looked up."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no text needs")
