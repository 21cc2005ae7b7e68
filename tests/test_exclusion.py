"""A file of ids keeps problems out of whatever loads them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlcode.data.exclusion import read_excluded, write_excluded
from rlcode.data.registry import load_named, load_problems
from rlcode.errors import ConfigError, DataError
from sampling.arguments import RolloutArguments
from train.arguments import GrpoArguments, SftArguments


@settings(max_examples=30)
@given(ids=st.lists(st.text(min_size=1), unique=True))
def test_ids_come_back_as_they_were_written(ids: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    ids = [one.encode("utf-8", "ignore").decode() for one in ids]
    file = tmp_path_factory.mktemp("ids") / "exclude.txt"
    write_excluded(file, ids, "what they are")
    assert read_excluded(file) == set(ids)


def test_excluded_problems_are_not_loaded_whatever_they_are_called(shared_data: Path, tmp_path: Path) -> None:
    file = tmp_path / "exclude.txt"
    file.write_text("# bad ones\n\nMbpp/601\n602\nMbpp/12\n")
    train = load_problems("mbpp", shared_data / "mbpp.jsonl.gz", "train", file)
    assert len(train) == 372
    assert not {"Mbpp/601", "Mbpp/602"} & {problem.task_id for problem in train}


def test_a_file_that_excludes_all_or_is_not_there_is_refused(shared_data: Path, tmp_path: Path) -> None:
    file = tmp_path / "exclude.txt"
    file.write_text("\n".join(f"HumanEval/{number}" for number in range(164)))
    with pytest.raises(DataError, match="excludes all 164 problems"):
        load_problems("humaneval", shared_data / "HumanEval.jsonl.gz", exclude=file)
    with pytest.raises(DataError, match="the problems to exclude, can't be read"):
        load_problems("humaneval", shared_data / "HumanEval.jsonl.gz", exclude=tmp_path / "nowhere")
    file.write_text('"not closed\n')
    with pytest.raises(DataError, match="begins as a JSON string"):
        read_excluded(file)


def test_a_set_is_named_in_one_word(shared_data: Path) -> None:
    assert len(load_named(f"humaneval={shared_data / 'HumanEval.jsonl.gz'}")) == 164
    assert len(load_named(f"mbpp:validation={shared_data / 'mbpp.jsonl.gz'}")) == 90


def test_exclude_is_a_field_of_whatever_takes_problems() -> None:
    for arguments in (RolloutArguments, GrpoArguments):
        assert arguments(exclude="exclude.txt").exclude == "exclude.txt"
    SftArguments(benchmark="mbpp", exclude="exclude.txt").check_source()
    with pytest.raises(ConfigError, match="give it to `rlcode rollout`"):
        SftArguments(rollouts=["runs/r1"], exclude="exclude.txt").check_source()


def test_ids_are_lines_that_a_person_can_read(tmp_path: Path) -> None:
    file = tmp_path / "exclude.txt"
    write_excluded(file, ["Mbpp/1", "#odd", "two\nlines"], "2 of 3")
    assert file.read_text().splitlines() == ["# 2 of 3", "Mbpp/1", json.dumps("#odd"), json.dumps("two\nlines")]
