"""Which error type a program gets: a table over all types and their borders, the same on every backend."""

from __future__ import annotations

import pytest

from rlcode.errors import DataError
from rlcode.types import ErrorType, Problem
from sandbox.guest.classify import ERROR_TYPES
from sandbox.protocol import Sandbox
from tests.sandbox.programs import asserts, check, judge, stdio

E = ErrorType
DOUBLE = asserts("assert f(2) == 4", "assert f(0) == 0")
ECHO = stdio(("a b\n", "a b\n"), ("7", "7"))

FUNCTIONS: dict[str, tuple[str, ErrorType | None]] = {
    "right": ("def f(x): return 2 * x", None),
    "right after a byte order mark": ("\ufeffdef f(x): return 2 * x", None),
    "right as lambda": ("f = lambda x: x + x", None),
    "right through a class with __call__": ("class F:\n    def __call__(self, x): return 2 * x\nf = F()", None),
    "right and printing": ("def f(x):\n    print(x)\n    return 2 * x", None),
    "right with threads": (
        "import threading\ndef f(x):\n    r = []\n    t = threading.Thread(target=lambda: r.append(2 * x))\n"
        "    t.start(); t.join()\n    return r[0]",
        None,
    ),
    "right with a subprocess": (
        "import subprocess, sys\ndef f(x):\n"
        "    return int(subprocess.run([sys.executable, '-c', f'print({2 * x})'], capture_output=True).stdout)",
        None,
    ),
    "right with a file": (
        "import tempfile\ndef f(x):\n    with tempfile.TemporaryFile('w+') as t:\n        t.write(str(2 * x))\n"
        "        t.seek(0)\n        return int(t.read())",
        None,
    ),
    "right with asyncio": ("import asyncio\nasync def g(x): return 2 * x\ndef f(x): return asyncio.run(g(x))", None),
    "right with a bool for an int": ("def f(x): return False if x == 0 else 4.0", None),
    "main block is not run": ("def f(x): return 2 * x\nif __name__ == '__main__': raise SystemExit", None),
    "output in bounds": ("def f(x):\n    print('x' * 60000)\n    return 2 * x if x == 2 else 0", E.OUTPUT),
    "wrong": ("def f(x): return x", E.WRONG_ANSWER),
    "wrong in one of two": ("def f(x): return 4", E.WRONG_ANSWER),
    "None": ("def f(x): pass", E.WRONG_ANSWER),
    "right as text": ("def f(x): return str(2 * x)", E.WRONG_ANSWER),
    "an opaque object": ("def f(x): return object()", E.WRONG_ANSWER),
    "too deep": ("def f(x):\n    r = 4\n    for _ in range(5000): r = [r]\n    return r", E.WRONG_ANSWER),
    "syntax": ("def f(x) return 2 * x", E.SYNTAX),
    "syntax far below": ("def f(x): return 2 * x\n" + "\n" * 50 + "x = = 2", E.SYNTAX),
    "prose": ("Here is the code you asked for:", E.SYNTAX),
    "NUL": ("def f(x): return 2 * x\0", E.SYNTAX),
    "lone surrogate": ("def f(x): return 2 * x  # \ud800", E.SYNTAX),
    "return outside": ("return 4", E.SYNTAX),
    "too many parentheses": ("(" * 500 + ")" * 500, E.SYNTAX),
    "indentation": ("def f(x):\nreturn 2 * x", E.INDENTATION),
    "unindent": ("def f(x):\n        y = x\n    return 2 * y", E.INDENTATION),
    "tabs and blanks": ("def f(x):\n\tif x:\n        return 4\n\treturn 0", E.INDENTATION),
    "empty": ("", E.MISSING_ENTRY_POINT),
    "other name": ("def g(x): return 2 * x", E.MISSING_ENTRY_POINT),
    "nested name": ("def g():\n    def f(x): return 2 * x", E.MISSING_ENTRY_POINT),
    "deleted name": ("def f(x): return 2 * x\ndel f", E.MISSING_ENTRY_POINT),
    "no such module": ("import no_such_module\ndef f(x): return 2 * x", E.IMPORT),
    "no such name in module": ("from math import no_such\ndef f(x): return 2 * x", E.IMPORT),
    "late import": ("def f(x):\n    import no_such_module", E.IMPORT),
    "name at load": ("g\ndef f(x): return 2 * x", E.NAME),
    "name in call": ("def f(x): return y", E.NAME),
    "unbound": ("def f(x):\n    y += x\n    return y", E.NAME),
    "type": ("def f(x): return x + 'a'", E.TYPE),
    "arity": ("def f(): return 4", E.TYPE),
    "not callable": ("f = 4", E.TYPE),
    "attribute": ("def f(x): return x.append(1)", E.ATTRIBUTE),
    "index": ("def f(x): return [1][x]", E.INDEX),
    "key": ("def f(x): return {}[x]", E.KEY),
    "value": ("def f(x): return int('a')", E.VALUE),
    "math domain": ("import math\ndef f(x): return math.sqrt(-1)", E.VALUE),
    "zero division": ("def f(x): return x // 0", E.ZERO_DIVISION),
    "recursion": ("def f(x): return f(x)", E.RECURSION),
    "overflow": ("import math\ndef f(x): return math.exp(10000)", E.OVERFLOW),
    "unicode": ("def f(x): return b'\\xff'.decode()", E.UNICODE),
    "encode": ("def f(x): return 'é'.encode('ascii')", E.UNICODE),
    "no file": ("def f(x): return open('no_such_file').read()", E.OS),
    "read-only root": ("def f(x): return open('/usr/a', 'w')", E.OS),
    "network": ("import socket\ndef f(x): return socket.create_connection(('127.0.0.1', 9))", E.OS),
    "stdin": ("def f(x): return int(input())", E.STDIN),
    "stdin at load": ("n = int(input())\ndef f(x): return 2 * x", E.STDIN),
    "assertion": ("def f(x): assert x > 5", E.OTHER_RUNTIME),
    "own exception": ("class Oops(Exception): pass\ndef f(x): raise Oops('no')", E.OTHER_RUNTIME),
    "own exception with a known name": (
        "class KeyError(Exception): pass\ndef f(x): raise KeyError('no')",
        E.OTHER_RUNTIME,
    ),
    "own exception with a base": ("class Oops(ValueError): pass\ndef f(x): raise Oops('no')", E.VALUE),
    "not implemented": ("def f(x): raise NotImplementedError", E.OTHER_RUNTIME),
    "keyboard interrupt": ("def f(x): raise KeyboardInterrupt", E.OTHER_RUNTIME),
    "bare base exception": ("def f(x): raise BaseException", E.OTHER_RUNTIME),
    "stop iteration": ("def f(x): return next(iter([]))", E.OTHER_RUNTIME),
    "sys.exit": ("import sys\ndef f(x): sys.exit(0)", E.NO_RESULT),
    "sys.exit at load": ("import sys\ndef f(x): return 2 * x\nsys.exit()", E.NO_RESULT),
    "os._exit": ("import os\ndef f(x): os._exit(0)", E.NO_RESULT),
    "loop": ("def f(x):\n    while True: pass", E.TIMEOUT),
    "loop at load": ("while True: pass", E.TIMEOUT),
    "sleep": ("import time\ndef f(x): time.sleep(100)", E.TIMEOUT),
    "many threads": (
        "import threading\ndef g():\n    while True: pass\ndef f(x):\n    for _ in range(4):\n"
        "        threading.Thread(target=g).start()\n    g()",
        E.TIMEOUT,
    ),
    "stopped": ("import os, signal\ndef f(x): os.kill(os.getpid(), signal.SIGSTOP)", E.TIMEOUT),
    "big list": ("def f(x): return len([0] * (1 << 29))", E.MEMORY),
    "growing list": ("def f(x):\n    a = []\n    while True: a.append('x' * 1000000)", E.MEMORY),
    "memory at load": ("a = bytearray(1 << 30)\ndef f(x): return 2 * x", E.MEMORY),
    "printing without end": ("def f(x):\n    while True: print('x' * 1000)", E.OUTPUT),
    "stderr without end": ("import sys\ndef f(x):\n    while True: sys.stderr.write('x' * 1000)", E.OUTPUT),
    "large file": ("def f(x):\n    with open('a', 'w') as a:\n        while True: a.write('x' * 1000)", E.OUTPUT),
    "large result": ("def f(x): return 'x' * 20000000", E.OUTPUT),
    "segmentation fault": ("import ctypes\ndef f(x): ctypes.string_at(0)", E.CRASH),
    "abort": ("import os\ndef f(x): os.abort()", E.CRASH),
    "kills itself": ("import os, signal\ndef f(x): os.kill(os.getpid(), signal.SIGKILL)", E.CRASH),
    "closes its link": ("import os\ndef f(x):\n    os.closerange(3, 9)\n    while True: pass", E.FORBIDDEN),
    "garbage on the link": ("import os\ndef f(x): os.write(3, b'garbage' * 99)", E.FORBIDDEN),
    "unknown answer": ("import os\ndef f(x): os.write(3, b'\\0\\0\\0\\4true')", E.FORBIDDEN),
    "ptrace": ("import ctypes\ndef f(x): ctypes.CDLL(None).ptrace(0, 0, 0, 0)", E.FORBIDDEN),
    "unshare": ("import ctypes\ndef f(x): ctypes.CDLL(None).unshare(0x10000000)", E.FORBIDDEN),
}
SCRIPTS: dict[str, tuple[str, ErrorType | None]] = {
    "right": ("print(input())", None),
    "right, blanks at the ends": ("print(input() + '  ')\nprint()", None),
    "right, written at exit": ("import atexit\nx = input()\natexit.register(lambda: print(x))", None),
    "right, written by a thread": (
        "import threading, time\nx = input()\ndef g():\n    time.sleep(0.05)\n    print(x)\n"
        "threading.Thread(target=g).start()",
        None,
    ),
    "right, then exit 0": ("import sys\nprint(input())\nsys.exit(0)", None),
    "right, from buffers": ("import sys\nsys.stdout.buffer.write(sys.stdin.buffer.read())", None),
    "right, from a descriptor": ("import os\nos.write(1, os.read(0, 100))\nos._exit(0)", None),
    "right, in a main block": ("if __name__ == '__main__': print(input())", None),
    "right, with noise on stderr": ("import sys\nprint(input())\nprint('noise', file=sys.stderr)", None),
    "wrong": ("print('a b')", E.WRONG_ANSWER),
    "silent": ("input()", E.WRONG_ANSWER),
    "half": ("print(input()[:1])", E.WRONG_ANSWER),
    "too much": ("x = input()\nprint(x)\nprint(x)", E.WRONG_ANSWER),
    "exit 0 before": ("import sys\nsys.exit(0)", E.WRONG_ANSWER),
    "right, then exit 3": ("import sys\nprint(input())\nsys.exit(3)", E.NO_RESULT),
    "right, then an exception": ("print(input())\n1 / 0", E.ZERO_DIVISION),
    "reads too much": ("print(input())\ninput()", E.STDIN),
    "syntax": ("print(input()", E.SYNTAX),
    "loop": ("while True: pass", E.TIMEOUT),
    "right, then a loop": ("print(input(), flush=True)\nwhile True: pass", E.TIMEOUT),
    "flood": ("while True: print('x' * 1000)", E.OUTPUT),
    "crash": ("import os\nos.abort()", E.CRASH),
    "answers on the link": (
        "import os\nprint(input(), flush=True)\nos.write(3, b'\\0\\0\\0\\x0c[0,\"v\",null]')",
        E.FORBIDDEN,
    ),
}


