"""What watches a trainer while it trains: the progress on the terminal, and the alarms."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from transformers import PrinterCallback, ProgressCallback

from train.alarm_bell import AlarmBell
from train.alarms import ALARMS
from train.batch_plan import BatchPlan
from train.progress import ProgressBoard, ProgressLines

_UNITS = {"dpo": "pairs", "sft": "examples", "grpo": "completions"}


@contextmanager
def observed(trainer: Any, kind: str, *, alarms: bool, silent: bool) -> Iterator[None]:
    """Watch `trainer`, a run of this `kind` (grpo, dpo or sft), for the time of a `with`. Every process enters it; the
    first one shows and tells.

    Args:
        alarms: whether there are any.
        silent: show no progress; whoever trains shows it. Alarms go to the log all the same.
    """
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    is_first = trainer.accelerator.is_main_process
    view = _view(kind, trainer.args) if is_first and not silent else None
    if view is not None:
        print(_batch(kind, trainer.args).describe(), file=sys.stderr)  # with more processes a step is larger
        trainer.add_callback(view)
    if alarms:
        show = view.show_alarm if view is not None else lambda alarm: None
        bell = AlarmBell(ALARMS[kind], Path(trainer.args.output_dir), writes=is_first, show=show)
        trainer.callback_handler.callbacks.insert(0, bell)  # before those that report its metric
    try:
        yield
    finally:
        if view is not None:
            view.close()


def _batch(kind: str, args: Any) -> BatchPlan:
    return BatchPlan(_UNITS[kind], args.per_device_train_batch_size, args.gradient_accumulation_steps, args.world_size)


def _view(kind: str, args: Any) -> ProgressLines:
    console = Console(stderr=True)
    if console.is_terminal and not args.disable_tqdm:
        return ProgressBoard(kind, console)
    return ProgressLines(kind, console)
