"""Asked to stop, a run finishes its step, saves, and goes on with the same command as if nothing had happened."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from sampling.adapters import adapter_version
from sampling.notebook import ErrorNotebook
from tests.sandbox.fleet import eventually
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
    assert adapter_version(whole) == adapter_version(resumed) == 1 + STEPS
    if method != "sft":
        notebooks = [ErrorNotebook.load(adapter.with_name("notebook.json")) for adapter in (whole, resumed)]
        assert notebooks[0].evidence() == notebooks[1].evidence()


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


@pytest.mark.parametrize("first", [signal.SIGTERM, ENDED])
def test_two_sigterms_at_once_are_one_request(
    tmp_path: Path, random_model: Path, judged_rollouts: Path, first: signal.Signals
):
    """A batch system sends one to every process, and the launcher hands on the one that it gets, or dies of it."""
    with pytest.raises(SystemExit):
        METHODS["dpo"](
            tmp_path, random_model, judged_rollouts, At(2, lambda: send(first, signal.SIGTERM)), save_steps=9
        )
    assert whole_checkpoints(tmp_path) == ["checkpoint-2"]


def test_asked_to_stop_in_its_last_step_a_run_is_finished(tmp_path: Path, random_model: Path, judged_rollouts: Path):
    adapter = METHODS["dpo"](tmp_path, random_model, judged_rollouts, At(STEPS, lambda: send(signal.SIGTERM)))
    assert (adapter / "adapter_model.safetensors").is_file()
    assert not whole_checkpoints(tmp_path)


# Processes: which of them gets the signal.

ROOT = Path(__file__).resolve().parents[2]
ACCELERATE = Path(sys.executable).with_name("accelerate")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", "PYTHONPATH": str(ROOT)}
DISTURBED = """
import os, signal, sys
from accelerate import Accelerator
from rlcode.cli import run_main
from train import dpo
from train.pair_trainer import PairTrainer

step = PairTrainer.training_step

def training_step(self, *args, **kwargs):
    if self.state.global_step == 2 and os.environ["RANK"] == "1":
        {what}
    return step(self, *args, **kwargs)

PairTrainer.training_step = training_step
Accelerator.get_state_dict = None  # a checkpoint of an adapter copies no base
sys.exit(run_main(dpo.main))
"""


def launch(processes: str, script: str | Path, *arguments: object) -> list[str]:
    return [
        *(str(ACCELERATE), "launch", "--config_file", f"configs/accelerate/{processes}.yaml", str(script)),
        *("--config", "configs/tiny/dpo.yaml", "--logging_steps", "1", *map(str, arguments)),
    ]


def run(command: list[str]) -> subprocess.CompletedProcess:
    return subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=900, check=False)


def test_of_two_processes_one_is_asked_and_both_stop_at_the_same_step(
    tmp_path: Path, random_model: Path, judged_rollouts: Path
):
    disturbed = tmp_path / "disturbed.py"
    disturbed.write_text(DISTURBED.format(what="os.kill(os.getpid(), signal.SIGTERM)"))
    common = ("--model_name_or_path", random_model, "--rollouts", judged_rollouts, "--num_pairs", 40)
    common = (*common, "--per_device_train_batch_size", 4, "--save_strategy", "no", "--output_dir")
    stopped = run(launch("zero2", disturbed, *common, tmp_path / "run"))
    assert stopped.returncode != 0
    assert stopped.stderr.count("stopped at step 3 of 5 by SIGTERM; the same command goes on from") == 1
    assert whole_checkpoints(tmp_path / "run") == ["checkpoint-3"]
    for path in ("run", "whole"):
        done = run(launch("zero2", "train/dpo.py", *common, tmp_path / path))
        assert done.returncode == 0, done.stderr[-4000:]
    assert seen(tmp_path / "run", "dpo") == seen(tmp_path / "whole", "dpo")
    assert gap(tmp_path / "run" / "adapter", tmp_path / "whole" / "adapter") < 1e-6


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("raise RuntimeError('no luck')", "RuntimeError: no luck"),
        (
            "next(w for n, w in self.model.named_parameters() if 'lora_B' in n).data.fill_(float('nan'))",
            "error: step 3: on process 1 the loss is nan",
        ),
    ],
)
def test_a_process_that_fails_does_not_leave_the_others_waiting(
    tmp_path: Path, random_model: Path, judged_rollouts: Path, what: str, told: str
):
    disturbed = tmp_path / "disturbed.py"
    disturbed.write_text(DISTURBED.format(what=what))
    common = ("--model_name_or_path", random_model, "--rollouts", judged_rollouts, "--num_pairs", 40)
    failed = run(launch("zero2", disturbed, *common, "--output_dir", tmp_path / "run"))
    assert failed.returncode != 0
    assert told in failed.stderr
    assert re.search(r"^(\[rank1\]: )?in step 3 of \d+: no checkpoint was saved before", failed.stderr, re.MULTILINE)
    assert not (tmp_path / "run" / "adapter").exists()
    run_directory_is_free(tmp_path / "run")


@pytest.mark.parametrize("who", ["launcher", "loop"])
def test_a_run_is_saved_when_its_launcher_is_killed_or_the_loop_is_asked_to_stop(
    tmp_path: Path, random_model: Path, judged_rollouts: Path, who: str
):
    common = ("--model_name_or_path", random_model, "--rollouts", judged_rollouts, "--max_steps", 10_000)
    command = launch("single", "train/dpo.py", *common, "--save_strategy", "no", "--output_dir", tmp_path / "run")
    if who == "loop":
        code = f"import pathlib; from train.stage_process import *; run_stage({command!r}, "
        command = [sys.executable, "-c", f"{code}pathlib.Path({str(tmp_path)!r}), 'round-01/dpo')"]
    with subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as first:
        assert eventually(lambda: (tmp_path / "run" / "draws.jsonl").exists() or first.poll() is not None, 300)
        training = psutil.Process(first.pid).children(recursive=True)[-1]
        first.send_signal(signal.SIGTERM if who == "loop" else signal.SIGKILL)
        _, told = first.communicate(timeout=300)
    if who == "loop":
        assert "LoopStoppedError: stopped during round-01/dpo; the same command goes on" in told
    assert eventually(lambda: not training.is_running(), 300)
    (checkpoint,) = whole_checkpoints(tmp_path / "run")
    assert f"of 10000 by SIGTERM; the same command goes on from {tmp_path / 'run' / checkpoint}" in told
    assert not (tmp_path / "run" / "adapter").exists()
    run_directory_is_free(tmp_path / "run")


def run_directory_is_free(path: Path) -> None:
    with open(path / ".lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