def test_the_guest_and_the_host_know_the_same_error_types() -> None:
    assert {str(error_type) for error_type in ErrorType} == ERROR_TYPES


def test_the_table_holds_every_type_that_a_sandbox_gives() -> None:
    shown = {expected for _, expected in [*FUNCTIONS.values(), *SCRIPTS.values()]}
    assert shown == {None, *ErrorType} - {E.NO_CODE}


@pytest.mark.parametrize(("problem", "table"), [(DOUBLE, FUNCTIONS), (ECHO, SCRIPTS)], ids=["functions", "scripts"])
def test_programs_get_their_types(
    lone: Sandbox, problem: Problem, table: dict[str, tuple[str, ErrorType | None]]
) -> None:
    verdicts = judge(lone, problem, *(source for source, _ in table.values()))
    wrong = {
        name: (expected, verdict.error_type, verdict.detail)
        for (name, (_, expected)), verdict in zip(table.items(), verdicts, strict=True)
        if verdict.error_type is not expected or verdict.passed is not (expected is None)
    }
    assert not wrong


def test_exceptions_are_described(lone: Sandbox) -> None:
    source = (
        "class Oops(KeyError): pass\n\ndef g(x):\n    raise Oops(f'no {x} at 0x7f00')\n\ndef f(x):\n    return g(x)\n"
    )
    (verdict,) = judge(lone, DOUBLE, source)
    assert (verdict.error_type, verdict.exception, verdict.line) == (E.KEY, "Oops", 4)
    assert verdict.signature == "'_'"
    assert verdict.detail == "Oops: 'no 2 at 0x7f00'"
    assert verdict.first_failing_test == "assert f(2) == 4"


