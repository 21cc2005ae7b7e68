"""unittest classes, judged in the program's interpreter: what unittest says, within all limits, on both backends.

A pass can be forged here, and the verdict says so; claims that come cheap gain nothing all the same.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import pytest

from rlcode.errors import DataError
from rlcode.types import ErrorType, Problem, Program, TestCase, TestKind, Verdict
from sandbox.commands.verdict_view import view
from sandbox.protocol import Job, Sandbox
from tests.sandbox.programs import SHORT, asserts, judge

E = ErrorType
LIMITS = dataclasses.replace(SHORT, processes=32)
RIGHT = "def f(x): return 2 * x"
HEAD = """
import unittest
from unittest.mock import patch
class TestCases(unittest.TestCase):
"""
TWO = (
    HEAD
    + """
    def test_two(self): self.assertEqual(f(2), 4)
    def test_zero(self): self.assertEqual(f(0), 0)
"""
)


def unit(code: str = TWO, setup: str = "") -> Problem:
    """A problem whose tests are unittest classes."""
    return Problem("unit", "", (TestCase(TestKind.UNITTEST, code=code),), entry_point="f", test_setup=setup)


def methods(*lines: str) -> str:
    """A test class with these lines."""
    return HEAD + "".join(f"    {line}\n" for line in "\n".join(lines).splitlines())


@dataclass(frozen=True)
class Golden:
    """Tests, a program, and what it must get."""

    code: str
    source: str = RIGHT
    error_type: ErrorType | None = None
    passed: int | None = None
    """None: all where it passes, else none."""
    total: int = 2


ARRAYS = """
import unittest
try:
    from numpy import array
    from numpy.testing import assert_array_equal
except ImportError:  # not in every interpreter that the local sandbox runs on
    array, assert_array_equal = list, unittest.TestCase().assertEqual
class TestCases(unittest.TestCase):
    def test_a(self): assert_array_equal(f(array([1, 2])), [2, 4])
