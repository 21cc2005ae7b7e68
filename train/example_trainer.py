"""TRL's SFT trainer on examples that are tokens already, in an order of ours."""

from __future__ import annotations

from typing import Any

from datasets import Dataset
from torch.utils.data import Sampler
from trl import SFTTrainer

from train.data_order import ExampleSampler, check_data_order, require_values
from train.pair_sampler import StepPlan
from train.run_trainer import RunTrainer


class ExampleTrainer(RunTrainer, SFTTrainer):
    """Differs from `SFTTrainer` in its checkpoints, in the order of the data, and in what it does to it: nothing.
    `examples` has the columns `input_ids` and `labels` as they are trained on (TRL would cut what is longer than
    `max_length`).

    `args` must have passed `check_arguments`.
    """

    def __init__(self, *, args: Any, examples: Dataset, **kwargs: Any) -> None:
        super().__init__(args=args, train_dataset=examples, **kwargs)
        self._plan = plan = StepPlan.from_arguments(args, len(examples))
        self._task_ids = examples["task_id"]
        self.sampler = ExampleSampler(len(examples), plan.draws_per_epoch, seed=args.seed)
        # not the loader: that of a resumed run does not tell the sampler its epoch
        self.sampler.epoch = lambda: self.state.global_step // plan.steps_per_epoch

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        return dataset

    def task_ids_in_step(self) -> list[str]:
        """Of all processes."""
        first = self.state.global_step * self._plan.draws_per_step
        places = range(first, first + self._plan.draws_per_step)
        return [self._task_ids[self.sampler.example_at(place)] for place in places]

    def _get_train_sampler(self, dataset: Any = None) -> Sampler:
        return self.sampler


def check_arguments(args: Any) -> None:
    """Refuse what would silently change the examples, or do nothing to them although it was asked for.

    Raises:
        ConfigError: it names the field, and says what to do.
    """
    require_values(
        "does not go together with examples that are token ids already, with the loss on the completion alone",
        ("packing", args.packing, False),
        ("eval_packing", args.eval_packing or False, False),
        ("completion_only_loss", args.completion_only_loss is not False, True),
        ("assistant_only_loss", args.assistant_only_loss, False),
        ("dataset_text_field", args.dataset_text_field, "text"),
        ("dataset_kwargs", args.dataset_kwargs, None),
        ("shuffle_dataset", args.shuffle_dataset, False),
        ("truncation_mode", args.truncation_mode, "keep_start"),
        ("eos_token", args.eos_token, None),
        ("chat_template_path", args.chat_template_path, None),
    )
    check_data_order(args)