def test_a_wrong_answer_is_shown_beside_the_right_one(lone: Sandbox) -> None:
    (function,) = judge(lone, DOUBLE, "def f(x): return x")
    (script,) = judge(lone, ECHO, "print('a')")
    assert (function.detail, function.first_failing_test) == ("2 != 4", "assert f(2) == 4")
    assert (script.detail, script.first_failing_test) == ("line 1: 'a' != 'a b'", "stdin case 1: 'a b\\n'")


def test_every_assert_counts_and_the_first_failure_gives_the_type(lone: Sandbox) -> None:
    problem = check("assert candidate(1) == 2\nassert candidate(2) == 4\nassert candidate(3) == 6\nassert True")
    first, last = judge(
        lone,
        problem,
        "def f(x): return 0 if x == 1 else [][x] if x == 2 else 2 * x",
        "def f(x): return 2 * x if x < 3 else y",
    )
    assert (first.error_type, first.tests_passed, first.tests_total) == (E.WRONG_ANSWER, 1, 3)
    assert (last.error_type, last.tests_passed, last.tests_total) == (E.NAME, 2, 3)


def test_what_a_test_expects_to_be_raised_is_raised(lone: Sandbox) -> None:
    problem = check(
        "try:\n    candidate(-1)\nexcept ValueError as error:\n    assert str(error) == 'negative'\n"
        "else:\n    assert candidate is None\nassert candidate(4) == 2"
    )
    source = "def f(x):\n    if x < 0: raise {}\n    return 2"
    raises, other, none = judge(
        lone, problem, *(source.format(e) for e in ("ValueError('negative')", "KeyError", "None"))
    )
    assert raises.error_type is E.WRONG_ANSWER  # of three asserts that count, one is never reached
    assert (raises.tests_passed, raises.tests_total) == (2, 3)
    assert other.error_type is E.KEY
    assert none.error_type is E.TYPE


