"""DPO takes the pairs as they were sampled, in their order, against the reference that was asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from trl import DPOConfig, ModelConfig

from rlcode.cli import run_main
from sampling.notebook import ErrorNotebook
from train.arguments import PairArguments, PolicyArguments
from train.dpo import draw_training_pairs, main, train_dpo
from train.pair_trainer import PairTrainer, pairs_to_dataset
from train.policy import load_policy, load_tokenizer


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


def model_config(model: Path) -> ModelConfig:
    return ModelConfig(model_name_or_path=str(model), lora_r=4, lora_dropout=0.0)


def pair_arguments(rollouts: Path, **options: object) -> PairArguments:
    return PairArguments(rollouts=[str(rollouts)], num_pairs=16, **options)


def trainer(tmp_path: Path, model: Path, rollouts: Path, adapter: Path | None = None, **options: object) -> PairTrainer:
    pool, draws, _ = draw_training_pairs(pair_arguments(rollouts), seed=0)
    return PairTrainer(
        model=load_policy(model_config(model), str(adapter) if adapter else None, 0),
        args=dpo_config(tmp_path, **options),
        train_dataset=pairs_to_dataset(pool, draws),
        processing_class=load_tokenizer(model_config(model)),
    )


def test_the_trainer_sees_the_tokens_that_were_sampled_in_the_order_that_was_drawn(
    tmp_path: Path, random_model: Path, judged_rollouts: Path
):
    pool, draws, _ = draw_training_pairs(pair_arguments(judged_rollouts), seed=0)
    batch = next(iter(trainer(tmp_path, random_model, judged_rollouts).get_train_dataloader()))
    rows, mask = batch["input_ids"], batch["attention_mask"].bool()
    for row, draw in enumerate(draws[:4]):
        chosen, rejected = (pool.rows[int(pool.sides.row[side])] for side in (draw.chosen, draw.rejected))
        assert rows[row][mask[row]].tolist() == chosen["prompt_ids"] + chosen["completion_ids"]
        assert rows[row + 4][mask[row + 4]].tolist() == rejected["prompt_ids"] + rejected["completion_ids"]


def test_the_same_pairs_are_drawn_in_whatever_order_rollouts_were_judged(tmp_path: Path, judged_rollouts: Path):
    other = tmp_path / "rollouts.jsonl"
    other.write_bytes(b"".join(reversed(judged_rollouts.read_bytes().splitlines(keepends=True))))
    _, draws, notebook = draw_training_pairs(pair_arguments(judged_rollouts), seed=0)
    _, same_draws, same_notebook = draw_training_pairs(pair_arguments(other), seed=0)
    assert draws == same_draws
    assert notebook.frequencies() == same_notebook.frequencies()


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


def test_a_round_writes_adapter_notebook_and_pairs(tmp_path: Path, random_model: Path, judged_rollouts: Path):
    adapter = train_dpo(
        pair_arguments(judged_rollouts),
        PolicyArguments(),
        model_config(random_model),
        dpo_config(tmp_path, max_steps=2),
    )
    assert (adapter / "adapter_model.safetensors").is_file()
    assert not (adapter / "ref").exists()
    assert ErrorNotebook.load(tmp_path / "notebook.json").scored == 40
    assert len((tmp_path / "pairs.jsonl").read_text().splitlines()) == 16
    metadata = json.loads((adapter / "rlcode_adapter.json").read_text())
    assert metadata["policy_version"] == 1


def test_a_notebook_of_earlier_rounds_is_gone_on_with(tmp_path: Path, judged_rollouts: Path):
    *_, first = draw_training_pairs(pair_arguments(judged_rollouts), seed=0)
    first.save(tmp_path / "notebook.json")
    *_, second = draw_training_pairs(pair_arguments(judged_rollouts, notebook=str(tmp_path / "notebook.json")), seed=0)
    assert second.scored == 80


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name what `rlcode rollout` wrote"),
        (["--rollouts", "/no/such/place"], "no rollouts at /no/such/place"),
        (["--beta", "large"], "beta"),
        (["--betta", "0.1"], "did you mean '--beta'"),
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
