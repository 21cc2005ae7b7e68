"""DPO takes the pairs as they were sampled, in their order, against the reference that was asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback
from trl import DPOConfig

from rlcode.cli import run_main
from sampling.notebook import ErrorNotebook
from tests.train.killed import Killed
from tests.train.model_configs import model_config
from train.arguments import PairArguments, PolicyArguments
from train.dpo import main, train_dpo
from train.pair_opening import build_pool, make_trainer
from train.pair_trainer import PairTrainer


def dpo_config(output_dir: Path, **options: object) -> DPOConfig:
    defaults = {
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-3,
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "report_to": "none",
        "save_strategy": "no",
        "logging_steps": 1,
        "disable_tqdm": True,
    }
    return DPOConfig(output_dir=str(output_dir), **{**defaults, **options})


def pair_arguments(rollouts: Path, **options: object) -> PairArguments:
    return PairArguments(rollouts=[str(rollouts)], num_pairs=16, **options)


def trainer(tmp_path: Path, model: Path, rollouts: Path, adapter: Path | None = None, **options: object) -> PairTrainer:
    pair_args, policy_args = pair_arguments(rollouts), PolicyArguments(adapter=str(adapter) if adapter else None)
    return make_trainer(
        pair_args, policy_args, model_config(model), dpo_config(tmp_path, **options), *build_pool(pair_args)
    )


def tokens_of(batch: dict) -> list[tuple[list[int], list[int]]]:
    """The chosen and the rejected sequence of each pair of a batch, without padding."""
    rows = [row[mask.bool()].tolist() for row, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)]
    return list(zip(rows[: len(rows) // 2], rows[len(rows) // 2 :], strict=True))


@pytest.mark.parametrize("workers", [0, 2])
def test_the_trainer_sees_the_tokens_that_were_sampled_in_the_order_that_was_drawn(
    tmp_path: Path, random_model: Path, judged_rollouts: Path, workers: int
):
    run = trainer(tmp_path, random_model, judged_rollouts, dataloader_num_workers=workers)
    pool, sequence = run.sampler.pool, list(run.sampler)
    batches = list(run.get_train_dataloader())
    assert [placed for batch in batches for placed in batch["draws"]] == sequence
    for (chosen, rejected), placed in zip(
        [pair for batch in batches for pair in tokens_of(batch)], sequence, strict=True
    ):
        good, bad = (pool.rows[int(pool.sides.row[side])] for side in (placed.draw.chosen, placed.draw.rejected))
        assert chosen == good["prompt_ids"] + good["completion_ids"]
        assert rejected == bad["prompt_ids"] + bad["completion_ids"]


def test_the_same_pairs_are_drawn_in_whatever_order_rollouts_were_judged(
    tmp_path: Path, random_model: Path, judged_rollouts: Path
):
    other = tmp_path / "rollouts.jsonl"
    other.write_bytes(b"".join(reversed(judged_rollouts.read_bytes().splitlines(keepends=True))))
    run, same = (trainer(tmp_path, random_model, rollouts) for rollouts in (judged_rollouts, other))
    assert list(run.sampler) == list(same.sampler)
    frequencies, same_frequencies = (one.sampler.history.last.notebook.frequencies() for one in (run, same))
    assert frequencies == same_frequencies


def test_training_raises_the_margin_of_chosen_over_rejected(tmp_path: Path, random_model: Path, judged_rollouts: Path):
    run = trainer(tmp_path, random_model, judged_rollouts, num_train_epochs=4)
    run.train()
    margins = [entry["rewards/margins"] for entry in run.state.log_history if "rewards/margins" in entry]
    assert margins[0] == pytest.approx(0, abs=1e-6)
    assert margins[-1] > 0.05


def test_the_reference_is_the_previous_round_or_the_base_as_asked(
    tmp_path: Path, random_model: Path, random_adapter: Path, judged_rollouts: Path
):
    """The first step's margin is against the reference: zero against the adapter itself, not against the base."""
    margins = {}
    for reference in ("previous_round", "base"):
        run = trainer(tmp_path, random_model, judged_rollouts, random_adapter, max_steps=1)
        if reference == "base":
            run.model.delete_adapter("ref")
        run.train()
        margins[reference] = run.state.log_history[0]["rewards/margins"]
    assert margins["previous_round"] == pytest.approx(0, abs=1e-6)
    assert abs(margins["base"]) > 1e-3