def test_a_swallowed_end_of_the_program_is_no_pass(lone: Sandbox) -> None:
    problem = check("try:\n    r = candidate(1)\nexcept:\n    r = None\nassert r is None")
    gone, slow = judge(lone, problem, "import os\ndef f(x): os._exit(0)", "def f(x):\n    while True: pass")
    assert (gone.error_type, slow.error_type) == (E.NO_RESULT, E.TIMEOUT)


def test_classes_that_the_problem_declares_are_used_by_its_tests(lone: Sandbox) -> None:
    problem = asserts(
        "assert f(root) == 3",
        "assert root.left.value == 2",
        "assert [n.value for n in [root, root.left]] == [1, 2]",
        declares=("Node",),
        setup="root = Node(1)\nroot.left = Node(2)",
    )
    node = "class Node:\n    def __init__(self, value): self.value, self.left = value, None\n"
    right, without = judge(lone, problem, node + "def f(n): return n.value + n.left.value", "def f(n): return 3")
    assert right.passed
    assert without.error_type is E.MISSING_ENTRY_POINT


def test_modules_that_a_test_forgot_to_import_come_from_the_judge(lone: Sandbox) -> None:
    problem = asserts("assert math.isclose(f(2), 4.0)")
    right, forged = judge(
        lone,
        problem,
        "def f(x): return 4.000000000001",
        "class math:\n    isclose = staticmethod(lambda *a: True)\ndef f(x): return 5",
    )
    assert right.passed
    assert forged.error_type is E.WRONG_ANSWER


