"""Tests that call the program's functions. They run here, in the judge, beside the expected values."""

from __future__ import annotations

import dis
import importlib
import sys
import types
from typing import Any, NoReturn

from .asserts import LEDGER, Ledger, failure_from
from .bounds import GUARD, bounded_time
from .classify import FORBIDDEN, TIMEOUT, WRONG_ANSWER, Failure
from .execution import WAITS, Execution
from .fork_client import ForkServer, Limits
from .plan import CHECK, FunctionTests
from .remote import Link
from .stops import BadTests, CandidateGone, EnoughFailures, SandboxBroken, TestTimeUp
from .tally import Tally

sys.dont_write_bytecode = True  # the guard takes it for a file of the tests


def judge_functions(server: ForkServer, tests: FunctionTests, source: str, limits: Limits, tally: Tally) -> None:
    """Run the tests against the program, and add what came of it to `tally`.

    Raises:
        BadTests: the tests are at fault.
        SandboxBroken: the sandbox is.
    """
    execution = Execution(server, limits, stdin=b"")
    link = Link(execution)
    ledger = Ledger(
        tests.sites,
        lambda: link.failure,
        lambda error: link.is_under_test or _is_unbound(error, link, tests),
        tally.failures_left,
    )
    try:
        ended = _load_and_test(link, tests, source, ledger)
    finally:
        execution.close()
        link.forget()
    # A test may have swallowed the program's end, so the link's memory decides, not what was raised.
    failure = execution.cause_of(ledger.first_failure or link.failure or ended)
    if failure is None and ledger.passed < len(tests.sites):
        failure = Failure(WRONG_ANSWER, "the test came to its end without this assert")
    if failure is not None:
        tally.fail(failure, ledger.first_failing_test, max(ledger.failures, 1))
    tally.passed += ledger.passed
    tally.add_end_of(execution)


def _load_and_test(link: Link, tests: FunctionTests, source: str, ledger: Ledger) -> Failure | None:
    """Why the tests did not come to their end; None if they did, or where the link knows."""

    def refuse(reason: str) -> NoReturn:
        if not link.has_answered:
            raise BadTests(f"a test asks for what the judge does not do: {reason}")
        link.give_up(Failure(FORBIDDEN, f"a test was stopped over the program's answer: {reason}"))

    try:
        with bounded_time(link.time_s, WAITS):
            remote = link.load(source, tests.names)
            with GUARD.watching(refuse, may_make_code=tests.may_make_code):
                _run_tests(link, tests, remote, ledger)
    except EnoughFailures:
        return None
    except CandidateGone:
        ledger.escaped()
        return None
    except TestTimeUp:
        ledger.escaped()
        return Failure(TIMEOUT, "the tests did not get done with the program's answers")
    except (BadTests, SandboxBroken):
        raise
    except BaseException as error:  # a test may raise what it likes
        ledger.escaped()
        failure = failure_from(error, lambda error: _is_unbound(error, link, tests))
        if not link.has_answered and not link.is_loading:
            raise BadTests(f"{type(error).__name__} in the test before it asked the program: {error}") from error
        return failure
    return None


def _is_unbound(error: BaseException, link: Link, tests: FunctionTests) -> bool:
    """Whether the error is about a name that the tests do give a value somewhere, and the program has answered: a loop
    over an empty answer, say."""
    if not (isinstance(error, NameError) and link.has_answered):
        return False
    return any(_binds(code, str(error.name)) for code in (tests.setup, *(code for code, _ in tests.tests)))


def _binds(code: types.CodeType, name: str) -> bool:
    stores = (step.argval for step in dis.get_instructions(code) if step.opname.startswith("STORE_"))
    inner = (part for part in code.co_consts if isinstance(part, types.CodeType))
    return name in stores or any(_binds(part, name) for part in inner)


def _run_tests(link: Link, tests: FunctionTests, remote: dict[str, Any], ledger: Ledger) -> None:
    space: dict[str, Any] = {"__name__": "tests", LEDGER: ledger}
    try:
        space.update((module, importlib.import_module(module)) for module in tests.modules)
        space.update(remote)
        GUARD.run(tests.setup, space)
        space.update(remote)  # nothing may stand in for the program
        for code, is_check in tests.tests:
            link.is_under_test = False
            GUARD.run(code, space)
            if is_check:
                space[CHECK](remote[tests.names[0]])
    finally:
        space.clear()  # functions of the test refer to it, so the answers in it would stay for long
