"""The search for weights never ends below the best fixed ones, and goes on where it was stopped."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import pytest

from rlcode.cli import main
from rlcode.data import jsonl
from rlcode.run_directory import file_hash
from rlcode.tiny.tasks import make_problems
from rlcode.types import Interval
from sampling.adapters import MERGE_FILE
from tests.random_models import make_adapter
from train.merge_search import climb, fixed_weights
from train.merge_table import Candidate, Weights
from train.merging import Recipe

GRID = [0.0, 0.25, 0.5, 0.75, 1.0]
LINEAR = Recipe("linear")


def scored(worth: Callable[[Weights], float], tried: list[Weights]) -> Callable[[Weights, bool], Candidate]:
    def try_out(weights: Weights, is_fixed: bool) -> Candidate:
        tried.append(weights)
        value = worth(weights)
        return Candidate(weights, {"1": Interval(value, value, value)}, None, is_fixed)

    return try_out


def found(worth: Callable[[Weights], float], count: int = 2, most: int = 24) -> tuple[Weights, list[Weights]]:
    tried: list[Weights] = []
    best = climb(scored(worth, tried), count, LINEAR, GRID, most, 1)
    return best.weights, tried


def near(*wanted: float) -> Callable[[Weights], float]:
    return lambda weights: 1 - math.dist(weights, wanted) / 2


def test_it_climbs_to_the_best_weights_of_the_grid():
    assert found(near(0.75, 0.25))[0] == (0.75, 0.25)
    assert found(near(0.25, 1.0, 0.5), count=3)[0] == (0.25, 1.0, 0.5)


def test_no_weights_are_tried_twice_and_never_all_of_them_0():
    _, tried = found(near(0.6, 0.4))
    assert len(tried) == len(set(tried))
    assert (0.0, 0.0) not in tried


def test_the_fixed_ones_are_always_tried_first():
    fixed = [(1.0, 0.0), (0.0, 1.0), (0.5, 0.5), (1.0, 1.0)]
    assert fixed_weights(2, LINEAR) == fixed
    assert fixed_weights(2, Recipe("ties", density=0.5)) == [(1.0, 0.0), (0.0, 1.0), (1.0, 1.0)]
    best, tried = found(near(0.25, 0.25), most=1)
    assert tried == fixed
    assert best == (0.5, 0.5)


def test_it_stops_after_as_many_as_were_allowed():
    assert len(found(near(0.25, 0.75), most=6)[1]) == 6


@pytest.mark.parametrize("fixed", fixed_weights(2, LINEAR))
def test_a_fixed_one_that_nothing_beats_wins(fixed: Weights):
    """Not the first of equal ones that the search came by."""
    assert found(lambda weights: float(weights == fixed))[0] == fixed
    assert found(lambda weights: 0.5)[0] == (1.0, 0.0)


@pytest.fixture(scope="module")
def words(tmp_path_factory, random_model: Path, random_adapter: Path) -> list[str]:
    """A search over two adapters on two problems."""
    folder = tmp_path_factory.mktemp("search")
    other = make_adapter(folder / "other", random_model, seed=2)
    jsonl.save(make_problems("validation", 2, 0), folder / "problems.jsonl")
    line = ["merge-adapters", str(random_adapter), str(other), "--search", "--grid", "0", "1"]
    line += ["--benchmark", "jsonl", "--benchmark_file", str(folder / "problems.jsonl"), "--sandbox", "local"]
    line += ["--num_samples", "2", "--k", "1", "2", "--max_completion_length", "8"]
    return [*line, "--search_dir", str(folder / "search"), "--output"]


@dataclass(frozen=True)
class Searched:
    """A search that was done."""

    folder: Path
    output: Path
    said: str


@pytest.fixture(scope="module")
def searched(words: list[str]) -> Searched:
    folder = Path(words[-2])
    said = StringIO()
    with redirect_stdout(said):
        assert main([*words, str(folder.with_name("merged"))]) == 0
    return Searched(folder, folder.with_name("merged"), said.getvalue())


def test_a_search_evaluates_all_on_the_same_and_writes_the_best(searched: Searched):
    candidates = json.loads((searched.folder / "search.json").read_text())
    assert [one["weights"] for one in candidates] == [[1, 0], [0, 1], [0.5, 0.5], [1, 1]]
    assert all(one["pass_at_k"].keys() == {"1", "2"} for one in candidates)
    reports = sorted((searched.folder / "candidates").glob("*/evaluation/report.json"))
    settings = {json.dumps([json.loads(path.read_text())[key] for key in ("seed", "data")]) for path in reports}
    assert (len(reports), len(settings)) == (4, 1)
    record = json.loads((searched.output / MERGE_FILE).read_text())
    assert [one["weight"] for one in record["adapters"]] == [1, 0], "a random model passes nothing: the first wins"
    assert "candidate 3 (of 24 at most), weights 0.5 0.5: pass@1 0.000" in searched.said
    assert "measure it on others" in searched.said
    assert "| 0.5 0.5 |" in (searched.folder / "search.md").read_text()


def test_a_search_that_was_stopped_evaluates_only_what_is_missing(tmp_path: Path, words: list[str], searched: Searched):
    candidates = searched.folder / "candidates"
    before = {path: path.stat().st_mtime_ns for path in candidates.glob("*/evaluation/*") if "0.5" not in str(path)}
    adapter = file_hash(candidates / "0.5_0.5" / "adapter" / "adapter_model.safetensors")
    (candidates / "0.5_0.5" / "evaluation" / "report.json").unlink()
    assert main([*words, str(tmp_path / "again")]) == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert (candidates / "0.5_0.5" / "evaluation" / "report.json").is_file()
    assert file_hash(candidates / "0.5_0.5" / "adapter" / "adapter_model.safetensors") == adapter
    one, other = (file_hash(path / "adapter_model.safetensors") for path in (searched.output, tmp_path / "again"))
    assert one == other


def test_another_search_does_not_go_on_in_its_directory(tmp_path: Path, words: list[str], searched: Searched, capsys):
    assert main([*words, str(tmp_path / "other"), "--seed", "1"]) == 2
    assert "another configuration" in capsys.readouterr().err
