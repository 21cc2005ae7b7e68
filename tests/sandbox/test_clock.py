"""A limit counts what the program used, not what the machine or the programs before it did."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from rlcode.types import ErrorType, Limits, Problem, Program, TestCase, TestKind
from sandbox.guest import clock
from sandbox.guest.clock import Clock
from sandbox.pool import open_sandbox
from sandbox.protocol import Job

SPIN = """
import time
def spin(seconds):
    start = time.process_time()
    while time.process_time() - start < seconds:
        pass
    return seconds
"""
PROBLEM = Problem("spin", "", (TestCase(TestKind.ASSERTS, code="assert spin(0.8) == 0.8"),), "spin")


@pytest.fixture
def busy_machine() -> Iterator[None]:
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(6)]
    yield
    for loop in loops:
        loop.kill()
        loop.wait()


@pytest.mark.usefixtures("busy_machine")
@pytest.mark.parametrize("backend", ["local", "docker"])
def test_programs_within_their_limit_pass_one_after_another_on_a_busy_machine(backend: str):
    jobs = [Job(PROBLEM, Program(SPIN, "whole"), Limits(time_s=2.0)) for _ in range(5)]
    with open_sandbox(backend, workers=2) as sandbox:
        assert [verdict.error_type for verdict in sandbox.judge(jobs)] == [None] * 5


@pytest.mark.parametrize("backend", ["local", "docker"])
@pytest.mark.parametrize("body", ["while True: pass", "import time; time.sleep(60)", "import os; os.fork(); spin(60)"])
def test_a_program_over_its_limit_is_stopped_however_it_spends_the_time(backend: str, body: str):
    problem = Problem("late", "", (TestCase(TestKind.ASSERTS, code="assert late() is None"),), "late")
    program = Program(f"{SPIN}\ndef late():\n    {body}\n", "whole")
    with open_sandbox(backend, workers=1) as sandbox:
        (verdict,) = sandbox.judge([Job(problem, program, Limits(time_s=0.5))])
    assert verdict.error_type is ErrorType.TIMEOUT


LIMIT_S, STEP_S = 1.0, 0.025


class Machine:
    """Threads of a program whose every second goes as a test says, and a clock that looks at them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        self.used_s = 0.0
        self._states = ""
        monkeypatch.setattr(clock.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(clock, "_tasks_below", self._tasks)
        self.own_delay_s = 0.0
        monkeypatch.setattr(clock, "_own_delay", lambda: self.own_delay_s)
        self.clock = Clock(LIMIT_S, root=1)
        self.clock.resume()

    def spend(self, seconds: float, states: str, used: float = 0.0) -> bool:
        """Go on for some seconds with a thread in each state, of which the first uses a share `used` of the time;
        whether the program's time was over before they were."""
        self._states = states
        for _ in range(round(seconds / STEP_S)):
            self.now += STEP_S
            self.used_s += used * STEP_S
            self.clock.tick(answered=False)
            if self.clock.is_over():
                return True
        return False

    def answer(self, after_s: float, judge_waits_s: float) -> bool:
        """The judge is woken after some seconds, by the answer or since it is time to look, waits for a core and finds
        the answer; whether the program's time was over."""
        self.now += after_s + judge_waits_s
        self.own_delay_s += judge_waits_s
        self.clock.tick(answered=True)
        return self.clock.is_over()

    def _tasks(self, root: int, generations: int) -> tuple[dict[int, clock._Task], float, float]:
        tasks = {
            number: clock._Task(self.used_s if number == 0 else 0.0, 0.0, state == "R", state == "D")
            for number, state in enumerate(self._states)
        }
        return tasks, 0.0, self.now - 100.0


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def test_waiting_for_the_disk_is_not_the_programs_time(machine: Machine) -> None:
    assert not machine.spend(0.1, "R", used=1.0)
    assert not machine.spend(0.9, "D")
    assert not machine.spend(0.8, "R", used=1.0)
    assert machine.clock.consumed_s() == pytest.approx(0.9, abs=0.1)
    assert machine.spend(0.3, "R", used=1.0)


def test_a_core_that_is_taken_from_under_a_program_costs_it_nothing(machine: Machine) -> None:
    assert not machine.spend(1.7, "R", used=0.5)
    assert machine.clock.consumed_s() == pytest.approx(0.85, abs=0.1)
    assert machine.spend(0.5, "R", used=0.5)


def test_no_program_is_held_up_for_longer_than_its_limit(machine: Machine) -> None:
    assert not machine.spend(0.9 * LIMIT_S, "D")
    assert machine.spend(1.3 * LIMIT_S, "D")


@pytest.mark.parametrize("states", ["S", "DS", "RS"])
def test_sleep_is_the_programs_time_whatever_else_goes_on(machine: Machine, states: str) -> None:
    assert machine.spend(1.2 * LIMIT_S, states)


def test_a_program_seen_as_it_wakes_up_was_not_waiting_for_a_core_while_it_slept(machine: Machine) -> None:
    machine.spend(0.1, "R", used=1.0)
    machine.spend(0.7, "S")
    machine.spend(STEP_S, "R")  # the kernel has not counted its processor time yet
    assert machine.clock.consumed_s() == pytest.approx(0.8, abs=2 * STEP_S)


def test_a_judge_that_waits_for_a_core_when_the_answer_is_there_costs_the_program_nothing(machine: Machine) -> None:
    assert not machine.spend(0.5, "S")
    assert not machine.answer(after_s=0.1 * STEP_S, judge_waits_s=5 * LIMIT_S)


def test_a_sleep_that_the_judge_did_not_see_for_want_of_a_core_is_forgiven_up_to_once_the_limit(
    machine: Machine,
) -> None:
    assert not machine.spend(0.5, "S")
    assert not machine.answer(after_s=STEP_S, judge_waits_s=0.9 * LIMIT_S)
    assert machine.answer(after_s=STEP_S, judge_waits_s=2.5 * LIMIT_S)