"""
WRITES = "def f(x):\n    with open('out.txt', 'w') as file: file.write(str(x))\n    return open('out.txt').read()"
GOLDEN: dict[str, Golden] = {
    "right": Golden(TWO),
    "wrong": Golden(TWO, "def f(x): return x", E.WRONG_ANSWER, 1),
    "it raises": Golden(TWO, "def f(x): return {}[x]", E.KEY),
    "it raises in one test": Golden(TWO, "def f(x): return 2 * x if x else 1 // x", E.ZERO_DIVISION, 1),
    "its own assert fails": Golden(TWO, "def f(x):\n    assert x > 9\n    return x", E.OTHER_RUNTIME),
    "wrong arity": Golden(TWO, "def f(): return 4", E.TYPE),
    "no value that the test could use": Golden(
        methods("def test_a(self): self.assertEqual(f(2) + 1, 5)"), "def f(x): pass", E.WRONG_ANSWER, total=1
    ),
    "no such function": Golden(TWO, "def g(x): return 2 * x", E.MISSING_ENTRY_POINT),
    "no Python": Golden(TWO, "def f(x) return 2 * x", E.SYNTAX),
    "a module that is not there": Golden(TWO, "import no_such_module\n" + RIGHT, E.IMPORT),
    "it fails while it loads": Golden(TWO, "n = undefined\n" + RIGHT, E.NAME),
    "sys.exit while it loads": Golden(TWO, "import sys\nsys.exit(0)\n" + RIGHT, E.NO_RESULT),
    "sys.exit in a test": Golden(TWO, "import sys\ndef f(x): sys.exit(0) if x else None\n", E.NO_RESULT),
    "sys.exit that a test expects": Golden(
        methods("def test_a(self):", "    with self.assertRaises(SystemExit): f(2)"),
        "import sys\ndef f(x): sys.exit(0)",
        total=1,
    ),
    "an exception that a test expects": Golden(
        methods("def test_a(self):", "    with self.assertRaises(ValueError): f(2)"),
        "def f(x): raise ValueError('no')",
        total=1,
    ),
    "an exception that does not come": Golden(
        methods("def test_a(self):", "    with self.assertRaises(ValueError): f(2)"), RIGHT, E.WRONG_ANSWER, total=1
    ),
    "setUp and tearDown, with files": Golden(
        methods(
            "def setUp(self): open('in.txt', 'w').write('x')",
            "def tearDown(self): __import__('os').remove('in.txt')",
            "def test_a(self): self.assertEqual(f(1), '1')",
            "def test_b(self): self.assertFalse(__import__('os').path.exists('left.txt'))",
        ),
        WRITES,
    ),
    "setUp needs what the program does not give": Golden(
        methods("def setUp(self): self.n = f(2)[0]", "def test_a(self): pass", "def test_b(self): pass"),
        RIGHT,
        E.WRONG_ANSWER,
    ),
    "tearDown fails": Golden(
        methods("def tearDown(self): self.fail('left')", "def test_a(self): f(2)"), RIGHT, E.WRONG_ANSWER, total=1
    ),
    "setUpClass": Golden(
        methods(
            "@classmethod",
            "def setUpClass(cls): cls.expected = [0, 2]",
            "def test_a(self): self.assertEqual([f(0), f(1)], self.expected)",
        ),
        total=1,
    ),
    "setUpClass raises over the program": Golden(
        methods("@classmethod", "def setUpClass(cls): f(1)", "def test_a(self): pass", "def test_b(self): pass"),
        "def f(x): return [][x]",
        E.INDEX,
    ),
    "tearDownClass raises": Golden(
        methods("@classmethod", "def tearDownClass(cls): raise KeyError", "def test_a(self): f(1)"),
        RIGHT,
        E.WRONG_ANSWER,
        passed=1,
        total=1,
    ),
    "subtests": Golden(
        methods(
            "def test_a(self):",
            "    for n in range(3):",
            "        with self.subTest(n=n): self.assertEqual(f(n), 2 * n)",
        ),
        total=1,
    ),
    "one subtest fails": Golden(
        methods(
            "def test_a(self):",
            "    for n in range(3):",
            "        with self.subTest(n=n): self.assertEqual(f(n), 2 * n)",
        ),
        "def f(x): return 2 * x if x != 1 else 7",
        E.WRONG_ANSWER,
        total=1,
    ),
    "an expected failure": Golden(
        methods("@unittest.expectedFailure", "def test_a(self): self.assertEqual(f(1), 3)"), total=1
    ),
    "a success that was not expected": Golden(
        methods("@unittest.expectedFailure", "def test_a(self): self.assertEqual(f(1), 2)"),
        RIGHT,
        E.WRONG_ANSWER,
        total=1,
    ),
    "a skipped test counts for nothing": Golden(
        methods("@unittest.skip('no')", "def test_a(self): self.fail()", "def test_b(self): self.assertEqual(f(1), 2)"),
        total=1,
    ),
    "a test that skips itself": Golden(
        methods("def test_a(self): self.skipTest('no')", "def test_b(self): self.assertEqual(f(1), 2)"), total=1
    ),
    "all tests are skipped": Golden(
        methods("@unittest.skip('no')", "def test_a(self): pass"), RIGHT, E.NO_RESULT, total=0
    ),
    "built-ins are patched": Golden(
        methods(
            "@patch('builtins.print')",
            "def test_a(self, shown):",
            "    f(3)",
            "    shown.assert_called_once_with(3)",
            "@patch('builtins.open', side_effect=OSError)",
            "def test_b(self, opened): self.assertEqual(f(1), 2)",
        ),
        "def f(x):\n    print(x)\n    return 2 * x",
    ),
    "a mock was not called": Golden(
        methods("@patch('builtins.print')", "def test_a(self, shown):", "    f(3)", "    shown.assert_called_once()"),
        RIGHT,
        E.WRONG_ANSWER,
        total=1,
    ),
    "what the judge is told with is patched": Golden(
        methods(
            "@classmethod",
            "def setUpClass(cls):",
            "    for name in ('os.read', 'os.write', 'json.dumps', 'time.sleep'): patch(name).start()",
            "def test_a(self): self.assertEqual(f(1), 2)",
            "def test_b(self): self.assertEqual(f(2), 4)",
        )
    ),
    "the program's module is patched": Golden(
        methods(
            "@patch(__name__ + '.double', return_value=9)",
            "def test_a(self, double): self.assertEqual(f(1), 9)",
            "def test_b(self): self.assertEqual(f(1), 2)",
        ),
        "def double(x): return 2 * x\ndef f(x): return double(x)",
    ),
    "stdin and stdout are patched": Golden(
        HEAD
        + "    @patch('builtins.input', side_effect=['5'])\n    def test_a(self, given):\n"
        + "        from io import StringIO\n"
        + "        with patch('sys.stdout', new_callable=StringIO) as out: f(0)\n"
        + "        self.assertEqual(out.getvalue(), '10\\n')\n",
        "def f(x): print(2 * int(input()))",
        total=1,
    ),
    "it reads stdin": Golden(TWO, "def f(x): return input()", E.STDIN),
    "objects of the program": Golden(
        methods("def test_a(self):", "    self.assertIsInstance(f(1), Box)", "    self.assertEqual(f(1).n, 2)"),
        "class Box:\n    def __init__(self, n): self.n = n\ndef f(x): return Box(2 * x)",
        total=1,
    ),
    "asynchronous tests": Golden(
        "import unittest\nclass TestCases(unittest.IsolatedAsyncioTestCase):\n"
        "    async def test_a(self): self.assertEqual(await f(1), 2)\n",
        "async def f(x): return 2 * x",
        total=1,
    ),
    "tests of a base class": Golden(
        "from unittest import TestCase\nclass Base:\n    def test_a(self): self.assertEqual(f(1), 2)\n"
        "class Middle(TestCase): pass\n"
        "class TestCases(Base, Middle):\n    def test_b(self): self.assertEqual(f(2), 4)\n"
    ),
    "two classes": Golden(
        TWO.replace("test_zero", "helper") + "class More(TestCases):\n    def test_more(self): f(1)\n", total=3
    ),
    "sys and os need no import": Golden(
        methods("def test_a(self): self.assertTrue(os.getcwd() and sys.path and environ)"), total=1
    ),
    "the tests can't be loaded over the program": Golden(
        "import unittest\nN = f(1)[0]\n" + TWO, RIGHT, E.WRONG_ANSWER
    ),
    "a loop": Golden(TWO, "def f(x):\n    while x: pass\n    return 0", E.TIMEOUT),
    "asleep": Golden(TWO, "import time\ndef f(x): time.sleep(60)", E.TIMEOUT),
    "memory": Golden(TWO, "def f(x): return len(bytearray(1 << 40)) if x else 0", E.MEMORY, 1),
    "too much output": Golden(TWO, "def f(x):\n    print('x' * 100000, flush=True)\n    return 2 * x", E.OUTPUT),
    "a crash": Golden(TWO, "import os\ndef f(x): os.kill(os.getpid(), 11)", E.CRASH),
    "too many processes": Golden(TWO, "import os\ndef f(x):\n    while True: os.fork()", E.OS),
    "arrays": Golden(ARRAYS, "def f(x): return [2 * n for n in x]", total=1),
    "wrong arrays": Golden(ARRAYS, "def f(x): return [n for n in x]", E.WRONG_ANSWER, total=1),
    "too deep": Golden(TWO, "def f(x): return f(x)", E.RECURSION),
}  # fmt: skip
CASES = GOLDEN.items()


@pytest.fixture(scope="module")
def verdicts(lone: Sandbox) -> dict[str, Verdict]:
    return {name: judge(lone, unit(case.code), case.source, limits=LIMITS)[0] for name, case in CASES}


@pytest.mark.parametrize("name", GOLDEN)
def test_a_verdict_says_what_unittest_would_say(verdicts: dict[str, Verdict], name: str) -> None:
    case, verdict = GOLDEN[name], verdicts[name]
    passed = (case.total if case.error_type is None else 0) if case.passed is None else case.passed
    found = (verdict.error_type, verdict.tests_passed, verdict.tests_total)
    assert found == (case.error_type, passed, case.total), verdict
    assert verdict.passed == (case.error_type is None)


def test_every_verdict_of_this_kind_can_be_forged_and_no_other(verdicts: dict[str, Verdict], lone: Sandbox) -> None:
    assert all(verdict.forgeable for verdict in verdicts.values())
    assert not judge(lone, asserts("assert f(2) == 4"), RIGHT)[0].forgeable


def test_a_failure_names_the_test_the_line_and_the_message(verdicts: dict[str, Verdict]) -> None:
    wrong, raised = verdicts["wrong"], verdicts["it raises in one test"]
    assert (wrong.first_failing_test, wrong.detail) == ("TestCases.test_two", "AssertionError: 2 != 4")
    assert (raised.first_failing_test, raised.exception, raised.line) == ("TestCases.test_zero", "ZeroDivisionError", 1)
    assert verdicts["tearDownClass raises"].first_failing_test == "after the last test"


def test_a_person_is_shown_that_it_can_be_forged(verdicts: dict[str, Verdict]) -> None:
    job = Job(unit(), Program(RIGHT, "test"), LIMITS)
    shown = "\n".join(str(line) for line in view(job, verdicts["wrong"]))
    assert "because   AssertionError: 2 != 4" in shown
    assert "can be forged: judged in the candidate's interpreter" in shown


STUB = "import math\nHALF = 0.5\ndef f(x):\n    pass\n"


def test_a_setup_comes_before_the_program_and_its_stub_does_not_stand_in_for_it(lone: Sandbox) -> None:
    problem = unit(setup=STUB)
    uses, lacks = judge(lone, problem, "def f(x): return math.floor(x / HALF)", "def g(x): return 2 * x", limits=LIMITS)
    assert uses.passed, uses
    assert lacks.error_type is E.MISSING_ENTRY_POINT


@pytest.mark.parametrize(
    "code",
    [
        "import unittest\nclass TestCases(unittest.TestCase):\n    def helper(self): pass\n",
        "def test_a(): assert f(1) == 2\n",
        "class TestCases:\n    def test_a(self): pass\n",
        "class TestCases(unittest.TestCase:\n",
        "",
    ],
)
def test_a_problem_without_a_test_can_t_be_judged_and_that_is_no_verdict(lone: Sandbox, code: str) -> None:
    with pytest.raises(DataError, match=r"holds no unittest class|does not compile"):
        judge(lone, unit(code), RIGHT)


WRONG = "def f(x): return x\n"
CHEAP: dict[str, str] = {
    "ends well": "import os\ndef f(x): os._exit(0)",
    "ends well while it loads": "import os\nos._exit(0)",
    "ends well with the interpreter": "import atexit, os\natexit.register(os._exit, 0)\nraise SystemExit(0)",
    "exits well": "import sys\ndef f(x): sys.exit(0)",
    "prints what a runner prints": WRONG
    + "import sys\nprint('Ran 2 tests in 0.0s\\n\\nOK', file=sys.stderr)\nprint('passed')",
    "a report file": WRONG + "open('report.json', 'w').write('{\"passed\": true}')",
    "skips the test": "import unittest\ndef f(x): raise unittest.SkipTest('passed')",
    "an interrupt": "def f(x): raise KeyboardInterrupt",
    "kills its parent": WRONG + "import os\ntry: os.kill(os.getppid(), 9)\nexcept OSError: pass",
    "kills all": WRONG
    + "import os, signal\nsignal.signal(15, signal.SIG_IGN)\ntry: os.kill(-1, 15)\nexcept OSError: pass",
    "answers that lie ready": WRONG + r"""
