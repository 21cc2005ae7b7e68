"""Rollouts on disk survive a crash at any byte, stay readable for other tools, and name what is broken."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import datasets
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlcode.errors import DataError, StoreError
from rlcode.types import Completion, ErrorType, Limits, Program, Rollout, Verdict
from sampling.rollout_lines import encode, outcome_from, outcome_of
from sampling.store import RolloutStore, read_rollouts, write_rollouts

ROOT = Path(__file__).resolve().parents[2]
PASSED = Verdict(None, 2, 2)
FAILED = Verdict(ErrorType.NAME, 1, 2, "NameError", "name <q> is not defined", 3, "assert f(1) == 2", "no x")


def rollout(index: int, text: str = "return 1", verdict: Verdict | None = PASSED, version: int = 3) -> Rollout:
    completion = Completion("p", index, text, (1, 2), (3, 4), (-0.25, -1.5), "stop", version, 77)
    return Rollout(completion, Program(text or None, "continuation"), verdict, None if verdict else "lost")


def shards(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.glob("rollouts*"))


texts = st.text()
names = st.none() | st.text(min_size=1)
verdicts = st.builds(
    Verdict,
    st.none() | st.sampled_from(ErrorType),
    tests_passed=st.integers(0, 3),
    tests_total=st.integers(0, 3),
    exception=names,
    signature=names,
    line=st.none() | st.integers(1, 10**6),
    first_failing_test=names,
    detail=texts,
    time_s=st.floats(0, 1e6) | st.integers(0, 5),
    stdout=texts,
    limits=st.builds(Limits, time_s=st.floats(0.05, 3600) | st.integers(1, 9)),
    forgeable=st.booleans(),
)


@st.composite
def rollouts(draw: st.DrawFn, index: int = 0) -> Rollout:
    verdict = draw(st.none() | verdicts)
    completion = Completion(
        draw(texts), index, draw(texts), logprobs=tuple(draw(st.lists(st.floats(-100, 0), max_size=3)))
    )
    return Rollout(completion, Program(draw(names), draw(texts)), verdict, None if verdict else draw(names))


@settings(deadline=None)
@given(rollouts())
def test_what_is_written_is_read_back_exactly_and_its_outcome_is_seen_without_reading_it(tmp_path_factory, one):
    path: Path = tmp_path_factory.mktemp("store") / "rollouts.jsonl"
    write_rollouts(path, [one])
    assert list(read_rollouts([path])) == [one]
    without = replace(one, completion=replace(one.completion, logprobs=()))
    assert list(read_rollouts([path], logprobs=False)) == [without]
    assert outcome_of(encode(one)) == outcome_from(one)


def test_lines_from_before_verdicts_said_whether_they_can_be_forged_are_read(tmp_path: Path):
    line = encode(rollout(0)).replace(b',"forgeable":false', b"")
    assert b"forgeable" not in line
    (tmp_path / "rollouts.jsonl").write_bytes(line)
    assert list(read_rollouts([tmp_path / "rollouts.jsonl"])) == [rollout(0)]


def test_a_lone_surrogate_does_not_make_the_file_unreadable(tmp_path: Path):
    write_rollouts(tmp_path / "rollouts.jsonl", [rollout(0, verdict=replace(PASSED, stdout="a\ud800b"))])
    (back,) = read_rollouts([tmp_path])
    assert back.verdict is not None
    assert back.verdict.stdout == "a?b"


def crash(directory: Path, cut: int) -> None:
    """What a process that dies leaves: the last line that was written may lack its end."""
    files = [path for path in directory.glob("*.jsonl") if path.stat().st_size]
    last = max(files, key=lambda path: path.stat().st_mtime_ns, default=None)
    if last is not None:
        data = last.read_bytes()
        last_line = len(data) - (data.rfind(b"\n", 0, -1) + 1)
        os.truncate(last, len(data) - min(cut, last_line))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 12), st.integers(0, 400)), min_size=1, max_size=5),
    st.sets(st.integers(0, 29), max_size=4),
)
def test_whatever_is_killed_when_the_same_command_in_the_end_has_each_rollout_once(tmp_path_factory, runs, unlucky):
    """Each run appends some of what is missing, and dies with some bytes of its last line gone."""
    directory: Path = tmp_path_factory.mktemp("store")
    for number, (count, cut) in enumerate([*runs, (30, 0)]):
        with RolloutStore(directory, shard_bytes=1500) as store:
            store.forget_unscored()
            missing = set(range(30)) - {outcome.index for outcome in store.outcomes()}
            for index in sorted(missing)[:count]:
                lost = index in unlucky and number < len(runs)
                store.append(rollout(index, verdict=None if lost else PASSED))
        crash(directory, cut)
    kept = sorted(read_rollouts([directory]), key=lambda one: one.completion.index)
    assert kept == [rollout(index) for index in range(30)]


def test_a_torn_last_line_is_set_aside_and_told_and_the_rest_is_kept(tmp_path: Path, caplog):
    with RolloutStore(tmp_path) as store:
        for index in range(2):
            store.append(rollout(index))
    path = tmp_path / "rollouts-00000.jsonl"
    os.truncate(path, path.stat().st_size - 20)
    with caplog.at_level(logging.WARNING), RolloutStore(tmp_path) as store:
        assert [outcome.index for outcome in store.outcomes()] == [0]
        store.append(rollout(1))
    assert "1 line that is not whole (from line 2 on)" in caplog.text
    assert "rollouts-00000.torn" in caplog.text
    assert list(read_rollouts([tmp_path])) == [rollout(0), rollout(1)]
    assert (tmp_path / "rollouts-00000.torn").read_bytes() == encode(rollout(1))[:-20]


def test_zeros_that_a_power_failure_leaves_are_set_aside_too(tmp_path: Path):
    with RolloutStore(tmp_path) as store:
        store.append(rollout(0))
    with open(tmp_path / "rollouts-00000.jsonl", "ab") as file:
        file.write(b"\n" + bytes(5000) + b"\n" + bytes(10))
    with RolloutStore(tmp_path) as store:
        store.append(rollout(1))
    assert list(read_rollouts([tmp_path])) == [rollout(0), rollout(1)]


def test_damage_before_the_end_is_an_error_that_names_file_and_line(tmp_path: Path):
    with RolloutStore(tmp_path) as store:
        for index in range(3):
            store.append(rollout(index))
    path = tmp_path / "rollouts-00000.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b'{"completion":{"task\x00\n' + lines[2])
    with pytest.raises(DataError, match=r"rollouts-00000\.jsonl, line 2: .*Delete the line"):
        RolloutStore(tmp_path)


def test_damage_in_a_sealed_shard_is_an_error_that_names_file_and_line(tmp_path: Path):
    with RolloutStore(tmp_path, shard_bytes=1000) as store:
        for index in range(9):
            store.append(rollout(index))
    first = tmp_path / "rollouts-00000.jsonl"
    os.truncate(first, first.stat().st_size - 20)
    with (
        RolloutStore(tmp_path, shard_bytes=1000) as store,
        pytest.raises(DataError, match=r"rollouts-00000\.jsonl, line 2"),
    ):
        list(store.outcomes())


def test_a_full_shard_is_sealed_and_never_touched_again(tmp_path: Path):
    with RolloutStore(tmp_path, shard_bytes=1000) as store:
        for index in range(6):
            store.append(rollout(index))
    names = shards(tmp_path)
    assert len(names) > 1
    before = [(tmp_path / name).read_bytes() for name in names[:-1]]
    with RolloutStore(tmp_path, shard_bytes=1000) as store:
        store.append(rollout(6))
    assert [(tmp_path / name).read_bytes() for name in names[:-1]] == before
    assert [one.completion.index for one in read_rollouts([tmp_path])] == list(range(7))


def test_what_could_not_be_judged_gets_another_try_and_is_never_there_twice(tmp_path: Path):
    with RolloutStore(tmp_path) as store:
        store.append(rollout(0))
        store.append(rollout(1, verdict=None))
    assert [one.verdict for one in read_rollouts([tmp_path])] == [PASSED, None]
    with RolloutStore(tmp_path) as store:
        store.forget_unscored()
        assert [outcome.index for outcome in store.outcomes()] == [0]
        store.append(rollout(1))
    assert list(read_rollouts([tmp_path])) == [rollout(0), rollout(1)]


def test_what_a_later_policy_drew_can_be_forgotten(tmp_path: Path):
    with RolloutStore(tmp_path, shard_bytes=1000) as store:
        for index in range(12):
            store.append(rollout(index, version=index // 3))
        untouched = (tmp_path / "rollouts-00000.jsonl").stat().st_ino
        store.keep_only(lambda one: one.completion.policy_version < 2)
        store.append(rollout(12, version=2))
    assert [one.completion.index for one in read_rollouts([tmp_path])] == [0, 1, 2, 3, 4, 5, 12]
    assert (tmp_path / "rollouts-00000.jsonl").stat().st_ino == untouched


def test_two_processes_share_a_directory_under_suffixes_of_their_own(tmp_path: Path):
    for rank in range(2):
        with RolloutStore(tmp_path, f"-rank{rank}") as store:
            store.append(rollout(rank))
            assert [outcome.index for outcome in store.outcomes()] == [rank]
    assert shards(tmp_path) == ["rollouts-rank0-00000.jsonl", "rollouts-rank1-00000.jsonl"]
    assert [one.completion.index for one in read_rollouts([tmp_path])] == [0, 1]


NO_TOKENS = Rollout(Completion("p", 9, ""), Program(None, "no code"), Verdict(ErrorType.NO_CODE, 0, 0))


@pytest.mark.parametrize("first", [[rollout(0), rollout(1)], [rollout(0, verdict=FAILED)]])
def test_datasets_gives_the_same_columns_whatever_is_absent_where(tmp_path: Path, first: list[Rollout]):
    with RolloutStore(tmp_path, shard_bytes=1) as store:
        for one in [*first, rollout(5, verdict=FAILED), rollout(6), NO_TOKENS]:
            store.append(one)
    loaded = datasets.load_dataset(
        "json", data_files=str(tmp_path / "rollouts-*.jsonl"), split="train", cache_dir=str(tmp_path / "cache")
    )
    kinds = {name: loaded.features["verdict"][name].dtype for name in ("error_type", "exception", "line", "time_s")}
    assert kinds == {"error_type": "string", "exception": "string", "line": "int64", "time_s": "float64"}
    assert loaded.features["program"]["source"].dtype == "string"
    assert loaded.features["completion"]["logprobs"].feature.dtype == "float64"
    assert loaded[len(first)]["verdict"]["exception"] == "NameError"
    assert loaded[len(first) + 1]["verdict"]["error_type"] == ""
    assert loaded[len(first)]["completion"]["logprobs"] == [-0.25, -1.5]


FILL = """
import sys
from pathlib import Path
from rlcode.cli import run_main
from sampling.store import RolloutStore
from tests.sampling.test_store import rollout
def fill(argv):
    with RolloutStore(Path(argv[0])) as store:
        for index in range(len(list(store.outcomes())), 400):
            store.append(rollout(index, "x" * 4000))
    return 0
