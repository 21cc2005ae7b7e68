"""The quick ones of the commands that the documentation shows, really run in a folder with the files that they name."""

from __future__ import annotations

import gzip
import io
import json
import re
import sys
from pathlib import Path

import pandas as pd
import pytest
from transformers import AutoTokenizer

from rlcode.cli import main
from rlcode.types import Completion, ErrorType, Program, Rollout, Verdict
from sampling.store import write_rollouts
from tests.shown_commands import ROOT, commands_in, shown_commands

ANSWER = """\
from typing import List


def has_close_elements(numbers: List[float], threshold: float) -> bool:
    return False
"""
PROMPT, PASSED, WRONG = "def f():\n", "    return 1", "    return 2"


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory, shared_data: Path, random_model: Path) -> Path:
    """Where the commands are run: our configurations, and small files under the names that the pages use."""
    here = tmp_path_factory.mktemp("workplace")
    (here / "configs").symlink_to(ROOT / "configs")
    (here / "answer.py").write_text(ANSWER)
    samples = gzip.decompress((shared_data / "humaneval_codegen16b_n20.jsonl.gz").read_bytes()).decode()
    rows = [json.loads(line) for line in samples.splitlines()]
    rows = [row for row in rows if row["task_id"] in ("HumanEval/23", "HumanEval/53")]
    halves = {"base": rows[:10] + rows[20:30], "dpo": rows[10:20] + rows[30:]}
    for name, half in halves.items():
        (here / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in half))
    question = {"question": "Write a function that doubles a number.", "unit_tests": "assert double(2) == 4"}
    pd.DataFrame([question]).to_parquet(here / "problems.parquet")
    tokenizer = AutoTokenizer.from_pretrained(random_model)
    for run in ("r1", "r2", "first/dpo-1"):
        outcomes = [(0, PASSED, Verdict(None, 2, 2)), (1, WRONG, Verdict(ErrorType.INDEX, 1, 2))]
        rollouts = [rollout(tokenizer, index, text, verdict) for index, text, verdict in outcomes]
        write_rollouts(here / "runs" / run / "rollouts.jsonl", rollouts)
    return here


def rollout(tokenizer: object, index: int, text: str, verdict: Verdict) -> Rollout:
    prompt, tokens = (tuple(tokenizer(one)["input_ids"]) for one in (PROMPT, text))  # type: ignore[operator]
    completion = Completion("p", index, text, prompt, tokens, (-1.0,) * len(tokens), "stop", 0, seed=index)
    return Rollout(completion, Program(PROMPT + text, "continuation"), verdict)


@pytest.fixture
def run(workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run a line that some page shows, with `more` behind it: where the data lies, say. Exit code and what it said."""
    shown = {command.words for command in shown_commands()}
    monkeypatch.chdir(workplace)
    monkeypatch.setenv("COLUMNS", "120")

    def run_line(line: str, *more: object, stdin: str = "") -> tuple[int, str]:
        (words,) = commands_in(line)
        assert words in shown, f"no page shows `{line}` any more"
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        code = main([*words[1:], *map(str, more)])
        return code, capsys.readouterr().out

    return run_line


def test_a_program_is_judged_as_the_readme_shows_it(run, shared_data: Path):
    data = shared_data / "HumanEval.jsonl.gz"
    code, said = run("rlcode sandbox run answer.py --benchmark humaneval --task HumanEval/0", "--file", data)
    readme = (ROOT / "README.md").read_text()
    for line in (
        "✗ wrong_answer  3 of 7 tests passed",
        "test      assert candidate([1.0, 2.0, 3.9, 4.0, 5.0, 2.2], 0.3)",
    ):
        assert line in readme
        assert line in said
    assert code == 1


def test_a_program_from_a_pipe_is_run(run):
    code, said = run("echo 'print(6 * 7)' | rlcode sandbox run -", stdin="print(6 * 7)\n")
    assert (code, "42" in said) == (0, True)


def test_samples_are_evaluated_and_evaluations_compared(run, shared_data: Path):
    humaneval = ("--benchmark_file", shared_data / "HumanEval.jsonl.gz")
    line = "rlcode eval --benchmark humaneval --samples samples.jsonl --k 1 10 --output_dir runs/eval"
    for name in ("base", "dpo"):
        code, said = run(line, *humaneval, "--samples", f"{name}.jsonl", "--output_dir", f"runs/eval-{name}")
        assert (code, "pass@10" in said) == (0, True)
    code, said = run("rlcode compare runs/eval-base runs/eval-dpo")
    assert (code, "pass@1" in said) == (0, True)


def test_rollouts_and_their_notebook_are_shown(run, workplace: Path):
    code, said = run("rlcode rollout show runs/r1 --failed --limit 20")
    assert (code, "return 2" in said, "return 1" in said) == (0, True, False)
    code, said = run("rlcode rollout show runs/first/dpo-1 --failed --error_type index --limit 1")
    assert (code, "✗ index" in said) == (0, True)
    for line in ("rlcode notebook show runs/r1", "rlcode notebook show runs/first/dpo-1"):
        code, said = run(line)
        assert (code, "50.0%" in said) == (0, True)
    assert run("rlcode notebook show runs/r1 runs/r2 --output notebook.json")[0] == 0
    assert json.loads((workplace / "notebook.json").read_text())


def test_pairs_are_written(run, random_model: Path):
    line = "rlcode pairs runs/r1 runs/r2 --output pairs --model Qwen/Qwen2.5-Coder-0.5B --num_pairs 2000"
    code, said = run(line, "--model", random_model, "--num_pairs", 4)
    assert (code, "4 pairs in pairs" in said) == (0, True)


def test_problems_are_imported_and_validated(run):
    line = "rlcode data import problems.parquet --map prompt=question tests=unit_tests --output problems.jsonl"
    assert run(line)[0] == 0
    line = "rlcode validate --benchmark jsonl --benchmark_file problems.jsonl --output_dir runs/validate"
    code, said = run(line)
    assert (code, "no_reference" in said) == (0, True)


def test_runs_are_planned(run):
    assert run("rlcode plan --config configs/grpo.yaml --gpus 1")[0] == 0
    line = (
        "rlcode plan --config configs/recipes/qwen2.5-coder-32b/dpo.yaml --gpus 4 "
        "--accelerate_config configs/accelerate/zero3.yaml --gradient_accumulation_steps 8"
    )
    code, said = run(line)
    device = re.search(r"at the worst moment\W+([\d.]+)", said)
    assert device, said
    figure = re.search(r"\| 32B \|.*?\| 68.1 / ([\d.]+) /", (ROOT / "docs/recipes/qwen2.5-coder.md").read_text())
    assert figure
    assert (code, round(float(device[1]), 1)) == (0, float(figure[1])), "as the recipe's page has it"


def test_the_front_door_lists_the_commands(capsys: pytest.CaptureFixture[str]):
    assert main(["--help"]) == 0
    assert "doctor" in capsys.readouterr().out
