"""Which GPU a training process takes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from train import one_gpu


@pytest.mark.parametrize(
    ("gpus", "visible", "world", "left"),
    [
        (8, None, None, "0"),
        (8, "3,5", None, "3"),
        (8, " GPU-a, GPU-b", None, "GPU-a"),
        (8, "6", None, "6"),
        (8, "", None, ""),
        (1, None, None, None),
        (0, None, None, None),
        (8, None, "1", None),
        (8, "3,5", "2", "3,5"),
    ],
)
def test_a_process_that_stands_alone_takes_the_first_gpu_that_it_sees(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    gpus: int,
    visible: str | None,
    world: str | None,
    left: str | None,
):
    for number in range(gpus):
        (tmp_path / f"nvidia{number}").touch()
    (tmp_path / "nvidiactl").touch()
    monkeypatch.setattr(one_gpu, "_DEVICES", tmp_path)
    for name, value in (("CUDA_VISIBLE_DEVICES", visible), ("WORLD_SIZE", world)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    one_gpu.take_one_gpu()
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == left
    assert ("one process takes one of" in capsys.readouterr().err) == (left != visible)
