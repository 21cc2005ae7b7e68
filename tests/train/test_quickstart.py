"""The main job, whole, with each engine and each sandbox."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from eval.run_report.build import build_page
from rlcode.types import Problem, from_json
from sampling.notebook import ErrorNotebook
from sampling.store import read_rollouts
from tests.conftest import ALL_TESTS, run_quickstart


def stages(run: Path) -> dict[str, dict]:
    return {stage["name"]: stage for stage in json.loads((run / "summary.json").read_text())["stages"]}


def check_table(run: Path) -> None:
    found = stages(run)
    assert list(found) == ["base", "after DPO", "after GRPO", "exported"]
    for stage in found.values():
        assert stage["unscored"] == 0
        for figure in ("pass_at_1", "pass_at_10", "greedy"):
            assert 0 <= stage[figure]["low"] <= stage[figure]["value"] <= stage[figure]["high"] <= 1
        total = stage["pass_at_1"]["value"] + sum(stage["error_rates"].values())
        assert total == pytest.approx(1, abs=1e-6)
    assert len((run / "summary.md").read_text().splitlines()) > 5


def test_held_out_pass_rate_rises_with_intervals_that_do_not_overlap(quickstart_run: Path):
    check_table(quickstart_run)
    found = stages(quickstart_run)
    assert found["after GRPO"]["pass_at_1"]["low"] > found["base"]["pass_at_1"]["high"]


def test_the_export_evaluates_like_the_policy_that_it_was_made_of(quickstart_run: Path):
    found = stages(quickstart_run)
    # merging rounds the weights once more, which may tip a token here and there
    assert found["exported"]["pass_at_1"]["value"] == pytest.approx(found["after GRPO"]["pass_at_1"]["value"], abs=0.01)
    assert found["exported"]["greedy"]["value"] == pytest.approx(found["after GRPO"]["greedy"]["value"], abs=0.02)


def test_everything_lies_in_the_run_directory(quickstart_run: Path):
    for name in ("train", "validation", "held_out"):
        lines = (quickstart_run / "problems" / f"{name}.jsonl").read_text().splitlines()
        assert all(from_json(Problem, json.loads(line)).tests for line in lines)
    assert ErrorNotebook.load(quickstart_run / "dpo-1" / "notebook.json").scored > 100
    assert len(list(read_rollouts([quickstart_run / "dpo-1" / "rollouts.jsonl"]))) > 100
    assert (quickstart_run / "export" / "export_proof.json").is_file()
    assert "| base | after GRPO |" in (quickstart_run / "export" / "README.md").read_text()


def test_failures_of_the_base_model_are_varied(quickstart_run: Path):
    rates = stages(quickstart_run)["base"]["error_rates"]
    assert len([rate for rate in rates.values() if rate > 0.01]) >= 5, rates


def test_the_page_of_the_run_has_its_figures_its_pairs_and_its_log(quickstart_run: Path):
    page = build_page(quickstart_run)
    for name, stage in stages(quickstart_run).items():
        value, low, high = (f"{stage['pass_at_1'][part]:.1%}" for part in ("value", "low", "high"))
        assert f"pass@1, {name}: {value} [{low}, {high}]" in page
    drawn = sum(len((quickstart_run / f"dpo-{number}" / "draws.jsonl").read_text().splitlines()) for number in (1, 2))
    (pairs,) = re.findall(r"([\d,]+) different pairs of those that DPO drew", page)
    assert drawn / 2 < int(pairs.replace(",", "")) <= drawn
    assert "reward, step 10:" in page
    assert "has no log" not in page


if ALL_TESTS:

    @pytest.mark.parametrize(("engine", "sandbox"), [("vllm", "local"), ("transformers", "local"), ("vllm", "docker")])
    def test_the_other_combinations_end_in_the_table_too(tmp_path: Path, engine: str, sandbox: str):
        run = run_quickstart(tmp_path / "run", engine, sandbox)
        check_table(run)
        found = stages(run)
        assert found["after GRPO"]["pass_at_1"]["value"] > found["base"]["pass_at_1"]["value"]
