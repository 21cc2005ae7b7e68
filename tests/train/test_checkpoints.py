"""Which checkpoint a run goes on from."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from rlcode.errors import ConfigError
from train.checkpoints import WHOLE, checkpoint_to_resume, how_to_go_on


def checkpoint(run: Path, name: str, *, whole: bool = True) -> Path:
    (run / name).mkdir(parents=True)
    (run / name / "adapter_model.safetensors").touch()
    if whole:
        (run / name / WHOLE).touch()
    return run / name


def arguments(run: Path, resume: Path | None = None) -> SimpleNamespace:
    return SimpleNamespace(output_dir=str(run), resume_from_checkpoint=str(resume) if resume else None)


def test_a_run_goes_on_from_its_last_whole_checkpoint(tmp_path: Path):
    assert checkpoint_to_resume(arguments(tmp_path)) is None
    checkpoint(tmp_path, "checkpoint-9")
    last = checkpoint(tmp_path, "checkpoint-100")
    checkpoint(tmp_path, "checkpoint-101", whole=False)
    assert checkpoint_to_resume(arguments(tmp_path)) == last
    assert how_to_go_on(arguments(tmp_path)) == f"the same command goes on from {last}"


def test_a_copy_of_a_checkpoint_is_none(tmp_path: Path):
    last = checkpoint(tmp_path, "checkpoint-100")
    for name in ("checkpoint-100-backup", "checkpoint-old-200", "checkpoint-best"):
        checkpoint(tmp_path, name)
    assert checkpoint_to_resume(arguments(tmp_path)) == last


def test_who_goes_back_to_an_earlier_checkpoint_gives_the_later_ones_up(tmp_path: Path):
    earlier, later = checkpoint(tmp_path, "checkpoint-100"), checkpoint(tmp_path, "checkpoint-200")
    assert checkpoint_to_resume(arguments(tmp_path, earlier)) == earlier
    assert (later / "adapter_model.safetensors").exists(), "nothing is deleted"
    assert checkpoint_to_resume(arguments(tmp_path)) == earlier


def test_a_checkpoint_of_another_run_gives_up_none_of_its_later_ones(tmp_path: Path):
    earlier, later = checkpoint(tmp_path / "a", "checkpoint-100"), checkpoint(tmp_path / "a", "checkpoint-200")
    assert checkpoint_to_resume(arguments(tmp_path / "b", earlier)) == earlier
    assert checkpoint_to_resume(arguments(tmp_path / "a")) == later


def test_a_checkpoint_that_is_not_whole_is_refused(tmp_path: Path):
    cut_short = checkpoint(tmp_path, "checkpoint-7", whole=False)
    with pytest.raises(ConfigError, match="no whole checkpoint"):
        checkpoint_to_resume(arguments(tmp_path, cut_short))
