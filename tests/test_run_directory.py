"""A run directory belongs to one run and one process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rlcode import run_directory
from rlcode.errors import InputError, RunDirectoryError
from rlcode.run_directory import RunDirectory, write_atomically


def test_a_new_directory_says_what_runs_in_it(tmp_path: Path):
    RunDirectory(tmp_path / "run", "dpo", {"seed": 1}).close()
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["schema_version"] == 2
    assert record["kind"] == "dpo"
    assert record["config"] == {"seed": 1}
    assert record["versions"]["torch"].startswith("2.13")


def test_the_same_configuration_goes_on(tmp_path: Path):
    for _ in range(2):
        RunDirectory(tmp_path, "dpo", {"path": Path("x"), "seed": 1}).close()


def test_another_configuration_is_refused_with_the_difference(tmp_path: Path):
    RunDirectory(tmp_path, "dpo", {"seed": 1, "beta": 0.1}).close()
    with pytest.raises(RunDirectoryError, match="seed: 1 then, 2 now") as caught:
        RunDirectory(tmp_path, "dpo", {"seed": 2, "beta": 0.1})
    assert "beta" not in str(caught.value)


def test_another_kind_of_run_is_refused(tmp_path: Path):
    RunDirectory(tmp_path, "dpo", {}).close()
    with pytest.raises(RunDirectoryError, match="kind 'dpo'"):
        RunDirectory(tmp_path, "grpo", {})


def test_a_second_process_is_refused_while_the_first_writes(tmp_path: Path):
    with RunDirectory(tmp_path, "dpo", {}), pytest.raises(RunDirectoryError, match="another process"):
        RunDirectory(tmp_path, "dpo", {})


def test_a_directory_with_other_files_is_left_alone(tmp_path: Path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(RunDirectoryError, match=r"no run\.json"):
        RunDirectory(tmp_path, "dpo", {})
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_an_error_before_anything_was_written_takes_the_directory_back(tmp_path: Path):
    with pytest.raises(InputError), RunDirectory(tmp_path / "run", "dpo", {"sandbox": "docker"}):
        raise InputError("no engine")
    assert not (tmp_path / "run").exists()


def test_an_error_after_something_was_written_leaves_all_of_it(tmp_path: Path):
    (tmp_path / "run").mkdir()
    run = RunDirectory(tmp_path / "run", "dpo", {})
    (tmp_path / "run" / "rollouts.jsonl").write_text("x")
    with pytest.raises(InputError), run:
        raise InputError("later")
    assert (tmp_path / "run" / "run.json").exists()


def test_a_place_that_can_not_be_a_directory_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunDirectoryError, match="file"):
        RunDirectory(tmp_path / "file" / "run", "dpo", {})


def test_a_failed_write_leaves_the_old_file(tmp_path: Path):
    path = tmp_path / "report.json"
    write_atomically(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "new \ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_run_was_made_with_is_written_once_and_must_stay_the_same(tmp_path: Path):
    made_with = {"model": "abc", "sandbox": {"backend": "docker", "image_digest": "sha256:1"}}
    for _ in range(2):
        with RunDirectory(tmp_path, "rollout", {}) as run:
            run.bind(made_with)
    assert RunDirectory.read(tmp_path)["made_with"] == made_with
    changed = {**made_with, "sandbox": {"backend": "docker", "image_digest": "sha256:2"}}
    with (
        RunDirectory(tmp_path, "rollout", {}) as run,
        pytest.raises(RunDirectoryError, match=r"sandbox\.image_digest: 'sha256:1' then, 'sha256:2' now") as caught,
    ):
        run.bind(changed)
    assert "backend" not in str(caught.value)
    assert RunDirectory.read(tmp_path)["made_with"] == made_with


def test_other_versions_of_packages_are_told(tmp_path: Path, monkeypatch, caplog):
    for version in ("1", "2"):
        monkeypatch.setattr(run_directory, "package_versions", lambda version=version: {"torch": version})
        with RunDirectory(tmp_path, "rollout", {}) as run:
            run.bind({})
    assert "torch: '1' then, '2' now" in caplog.text


def test_a_place_without_a_run_is_told(tmp_path: Path):
    with pytest.raises(RunDirectoryError, match=r"run\.json can't be read"):
        RunDirectory.read(tmp_path)


def test_a_run_that_was_killed_before_it_had_its_record_can_begin_again(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    (tmp_path / ".run.json.x1y2z3").write_text('{"schema_ver')
    with RunDirectory(tmp_path, "dpo", {"a": 1}):
        assert RunDirectory.read(tmp_path)["config"] == {"a": 1}
