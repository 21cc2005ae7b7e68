"""The card of an export says what was measured where that is at hand, and nothing that was not."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest

from eval.main import main as evaluate
from rlcode.data import jsonl
from rlcode.errors import InputError
from rlcode.run_directory import RunDirectory
from rlcode.tiny.tasks import make_problems
from rlcode.types import EvalReport, Interval, from_json
from train.card_figures import Figures, of_stage
from train.exporter import ExportOptions, export_adapter
from train.model_card import CardOptions
from train.quickstart_report import Stage


@pytest.fixture(scope="module")
def run(tmp_path_factory, random_model: Path, random_adapter: Path) -> Path:
    """A run of rounds: a stage of DPO with its adapter, and the evaluations of base and adapter."""
    folder = tmp_path_factory.mktemp("runs") / "night"
    base = shutil.copytree(random_model, folder.parent / "base")
    (base / "README.md").write_text("---\nlicense: mit\n---\n# A base\n")
    jsonl.save(make_problems("validation", 2, 0), folder.parent / "problems.jsonl")
    stage = folder / "round-01" / "dpo"
    for path, kind, config in (
        (
            folder,
            "loop",
            {
                "model": str(base),
                "methods": ["dpo"],
                "validation": {"file": str(folder)},
                "benchmark_file": str(folder.parent / "p.jsonl"),
            },
        ),
        (stage, "dpo", {"lora_r": 8, "learning_rate": 1e-5, "rollouts": [str(folder / "round-01" / "rollouts")]}),
    ):
        RunDirectory(path, kind, config).close()
    adapter = shutil.copytree(random_adapter, stage / "adapter")
    for name, policy in (("start", ()), ("round-01", ("--adapter", str(adapter)))):
        words = [
            "--benchmark",
            "jsonl",
            "--benchmark_file",
            str(folder.parent / "problems.jsonl"),
            "--model",
            str(base),
        ]
        words += ["--sandbox", "local", "--num_samples", "2", "--k", "1", "2", "--max_completion_length", "8"]
        evaluate([*words, *policy, "--output_dir", str(folder / name / "validation")])
    return folder


@pytest.fixture(scope="module")
def card(run: Path) -> str:
    """Of the adapter in the run, exported without a word about where it is from."""
    output = run.parent / "merged"
    adapter = run / "round-01" / "dpo" / "adapter"
    export_adapter(ExportOptions(adapter, output, model=str(run.parent / "base")))
    return (output / "README.md").read_text()


def rows(card: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in card.splitlines() if line[:1] == "|"]


def test_the_run_is_found_from_where_the_adapter_is(card: str):
    assert "DPO on preference pairs" in card
    assert ["lora_r", "`8`"] in rows(card)
    assert ["methods", '`["dpo"]`'] in rows(card)


def test_the_licence_is_that_of_the_base(card: str):
    assert card.startswith("---\nlibrary_name: transformers\nlicense: mit\n")


def test_pass_rates_and_errors_are_those_of_the_evaluations_of_base_and_adapter(card: str, run: Path):
    before, after = (
        from_json(EvalReport, json.loads((run / name / "validation" / "report.json").read_text()))
        for name in ("start", "round-01")
    )
    assert before.error_types != after.error_types, "they can be told apart"
    table = {row[0]: row[1:] for row in rows(card)}
    assert table[""] == ["base", "trained"]
    for k, interval in before.pass_at_k.items():
        assert table[f"pass@{k}"][0] == f"{interval.value:.3f} [{interval.low:.3f}, {interval.high:.3f}]"
    for kind in before.error_types.keys() | after.error_types.keys():
        assert table[f"error: {kind}"] == [f"{report.error_types.get(kind, 0) / 4:.1%}" for report in (before, after)]
    assert "jsonl, 2 problems, 4 samples, temperature 0.8, top p 0.95" in card


def test_it_tells_nothing_of_the_machine(card: str, run: Path):
    assert str(run.parent) not in card
    assert "p.jsonl" in card


def test_without_a_run_it_says_that_there_is_none(tmp_path: Path, random_adapter: Path):
    export_adapter(ExportOptions(random_adapter, tmp_path / "merged"), CardOptions(licence="apache-2.0"))
    text = (tmp_path / "merged" / "README.md").read_text()
    assert "No record of the run" in text
    assert "No evaluation was at hand" in text
    assert "license: apache-2.0" in text


def test_an_evaluation_that_is_none_is_refused_and_nothing_is_left(tmp_path: Path, random_adapter: Path):
    with pytest.raises(InputError, match="no evaluation that `rlcode eval` wrote"):
        export_adapter(ExportOptions(random_adapter, tmp_path / "merged"), CardOptions(eval_after=tmp_path))
    assert not list(tmp_path.iterdir())


def test_the_quickstart_gives_its_own_figures():
    stage = Stage("after GRPO", Interval(0.5, 0.4, 0.6), None, Interval(1, 0.9, 1), {"syntax": 0.1}, 0, 1.0)
    assert of_stage("after GRPO", json.loads(json.dumps(asdict(stage)))) == Figures(
        "after GRPO",
        {"pass@1": Interval(0.5, 0.4, 0.6), "greedy": Interval(1, 0.9, 1)},
        {"syntax": 0.1},
        "held-out problems of the tiny world; 95 % intervals over problems",
    )
