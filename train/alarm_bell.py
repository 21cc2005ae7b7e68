"""Tells alarms while a run is trained: in the log, in its directory's `alarms.jsonl`, and as the metric `alarms`."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from rlcode.run_directory import write_json_lines
from train.alarms import FILE_NAME, Alarm, Watch

logger = logging.getLogger(__name__)


class AlarmBell(TrainerCallback):
    """Must come before the callbacks that report to TensorBoard and others, so that they see the metric."""

    def __init__(self, alarms: Sequence[Alarm], run: Path, *, writes: bool, show: Callable[[str], None]) -> None:
        """One process (`writes`) tells. `show` gets each alarm too."""
        self._alarms = alarms
        self._path = run / FILE_NAME
        self._writes = writes
        self._show = show
        self._watch = Watch(alarms)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """A run that goes on from a checkpoint has told what its log says, and nothing that came after."""
        self._watch = Watch(self._alarms)
        told = [line for entry in state.log_history for line in self._watch.add(entry)]
        if self._writes and (told or self._path.exists()):
            write_json_lines(self._path, told)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **kwargs: Any) -> None:
        """Look at the entry that was just logged."""
        entry = state.log_history[-1]
        lines = self._watch.add(entry)
        if lines or "loss" in logs:
            logs["alarms"] = entry["alarms"] = self._watch.count
        if self._writes:
            for line in lines:
                self._tell(line)

    def _tell(self, line: dict[str, Any]) -> None:
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        logger.warning("step %d: alarm %s: %s", line["step"], line["name"], line["message"])
        self._show(f"step {line['step']}: {line['name']}")
