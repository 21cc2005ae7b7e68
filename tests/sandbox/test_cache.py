"""The verdict cache: what was put is what is got, nothing doubtful is kept, no trouble with the file stops a run."""

from __future__ import annotations

import dataclasses
import json
import logging
import multiprocessing
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eval.main import main as evaluate
from rlcode.errors import ConfigError
from rlcode.types import Comparison, ErrorType, Limits, Problem, Program, TestCase, TestKind, Unscored, Verdict
from sandbox.cache import LIMIT_FAILURES, VerdictCache, key_of, open_cache
from sandbox.pool import open_sandbox
from sandbox.protocol import Job
from tests.sandbox.fleet import PASSED, WRONG, FakeWorker, Fleet, job, lost, passing, pool, wrong

RIGHT = Verdict(None, 2, 2, backend="fake", image_digest="sha256:1")


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[VerdictCache]:
    with open_cache(tmp_path / "verdicts.sqlite") as opened:
        assert opened is not None
        yield opened


def key(source: str = "x = 1") -> bytes:
    return key_of(job(source), "fake", "sha256:1")


def judged(cache: VerdictCache, fleet: Fleet, *jobs: Job, **options: Any) -> list[Verdict | Unscored]:
    with pool(fleet, cache=cache, **options) as sandbox:
        return list(sandbox.judge(jobs))


def asked(fleet: Fleet) -> list[str]:
    """Sources that workers were asked about, without the control programs."""
    requests = [request for worker in fleet.made for request in worker.requests]
    return [request["source"] for request in requests if request["problem"]["entry_point"] != "control"]


# The store.

