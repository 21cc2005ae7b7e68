"""`rlcode pairs`: a data set that others can train on, and what was left out of it."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from datasets import Dataset, load_dataset, load_from_disk
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlcode.cli import main
from rlcode.types import Completion, ErrorType, Program, Rollout, Verdict
from sampling.pair_rows import _texts
from sampling.store import write_rollouts

PROMPT = "def f():\n"
PASSED, WRONG, BROKEN, UNSCORED = "    return 1", "    return 2", "    return (", "    return 3"


@pytest.fixture
def run(tmp_path: Path, random_model: Path) -> Path:
    """Four completions of one prompt, and a copy of one of them."""
    tokenizer = AutoTokenizer.from_pretrained(random_model)
    prompt = tuple(tokenizer(PROMPT)["input_ids"])

    def rollout(index: int, text: str, verdict: Verdict | None) -> Rollout:
        tokens = tuple(tokenizer(text)["input_ids"])
        completion = Completion("p", index, text, prompt, tokens, (-1.0,) * len(tokens), "stop", 3, seed=70 + index)
        return Rollout(completion, Program(PROMPT + text, "continuation"), verdict)

    write_rollouts(
        tmp_path / "run" / "rollouts-00000.jsonl",
        [
            rollout(0, PASSED, Verdict(None, 2, 2)),
            rollout(1, WRONG, Verdict(ErrorType.WRONG_ANSWER, 1, 2)),
            rollout(2, BROKEN, Verdict(ErrorType.SYNTAX, 0, 2)),
            rollout(3, WRONG, Verdict(ErrorType.WRONG_ANSWER, 1, 2)),
            rollout(4, UNSCORED, None),
        ],
    )
    return tmp_path / "run"


def pairs(run: Path, output: Path, *options: str) -> int:
    return main(["pairs", str(run), "--output", str(output), *options])


def test_every_pair_is_written_once_with_where_both_sides_come_from(run: Path, tmp_path: Path, random_model: Path):
    assert pairs(run, tmp_path / "out", "--all", "--model", str(random_model), "--failure_pairs", "0.5") == 0
    rows = load_from_disk(str(tmp_path / "out"))
    assert [(row["chosen"], row["rejected"]) for row in rows] == [(PASSED, WRONG), (PASSED, BROKEN), (WRONG, BROKEN)]
    assert set(rows["prompt"]) == {PROMPT}
    assert rows["chosen_passed"][:] == [True, True, False]
    last = rows[2]
    assert {name: value for name, value in last.items() if not name.endswith("_ids")} == {
        "prompt": PROMPT,
        "chosen": WRONG,
        "rejected": BROKEN,
        "task_id": "p",
        "part": "all",
        "chosen_passed": False,
        **side("chosen", 1, "wrong_answer", 1),
        **side("rejected", 2, "syntax", 0),
    }
    tokenizer = AutoTokenizer.from_pretrained(random_model)
    for name, text in (("prompt_ids", PROMPT), ("chosen_ids", WRONG), ("rejected_ids", BROKEN)):
        assert last[name] == tokenizer(text)["input_ids"]


def side(name: str, index: int, error_type: str, tests_passed: int) -> dict[str, object]:
    return {
        f"{name}_index": index,
        f"{name}_policy_version": 3,
        f"{name}_seed": 70 + index,
        f"{name}_error_type": error_type,
        f"{name}_tests_passed": tests_passed,
        f"{name}_tests_total": 2,
    }


def test_the_table_says_what_was_left_out(run: Path, tmp_path: Path, capsys):
    pairs(run, tmp_path / "out", "--num_pairs", "5")
    shown = capsys.readouterr().out
    assert "2 pairs of 1 problems" in shown
    for line in ("could not be judged", "another completion has the same program"):
        assert f"{line} " in shown
        assert next(row for row in shown.splitlines() if line in row).rstrip("│ ").endswith("-1")
    assert "5 pairs in" in shown


@pytest.mark.parametrize(("file_format", "loader"), [("jsonl", "json"), ("parquet", "parquet")])
def test_one_file_holds_the_same_rows(run: Path, tmp_path: Path, file_format: str, loader: str):
    pairs(run, tmp_path / "out", "--seed", "4")
    pairs(run, tmp_path / f"out.{file_format}", "--seed", "4", "--format", file_format)
    there = load_dataset(
        loader, data_files=str(tmp_path / f"out.{file_format}"), split="train", cache_dir=str(tmp_path)
    )
    assert there.to_list() == load_from_disk(str(tmp_path / "out")).to_list()


def test_the_same_seed_draws_the_same_pairs_and_another_seed_others(run: Path, tmp_path: Path):
    drawn = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        pairs(run, tmp_path / name, "--seed", str(seed), "--strategy", "uniform")
        drawn.append(load_from_disk(str(tmp_path / name))["rejected"][:])
    assert drawn[0] == drawn[1] != drawn[2]


def test_the_prompts_text_has_no_first_token_that_its_tokenizer_adds_again():
    added, decoded = 7, []

    class WithFirstToken:
        def __call__(self, text: str) -> dict[str, list[int]]:
            return {"input_ids": [added]}

        def decode(self, ids: list[int], **options: object) -> str:
            decoded.append(ids)
            return ""

    _texts(pa.array([[added, 1, 2], [3, added]]), WithFirstToken())
    assert decoded == [[1, 2], [3, added]]


def test_without_a_model_there_is_no_text_of_the_prompt(run: Path, tmp_path: Path):
    pairs(run, tmp_path / "out")
    assert "prompt" not in load_from_disk(str(tmp_path / "out")).column_names


def test_what_is_there_is_not_written_over(run: Path, tmp_path: Path, capsys):
    (tmp_path / "out").mkdir()
    assert pairs(run, tmp_path / "out") == 2
    assert "is there already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--max_length_ratio", "0.5"], "max_length_ratio must be at least 1"),
        (["--strategy", "best"], "no strategy 'best'"),
        (["--strategy_options", "[1]"], "must be a JSON object"),
        (["--strategy_options", "{"], "must be a JSON object"),
        (["--num_pairs", "0"], "num_pairs must be at least 1"),
        (["--model", "no/such/model/anywhere"], "no tokenizer for model"),
        (["--min_passed", "2"], "no problem has both"),
    ],
)
def test_what_can_not_be_is_told(run: Path, tmp_path: Path, capsys, options: list[str], message: str):
    assert pairs(run, tmp_path / "out", *options) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_trls_own_trainer_takes_the_result(run: Path, tmp_path: Path, random_model: Path):
    from trl import DPOConfig, DPOTrainer

    pairs(run, tmp_path / "out", "--model", str(random_model), "--num_pairs", "4")
    rows: Dataset = load_from_disk(str(tmp_path / "out"))
    args = DPOConfig(
        output_dir=str(tmp_path / "trained"),
        per_device_train_batch_size=4,
        max_steps=1,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to="none",
        save_strategy="no",
        logging_steps=1,
        disable_tqdm=True,
    )
    model, tokenizer = AutoModelForCausalLM.from_pretrained(random_model), AutoTokenizer.from_pretrained(random_model)
    trainer = DPOTrainer(model, args=args, train_dataset=rows, processing_class=tokenizer)
    prepared = trainer.train_dataset[0]
    assert prepared["prompt_ids"] == rows[0]["prompt_ids"]
    assert prepared["chosen_ids"][: len(rows[0]["chosen_ids"])] == rows[0]["chosen_ids"]
    assert trainer.train().training_loss == pytest.approx(0.693, abs=0.01)  # log 2: the policy is its own reference
