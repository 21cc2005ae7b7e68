"""What the pool promises, shown with workers that fail on command; real ones have their own tests."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.measuring import resident_mb
from rlcode.errors import ConfigError, DataError, SandboxError
from rlcode.types import ErrorType, Limits, Problem, Program, TestCase, TestKind, Unscored, Verdict
from sandbox.cache import open_cache
from sandbox.keeper import CONTROL_TRIES, MOST_AT_ONCE, OUTSIDE_LOSSES, SOON_S, START_TRIES, watchdog_s
from sandbox.ordered import MOST_PENDING
from sandbox.pool import QUEUED_PER_WORKER, WorkerPool, open_sandbox
from sandbox.protocol import Job, Sandbox
from sandbox.spare import Spare
from sandbox.worker import WorkerLost
from tests.sandbox.fleet import PASSED, FakeWorker, Fleet, eventually, job, lost, passing, pool, wrong


def judge(fleet: Fleet, *jobs: Job, **options: Any) -> list[Verdict | Unscored]:
    with pool(fleet, **options) as sandbox:
        return list(sandbox.judge(jobs))


def test_a_verdict_says_what_ran_it() -> None:
    limits = Limits(time_s=2.0)
    (verdict,) = judge(Fleet(), job(limits=limits))
    assert verdict == Verdict(None, 1, 1, backend="fake", image_digest="sha256:1", limits=limits)


def test_the_judge_gets_the_whole_problem_but_not_the_reference_solution() -> None:
    fleet = Fleet()
    test = TestCase(TestKind.STDIO, stdin="1", expected_stdout="2")
    problem = Problem("t", "p", (test,), declares=("Pair",), test_setup="import math", reference_solution="secret")
    judge(fleet, Job(problem, Program("print(2)", "fence"), Limits()))
    request = fleet.made[0].requests[-1]
    assert request["source"] == "print(2)"
    assert request["problem"] == {
        "entry_point": "",
        "declares": ["Pair"],
        "test_setup": "import math",
        "tests": [{"kind": "stdio", "stdin": "1", "expected_stdout": "2"}],
        "comparison": "lines",
        "tolerance": 1e-6,
        "checker": "",
    }
    assert request["limits"] == {
        "time_s": 5.0, "memory_mb": 1024, "output_kb": 1024, "processes": 16, "open_files": 64, "disk_mb": 64,
        "failures": 1 << 20,
    }  # fmt: skip


def test_a_completion_without_code_gets_its_verdict_without_a_worker() -> None:
    fleet = Fleet()
    (verdict,) = judge(fleet, job(None, how="no code block"))
    assert isinstance(verdict, Verdict)
    assert (verdict.error_type, verdict.tests_total, verdict.detail) == (ErrorType.NO_CODE, 0, "no code block")
    assert verdict.backend == "fake"
    assert not fleet.made


def test_results_come_in_the_order_of_the_jobs_whichever_is_done_first() -> None:
    def slow_first(worker: FakeWorker, source: str) -> dict[str, Any]:
        time.sleep(0.2 if source == "0" else 0)
        return {"verdict": {**PASSED, "stdout": source}}

    sources = [str(number) for number in range(100)]
    results = judge(Fleet(slow_first), *map(job, sources), workers=3)
    assert [result.stdout for result in results if isinstance(result, Verdict)] == sources


def test_one_slow_program_does_not_hold_up_the_others() -> None:
    release = threading.Event()
    seen = []

    def first_waits(worker: FakeWorker, source: str) -> dict[str, Any]:
        if source == "0":
            assert release.wait(20)
        seen.append(source)
        if len(seen) == 50:
            release.set()
        return {"verdict": PASSED}

    judge(Fleet(first_waits), *[job(str(number)) for number in range(51)], workers=2)
    assert seen[-1] == "0"


def test_jobs_are_taken_only_as_workers_become_free() -> None:
    taken = itertools.count()
    release = threading.Event()

    def endless() -> Iterator[Job]:
        while True:
            next(taken)
            yield job()

    def waits(worker: FakeWorker, source: str) -> dict[str, Any]:
        assert release.wait(20)
        return {"verdict": PASSED}

    with pool(Fleet(waits), workers=2) as sandbox:
        results = sandbox.judge(endless())
        threading.Timer(0.2, release.set).start()
        next(results)
        results.close()
    assert next(taken) <= 3 * QUEUED_PER_WORKER * 2


def test_a_pool_tells_how_long_programs_waited_for_a_worker() -> None:
    release = threading.Event()

    def first_waits(worker: FakeWorker, source: str) -> dict[str, Any]:
        assert source != "0" or release.wait(20)
        return {"verdict": PASSED}

    with pool(Fleet(first_waits), workers=1) as sandbox:
        assert sandbox.waited == (0, 0.0)
        results = [sandbox.submit(job(str(number))) for number in range(3)]
        time.sleep(0.1)
        release.set()
        for result in results:
            result.result(20)
        jobs, seconds = sandbox.waited
    assert jobs == 3
    assert seconds >= 2 * 0.1


def test_a_slow_head_stalls_the_others_only_when_the_bounded_window_is_full() -> None:
    release = threading.Event()
    judged: list[str] = []
    taken = itertools.count()

    def first_waits(worker: FakeWorker, source: str) -> dict[str, Any]:
        if source == "0":
            assert release.wait(60)
        judged.append(source)
        if len(judged) == MOST_PENDING - 1:  # all that may wait behind the slow one
            release.set()
        return {"verdict": {**PASSED, "stdout": source}}

    def jobs() -> Iterator[Job]:
        for number in range(2 * MOST_PENDING):
            next(taken)
            yield job(str(number))

    with pool(Fleet(first_waits), workers=2) as sandbox:
        results = sandbox.judge(jobs())
        first = next(results)
        assert next(taken) <= MOST_PENDING + 1
        rest = [result.stdout for result in results if isinstance(result, Verdict)]
    assert isinstance(first, Verdict)
    assert [first.stdout, *rest] == [str(number) for number in range(2 * MOST_PENDING)]


def test_a_long_stream_needs_no_more_memory_than_a_short_one() -> None:
    def jobs() -> Iterator[Job]:
        for number in range(200_000):
            yield job(f"{number}" + "#" * 2000)  # 400 MB in all

    with pool(Fleet(remember=False), workers=2) as sandbox:
        held_mb = [resident_mb() for count, _ in enumerate(sandbox.judge(jobs()), start=1) if count % 20_000 == 0]
    assert len(held_mb) == 10
    assert max(held_mb) - held_mb[0] < 16


def test_several_threads_judge_at_once_and_each_gets_its_own() -> None:
    def echo(worker: FakeWorker, source: str) -> dict[str, Any]:
        return {"verdict": {**PASSED, "stdout": source}}

    found: dict[str, list[str]] = {}
    with pool(Fleet(echo), workers=2) as sandbox:

        def caller(name: str) -> None:
            results = sandbox.judge(job(f"{name}{number}") for number in range(50))
            found[name] = [result.stdout for result in results if isinstance(result, Verdict)]

        threads = [threading.Thread(target=caller, args=(name,)) for name in "abc"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == {name: [f"{name}{number}" for number in range(50)] for name in "abc"}


def test_no_more_workers_are_made_than_were_asked_for() -> None:
    fleet = Fleet()
    judge(fleet, *[job()] * 50, workers=2)
    assert 1 <= len(fleet.made) <= 2


def test_every_worker_proves_itself_before_it_judges() -> None:
    fleet = Fleet()
    judge(fleet, *[job()] * 20, workers=3)
    assert {worker.requests[0]["problem"]["entry_point"] for worker in fleet.made} == {"control"}


def test_a_program_that_lost_its_worker_by_chance_is_judged_in_a_fresh_one() -> None:
    def lost_once(worker: FakeWorker, source: str) -> dict[str, Any]:
        return lost(worker, source) if worker.number == 0 else passing(worker, source)

    fleet = Fleet(lost_once)
    (verdict,) = judge(fleet, job())
    assert isinstance(verdict, Verdict)
    assert verdict.passed
    assert fleet.made[0].killed.is_set()


def test_a_program_that_takes_two_workers_down_is_forbidden_and_hurts_no_other() -> None:
    def bomb(worker: FakeWorker, source: str) -> dict[str, Any]:
        return lost(worker, source) if source == "bomb" else passing(worker, source)

    fleet = Fleet(bomb)
    before, verdict, after = judge(fleet, job(), job("bomb"), job())
    assert isinstance(verdict, Verdict)
    assert (verdict.error_type, verdict.passed, verdict.tests_total) == (ErrorType.FORBIDDEN, False, 0)
    assert "it is gone" in verdict.detail
    assert isinstance(before, Verdict)
    assert isinstance(after, Verdict)
    assert before.passed
    assert after.passed
    # The second loss was in a worker that had judged nothing but the control program.
    assert [request["source"] for request in fleet.made[1].requests][1:] == ["bomb"]


def test_programs_that_are_soon_done_travel_together_with_a_bound() -> None:
    all_are_there = threading.Event()

    def passing_then(worker: FakeWorker, source: str) -> dict[str, Any]:
        assert all_are_there.wait(30)
        return passing(worker, source)

    fleet = Fleet(passing_then)
    sources = [str(number) for number in range(200)]
    with pool(fleet) as judging:
        futures = [judging.submit(job(source)) for source in sources]
        all_are_there.set()
        assert all(future.result(30) for future in futures)
    (worker,) = fleet.made
    assert [request["source"] for request in worker.requests[1:]] == sources
    assert max(worker.together) == MOST_AT_ONCE
    assert len(worker.together) < 100


def test_slow_programs_travel_alone() -> None:
    def slow(worker: FakeWorker, source: str) -> dict[str, Any]:
        time.sleep(2 * SOON_S)
        return {"verdict": PASSED}

    fleet = Fleet(slow)
    judge(fleet, *[job()] * 20)
    assert not fleet.made[0].together


def test_of_programs_that_lost_their_worker_together_only_the_one_that_did_it_is_forbidden() -> None:
    def bomb(worker: FakeWorker, source: str) -> dict[str, Any]:
        return lost(worker, source) if source in ("30", "77") else {"verdict": {**PASSED, "stdout": source}}

    fleet = Fleet(bomb)
    results = judge(fleet, *[job(str(number)) for number in range(100)], workers=2)
    assert any(worker.together for worker in fleet.made)
    for number, result in enumerate(results):
        assert isinstance(result, Verdict)
        assert (result.error_type is ErrorType.FORBIDDEN) == (number in (30, 77))
        assert result.stdout == ("" if number in (30, 77) else str(number))


def test_programs_that_were_killed_from_outside_together_all_get_their_verdicts() -> None:
    def killed_once(worker: FakeWorker, source: str) -> dict[str, Any]:
        return killed(worker, source) if source == "50" and worker.number == 0 else passing(worker, source)

    results = judge(Fleet(killed_once), *[job(str(number)) for number in range(100)])
    assert all(isinstance(result, Verdict) and result.passed for result in results)


def test_a_program_that_a_worker_left_out_is_judged_later(monkeypatch: pytest.MonkeyPatch) -> None:
    ask = FakeWorker.ask

    def first_alone(worker: FakeWorker, request: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        several = request.get("requests")
        return {"answers": [ask(worker, several[0], timeout_s)]} if several else ask(worker, request, timeout_s)

    monkeypatch.setattr(FakeWorker, "ask", first_alone)
    fleet = Fleet(lambda worker, source: {"verdict": {**PASSED, "stdout": source}})
    sources = [str(number) for number in range(100)]
    results = judge(fleet, *map(job, sources), workers=2)
    assert [result.stdout for result in results if isinstance(result, Verdict)] == sources
    assert sum(len(worker.requests) - 1 for worker in fleet.made) == 100


def test_tests_that_can_not_be_judged_do_no_harm_to_programs_beside_them() -> None:
    def bad(worker: FakeWorker, source: str) -> dict[str, Any]:
        return {"error": "line 3"} if source == "60" else passing(worker, source)

    fleet = Fleet(bad)
    with pool(fleet) as sandbox:
        results = sandbox.judge(job(str(number)) for number in range(100))
        before = [next(results) for _ in range(60)]
        with pytest.raises(DataError, match="line 3"):
            next(results)
    assert all(isinstance(result, Verdict) and result.passed for result in before)
    assert fleet.made[0].together


@pytest.mark.parametrize(
    "answer",
    [{}, {"answers": []}, {"answers": {}}, {"answers": [{"id": 0}]}, {"answers": [{"id": 0}] * 99}],
    ids=str,
)
def test_answers_to_several_that_no_judge_gives_are_not_taken(
    answer: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = FakeWorker.ask

    def nonsense(worker: FakeWorker, request: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        return answer if "requests" in request else ask(worker, request, timeout_s)

    monkeypatch.setattr(FakeWorker, "ask", nonsense)
    fleet = Fleet()
    results = judge(fleet, *[job()] * 20)
    assert all(isinstance(result, Verdict) and result.passed for result in results)
    assert len(fleet.made) > 1


@pytest.mark.parametrize("control", [wrong, lost], ids=["judged wrong", "lost"])
def test_a_sandbox_that_fails_a_good_program_gives_no_verdict(control: Any) -> None:
    fleet = Fleet(control=control)
    (result,) = judge(fleet, job())
    assert isinstance(result, Unscored)
    assert "control program" in result.reason
    assert len(fleet.made) == CONTROL_TRIES
    assert not fleet.alive


def test_a_loss_that_the_control_shares_is_not_held_against_the_program() -> None:
    def control(worker: FakeWorker, source: str) -> dict[str, Any]:
        return passing(worker, source) if worker.number == 0 else lost(worker, source)

    (result,) = judge(Fleet(lost, control=control), job())
    assert isinstance(result, Unscored)


def killed(worker: FakeWorker, source: str) -> dict[str, Any]:
    raise WorkerLost("the engine is gone", from_outside=True)


def test_workers_that_are_killed_from_outside_again_and_again_are_not_held_against_the_program() -> None:
    def killed_often(worker: FakeWorker, source: str) -> dict[str, Any]:
        return killed(worker, source) if worker.number < OUTSIDE_LOSSES - 1 else passing(worker, source)

    (verdict,) = judge(Fleet(killed_often), job())
    assert isinstance(verdict, Verdict)
    assert verdict.passed


def test_an_engine_that_dies_between_the_control_and_the_program_is_not_the_programs_doing() -> None:
    def lost_then_killed(worker: FakeWorker, source: str) -> dict[str, Any]:
        return [lost, killed, passing][worker.number](worker, source)

    (verdict,) = judge(Fleet(lost_then_killed), job())
    assert isinstance(verdict, Verdict)
    assert verdict.passed


def test_a_program_that_takes_its_worker_down_is_found_out_between_kills_from_outside() -> None:
    def by_turns(worker: FakeWorker, source: str) -> dict[str, Any]:
        return [killed, lost, killed, lost][worker.number](worker, source)

    (verdict,) = judge(Fleet(by_turns), job())
    assert isinstance(verdict, Verdict)
    assert verdict.error_type is ErrorType.FORBIDDEN


def test_a_program_whose_workers_are_killed_without_end_is_unscored() -> None:
    fleet = Fleet(killed)
    (result,) = judge(fleet, job())
    assert isinstance(result, Unscored)
    assert "no fault of the program" in result.reason
    assert len(fleet.made) == OUTSIDE_LOSSES
    assert not fleet.alive


def test_controls_that_are_killed_from_outside_say_nothing_of_the_sandbox() -> None:
    def control(worker: FakeWorker, source: str) -> dict[str, Any]:
        return killed(worker, source) if worker.number < OUTSIDE_LOSSES - 1 else passing(worker, source)

    (verdict,) = judge(Fleet(control=control), job())
    assert isinstance(verdict, Verdict)
    (unscored,) = judge(Fleet(control=killed), job())
    assert isinstance(unscored, Unscored)
    assert "killed from outside" in unscored.reason


def test_a_worker_that_does_not_suit_the_limits_is_replaced_by_a_proven_one() -> None:
    fleet = Fleet()
    judge(fleet, job(), job(limits=Limits(disk_mb=8)), job(limits=Limits(disk_mb=8)))
    assert [worker.made_for.disk_mb for worker in fleet.made] == [64, 8]
    assert [len(worker.requests) for worker in fleet.made] == [1 + 1, 1 + 2]
    assert fleet.made[0].killed.is_set()


def test_of_two_workers_the_one_that_suits_is_taken() -> None:
    fleet = Fleet()
    with pool(fleet, workers=2) as sandbox:
        for turn in range(20):
            list(sandbox.judge([job(limits=Limits(disk_mb=[64, 8][turn % 2]))]))
    assert len(fleet.made) == 2


def test_the_sandbox_goes_on_after_it_could_not_score() -> None:
    def control(worker: FakeWorker, source: str) -> dict[str, Any]:
        return wrong(worker, source) if worker.number < CONTROL_TRIES else passing(worker, source)

    first, second = judge(Fleet(control=control), job(), job())
    assert isinstance(first, Unscored)
    assert isinstance(second, Verdict)
    assert second.passed


def test_a_worker_with_something_left_over_is_replaced_and_its_verdict_counts() -> None:
    def dirty(worker: FakeWorker, source: str) -> dict[str, Any]:
        return {"verdict": PASSED, "anomaly": "a file was left"}

    fleet = Fleet(dirty)
    results = judge(fleet, job(), job())
    assert all(isinstance(result, Verdict) and result.passed for result in results)
    assert len(fleet.made) == 2
    assert fleet.made[0].killed.is_set()


def test_a_worker_is_replaced_after_so_many_programs() -> None:
    fleet = Fleet()
    judge(fleet, *[job()] * 10, recycle_after=4)
    assert [len(worker.requests) for worker in fleet.made] == [1 + 4, 1 + 4, 1 + 2]


def test_a_pool_whose_workers_wear_out_has_the_next_one_ready() -> None:
    fleet = Fleet()
    with pool(fleet, recycle_after=10, start_ahead=True) as sandbox:
        list(sandbox.judge([job()] * 9))
        assert eventually(lambda: len(fleet.alive) == 2)
        list(sandbox.judge([job()] * 6))
    assert [worker.requests[0]["problem"]["entry_point"] for worker in fleet.made[:2]] == ["control"] * 2
    assert [len(worker.requests) for worker in fleet.made[:2]] == [1 + 10, 1 + 5]
    assert not fleet.alive


def test_a_spare_that_does_not_suit_or_does_not_start_is_done_without() -> None:
    fleet = Fleet()
    with pool(fleet, recycle_after=10, start_ahead=True) as sandbox:
        list(sandbox.judge([job()] * 9))
        assert eventually(lambda: len(fleet.alive) == 2)
        (verdict,) = sandbox.judge([job(limits=Limits(disk_mb=8))])
        assert isinstance(verdict, Verdict)
        assert fleet.made[1].killed.is_set()
        assert not fleet.made[1].requests
    fleet = Fleet(dead_starts=1)
    spare = Spare(fleet)
    spare.prepare(Limits())
    assert spare.take(Limits()) is None
    spare.prepare(Limits())
    assert spare.take(Limits()) is fleet.made[1]
    spare.close()


def test_a_spare_that_is_being_started_while_the_pool_closes_is_not_left_behind() -> None:
    begun, release = threading.Event(), threading.Event()

    class SlowWorker(FakeWorker):
        def start(self) -> None:
            begun.set()
            assert release.wait(20)
            super().start()

    fleet = Fleet()
    slow = SlowWorker(fleet, 0, Limits())
    spare = Spare(lambda limits: slow)
    spare.prepare(Limits())
    assert begun.wait(20)
    closer = threading.Thread(target=spare.close)
    closer.start()
    release.set()
    closer.join()
    assert slow.killed.is_set()
    spare.prepare(Limits())
    assert spare.take(Limits()) is None


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"verdict": None},
        {"verdict": {"error_type": "excellent", "tests_passed": 1, "tests_total": 1}},
        {"verdict": {**PASSED, "tests_total": "1"}},
        {"verdict": {**PASSED, "surprise": 1}},
        {"verdict": {**PASSED, "backend": "docker"}, "id": -1},
    ],
)
def test_an_answer_that_no_judge_gives_means_that_the_worker_is_lost(answer: dict[str, Any]) -> None:
    fleet = Fleet(lambda worker, source: answer)
    (verdict,) = judge(fleet, job())
    assert isinstance(verdict, Verdict)
    assert verdict.error_type is ErrorType.FORBIDDEN
    assert len(fleet.made) == 2


def test_tests_that_can_not_be_judged_are_an_error_that_names_the_task() -> None:
    def broken(worker: FakeWorker, source: str) -> dict[str, Any]:
        return {"error": "line 3 of the test does not compile"}

    with pytest.raises(DataError, match=r"t/7.*line 3"):
        judge(Fleet(broken), job(task_id="t/7"))


def test_a_start_that_fails_is_tried_again() -> None:
    fleet = Fleet(dead_starts=START_TRIES - 1)
    (verdict,) = judge(fleet, job())
    assert isinstance(verdict, Verdict)
    assert verdict.passed


def test_an_engine_that_starts_nothing_ends_the_run() -> None:
    fleet = Fleet(dead_starts=10**6)
    with pytest.raises(SandboxError, match="no fake worker could be started"):
        judge(fleet, job())
    assert len(fleet.made) == START_TRIES
    assert all(worker.killed.is_set() for worker in fleet.made)


def test_closing_kills_all_workers_and_can_be_done_twice() -> None:
    fleet = Fleet()
    sandbox = pool(fleet, workers=3)
    list(sandbox.judge([job()] * 20))
    sandbox.close()
    sandbox.close()
    assert fleet.made
    assert not fleet.alive
    with pytest.raises(SandboxError, match="closed"):
        next(sandbox.judge([job()]))


def test_closing_wakes_who_waits_for_a_verdict() -> None:
    asked = threading.Event()

    def hangs(worker: FakeWorker, source: str) -> dict[str, Any]:
        asked.set()
        assert worker.killed.wait(20)
        raise WorkerLost("it was killed")

    fleet = Fleet(hangs)
    sandbox = pool(fleet)

    def close_when_asked() -> None:
        assert asked.wait(20)
        sandbox.close()

    closer = threading.Thread(target=close_when_asked)
    closer.start()
    with pytest.raises(SandboxError, match="closed"):
        list(sandbox.judge([job()] * 3))
    closer.join()
    assert not fleet.alive


def test_a_caller_that_stops_early_leaves_the_pool_usable() -> None:
    with pool(Fleet()) as sandbox:
        for _ in sandbox.judge(job() for _ in range(1000)):
            break
        assert len(list(sandbox.judge([job()] * 5))) == 5


def test_jobs_that_nobody_waits_for_any_more_are_not_judged() -> None:
    release = threading.Event()

    def first_waits(worker: FakeWorker, source: str) -> dict[str, Any]:
        if source == "0":
            assert release.wait(20)
        return {"verdict": PASSED}

    fleet = Fleet(first_waits)
    with pool(fleet) as sandbox:
        feeder = threading.Thread(target=lambda: list(sandbox.judge([job("0")])))
        feeder.start()
        assert eventually(lambda: len(fleet.made) == 1 and len(fleet.made[0].requests) == 2)
        known = job(None)  # has its result at once, so the caller gets to go
        results = sandbox.judge([known, *[job("unwanted")] * 5])
        next(results)
        results.close()
        release.set()
        feeder.join()
        list(sandbox.judge([job("wanted")]))
    assert [request["source"] for request in fleet.made[0].requests[1:]] == ["0", "wanted"]


def test_an_error_in_the_callers_jobs_comes_through() -> None:
    def jobs() -> Iterator[Job]:
        yield job()
        raise KeyError("from the caller")

    with pool(Fleet()) as sandbox, pytest.raises(KeyError, match="from the caller"):
        list(sandbox.judge(jobs()))


def test_the_watchdog_leaves_room_for_a_busy_machine() -> None:
    assert watchdog_s(job(limits=Limits(time_s=5.0))) == 110
    problem = Problem("t", "", tuple(TestCase(TestKind.STDIO) for _ in range(3)))
    assert watchdog_s(Job(problem, Program("", ""), Limits(time_s=1.0))) == 90


def test_an_unknown_backend_and_a_pool_of_nobody_are_refused() -> None:
    with pytest.raises(ConfigError, match="auto, docker, local"):
        open_sandbox("podman")
    with pytest.raises(ConfigError, match="at least one worker"):
        WorkerPool(Fleet(), 0, backend="fake")


def test_a_pool_is_a_sandbox() -> None:
    with pool(Fleet()) as sandbox:
        contract: Sandbox = sandbox
        assert (contract.backend, contract.workers, contract.image_digest) == ("fake", 1, "sha256:1")


def test_a_twin_that_another_caller_has_under_way_is_not_judged_again(tmp_path: Path) -> None:
    gate = threading.Event()

    def waits(worker: FakeWorker, source: str) -> dict[str, Any]:
        gate.wait(10)
        return passing(worker, source)

    fleet = Fleet(waits)
    with (
        open_cache(str(tmp_path / "verdicts.sqlite")) as cache,
        pool(fleet, workers=2, cache=cache) as sandbox,
    ):
        futures = [sandbox.submit(job("same")) for _ in range(5)]
        futures[0].cancel()
        gate.set()
        results = [future.result(10) for future in futures[1:]]
    assert all(isinstance(result, Verdict) and result.passed for result in results)
    assert [request["source"] for worker in fleet.made for request in worker.requests].count("same") == 1


def test_a_job_that_nobody_waits_for_any_more_is_not_judged() -> None:
    gate = threading.Event()

    def waits(worker: FakeWorker, source: str) -> dict[str, Any]:
        gate.wait(10)
        return passing(worker, source)

    fleet = Fleet(waits)
    with pool(fleet) as sandbox:
        first, left, last = (sandbox.submit(job(source)) for source in ("first", "left", "last"))
        left.cancel()
        gate.set()
        assert [future.result(10) for future in (first, last)]
    assert "left" not in [request["source"] for worker in fleet.made for request in worker.requests]


def test_a_closed_pool_refuses_a_job_at_once_also_again(tmp_path: Path) -> None:
    with open_cache(str(tmp_path / "verdicts.sqlite")) as cache:
        sandbox = pool(Fleet(), cache=cache)
        sandbox.close()
        for _ in range(2):  # the second must not wait for the first, its twin
            with pytest.raises(SandboxError, match="closed"):
                sandbox.submit(job())