texts = st.text(max_size=30)
limits = st.builds(
    Limits,
    time_s=st.floats(0.1, 60, allow_nan=False),
    memory_mb=st.integers(16, 4096),
    output_kb=st.integers(1, 4096),
    disk_mb=st.integers(1, 4096),
    failures=st.integers(1, 4096),
)
tests = st.builds(
    TestCase,
    st.sampled_from(TestKind),
    **dict.fromkeys(["code", "stdin", "expected_stdout", "arguments", "expected"], texts),
)
problems = st.builds(
    Problem,
    task_id=texts,
    prompt=texts,
    tests=st.lists(tests, max_size=3).map(tuple),
    entry_point=texts,
    declares=st.lists(texts, max_size=2).map(tuple),
    test_setup=texts,
    comparison=st.sampled_from(Comparison),
    tolerance=st.sampled_from([1e-6, 1e-3, 0.5]),
    checker=texts,
)
jobs = st.builds(Job, problems, st.builds(Program, texts, texts), limits)
verdicts = st.builds(
    Verdict,
    st.none() | st.sampled_from([error for error in ErrorType if error not in LIMIT_FAILURES]),
    st.integers(0, 9),
    st.integers(0, 9),
    exception=st.none() | texts,
    line=st.none() | st.integers(1, 99),
    detail=st.text(st.characters(exclude_categories=()), max_size=30),  # also what is no Unicode text
    time_s=st.floats(0, 10),
    stdout=texts,
    limits=limits,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(st.lists(st.tuples(jobs, verdicts), max_size=5))
def test_what_was_put_is_what_is_got(cache: VerdictCache, entries: list[tuple[Job, Verdict]]) -> None:
    expected = {}
    for one, verdict in entries:
        expected[key_of(one, "docker", "sha256:1")] = verdict
        cache.put(key_of(one, "docker", "sha256:1"), verdict)
    assert {found: cache.get(found) for found in expected} == expected


def what_judging_depends_on(one: Job) -> tuple[Any, ...]:
    names = ("tests", "entry_point", "declares", "test_setup", "comparison", "tolerance", "checker")
    return (one.program.source, one.limits, *(getattr(one.problem, name) for name in names))


@given(jobs, jobs)
def test_jobs_share_a_key_if_and_only_if_they_are_judged_alike(one: Job, other: Job) -> None:
    alike = what_judging_depends_on(one) == what_judging_depends_on(other)
    assert (key_of(one, "docker", "sha256:1") == key_of(other, "docker", "sha256:1")) is alike


CHANGES = [
    lambda one: dataclasses.replace(one, program=Program(one.program.source + " ", "fence")),
    lambda one: dataclasses.replace(one, limits=dataclasses.replace(one.limits, disk_mb=one.limits.disk_mb + 1)),
    lambda one: dataclasses.replace(one, limits=dataclasses.replace(one.limits, time_s=one.limits.time_s + 1)),
    lambda one: dataclasses.replace(
        one, problem=dataclasses.replace(one.problem, tests=(*one.problem.tests, TestCase(TestKind.ASSERTS)))
    ),
    lambda one: dataclasses.replace(
        one, problem=dataclasses.replace(one.problem, test_setup=one.problem.test_setup + "\n")
    ),
    lambda one: dataclasses.replace(one, problem=dataclasses.replace(one.problem, tolerance=one.problem.tolerance / 2)),
    lambda one: dataclasses.replace(one, problem=dataclasses.replace(one.problem, checker=one.problem.checker + "\n")),
    lambda one: dataclasses.replace(
        one, problem=dataclasses.replace(one.problem, entry_point=one.problem.entry_point + "_")
    ),
]


@given(jobs, st.sampled_from(CHANGES))
def test_the_smallest_change_is_another_key(one: Job, change: Any) -> None:
    assert key_of(one, "docker", "sha256:1") != key_of(change(one), "docker", "sha256:1")


def test_backends_and_images_have_verdicts_of_their_own() -> None:
    keys = {key_of(job(), backend, runs_in) for backend in ("docker", "local") for runs_in in ("a", "b", "")}
    assert len(keys) == 6


def test_names_and_prompts_change_no_verdict_so_they_change_no_key() -> None:
    one = job()
    renamed = dataclasses.replace(one.problem, task_id="other", prompt="other", reference_solution="other")
    assert key() == key_of(
        dataclasses.replace(one, problem=renamed, program=Program("x = 1", "other")), "fake", "sha256:1"
    )


@pytest.mark.parametrize("error_type", sorted(LIMIT_FAILURES))
def test_failures_by_a_limit_are_kept_only_where_that_is_asked_for(tmp_path: Path, error_type: ErrorType) -> None:
    failed = Verdict(error_type, 0, 2)
    for keep in (False, True):
        with open_cache(tmp_path / "verdicts.sqlite", keep_limit_failures=keep) as cache:
            assert cache is not None
            cache.put(key(), failed)
            assert cache.get(key()) == (failed if keep else None)


def test_verdicts_outlive_the_process_that_was_killed(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.sqlite"

    def put_and_die() -> None:
        VerdictCache(path).put(key(), RIGHT)
        multiprocessing.current_process().kill()
        time.sleep(60)

    process = multiprocessing.get_context("fork").Process(target=put_and_die)
    process.start()
    process.join(60)
    with open_cache(path) as cache:
        assert cache is not None
        assert cache.get(key()) == RIGHT


def put_many(path: Path, first: int) -> None:
    with open_cache(path) as cache:
        assert cache is not None
        for number in range(first, first + 200):
            cache.put(key(str(number)), dataclasses.replace(RIGHT, stdout=str(number)))
            assert cache.get(key(str(number)))


def test_several_processes_write_and_read_one_file(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.sqlite"
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=put_many, args=(path, first)) for first in (0, 100, 200, 300)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * 4
    with open_cache(path) as cache:
        assert cache is not None
        assert len(cache) == 500
        for number in range(500):
            found = cache.get(key(str(number)))
            assert found is not None
            assert found.stdout == str(number)


# Trouble with the file.


def test_a_flipped_bit_makes_no_verdict(cache: VerdictCache, caplog: pytest.LogCaptureFixture) -> None:
    failed = Verdict(ErrorType.WRONG_ANSWER, 1, 2)
    cache.put(key(), failed)
    with sqlite3.connect(cache.path) as other:
        other.execute("UPDATE verdicts SET verdict = replace(verdict, '\"wrong_answer\"', 'null')")
    assert cache.get(key()) is None
    assert "damaged" in caplog.text


def test_an_entry_can_not_be_moved_to_another_key(cache: VerdictCache) -> None:
    cache.put(key("right"), RIGHT)
    with sqlite3.connect(cache.path) as other:
        other.execute("UPDATE verdicts SET key = ?", (key("wrong"),))
    assert cache.get(key("wrong")) is None


def test_a_file_that_is_damaged_from_the_start_is_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "verdicts.sqlite"
    path.write_bytes(b"no database" * 1000)
    with open_cache(path) as cache:
        assert cache is not None
        cache.put(key(), RIGHT)
        assert cache.get(key()) == RIGHT
    assert (tmp_path / "verdicts.sqlite.damaged1").read_bytes() == b"no database" * 1000
    assert "damaged1" in caplog.text


def test_judging_goes_on_when_the_file_is_damaged_under_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "verdicts.sqlite"
    with open_cache(path) as cache:
        assert cache is not None
        for number in range(500):
            cache.put(key(str(number)), RIGHT)
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    fleet = Fleet()
    with open_cache(path) as cache:
        assert cache is not None
        results = judged(cache, fleet, *[job(str(number)) for number in range(20)])
    assert all(isinstance(result, Verdict) and result.passed for result in results)
    assert len(asked(fleet)) == 20
    assert list(tmp_path.glob("verdicts.sqlite.damaged1"))
    assert "was moved to" in caplog.text


def test_a_full_disk_is_told_once_and_what_is_kept_is_still_found(
    cache: VerdictCache, caplog: pytest.LogCaptureFixture
) -> None:
    cache.put(key("kept"), RIGHT)
    assert cache._connection is not None
    cache._connection.execute("PRAGMA max_page_count = 4")  # SQLite then says what it says when a disk is full
    fleet = Fleet()
    results = judged(cache, fleet, job("kept"), *[job(str(number)) for number in range(100)])
    assert len(results) == 101
    assert "kept" not in asked(fleet)
    assert len(asked(fleet)) == 100
    assert caplog.text.count("takes no more verdicts") == 1


def test_a_file_that_another_process_holds_costs_one_entry_and_no_verdict(
    cache: VerdictCache, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert cache._connection is not None
    cache._connection.execute("PRAGMA busy_timeout = 50")
    with sqlite3.connect(cache.path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        assert len(judged(cache, Fleet(), job())) == 1
        other.execute("ROLLBACK")
    assert "busy" in caplog.text
    judged(cache, Fleet(), job())
    assert len(cache) == 1


def test_a_file_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "mine.sqlite"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE notes (text)")
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=r"mine\.sqlite is an SQLite file of another program"):
        VerdictCache(path)
    assert path.read_bytes() == before


def test_a_place_where_no_file_can_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't serve as a verdict cache"):
        VerdictCache(tmp_path / "no" / "such" / "folder" / "verdicts.sqlite")


# Behind the pool.


def test_a_program_is_judged_once(cache: VerdictCache) -> None:
    first, second = Fleet(), Fleet(wrong)
    before = judged(cache, first, job("a"), job("b"))
    again = judged(cache, second, job("b"), job("a"), job("a"))
    assert again == [before[1], before[0], before[0]]
    assert not second.made
    assert cache.hits == 3
    assert "3 verdicts found" in cache.summary()
    assert "2 kept" in cache.summary()


def test_of_equal_jobs_under_way_one_is_judged_and_all_get_its_verdict(cache: VerdictCache) -> None:
    def slow(worker: FakeWorker, source: str) -> dict[str, Any]:
        time.sleep(0.05)
        return {"verdict": {**PASSED, "stdout": source, "error_type": "timeout"}}

    fleet = Fleet(slow)
    results = judged(cache, fleet, *[job("ab"[number % 2]) for number in range(6)], workers=3)
    assert sorted(asked(fleet)) == ["a", "b"]
    assert [result.stdout for result in results if isinstance(result, Verdict)] == list("ababab")
    assert cache.shared == 4


def test_without_a_cache_equal_jobs_are_all_judged() -> None:
    fleet = Fleet()
    with pool(fleet, workers=2) as sandbox:
        assert len(list(sandbox.judge([job()] * 6))) == 6
    assert len(asked(fleet)) == 6


def dirty(worker: FakeWorker, source: str) -> dict[str, Any]:
    return {"verdict": WRONG, "anomaly": "a file was left"}


def lost_once(worker: FakeWorker, source: str) -> dict[str, Any]:
    return lost(worker, source) if worker.number == 0 else passing(worker, source)


@pytest.mark.parametrize(
    "fleet",
    [Fleet(dirty), Fleet(lost_once), Fleet(lost), Fleet(control=wrong)],
    ids=["anomaly", "lost once", "forbidden", "unscored"],
)
def test_what_is_not_a_clean_verdict_is_not_kept(cache: VerdictCache, fleet: Fleet) -> None:
    judged(cache, fleet, job())
    assert len(cache) == 0


def test_known_and_new_programs_come_in_order(cache: VerdictCache) -> None:
    def echo(worker: FakeWorker, source: str) -> dict[str, Any]:
        return {"verdict": {**PASSED, "stdout": source}}

    judged(cache, Fleet(echo), *[job(str(number)) for number in range(0, 3000, 3)])
    results = judged(cache, Fleet(echo), *[job(str(number)) for number in range(3000)], workers=2)
    assert [result.stdout for result in results if isinstance(result, Verdict)] == [str(n) for n in range(3000)]
    assert cache.hits == 1000


def test_a_stream_of_known_programs_is_not_read_far_ahead(cache: VerdictCache) -> None:
    judged(cache, Fleet(), job())
    taken = 0

    def endless() -> Iterator[Job]:
        nonlocal taken
        while True:
            taken += 1
            yield job()

    with pool(Fleet(), cache=cache) as sandbox:
        results = sandbox.judge(endless())
        for _ in range(10):
            next(results)
        results.close()
    assert taken < 2000


def test_several_threads_share_a_cache(cache: VerdictCache) -> None:
    with pool(Fleet(), workers=2, cache=cache) as sandbox:
        threads = [
            threading.Thread(target=lambda: list(sandbox.judge(job(str(number % 50)) for number in range(200))))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(cache) == 50


def test_a_closed_cache_finds_nothing_and_disturbs_nobody(cache: VerdictCache) -> None:
    cache.close()
    cache.close()
    assert cache.get(key()) is None
    cache.put(key(), RIGHT)
    assert len(judged(cache, Fleet(), job())) == 1


# With a real sandbox, and in the commands.


def test_a_real_sandbox_gives_the_same_verdict_from_the_cache(cache: VerdictCache) -> None:
    problem = Problem("t", "", (TestCase(TestKind.ASSERTS, code="assert f(1) == 2\nassert f(2) == 3"),), "f")
    sources = ["def f(x):\n    return x + 1\n", "def f(x):\n    return 2\n", "def f(x)"]
    found = []
    for _ in range(2):
        with open_sandbox("local", workers=1, cache=cache) as sandbox:
            found.append(list(sandbox.judge(Job(problem, Program(source, "test"), Limits()) for source in sources)))
    assert found[0] == found[1]
    assert cache.hits == 3


def test_eval_takes_what_is_known_from_the_cache_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    problem = {
        "task_id": "T/0",
        "prompt": "def f(x):\n",
        "entry_point": "f",
        "tests": [{"kind": "asserts", "code": "assert f(1) == 2"}],
    }
    (tmp_path / "problems.jsonl").write_text(json.dumps(problem) + "\n")
    solutions = ["def f(x):\n    return x + 1\n", "def f(x):\n    return x\n"]
    rows = [json.dumps({"task_id": "T/0", "solution": solution}) for solution in [*solutions, solutions[0]]]
    (tmp_path / "samples.jsonl").write_text("\n".join(rows) + "\n")
    arguments = ["--benchmark", "jsonl", "--benchmark_file", str(tmp_path / "problems.jsonl"), "--sandbox", "local"]
    arguments += ["--samples", str(tmp_path / "samples.jsonl"), "--cache", str(tmp_path / "cache.sqlite")]
    shown = []
    for run in ("first", "second"):
        assert evaluate([*arguments, "--output_dir", str(tmp_path / run)]) == 0
        shown.append(capsys.readouterr().out)
    assert "0 verdicts found, 1 shared with a twin under way; 2 kept" in shown[0]
    assert "3 verdicts found; 2 kept" in shown[1]
    assert (tmp_path / "first" / "verdicts.jsonl").read_text() == (tmp_path / "second" / "verdicts.jsonl").read_text()
