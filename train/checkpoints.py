"""Checkpoints that a run can go on from, whenever it was killed."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from peft import PeftModel
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, rotate_checkpoints

from rlcode.errors import ConfigError
from rlcode.run_directory import flush_to_disk, write_json
from train.finite import require_finite_weights
from train.policy import ADAPTER_NAME, is_split

logger = logging.getLogger(__name__)

WHOLE = "rlcode_checkpoint.json"
"""Written into a checkpoint last, so one that has it is whole."""


class WholeCheckpoints:
    """For a trainer of TRL's, before it in the list of bases. transformers takes a checkpoint that a kill cut short for
    a whole one, removes old ones (`save_total_limit`) before the new one is whole, and where a checkpoint has the
    reference's adapter too, in a folder of its own, it loads that one alone."""

    def save_beside(self, checkpoint: Path) -> None:
        """Write to `checkpoint` what belongs to it and transformers knows nothing of. Every process calls this."""

    def may_stop_here(self) -> bool:
        """Whether a run that goes on from here does what this one would."""
        return True

    def _save_checkpoint(self: Any, model: Any, trial: Any) -> None:
        """
        Raises:
            NonFiniteError: there is nothing worth saving; what was saved before stays.
        """
        require_finite_weights(self)
        args, is_first = self.args, self.accelerator.is_main_process
        checkpoint = Path(args.output_dir) / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        if is_first:  # one that is written again is not whole meanwhile
            (checkpoint / WHOLE).unlink(missing_ok=True)
        limit, args.save_total_limit = args.save_total_limit, None
        try:
            super()._save_checkpoint(model, trial)  # type: ignore[misc]
        finally:
            args.save_total_limit = limit
        self.save_beside(checkpoint)
        self.accelerator.wait_for_everyone()
        if is_first and not args.save_only_model:
            flush_to_disk(checkpoint)
            write_json(checkpoint / WHOLE, {"step": self.state.global_step})
        if is_first:
            rotate_checkpoints(args.output_dir, limit, self.state.best_model_checkpoint, use_mtime=True)

    def save_model(self: Any, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Under DeepSpeed transformers would first copy all weights, the base's too, to main memory in every process;
        an adapter that each process has whole is written from where it is."""
        if _internal_call and isinstance(self.model, PeftModel) and not is_split(self.accelerator):
            if self.args.should_save:
                self._save(output_dir)
        else:
            super().save_model(output_dir, _internal_call)  # type: ignore[misc]

    def _run_epoch(self: Any, *args: Any, **kwargs: Any) -> None:
        if self.state.global_step < self.state.max_steps:
            super()._run_epoch(*args, **kwargs)  # type: ignore[misc]
        else:  # resumed behind the last step, in the middle of an epoch: transformers would do one more
            self.control.should_training_stop = True

    def _load_from_checkpoint(self: Any, resume_from_checkpoint: str, model: Any = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)  # type: ignore[misc]
        if isinstance(self.model, PeftModel):  # else all weights are in training, and were loaded
            self.model.load_adapter(resume_from_checkpoint, ADAPTER_NAME, is_trainable=True)
            self.model.set_adapter(ADAPTER_NAME)


def checkpoint_to_resume(args: Any) -> Path | None:
    """The checkpoint that the `TrainingArguments` name, else the last whole one in the output directory, else none.

    Raises:
        ConfigError: the named one is not whole.
    """
    if args.resume_from_checkpoint:
        named = Path(os.fspath(args.resume_from_checkpoint))
        if not _is_whole(named):
            raise ConfigError(f"{named} is no whole checkpoint of one of our scripts; name another, or leave it out")
        _forget_later_ones(named, Path(args.output_dir))
        return named
    return _last_whole(Path(args.output_dir))


def _forget_later_ones(named: Path, run: Path) -> None:
    """The run goes on from `named`: what was saved after it is of a branch that is given up."""
    if named.resolve().parent != run.resolve():
        return
    for later in _whole_ones(run):
        if steps_before(later) > steps_before(named):
            logger.warning("%s is given up: the run goes on from %s", later, named)
            (later / WHOLE).unlink(missing_ok=True)  # another process may have done so


def how_to_go_on(args: Any) -> str:
    """What to do after a run with these `TrainingArguments` was stopped or failed."""
    last = _last_whole(Path(args.output_dir))
    if last is None:
        return "no checkpoint was saved before, so the same command begins again"
    without = " without --resume_from_checkpoint" if args.resume_from_checkpoint else ""
    return f"the same command{without} goes on from {last}"


def _last_whole(run: Path) -> Path | None:
    return max(_whole_ones(run), key=steps_before, default=None)


def _whole_ones(run: Path) -> list[Path]:
    named = (path for path in run.glob(f"{PREFIX_CHECKPOINT_DIR}-*") if path.name.rpartition("-")[2].isdigit())
    return [path for path in named if path.name.count("-") == 1 and _is_whole(path)]


def steps_before(checkpoint: Path | None) -> int:
    """The optimizer steps that were done when a checkpoint was written; 0 without one."""
    return int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0


def _is_whole(checkpoint: Path) -> bool:
    return (checkpoint / WHOLE).is_file()