def test_the_nll_term_keeps_the_chosen_programs_likely(tmp_path: Path, random_model: Path, judged_rollouts: Path):
    final = {}
    for name, options in {
        "plain": {"loss_type": ["sigmoid"]},
        "with_nll": {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 1.0]},
    }.items():
        run = trainer(tmp_path, random_model, judged_rollouts, num_train_epochs=6, **options)
        run.train()
        final[name] = [entry["logps/chosen"] for entry in run.state.log_history if "logps/chosen" in entry][-1]
    assert final["with_nll"] > final["plain"]


def test_a_round_writes_adapter_notebook_and_draws(tmp_path: Path, random_model: Path, judged_rollouts: Path):
    adapter = train_dpo(
        pair_arguments(judged_rollouts),
        PolicyArguments(),
        model_config(random_model),
        dpo_config(tmp_path, max_steps=2),
    )
    assert (adapter / "adapter_model.safetensors").is_file()
    assert not (adapter / "ref").exists()
    assert ErrorNotebook.load(tmp_path / "notebook.json").scored == 40
    assert len((tmp_path / "draws.jsonl").read_text().splitlines()) == 2 * 4
    metadata = json.loads((adapter / "rlcode_adapter.json").read_text())
    assert metadata["policy_version"] == 3  # the base is 0, the start of the run 1, and each step adds one


@pytest.mark.parametrize("reference", ["previous_round", "base"])
def test_a_run_on_an_adapter_goes_on_with_the_weights_of_its_checkpoint(
    tmp_path: Path, random_model: Path, random_adapter: Path, judged_rollouts: Path, reference: str
):
    """Trainer loads the frozen copy alone where a checkpoint has one."""

    def train(name: str, *callbacks: TrainerCallback) -> dict:
        adapter = train_dpo(
            pair_arguments(judged_rollouts, reference=reference),
            PolicyArguments(adapter=str(random_adapter)),
            model_config(random_model),
            dpo_config(tmp_path / name, save_strategy="steps", save_steps=2),
            callbacks,
        )
        return load_file(adapter / "adapter_model.safetensors")

    with pytest.raises(KeyboardInterrupt):
        train("killed", Killed(3))
    whole, resumed = train("whole"), train("killed")
    start = load_file(random_adapter / "adapter_model.safetensors")
    assert max((whole[name] - resumed[name]).abs().max().item() for name in whole) < 1e-6
    assert max((whole[name] - start[name]).abs().max().item() for name in whole) > 1e-3


def test_a_notebook_of_earlier_rounds_is_gone_on_with(tmp_path: Path, judged_rollouts: Path):
    _, first = build_pool(pair_arguments(judged_rollouts))
    first.save(tmp_path / "notebook.json")
    _, second = build_pool(pair_arguments(judged_rollouts, notebook=str(tmp_path / "notebook.json")))
    assert second.scored == 80


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name what `rlcode rollout` wrote"),
        (["--rollouts", "/no/such/place"], "no rollouts at /no/such/place"),
        (["--beta", "large"], "beta"),
        (["--betta", "0.1"], "did you mean '--beta'"),
        (["--precompute_ref_log_probs", "true"], "precompute_ref_log_probs needs all pairs before training"),
        (["--dataloader_in_order", "false"], "leave it at True"),
        (["--strategy_options", "power"], "strategy_options is not JSON"),
        (["--strategy", "best"], "no strategy 'best'"),
        (["--strategy_options", '{"powr": 2}'], "has no option powr; its options are power, floor, cap"),
        (["--quiz_steps", "2", "--dataloader_num_workers", "2"], "raise quiz_delay to 5, or take fewer workers"),
    ],
)
def test_bad_input_ends_with_exit_code_2_and_a_message(tmp_path: Path, capsys, arguments: list[str], message: str):
    common = [
        "--model_name_or_path",
        "x",
        "--output_dir",
        str(tmp_path / "out"),
        "--use_cpu",
        "true",
        "--bf16",
        "false",
    ]
    assert run_main(main, [*common, *arguments]) == 2
    assert message in capsys.readouterr().err


def test_padding_is_not_trained_on(tmp_path: Path, random_model: Path, judged_rollouts: Path):
    batch = next(iter(trainer(tmp_path, random_model, judged_rollouts).get_train_dataloader()))
    assert torch.all(batch["completion_mask"][~batch["attention_mask"].bool()] == 0)