sys.exit(run_main(fill))
"""


def fill(directory: Path, most_bytes: int | None) -> subprocess.CompletedProcess[str]:
    """Write 400 rollouts of 8 kB in a process whose files may have no more than `most_bytes`."""
    limit = f"import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, ({most_bytes},) * 2)\n"
    code = FILL if most_bytes is None else limit + FILL
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, str(directory)]
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_full_disk_is_told_and_what_was_written_is_whole(tmp_path: Path):
    failed = fill(tmp_path, 1_000_000)
    assert failed.returncode == 1, failed.stderr
    written = len(list(read_rollouts([tmp_path])))
    assert 100 < written < 400
    assert f"the {written} that were written" in failed.stderr
    assert "run the same command again" in failed.stderr
    assert fill(tmp_path, None).returncode == 0
    assert [one.completion.index for one in read_rollouts([tmp_path])] == list(range(400))
    assert not list(tmp_path.glob("*.torn"))


def test_a_disk_that_takes_half_a_line_keeps_none_of_it(tmp_path: Path, monkeypatch):
    real_write = os.write

    def full_disk(handle: int, data: memoryview) -> int:
        if len(data) < 100:
            raise OSError(28, "No space left on device")
        return real_write(handle, data[: len(data) - 50])

    with RolloutStore(tmp_path) as store:
        store.append(rollout(0))
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full_disk)
            with pytest.raises(StoreError, match="No space left on device; the 1 that were"):
                store.append(rollout(1))
        store.append(rollout(2))
    assert [one.completion.index for one in read_rollouts([tmp_path])] == [0, 2]


@pytest.mark.parametrize("line", [b"{not json}", b'{"completion": 1}', b"\xff\xfe", b'{"unknown": 1}'])
def test_a_bad_line_is_named_with_its_file(tmp_path: Path, line: bytes):
    path = tmp_path / "rollouts.jsonl"
    write_rollouts(path, [rollout(0)])
    path.write_bytes(path.read_bytes() + line + b"\n")
    with pytest.raises(DataError, match=r"rollouts\.jsonl, line 2"):
        list(read_rollouts([path]))


@pytest.mark.parametrize(
    "logprobs", ["[-0.25,-1.5", "[-0.25 -1.5]", "[01]", '["a"]', "[-0.25,]", "[null]", "7", "[--1]"]
)
def test_bad_logprobs_are_told_by_who_does_not_want_them_too(tmp_path: Path, logprobs: str):
    line = encode(rollout(0)).replace(b"[-0.25,-1.5]", logprobs.encode())
    told = []
    for wanted in (True, False):
        (tmp_path / "rollouts.jsonl").write_bytes(line)
        with pytest.raises(DataError) as error:
            list(read_rollouts([tmp_path], logprobs=wanted))
        told.append(str(error.value))
    assert told[0] == told[1]


@pytest.mark.parametrize("logprobs", ["[]", "[0,-1]", "[-1e-05,-2E+1,-Infinity]", "[ -1.5 , 2 ]"])
def test_any_form_of_good_logprobs_can_be_left_out(tmp_path: Path, logprobs: str):
    line = encode(rollout(0)).replace(b"[-0.25,-1.5]", logprobs.encode())
    (tmp_path / "rollouts.jsonl").write_bytes(line)
    (whole,) = read_rollouts([tmp_path])
    (without,) = read_rollouts([tmp_path], logprobs=False)
    assert without.completion == replace(whole.completion, logprobs=())


def test_a_line_that_is_being_written_is_left_out(tmp_path: Path, caplog):
    with RolloutStore(tmp_path) as store:
        store.append(rollout(0))
    with open(tmp_path / "rollouts-00000.jsonl", "ab") as file:
        file.write(encode(rollout(1))[:50])
    assert list(read_rollouts([tmp_path])) == [rollout(0)]
    assert "line 2 is not finished" in caplog.text


def test_a_place_without_rollouts_says_what_writes_them(tmp_path: Path):
    with pytest.raises(DataError, match="rlcode rollout"):
        list(read_rollouts([tmp_path]))


def test_a_line_is_json_that_any_tool_reads(tmp_path: Path):
    line = json.loads(encode(rollout(0, "é", FAILED)))
    assert line["completion"]["text"] == "é"
    assert line["verdict"]["error_type"] == "name"
    assert line["unscored_reason"] == ""
