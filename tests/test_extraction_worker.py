from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from rlcode import extraction_worker
from rlcode.errors import ExtractionError
from rlcode.extraction_worker import Extractor
from rlcode.types import Answer, Problem, Program, TestCase, TestKind

PROMPT = 'def add(a, b):\n    """ Add. """\n'
CODE = Problem("t", PROMPT, (), entry_point="add")
# Each function lacks the next one, which is looked for among all of them: that goes on for minutes.
CHAIN = "".join(f"def f{i}():\n    f{i + 1}()\n" for i in range(6_000))
SLOW = f"```python\n{CHAIN}```\n```python\ndef add(a, b):\n    return f0()\n```"


@pytest.fixture
def extractor() -> Iterator[Extractor]:
    with Extractor(cpu_seconds=1) as extractor:
        yield extractor


def worker_pid(extractor: Extractor) -> int:
    assert extractor._worker is not None
    return extractor._worker.pid


def test_the_worker_knows_which_programs_are_called(extractor: Extractor) -> None:
    called = Problem("t", "Add.", (TestCase(TestKind.CALL),), entry_point="add", prompt_is_code=False)
    method = "class Solution:\n    def add(self, a, b): return a + b\n"
    assert list(extractor.extract_many([Answer(method + "```\nIt adds.", called)])) == [
        Program(method, "program up to a fence")
    ]


def test_the_worker_knows_which_further_names_a_program_must_bring(extractor: Extractor) -> None:
    problem = Problem("t", "Add.", (), entry_point="add", declares=("Pair",), prompt_is_code=False)
    answer = "```\nclass Pair: pass\n```\n```\ndef add(a, b): return a + b\n```"
    assert extractor.extract(Answer(answer, problem)).source == ("class Pair:\n    pass\ndef add(a, b): return a + b\n")


def test_programs_come_in_the_order_of_the_texts(extractor: Extractor) -> None:
    texts = [f"    return {i}\n" for i in range(100)]
    programs = list(extractor.extract_many(Answer(text, CODE) for text in texts))
    assert programs == [Program(PROMPT + text, "continuation") for text in texts]


def test_an_over_long_text_is_refused_among_others() -> None:
    with Extractor(max_characters=20) as extractor:
        programs = list(
            extractor.extract_many([Answer(text, CODE) for text in ("    return 1", "x" * 21, "    return 2")])
        )
    assert [program.source for program in programs] == [PROMPT + "    return 1", None, PROMPT + "    return 2"]
    assert programs[1].how == "the completion is too long: 21 characters; the limit is 20"


def test_an_odd_text_comes_back_exactly(extractor: Extractor) -> None:
    text = "    return '\ud800\0é\u2028\r\n'\n"
    assert extractor.extract(Answer(text, CODE)).source == PROMPT + text


def test_a_text_that_takes_too_long_holds_no_program_and_the_next_one_is_unharmed(extractor: Extractor) -> None:
    programs = list(extractor.extract_many([Answer(text, CODE) for text in ("    return 1", SLOW, "    return 2")]))
    assert [program.source for program in programs] == [PROMPT + "    return 1", None, PROMPT + "    return 2"]
    assert programs[1].how.startswith("extraction failed")


@pytest.mark.parametrize(
    "text",
    ["(" * 100_000, "-" * 100_000 + "1", "    return " + "not " * 40_000 + "1", "f(" * 90 + ")" * 90, "[" * 199_999],
)
def test_no_nesting_harms_the_caller(extractor: Extractor, text: str) -> None:
    assert isinstance(extractor.extract(Answer(text, CODE)), Program)
    assert extractor.extract(Answer("    return 1", CODE)).source == PROMPT + "    return 1"


def test_a_killed_worker_costs_no_text(extractor: Extractor) -> None:
    extractor.extract(Answer("    return 1", CODE))
    os.kill(worker_pid(extractor), signal.SIGKILL)
    assert extractor.extract(Answer("    return 2", CODE)).source == PROMPT + "    return 2"


def test_a_stopped_worker_is_given_up_and_replaced() -> None:
    with Extractor(wall_seconds=0.5) as extractor:
        extractor.extract(Answer("    return 1", CODE))
        os.kill(worker_pid(extractor), signal.SIGSTOP)
        start = time.monotonic()
        assert extractor.extract(Answer("    return 2", CODE)).source == PROMPT + "    return 2"
        assert time.monotonic() - start < 30


def test_threads_share_a_worker(extractor: Extractor) -> None:
    found: dict[int, list[str | None]] = {}

    def work(name: int) -> None:
        texts = [Answer(f"    return {name}, {i}\n", CODE) for i in range(40)]
        found[name] = [program.source for program in extractor.extract_many(texts)]

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert found == {name: [f"{PROMPT}    return {name}, {i}\n" for i in range(40)] for name in range(4)}


def test_close_ends_the_worker_and_can_be_called_twice(extractor: Extractor) -> None:
    extractor.extract(Answer("    return 1", CODE))
    pid = worker_pid(extractor)
    extractor.close()
    extractor.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_the_worker_ends_with_its_parent() -> None:
    script = (
        "from rlcode.extraction_worker import Extractor\n"
        "from rlcode.types import Answer, Problem\n"
        "e = Extractor(); e.extract(Answer('x', Problem('t', '', (), entry_point='f')))\n"
        "print(e._worker.pid, flush=True)\n"
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    pid = int(done.stdout)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and _is_alive(pid):
        time.sleep(0.05)
    assert not _is_alive(pid)


def _is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_worker_that_cannot_start_is_an_error_and_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extraction_worker, "_GUEST", extraction_worker._GUEST.with_name("absent.py"))
    with Extractor() as extractor, pytest.raises(ExtractionError, match="does not start"):
        extractor.extract(Answer("    return 1", CODE))


def test_the_calling_process_never_parses_a_text(monkeypatch: pytest.MonkeyPatch, extractor: Extractor) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("parsed on the host")

    extractor.extract(Answer("    return 1", CODE))
    monkeypatch.setattr("builtins.compile", refuse)
    monkeypatch.setattr("ast.parse", refuse)
    program = extractor.extract(Answer("```python\ndef add(a, b):\n    return a\n```", CODE))
    monkeypatch.undo()
    assert program.source == "def add(a, b):\n    return a\n"