import json, os, struct
for outcome in ('passed', 'skipped'):
    for number in range(4):
        body = json.dumps([number, outcome]).encode()
        os.write(3, struct.pack('>I', len(body)) + body)
""",
    "no message at all": "import os\ndef f(x): os.write(3, bytes(64))",
    "closes the link": "import os\ndef f(x): os.close(3)",
    "a child that answers": "import os\ndef f(x):\n    if os.fork(): os.wait()\n    return x",
    "a child that goes on alone": "import os\ndef f(x):\n    if os.fork(): os._exit(0)\n    return 2 * x",
    "tests of its own": "import unittest\nclass TestCases(unittest.TestCase):\n    def test_two(self): pass\n" + WRONG,
    "an own module for unittest": "import sys, types\nsys.modules['unittest'] = types.ModuleType('unittest')\n" + WRONG,
    "no more tests": WRONG + "import unittest\nunittest.TestCase.run = lambda self, result=None: None",
    "hides the tests": (
        "def f(x):\n    for name in [name for name in globals() if name.startswith('Test')]: del globals()[name]\n"
        "    return x"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHEAP)
def test_a_cheap_claim_is_no_pass_and_the_next_program_does_not_feel_it(lone: Sandbox, name: str) -> None:
    attack, right = judge(lone, unit(), CHEAP[name], RIGHT, limits=LIMITS)
    assert not attack.passed, attack
    assert attack.error_type is not None
    assert right.passed, right


FORGED: dict[str, str] = {
    "assertions that hold": WRONG + "import unittest\nunittest.TestCase.assertEqual = lambda *a, **k: None",
    "an object that is equal to everything": (
        "class Equal:\n    def __eq__(self, other): return True\ndef f(x): return Equal()"
    ),
}


@pytest.mark.parametrize("name", FORGED)
def test_what_can_be_forged_passes_and_is_marked(lone: Sandbox, name: str) -> None:
    """docs/sandbox.md says so; here is what the mark is for."""
    (verdict,) = judge(lone, unit(), FORGED[name], limits=LIMITS)
    assert verdict.passed
    assert verdict.forgeable
