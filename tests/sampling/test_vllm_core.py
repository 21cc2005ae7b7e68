"""vLLM's core in a process of its own, as on a GPU; here it computes on the CPU."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch

from rlcode.errors import EngineError
from sampling import vllm_engine
from sampling.engine import GenerationRequest, SamplingParams
from sampling.vllm_core import EndsWithParent
from sampling.vllm_engine import VllmEngine, _Sent

KILLED = """
import os, signal, sys, threading, time
from rlcode.errors import EngineError
from sampling.engine import EngineSettings, GenerationRequest, SamplingParams, open_engine

if __name__ == "__main__":
    with open_engine(EngineSettings("vllm", max_model_length=512), sys.argv[1]) as engine:
        (core,) = engine.core_processes
        stream = engine.generate(
            (GenerationRequest("t", n, (5, 6, 7)) for n in range(10_000)),
            SamplingParams(max_completion_length=400, ignore_eos=True),
        )
        next(stream)
        print("SAID", os.getpgid(core) == core != os.getpid(), flush=True)
        os.kill(core, signal.SIGTERM)  # as a batch system does, to all processes of a run
        print("SAID", all(next(stream).finish_reason == "length" for _ in range(600)), flush=True)
        os.kill(core, signal.SIGKILL)
        try:
            for _ in stream:
                pass
        except EngineError as error:
            print("SAID", error, flush=True)
"""


def test_the_core_s_end_is_told_and_signals_to_all_do_not_end_it(random_model: Path, tmp_path: Path):
    (tmp_path / "killed.py").write_text(KILLED)
    root = str(Path(__file__).resolve().parents[2])
    # for "1" alone vLLM has workers in yet other processes on a CPU; on a GPU its core has no other process
    environment = {**os.environ, "VLLM_ENABLE_V1_MULTIPROCESSING": "01", "PYTHONPATH": root}
    environment["VLLM_WORKER_MULTIPROC_METHOD"] = "spawn"  # as on a GPU
    done = subprocess.run(
        [sys.executable, tmp_path / "killed.py", random_model],
        env=environment, capture_output=True, text=True, timeout=400, check=False,
    )  # fmt: skip
    said = [line.removeprefix("SAID ") for line in done.stdout.splitlines() if line.startswith("SAID ")]
    assert len(said) == 3, done.stdout[-3000:] + done.stderr[-3000:]
    assert said[:2] == ["True", "True"]
    assert said[2].startswith("vLLM's process has ended")


def _live(told: Any) -> None:
    told.send(EndsWithParent().end_with_parent())
    time.sleep(60)


def _parent(told: Any) -> None:
    multiprocessing.get_context("fork").Process(target=_live, args=(told,)).start()
    time.sleep(60)


def test_the_core_ends_with_the_process_that_started_it():
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    parent = context.Process(target=_parent, args=(theirs,))
    parent.start()
    core = psutil.Process(ours.recv())
    assert core.ppid() == parent.pid
    os.kill(parent.pid, signal.SIGKILL)
    parent.join()
    assert not psutil.wait_procs([core], timeout=30)[1]


def test_on_a_gpu_the_core_is_never_forked(monkeypatch: pytest.MonkeyPatch):
    """`torch.cuda.is_available` starts CUDA, and a fork of a process that has can't use it."""
    methods = []
    stub = SimpleNamespace(LLM=lambda **options: methods.append(os.environ["VLLM_WORKER_MULTIPROC_METHOD"]))
    monkeypatch.setitem(sys.modules, "vllm", stub)
    monkeypatch.setenv("VLLM_WORKER_MULTIPROC_METHOD", "fork")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    vllm_engine._start(model="m")
    assert methods == ["spawn"]


def test_what_vllm_broke_off_is_no_completion():
    sent = _Sent(GenerationRequest("t/1", 0, (5,)), 0, 0)
    broken = SimpleNamespace(finish_reason="abort", token_ids=[5, 6], logprobs=SimpleNamespace(logprobs=[0.0, 0.0]))
    with pytest.raises(EngineError, match="broke off a completion of task t/1: its finish reason is 'abort'"):
        VllmEngine._completion(SimpleNamespace(), sent, broken, SamplingParams())  # type: ignore[arg-type]
