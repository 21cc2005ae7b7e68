"""TRL's DPO trainer on pairs that are tokens already, drawn by our sampler as training goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch.utils.data import Sampler
from transformers import Trainer
from trl import DPOTrainer

from rlcode.errors import ConfigError
from sampling.notebook import ErrorNotebook
from sampling.snapshots import Snapshot, SnapshotHistory
from train.best_adapter import BestAdapter
from train.data_order import check_data_order
from train.draw_log import DrawLog
from train.pair_sampler import DrawCollator, PairDataset, PairSampler
from train.run_trainer import RunTrainer

SNAPSHOTS = "snapshots"
"""Where a checkpoint has the snapshots that were announced before it, and the best adapter."""


class PairTrainer(RunTrainer, DPOTrainer):
    """Differs from `DPOTrainer` in where its pairs come from: `sampler` draws them, and they are token ids as they were
    sampled (TRL would tokenise the text again and end every completion with EOS, also one that was cut off).

    What was trained on goes to `draw_log`; each checkpoint has the sampler's snapshots in it. `args` must have passed
    `check_arguments`.
    """

    def __init__(self, *, args: Any, sampler: PairSampler, draw_log: DrawLog, **kwargs: Any) -> None:
        # TRL looks at one example and takes nothing but a `datasets.Dataset`; ours goes into its place
        super().__init__(args=args, train_dataset=sampler.pool.rows.select([0]), **kwargs)
        self.sampler = sampler
        self.draw_log = draw_log
        self.best_adapter: BestAdapter | None = None
        self.train_dataset = PairDataset(sampler.pool, len(sampler))
        self.data_collator: Any = DrawCollator(self.data_collator)
        self._signature_columns = ["prompt_ids", "chosen_ids", "rejected_ids", "draw"]
        sampler.epoch = lambda: self.state.global_step // sampler.plan.steps_per_epoch

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        return dataset

    def _get_train_sampler(self, dataset: Any = None) -> Sampler:
        return self.sampler

    def training_step(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        self.draw_log.take(self.state.global_step, inputs.pop("draws"))
        return super().training_step(model, inputs, *args, **kwargs)

    def task_ids_in_step(self) -> list[str]:
        return self.draw_log.task_ids(self.state.global_step)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        logs.update(self.draw_log.metrics())
        super().log(logs, start_time)

    def log_apart(self, values: dict[str, float]) -> None:
        """Log `values` as an entry of their own, without the averages over the steps since the last one."""
        due = self.control.should_log  # a log that is due comes all the same
        Trainer.log(self, values)
        self.control.should_log = due

    def save_beside(self, checkpoint: Path) -> None:
        self.draw_log.write()
        if self.best_adapter is not None:
            self.best_adapter.save_to(checkpoint / SNAPSHOTS)
        if self.accelerator.is_main_process:
            self.sampler.history.save(checkpoint / SNAPSHOTS)


def snapshots_in(checkpoint: Path | None, notebook: ErrorNotebook) -> SnapshotHistory:
    """The snapshots that were announced before a checkpoint; without one, the first is `notebook`."""
    return SnapshotHistory.load(checkpoint / SNAPSHOTS) if checkpoint else SnapshotHistory(Snapshot(0, notebook))


def check_arguments(args: Any) -> None:
    """Refuse what does not go together with pairs that are drawn as training goes on.

    Raises:
        ConfigError: it names the field, and says what to do.
    """
    if args.precompute_ref_log_probs:
        raise ConfigError(
            "precompute_ref_log_probs needs all pairs before training, and they are drawn as it goes on; leave it out: "
            "the reference is the policy's own base or its frozen copy, and takes no memory for another model"
        )
    check_data_order(args)