ODD = "def f(x): return 'odd'"


@pytest.mark.parametrize(
    ("test", "says"),
    [
        ("if candidate(2) == 4:\n    assert candidate(3) == 6\nelse:\n    assert missing", "name 'missing' is not"),
        ("assert candidate(3) == 6 or missing(candidate(3))", "name 'missing' is not"),
        ("try:\n    candidate(3) + 1\nexcept TypeError:\n    missing", "name 'missing' is not"),
        ("for x in range(3):\n    if candidate(x) != 2 * x: import no_such", "No module named 'no_such'"),
        ("while candidate(2) != 4:\n    from math import no_such", "cannot import name 'no_such'"),
    ],
)
def test_a_fault_of_a_test_that_only_odd_answers_lead_to_is_a_wrong_answer(lone: Sandbox, test: str, says: str) -> None:
    right, odd = judge(lone, check(f"{test}\nassert candidate(1) == 2"), "def f(x): return 2 * x", ODD)
    assert right.passed
    assert odd.error_type is E.WRONG_ANSWER
    assert says in odd.detail
    assert odd.tests_passed == 0


@pytest.mark.parametrize(
    ("problem", "says"),
    [
        (asserts("assert f(1) == 2", setup="import no_such"), "No module named 'no_such'"),
        (asserts("assert f(1) == 2", setup="x = missing"), "name 'missing' is not defined"),
        (asserts("assert missing == f(1)"), "name 'missing' is not defined"),
        (asserts("assert f(1) == missing"), "name 'missing' is not defined"),
        (check("x = candidate(1)\nassert abs(x - missing) < 1 or x is None"), "name 'missing' is not defined"),
        (asserts("assert f(1) == 2", "import no_such\nassert f(1) == 2"), "No module named 'no_such'"),
        (asserts("assert f(1) == 2", "assert f(missing) == 2"), "name 'missing' is not defined"),
        (check("assert candidate(1) == 2\nimport no_such"), "No module named 'no_such'"),
    ],
)
def test_a_test_that_fails_whatever_the_program_answers_is_the_problems_fault(
    lone: Sandbox, problem: Problem, says: str
) -> None:
    with pytest.raises(DataError, match=says):
        judge(lone, problem, ODD)


def test_time_limits_count_each_case_of_a_script_for_itself(lone: Sandbox) -> None:
    problem = stdio(*[(str(n), str(n)) for n in range(4)])
    (verdict,) = judge(lone, problem, "import time\ntime.sleep(0.5)\nprint(input())")
    assert verdict.passed
    assert verdict.time_s > verdict.limits.time_s, "all of them together"


def test_generators_are_read_in_the_program(lone: Sandbox) -> None:
    problem = asserts("assert list(f(3)) == [0, 1, 2]", "assert max(f(5)) == 4", "assert next(f(1)) == 0")
    right, endless, raising = judge(
        lone,
        problem,
        "def f(n):\n    yield from range(n)",
        "import itertools\ndef f(n): return itertools.count()",
        "def f(n):\n    yield 0\n    yield 1 / 0",
    )
    assert right.passed
    assert endless.error_type is E.TIMEOUT
    assert raising.error_type is E.ZERO_DIVISION
