"""A cell of the comparison of samplers, whole: a model that solves some problems, real training, the sandbox."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import sampler_cells
from benchmarks.sampler_beds import BASES
from benchmarks.sampler_cells import Workshop, run_cell, training_config
from benchmarks.sampler_results import NO_TRAINING, Budget, Cell, Result

CELL = Cell("noise", "screen", "dpo", "uniform", 0, 7, Budget(rounds=2, problems=8, samples=6, pairs=32), 4e-3, 0.0)


@pytest.fixture(scope="module")
def workshop(tmp_path_factory, quickstart_run: Path) -> Iterator[Workshop]:
    work = tmp_path_factory.mktemp("work")
    for number in range(BASES):
        (work / f"noise-base{number}").symlink_to(quickstart_run / "model")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HELD_OUT_PROBLEMS", "QUIZ_PROBLEMS"):
            patch.setattr(sampler_cells, name, 6)
        with Workshop(work, "local") as workshop:
            yield workshop


@pytest.fixture(scope="module")
def uniform(workshop: Workshop) -> Result:
    return run_cell(CELL, workshop)


def test_equal_cells_give_equal_results(workshop: Workshop, uniform: Result):
    again = run_cell(CELL, workshop)
    assert replace(again, wall_s=0, cpu_s=0) == replace(uniform, wall_s=0, cpu_s=0)


def test_what_was_used_is_counted(uniform: Result):
    assert uniform.pairs == 64
    assert 16 <= uniform.distinct_pairs <= 64
    assert uniform.trained_tokens > 64 * 2 * 5
    assert uniform.generated_tokens > 2 * 8 * 6 * 5
    assert uniform.quiz_samples == uniform.unscored == 0
    for one in uniform.rounds:
        assert one.passed + sum(one.error_rates.values()) == pytest.approx(1)
        assert sum(one.drawn.values()) == pytest.approx(1)


def test_arms_of_a_seed_share_the_first_completions_and_then_go_their_ways(workshop: Workshop, uniform: Result):
    other = run_cell(replace(CELL, arm="frequency_0"), workshop)
    first, second = uniform.rounds[0], other.rounds[0]
    assert (first.passed, first.error_rates) == (second.passed, second.error_rates)
    assert first.drawn != second.drawn
    # few completions: their errors may be as many of each type by chance
    assert uniform.rounds[1].generated_tokens != other.rounds[1].generated_tokens


def test_another_draw_of_the_same_rule_trains_on_other_pairs(workshop: Workshop, uniform: Result):
    other = run_cell(replace(CELL, draw=1), workshop)
    assert other.rounds[0].error_rates == uniform.rounds[0].error_rates
    assert other.rounds[0].trained_tokens != uniform.rounds[0].trained_tokens


def test_a_quiz_is_part_of_the_cost(workshop: Workshop, uniform: Result):
    adaptive = run_cell(replace(CELL, arm="adaptive"), workshop)
    assert adaptive.quiz_samples == 2 * 6 * sampler_cells.QUIZ_SAMPLES
    assert adaptive.generated_tokens > uniform.generated_tokens
    assert set(adaptive.rounds[0].parts) <= {"window", "replay", "rest"}


def test_sft_trains_on_the_same_pairs_to_another_policy(workshop: Workshop, uniform: Result):
    other = run_cell(replace(CELL, objective="sft"), workshop)
    assert other.rounds[0] == uniform.rounds[0]
    assert other.rounds[1].error_rates != uniform.rounds[1].error_rates


@pytest.mark.parametrize(
    ("objective", "losses"),
    [("dpo", {"sigmoid": 1.0}), ("dpo_nll", {"sigmoid": 1.0, "sft": 5.0}), ("sft", {"sft": 1.0})],
)
def test_an_objective_is_trls_losses_with_their_weights(tmp_path: Path, objective: str, losses: dict[str, float]):
    config = training_config(replace(CELL, objective=objective, nll_weight=5.0), tmp_path)
    assert dict(zip(config.loss_type, config.loss_weights, strict=True)) == losses


def test_the_base_model_is_measured_without_training(workshop: Workshop):
    base = run_cell(replace(CELL, arm=NO_TRAINING, objective=NO_TRAINING), workshop)
    assert base.pairs == base.generated_tokens == 0
    assert 0 < base.pass_at_1 < base.pass_at_10 <= 1
