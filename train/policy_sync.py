"""An engine that answers with the policy in training: opened for a training script, and brought to the policy as it is
now. What judges its answers beside a training process is opened here too."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from accelerate.utils import broadcast_object_list
from trl.models import unwrap_model_for_generation

from sampling.engine import Engine, EngineSettings, open_engine
from sampling.transformers_engine import TransformersEngine
from sandbox.cache import open_cache
from sandbox.pool import open_sandbox
from sandbox.protocol import Sandbox
from train.policy import save_policy


def open_training_engine(args: Any, model_args: Any, tokenizer: Any) -> Engine:
    """The engine that `args` (`EngineArguments`) asks for, without a policy; `transformers` has no model of its own."""
    base = str(model_args.model_name_or_path)
    settings = EngineSettings.from_arguments(args)
    if settings.engine == "transformers":  # the trainer lends it its own model
        return TransformersEngine(None, tokenizer, base_model=base, batch_size=settings.batch_size)
    return open_engine(replace(settings, max_lora_rank=max(model_args.lora_r, settings.max_lora_rank)), base)


def open_training_sandbox(args: Any, stack: ExitStack) -> Sandbox:
    """The sandbox that `args` (`SandboxArguments`) asks for, with this process's share of the cores; `stack` closes
    it."""
    cache = stack.enter_context(open_cache(args.cache))
    if cache is not None:
        stack.callback(lambda: print(cache.summary(), file=sys.stderr))
    return stack.enter_context(
        open_sandbox(args.sandbox, workers=args.sandbox_workers or _share_of_cores(), cache=cache)
    )


def _share_of_cores() -> int:
    return max(1, len(os.sched_getaffinity(0)) // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


class sharing:  # noqa: N801 - a context manager, read as a verb
    """Lends the trainer's model to the engine for the time of a `with`, under the `version` that it has now. Every
    process must enter it: weights that are sharded are gathered."""

    def __init__(self, engine: TransformersEngine, trainer: Any, version: int) -> None:
        self._engine = engine
        self._engine.policy_version = version
        self._wrapped = trainer.model_wrapped
        self._unwrapped = unwrap_model_for_generation(trainer.model_wrapped, trainer.accelerator)

    def __enter__(self) -> Any:
        self._engine.model = self._unwrapped.__enter__()
        _let_go(self._wrapped)
        return self._engine.model

    def __exit__(self, *exc: Any) -> None:
        self._engine.model = None
        self._unwrapped.__exit__(*exc)


def _let_go(model: Any) -> None:
    """Let each process make forward passes by itself. Before each of them ZeRO-3 holds the processes against each
    other; TRL takes away its other hooks while weights are gathered, and sets up all of them again afterwards."""
    offload = getattr(getattr(model, "optimizer", None), "parameter_offload", None)
    if offload is not None:
        offload.fwd_pre_hook.remove()


def send_policy(engine: Engine | None, trainer: Any, adapters: Path, base_model: str, version: int) -> float | None:
    """Put the policy in training in force in an engine of its own, under a new `version`. Every process must call this;
    one that has no engine (None) takes part in saving alone.

    Args:
        adapters: a directory of the first process's, which all processes and the engine can read.
    Returns:
        The gap between what the engine and the trainer compute, where there is an engine (`Engine.load_adapter`).
    """
    # the first process writes, so all of them load from its directory
    (path,) = broadcast_object_list([str(adapters / f"v{version}")])
    save_policy(trainer, Path(path), base_model, version)
    gap = engine.load_adapter(version, Path(path)) if engine is not None else None
    trainer.accelerator.wait_for_everyone()
    if trainer.accelerator.is_main_process:
        _keep_only(Path(path))
    return gap


def _keep_only(adapter: Path) -> None:
    """Remove the adapters beside it; the one in force stays, for a server that comes back asks for it again."""
    for other in adapter.parent.iterdir():
        if other != adapter:
            shutil.rmtree(other)
