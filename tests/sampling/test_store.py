"""Rollouts on disk survive a crash and name what is broken."""

from __future__ import annotations

import logging
from pathlib import Path

import datasets
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlcode.errors import DataError
from rlcode.types import Completion, ErrorType, Program, Rollout, Verdict
from sampling.store import RolloutStore, read_rollouts, write_rollouts


def rollout(index: int, text: str = "return 1", verdict: Verdict | None = None) -> Rollout:
    completion = Completion("p", index, text, (1, 2), (3, 4), (-0.25, -1.5), "stop", 3, 77)
    return Rollout(completion, Program(text, "continuation"), verdict, None if verdict else "lost")


@given(st.text(), st.sampled_from(ErrorType), st.floats(0, 1e6))
def test_what_is_written_is_read_back_exactly(tmp_path_factory, text: str, error_type: ErrorType, seconds: float):
    path: Path = tmp_path_factory.mktemp("store") / "rollouts.jsonl"
    kept = [rollout(0, text, Verdict(error_type, 1, 3, "Boom", "Boom: <n>", 4, time_s=seconds)), rollout(1, text)]
    write_rollouts(path, kept)
    assert list(read_rollouts([path])) == kept


def test_a_torn_last_line_is_set_aside_and_the_rest_is_kept(tmp_path: Path, caplog):
    path = tmp_path / "rollouts.jsonl"
    write_rollouts(path, [rollout(0), rollout(1)])
    path.write_bytes(path.read_bytes()[:-20])
    with caplog.at_level(logging.WARNING), RolloutStore(path) as store:
        assert store.done() == {("p", 0)}
        store.append(rollout(1))
    assert "incomplete" in caplog.text
    assert list(read_rollouts([path])) == [rollout(0), rollout(1)]
    assert (tmp_path / "rollouts.torn").exists()


def test_datasets_reads_the_store(tmp_path: Path):
    write_rollouts(tmp_path / "rollouts.jsonl", [rollout(0), rollout(1)])
    loaded = datasets.load_dataset(
        "json", data_files=str(tmp_path / "rollouts.jsonl"), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert loaded["completion"][1]["index"] == 1


@pytest.mark.parametrize("line", [b"{not json}", b'{"completion": 1}', b"\xff\xfe", b'{"unknown": 1}'])
def test_a_bad_line_is_named_with_its_file(tmp_path: Path, line: bytes):
    path = tmp_path / "rollouts.jsonl"
    write_rollouts(path, [rollout(0)])
    path.write_bytes(path.read_bytes() + line + b"\n")
    with pytest.raises(DataError, match=r"rollouts\.jsonl, line 2"):
        list(read_rollouts([path]))


def test_a_place_without_rollouts_says_what_writes_them(tmp_path: Path):
    with pytest.raises(DataError, match="rlcode rollout"):
        list(read_rollouts([tmp_path]))
