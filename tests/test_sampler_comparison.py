"""The comparison of samplers: its file survives kills, and its table says what the measured cells say."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.sampler_arms import ARMS, ShuffledFrequency
from benchmarks.sampler_results import NO_TRAINING, Budget, Cell, Measured, Result, Round, append_result, read_results
from benchmarks.sampler_table import BASELINE_DRAWS, figures, groups_of
from benchmarks.samplers import cells_of
from eval.paired import paired_difference
from rlcode.types import ErrorType
from sampling.draws import PairSequence
from sampling.pool import ERROR_TYPES, PASSED, build_pair_pool
from sampling.snapshots import QuizResult, Snapshot, SnapshotHistory
from tests.sampling.judged import rollout, seen

CELL = Cell("noise", "screen", "dpo", "uniform", 0, 100, Budget(1, 120, 12, 256), 1e-3, 0.0)
ROUNDS = (Round(0.4, {"type": 0.6}, {"type": 1.0}, {"all": 1.0}, 200, 1000, 2000),)


def result(pass_at_1: float, greedy: float = 0.5) -> Result:
    return Result(pass_at_1, 0.9, greedy, {"type": 0.25}, {}, 0, 256, 200, 1000, 2000, 0, ROUNDS, 1.0, 1.0)


def measured(arm: str, seed: int, pass_at_1: float, draw: int = 0, objective: str = "dpo") -> Measured:
    return Measured(replace(CELL, arm=arm, seed=seed, draw=draw, objective=objective), result(pass_at_1))


def test_what_was_appended_is_read_again_exactly(tmp_path: Path):
    path = tmp_path / "new" / "results.jsonl"
    rows = [measured("uniform", 100, 0.5), measured("frequency", 100, 0.25)]
    for row in rows:
        append_result(path, row)
    assert read_results(path) == rows
    assert read_results(tmp_path / "absent.jsonl") == []


def test_a_line_that_a_kill_tore_is_left_out_and_the_next_one_is_whole(tmp_path: Path):
    path = tmp_path / "results.jsonl"
    first, second = measured("uniform", 100, 0.5), measured("frequency", 100, 0.25)
    append_result(path, first)
    whole = path.read_text()
    path.write_text(whole + whole[: len(whole) // 2])
    assert read_results(path) == [first]
    append_result(path, second)
    assert read_results(path) == [first, second]


def test_a_cell_with_other_settings_is_another_cell(tmp_path: Path):
    path = tmp_path / "results.jsonl"
    append_result(path, measured("uniform", 100, 0.5))
    done = {row.cell for row in read_results(path)}
    assert CELL in done
    for other in (
        replace(CELL, learning_rate=2e-3),
        replace(CELL, draw=1),
        replace(CELL, budget=Budget(1, 120, 12, 128)),
    ):
        assert other not in done


BASELINES = {100: (0.40, 0.42, 0.44), 101: (0.50, 0.53, 0.50), 102: (0.45, 0.45, 0.48)}
FREQUENCY = {100: 0.45, 101: 0.52, 102: 0.47}


def one_group() -> list[Measured]:
    rows = [measured(NO_TRAINING, seed, 0.3, objective=NO_TRAINING) for seed in BASELINES]
    rows += [measured("uniform", seed, p, draw) for seed, ps in BASELINES.items() for draw, p in enumerate(ps)]
    rows += [measured("frequency", seed, p) for seed, p in FREQUENCY.items()]
    rows += [measured("shuffled", seed, p - 0.1) for seed, p in FREQUENCY.items()]
    return rows


def test_an_arm_is_held_against_the_mean_of_the_baselines_draws():
    (group,) = groups_of(one_group())
    found = {one.arm: one for one in group.comparisons()}
    assert set(found) == {"frequency", "shuffled", "A/A"}, "neither the base nor the baseline is compared with itself"
    by_hand = paired_difference([0.45, 0.52, 0.47], [0.42, 0.51, 0.46])
    assert found["frequency"].differences["pass@1"].mean == pytest.approx(by_hand.mean)
    assert found["frequency"].differences["pass@1"].p == pytest.approx(by_hand.p)
    assert found["shuffled"].differences["pass@1"].mean == pytest.approx(by_hand.mean - 0.1)


def test_p_is_corrected_for_all_comparisons_of_a_bed_and_phase():
    (group,) = groups_of(one_group())
    found = {one.arm: one for one in group.comparisons() if one.arm != "A/A"}
    low, high = sorted(one.differences["pass@1"].p for one in found.values())
    assert sorted(one.p_holm for one in found.values()) == pytest.approx([2 * low, max(2 * low, high)])


def test_the_a_a_run_is_the_first_draw_against_the_others_and_no_part_of_the_family():
    (group,) = groups_of(one_group())
    (null,) = [one for one in group.comparisons() if one.arm == "A/A"]
    assert null.differences["pass@1"].mean == pytest.approx(np.mean([0.40 - 0.43, 0.50 - 0.515, 0.45 - 0.465]))
    assert null.p_holm is None


def test_phases_and_beds_are_families_of_their_own():
    other = [Measured(replace(row.cell, phase="confirm"), row.result) for row in one_group()]
    groups = groups_of([*one_group(), *other])
    assert [group.phase for group in groups] == ["confirm", "screen"]
    assert [one.p_holm for one in groups[0].comparisons()] == [one.p_holm for one in groups[1].comparisons()]


def test_objectives_are_compared_by_their_baselines():
    sft = [
        measured("uniform", seed, p + 0.05, draw, "sft") for seed, ps in BASELINES.items() for draw, p in enumerate(ps)
    ]
    (group,) = groups_of([*one_group(), *sft])
    (comparison,) = [one for one in group.comparisons() if one.objective == "sft" and one.arm != "A/A"]
    assert (comparison.arm, comparison.against) == ("uniform", "dpo")
    assert comparison.differences["pass@1"].mean == pytest.approx(0.05)


def test_a_seed_whose_baseline_is_not_whole_is_not_compared():
    rows = [row for row in one_group() if (row.cell.seed, row.cell.draw) != (102, 2)]
    (group,) = groups_of(rows)
    (comparison,) = [one for one in group.comparisons() if one.arm == "frequency"]
    assert comparison.differences["pass@1"].n == 2


def test_how_fast_it_was_learned_is_compared_where_there_are_rounds():
    def run(arm: str, seed: int, draw: int, later: float) -> Measured:
        rounds = tuple(replace(ROUNDS[0], passed=passed) for passed in (0.4, later, later + 0.1))
        return Measured(replace(CELL, arm=arm, seed=seed, draw=draw), replace(result(0.5), rounds=rounds))

    rows = [run("uniform", seed, draw, 0.4 + seed / 1000) for seed in BASELINES for draw in range(3)]
    rows += [run("frequency", seed, 0, 0.42 + seed / 1000) for seed in BASELINES]
    (group,) = groups_of(rows)
    (comparison,) = [one for one in group.comparisons() if one.arm == "frequency"]
    assert comparison.differences["later rounds"].mean == pytest.approx(0.02)
    (single,) = groups_of(one_group())
    assert "later rounds" not in single.comparisons()[0].differences


def test_the_noise_of_draws_is_that_of_the_baseline_within_a_seed():
    (group,) = groups_of(one_group())
    spread = np.mean([np.var(ps, ddof=1) for ps in BASELINES.values()]) ** 0.5
    assert group.draw_noise("dpo") == pytest.approx(spread)
    assert group.draw_noise("sft") is None


def test_a_single_seed_is_shown_and_not_compared():
    rows = [row for row in one_group() if row.cell.seed == 100]
    (figure,) = figures(groups_of(rows))
    assert figure["comparisons"] == []
    assert {arm["arm"] for arm in figure["arms"]} == {"base", "uniform", "frequency", "shuffled"}


def arguments(**given: object) -> argparse.Namespace:
    plain = {"phase": "screen", "seeds": None, "arms": None, "objectives": None, "rounds": None, "pairs": None}
    return argparse.Namespace(**{**plain, **given})


def test_every_arm_is_run_with_and_without_the_nll_term_and_sft_with_the_baseline():
    from benchmarks.sampler_beds import BEDS

    cells = list(cells_of(BEDS["noise"], arguments(seeds=2)))
    assert len(set(cells)) == len(cells)
    assert {cell.seed for cell in cells} == {100, 101}
    for objective in ("dpo", "dpo_nll"):
        assert {cell.arm for cell in cells if cell.objective == objective} == set(ARMS)
    assert {cell.arm for cell in cells if cell.objective == "sft"} == {"uniform"}
    baseline = [cell for cell in cells if cell.arm == "uniform" and cell.objective == "dpo"]
    assert len(baseline) == 2 * BASELINE_DRAWS
    assert all(cell.split == "held_out" for cell in cells)


def test_settings_are_tuned_on_validation_problems_and_other_seeds():
    from benchmarks.sampler_beds import BEDS

    tuned = list(cells_of(BEDS["systematic"], arguments(phase="tune")))
    assert {cell.split for cell in tuned} == {"validation"}
    seeds = {
        phase: {cell.seed for cell in cells_of(BEDS["systematic"], arguments(phase=phase))}
        for phase in ("tune", "screen", "confirm")
    }
    assert not seeds["tune"] & seeds["screen"] | seeds["screen"] & seeds["confirm"] | seeds["tune"] & seeds["confirm"]


def test_the_shuffled_control_gives_types_each_others_frequencies():
    errors = [ErrorType.TYPE] * 6 + [ErrorType.NAME] * 3 + [ErrorType.INDEX]
    rollouts = [rollout("p", 0, None), *(rollout("p", i, error) for i, error in enumerate(errors, start=1))]
    pool, snapshot = build_pair_pool(rollouts), Snapshot(0, seen(rollouts))
    drawn = set()
    for seed in range(6):
        plan = ShuffledFrequency().plan(pool, [snapshot], length=100, seed=seed)
        (part,) = plan.parts_at(0)
        assert sorted(part.weights) == pytest.approx([1 / 11, 3 / 11, 6 / 11])
        drawn.add(tuple(part.weights))
    assert len(drawn) > 1


@pytest.mark.parametrize("name", ARMS)
def test_every_arm_draws_pairs_from_its_pool(name: str):
    errors = (None, None, ErrorType.TYPE, ErrorType.TYPE, ErrorType.NAME)
    rollouts = [rollout(f"p{p}", i, error, f"return {p} + {i}") for p in range(4) for i, error in enumerate(errors)]
    arm, snapshot = ARMS[name], Snapshot(0, seen(rollouts), QuizResult(0, 0, 8, {ErrorType.NAME: 3}))
    pool = build_pair_pool(rollouts, arm.pool)
    sequence = PairSequence(pool, arm.make(), SnapshotHistory(snapshot), length=40, seed=1)
    draws = [sequence.draw(position) for position in range(40)]
    types = {ERROR_TYPES[pool.sides.error_type[draw.rejected]] for draw in draws}
    assert types == {ErrorType.TYPE, ErrorType.NAME}
    assert all(pool.sides.error_type[draw.chosen] == PASSED for draw in draws)


def test_ap2os_window_goes_all_the_way_in_one_run():
    errors = (None, None, *[ErrorType.TYPE] * 4, *[ErrorType.NAME] * 2)
    rollouts = [rollout(f"p{p}", i, error, f"return {p} + {i}") for p in range(5) for i, error in enumerate(errors)]
    pool, history = build_pair_pool(rollouts), SnapshotHistory(Snapshot(0, seen(rollouts)))
    sequence = PairSequence(pool, ARMS["ap2o_low_to_high"].make(), history, length=30, seed=1)
    types = [ERROR_TYPES[pool.sides.error_type[sequence.draw(position).rejected]] for position in range(30)]
    assert types == [ErrorType.NAME] * 10 + [ErrorType.TYPE] * 20, "six visits of each problem, one for each failure"
