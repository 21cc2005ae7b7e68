"""Asked to stop, a run finishes its step, saves, and goes on with the same command as if nothing had happened."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.train.short_runs import METHODS, STEPS, At, gap, seen, whole_checkpoints
from train.launcher import ENDED


def send(*numbers: int) -> None:
    for number in numbers:
        os.kill(os.getpid(), number)


@pytest.mark.parametrize("method", METHODS)
def test_a_run_that_was_asked_to_stop_goes_on_and_ends_where_the_undisturbed_one_does(
    tmp_path: Path, random_model: Path, judged_rollouts: Path, capfd, method: str
):
    """The policy has dropout and the learning rate falls, so generators, optimizer and scheduler all count."""
    train = METHODS[method]
    whole = train(tmp_path / "whole", random_model, judged_rollouts)
    stopped = tmp_path / "stopped"
    with pytest.raises(SystemExit) as end:
        train(stopped, random_model, judged_rollouts, At(3, lambda: send(signal.SIGTERM)))
    assert end.value.code == 128 + signal.SIGTERM
    assert whole_checkpoints(stopped) == ["checkpoint-3"]
    assert not (stopped / "adapter").exists()
    assert f"stopped at step 3 of {STEPS} by SIGTERM; the same command goes on from {stopped / 'checkpoint-3'}" in (
        capfd.readouterr().err
    )
    resumed = train(stopped, random_model, judged_rollouts)
    assert seen(stopped, method) == seen(tmp_path / "whole", method)
    assert gap(whole, resumed) < 1e-7


def test_a_second_signal_ends_the_run_at_once(tmp_path: Path, random_model: Path, judged_rollouts: Path):
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(SystemExit) as end:
        METHODS["dpo"](
            tmp_path, random_model, judged_rollouts, At(2, lambda: send(signal.SIGTERM, signal.SIGINT)), save_steps=1
        )
    assert end.value.code == 128 + signal.SIGINT
    assert not whole_checkpoints(tmp_path)
    assert signal.getsignal(signal.SIGINT) is before


def test_the_end_of_the_launcher_asks_for_a_stop_and_is_no_second_signal(
    tmp_path: Path, random_model: Path, judged_rollouts: Path
):
    with pytest.raises(SystemExit) as end:
        METHODS["dpo"](tmp_path, random_model, judged_rollouts, At(2, lambda: send(signal.SIGINT, ENDED)))
    assert end.value.code == 128 + signal.SIGINT
    assert whole_checkpoints(tmp_path) == ["checkpoint-2"]


def test_asked_to_stop_in_its_last_step_a_run_is_finished(tmp_path: Path, random_model: Path, judged_rollouts: Path):
    adapter = METHODS["dpo"](tmp_path, random_model, judged_rollouts, At(STEPS, lambda: send(signal.SIGTERM)))
    assert (adapter / "adapter_model.safetensors").is_file()
    assert not whole_checkpoints(tmp_path)
