"""An engine that answers with the policy in training: opened for a training script, and brought to the policy as it is
now. What judges its answers beside a training process is opened here too."""

from __future__ import annotations

import shutil
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from accelerate import PartialState
from accelerate.utils import gather_object
from trl.models import unwrap_model_for_generation

from sampling.engine import Engine, EngineSettings, open_engine
from sampling.server_engine import VllmServerEngine
from sampling.server_group import GroupEngine, ServerGroup, gpus_of_this_machine
from sampling.transformers_engine import TransformersEngine
from sandbox.cache import open_cache
from sandbox.pool import open_sandbox
from sandbox.protocol import Sandbox
from sandbox.service import SandboxClient, SandboxService
from train import machine
from train.policy import save_policy


def open_training_engine(
    args: Any, model_args: Any, tokenizer: Any, run: Path, stack: ExitStack, *, by_all: bool = True
) -> Engine:
    """The engine that `args` (`EngineArguments`) asks for, without a policy; `stack` closes it.

    vLLM runs in this process if it is the only one; else each machine has a group of servers, started by its first
    process, that all of its processes ask.

    Args:
        run: the run directory, where the servers' logs go.
        by_all: whether every training process calls this, or the first one alone.
    """
    base = str(model_args.model_name_or_path)
    settings = EngineSettings.from_arguments(args)
    if settings.engine == "transformers":  # the trainer lends it its own model
        return stack.enter_context(TransformersEngine(None, tokenizer, base_model=base, batch_size=settings.batch_size))
    settings = replace(settings, max_lora_rank=max(model_args.lora_r, settings.max_lora_rank))
    if settings.engine == "vllm" and PartialState().num_processes > 1:
        return stack.enter_context(_open_group(settings, base, run, stack, by_all))
    return stack.enter_context(open_engine(settings, base))


def _open_group(settings: EngineSettings, base: str, run: Path, stack: ExitStack, by_all: bool) -> GroupEngine:
    logs = run / "vllm" / f"rank{machine.first_rank()}"
    urls: tuple[str, ...] = ()
    if machine.is_first():
        urls = stack.enter_context(ServerGroup(base, settings, logs, gpus_of_this_machine())).urls
    return GroupEngine(base, settings, machine.from_first(urls) if by_all else urls, logs)


def open_training_sandbox(args: Any, stack: ExitStack, *, by_all: bool = False) -> Sandbox:
    """The sandbox that `args` (`SandboxArguments`) asks for, one on each machine with all of its cores; `stack` closes
    it. `by_all`: every training process calls this, and the first one of a machine serves its sandbox to the others."""
    is_shared = by_all and PartialState().num_processes > 1
    if not is_shared or machine.is_first():
        cache = stack.enter_context(open_cache(args.cache))
        if cache is not None:
            stack.callback(lambda: print(cache.summary(), file=sys.stderr))
        sandbox = stack.enter_context(open_sandbox(args.sandbox, workers=args.sandbox_workers, cache=cache))
        if is_shared:
            machine.from_first(stack.enter_context(SandboxService(sandbox)).address)
        return sandbox
    return stack.enter_context(SandboxClient(machine.from_first("")))


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
    one that has no engine (None) takes part in saving alone. Of the processes that share servers the first one writes
    the adapter, has it loaded and checks it; the others adopt it.

    Args:
        adapters: a directory that this process's engine can read, and those that adopt from it.
    Returns:
        The gap between what the engine and the trainer compute, where there is an engine (`Engine.load_adapter`).
    """
    loads = engine is not None and _loads_for_others(engine)
    offers = gather_object([adapters / f"v{version}" if loads else None])
    loader = max(rank for rank in range(PartialState().process_index + 1) if offers[rank])
    save_policy(trainer, offers[loader], base_model, version, writes=loads, lasts=False)
    gap = engine.load_adapter(version, offers[loader]) if engine is not None and loads else None
    gap = gather_object([gap])[loader]  # from here on all engines have it
    if isinstance(engine, VllmServerEngine) and not loads:
        engine.adopt_adapter(version, offers[loader])
    trainer.accelerator.wait_for_everyone()
    if loads:
        _keep_only(offers[loader])
    return gap


def _loads_for_others(engine: Engine) -> bool:
    """Whether this process loads adapters for those behind it: the first one of whoever has the same servers, and each
    one that has an engine of its own."""
    if isinstance(engine, GroupEngine):
        return machine.is_first()
    return PartialState().is_main_process if isinstance(engine, VllmServerEngine) else True


def _keep_only(adapter: Path) -> None:
    """Remove the adapters beside it; the one in force stays, for a server that comes back asks for it again."""
    for other in adapter.parent.iterdir():
        if other != adapter:
            shutil.rmtree(other)
