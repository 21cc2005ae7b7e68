"""The process of its own in which vLLM's core runs on a GPU: it ends with this one, and its end leaves nobody waiting.

vLLM 0.31 leaves the core to itself. Ctrl-C in a terminal and a batch system's SIGTERM reach it too, and it aborts what
it writes; when this process is killed it stays, with its share of the GPU; when it is killed itself, whoever asked it
for something waits forever.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rlcode.errors import EngineError


class CoreEndedError(EngineError):
    """vLLM's core has ended, and its engine is of no more use."""


EXTENSION = "sampling.vllm_core.EndsWithParent"
_LOOK_S = 1.0


class EndsWithParent:
    """Mixed into vLLM's worker (`worker_extension_cls`), which is in the core's process."""

    def end_with_parent(self) -> int:
        """Leave the terminal's process group, heed no signal, end when the parent does, and say which process this
        is."""
        os.setpgid(0, 0)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        threading.Thread(target=_end_after, args=(os.getppid(),), daemon=True).start()
        return os.getpid()


def watch(engine: Any) -> list[int]:
    """Tie the core of an `LLMEngine` to this process and this process to it. Returns its process; none where it runs in
    this one."""
    core = engine.engine_core
    if not hasattr(core, "outputs_queue"):
        return []
    processes = list(engine.collective_rpc("end_with_parent"))
    threading.Thread(target=_tell_of_end, args=(core,), daemon=True).start()
    return processes


def end_engine(engine: Any) -> None:
    """End an `LLMEngine` with its core."""
    core = engine.engine_core
    if hasattr(core, "outputs_queue"):
        core.resources.engine_dead = True  # as it is meant to be
        for process in core.resources.engine_manager.processes:
            process.kill()
    core.shutdown()


@contextmanager
def naming_its_end() -> Iterator[None]:
    """
    Raises:
        CoreEndedError: the core has.
    """
    from vllm.v1.engine.exceptions import EngineDeadError

    try:
        yield
    except EngineDeadError as error:
        raise CoreEndedError(
            "vLLM's process has ended; what it said is above (killed without a word: the machine's memory ran out)"
        ) from error


def _end_after(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_S)
    os.kill(os.getpid(), signal.SIGKILL)


def _tell_of_end(core: Any) -> None:
    """Wake those that wait for an answer of a core that has ended."""
    from vllm.v1.engine.exceptions import EngineDeadError

    while not core.resources.engine_dead:  # vLLM looks after its processes itself, but tells nobody
        time.sleep(_LOOK_S)
    core.outputs_queue.put_nowait(EngineDeadError())
    for waiting in list(core.utility_results.values()):
        if not waiting.done():
            waiting.set_exception(EngineDeadError())
