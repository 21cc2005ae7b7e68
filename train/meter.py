"""Seconds and peak memory of each part of a run, for `train/dry_run.py`."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from rlcode.types import Completion
from sampling.engine import Engine, SamplingParams
from sandbox.protocol import Job, Sandbox


@dataclass
class Part:
    """What one part of a run took."""

    seconds: float = 0.0
    peak: int = 0
    """Bytes at the worst moment, with all that was there before."""


@dataclass
class Meter:
    """Which part of a run is under way, and what each took. A part inside another stops the other's clock."""

    now: str = "load"
    parts: dict[str, Part] = field(default_factory=dict)
    judging: float = 0.0
    """Seconds in which some program was being judged, beside whatever was under way here."""
    _since: float = field(default_factory=time.monotonic)
    _in_sandbox: int = 0
    _counted: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def switch(self, name: str) -> None:
        """The part under way ends, and `name` begins or goes on."""
        part = self.parts.setdefault(self.now, Part())
        part.seconds += time.monotonic() - self._since
        part.peak = max(part.peak, peak_memory())
        self.now, self._since = name, time.monotonic()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """`name` for the time of a `with`, then what was before; where it fails, it stays."""
        before = self.now
        self.switch(name)
        yield
        self.switch(before)

    def watch_engine(self, engine: Engine) -> Engine:
        """Let it write the longest completions, and tell when it generates and when it takes a policy."""
        generate, load = engine.generate, engine.load_adapter

        def longest(requests: Iterable, params: SamplingParams) -> Iterator[Completion]:
            completions = generate(requests, replace(params, ignore_eos=True, stop=()))
            while True:
                with self.part("generation"):
                    completion = next(completions, None)
                if completion is None:
                    return
                yield completion

        def measured(version: int, path: Path) -> float | None:
            with self.part("sync"):
                return load(version, path)

        engine.generate, engine.load_adapter = longest, measured  # type: ignore[method-assign]
        return engine

    def watch_sandbox(self, sandbox: Sandbox) -> Sandbox:
        """Count the seconds in which it has something to judge."""
        submit = sandbox.submit

        def measured(job: Job) -> Future:
            self._count(1)
            verdict = submit(job)
            verdict.add_done_callback(lambda _: self._count(-1))
            return verdict

        sandbox.submit = measured  # type: ignore[method-assign]
        return sandbox

    def _count(self, change: int) -> None:
        with self._lock:
            now = time.monotonic()
            if self._in_sandbox:
                self.judging += now - self._counted
            self._counted = now
            self._in_sandbox += change


def peak_memory() -> int:
    """Bytes at the worst moment since the last call: of the GPU with all that is on it, else of this process."""
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        others = total - free - torch.cuda.memory_reserved()  # vLLM's, and the contexts
        peak = others + torch.cuda.max_memory_reserved()
        torch.cuda.reset_peak_memory_stats()
        return peak
    status = Path("/proc/self/status").read_text()
    peak = next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))
    Path("/proc/self/clear_refs").write_text("5")  # Linux begins to count anew
    return peak


class TrainerWatch(TrainerCallback):
    """Tells a meter where a trainer is."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        """Model and data are there."""
        self._meter.switch("update")

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """A checkpoint is written next, where one is due."""
        if control.should_save:
            self._meter.switch("checkpoint")

    def on_save(self, *args: Any, **kwargs: Any) -> None:
        """It is written."""
        self._meter.switch("update")

    def on_train_end(self, *args: Any, **kwargs: Any) -> None:
        """The policy itself is written next."""
        self._meter.switch("checkpoint")
