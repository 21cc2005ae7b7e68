"""Which pair is trained on where is a function of the seed, the position and the snapshot in force there; whoever
reads ahead, skips or shards the sequence changes nothing of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from accelerate.data_loader import BatchSamplerShard, DataLoaderShard, skip_first_batches
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import BatchSampler, DataLoader
from trl import DPOConfig

from rlcode.errors import DataError, RunDirectoryError
from rlcode.types import ErrorType
from sampling.notebook import ErrorNotebook
from sampling.pool import ERROR_TYPES, PairPool, build_pair_pool
from sampling.snapshots import QuizResult, Snapshot, SnapshotHistory
from sampling.store import read_rollouts
from sampling.strategies import STRATEGIES, make_strategy
from sampling.strategies.mixture import Groups, MixturePlan, Part
from train.draw_log import DrawLog
from train.pair_sampler import PairDataset, PairSampler, PlacedDraw, StepPlan


@dataclass(frozen=True)
class LastQuiz:
    """Draws failures of the type that the last quiz saw; all types before there was one."""

    def plan(self, pool, history, *, length, seed):
        types, last = Groups(pool, pool.error_types), history[-1].quiz
        wanted = [ERROR_TYPES.index(error_type) for error_type in last.errors] if last else types.labels
        parts = [Part("quiz" if last else "start", 1.0, np.isin(types.labels, wanted).astype(float))]
        return MixturePlan(pool, types, lambda position: parts)


@pytest.fixture(scope="module")
def pool(judged_rollouts: Path) -> PairPool:
    return build_pair_pool(read_rollouts([judged_rollouts]))


PLAN = StepPlan(draws_per_step=8, steps_per_epoch=5, num_steps=15, delay=1)


def make_sampler(pool: PairPool, plan: StepPlan = PLAN, seed: int = 0) -> PairSampler:
    return PairSampler(pool, LastQuiz(), SnapshotHistory(Snapshot(0, ErrorNotebook())), plan, seed=seed)


def quiz(step: int, *errors: ErrorType) -> QuizResult:
    return QuizResult(1 + step, step, 10, dict.fromkeys(errors, 1))


def type_of(pool: PairPool, placed: PlacedDraw) -> ErrorType:
    return ERROR_TYPES[pool.sides.error_type[placed.draw.rejected]]


def positions(batches) -> list[list[int]]:
    return [[placed.position for placed in batch] for batch in batches]


@settings(max_examples=50, deadline=None)
@given(
    processes=st.integers(1, 4),
    batch=st.integers(1, 4),
    accumulation=st.integers(1, 3),
    num_pairs=st.integers(1, 50),
    epoch=st.integers(0, 2),
)
def test_a_step_of_all_processes_is_made_of_the_same_positions(pool, processes, batch, accumulation, num_pairs, epoch):
    args = DPOConfig(
        output_dir="unused",
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=accumulation,
        num_train_epochs=3,
        use_cpu=True,
        bf16=False,
    )
    alone = StepPlan.from_arguments(args, num_pairs)
    plan = StepPlan(
        alone.draws_per_step * processes, -(-num_pairs // (alone.draws_per_step * processes)), 10**6, delay=1
    )
    shards = []
    for process in range(processes):
        sampler = make_sampler(pool, plan)
        sampler.epoch = lambda: epoch
        shards.append(list(BatchSamplerShard(BatchSampler(sampler, batch, False), processes, process)))
    assert len({len(shard) for shard in shards}) == 1
    assert len(shards[0]) == plan.steps_per_epoch * accumulation
    for step in range(plan.steps_per_epoch):
        own = slice(step * accumulation, (step + 1) * accumulation)
        seen = sorted(place for shard in shards for places in positions(shard[own]) for place in places)
        first = (epoch * plan.steps_per_epoch + step) * plan.draws_per_step
        assert seen == list(range(first, first + plan.draws_per_step))


def test_epochs_draw_on_and_other_seeds_draw_other_pairs(pool: PairPool):
    sampler, other = make_sampler(pool), make_sampler(pool, seed=1)
    first = list(sampler)
    sampler.epoch = lambda: 1
    second = list(sampler)
    assert [placed.position for placed in first + second] == list(range(80))
    assert [placed.draw for placed in first] != [placed.draw for placed in second]
    assert [placed.draw for placed in first] != [placed.draw for placed in other]


@pytest.mark.parametrize(("workers", "prefetch"), [(0, None), (1, None), (2, None), (2, 3)])
@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_snapshot_counts_from_its_position_on_and_is_announced_for_the_first_step_that_nobody_read(
    pool: PairPool, workers: int, prefetch: int | None, accumulation: int
):
    args = DPOConfig(
        output_dir="unused",
        per_device_train_batch_size=4,
        gradient_accumulation_steps=accumulation,
        dataloader_num_workers=workers,
        dataloader_prefetch_factor=prefetch,
        num_train_epochs=1,
        use_cpu=True,
        bf16=False,
    )
    plan = StepPlan.from_arguments(args, num_pairs=4 * 30)
    undisturbed, sampler = list(make_sampler(pool, plan)), make_sampler(pool, plan)
    loader = DataLoaderShard(
        PairDataset(pool, len(sampler)),
        batch_sampler=BatchSampler(sampler, 4, False),
        num_workers=workers,
        prefetch_factor=prefetch,
        collate_fn=list,
    )
    batches = iter(loader)
    first_steps = [next(batches) for _ in range(3 * accumulation)]
    at = sampler.announce(ErrorNotebook(), quiz(3, ErrorType.TYPE)).from_position
    assert at - plan.draws_per_step < sampler.read <= at, "later than need be, or too early"
    drawn = [example["draw"] for batch in [*first_steps, *batches] for example in batch]
    assert drawn[:at] == undisturbed[:at]
    assert {type_of(pool, placed) for placed in undisturbed} == {ErrorType.NAME, ErrorType.TYPE}
    assert {type_of(pool, placed) for placed in drawn[at:]} == {ErrorType.TYPE}
    assert {placed.draw.part for placed in drawn[at:]} == {"quiz"}


def test_a_snapshot_that_comes_too_late_is_refused(pool: PairPool):
    sampler = make_sampler(pool)
    reading = iter(sampler)
    for _ in range(17):
        next(reading)
    with pytest.raises(RuntimeError, match="from position 16 comes too late: draws were read up to 17"):
        sampler.announce(ErrorNotebook(), quiz(1))
    with pytest.raises(RuntimeError, match="from position 0 comes too late"):
        sampler.begin_with(ErrorNotebook(), quiz(0))
    assert sampler.announce(ErrorNotebook(), quiz(2)).from_position == 24


def test_what_is_known_before_the_first_draw_counts_from_it_on(pool: PairPool):
    sampler = make_sampler(pool)
    sampler.begin_with(ErrorNotebook(), quiz(0, ErrorType.TYPE))
    assert {type_of(pool, placed) for placed in sampler} == {ErrorType.TYPE}
    assert len(sampler.history) == 1


@pytest.mark.parametrize("step", [1, 4, 5, 7, 12])
def test_a_resume_at_any_step_draws_on_from_there_with_the_saved_snapshots(pool: PairPool, tmp_path: Path, step: int):
    undisturbed = make_sampler(pool)
    whole: list[PlacedDraw] = []
    for epoch in range(3):
        undisturbed.epoch = lambda epoch=epoch: epoch
        for placed in undisturbed:
            whole.append(placed)
            if placed.position == 2 * 8:  # the loader is a batch ahead at the end of step 2
                undisturbed.announce(ErrorNotebook(), quiz(2, ErrorType.NAME))
            if placed.position == 6 * 8:
                undisturbed.announce(ErrorNotebook(), quiz(6, ErrorType.TYPE))
    saved = SnapshotHistory(Snapshot(0, ErrorNotebook()))
    for snapshot in list(undisturbed.history)[1:]:
        if snapshot.quiz.step <= step:
            saved.announce(snapshot)
    saved.save(tmp_path)

    resumed = PairSampler(pool, LastQuiz(), SnapshotHistory.load(tmp_path), PLAN, seed=0)
    drawn = []
    for epoch in range(step // 5, 3):
        resumed.epoch = lambda epoch=epoch: epoch
        loader = DataLoader(PairDataset(pool, len(resumed)), sampler=resumed, batch_size=8, collate_fn=list)
        for batch in skip_first_batches(loader, step % 5 if epoch == step // 5 else 0):
            drawn += [example["draw"] for example in batch]
            for done, error_type in ((2, ErrorType.NAME), (6, ErrorType.TYPE)):
                if step < done and drawn[-1].position == (done + 1) * 8 - 1:
                    resumed.announce(ErrorNotebook(), quiz(done, error_type))
    assert drawn == whole[step * 8 :]
    assert {placed.draw.part for placed in whole} == {"start", "quiz"}


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_draws_alike_for_who_begins_at_the_start_and_who_begins_later(
    pool: PairPool, judged_rollouts: Path, name: str
):
    def draws(first_epoch: int) -> list[PlacedDraw]:
        notebook = ErrorNotebook()
        notebook.observe(read_rollouts([judged_rollouts]))
        history = SnapshotHistory(Snapshot(0, notebook))
        history.announce(Snapshot(56, notebook, quiz(6, ErrorType.TYPE)))
        sampler = PairSampler(pool, make_strategy(name), history, PLAN, seed=0)
        drawn = []
        for epoch in range(first_epoch, 3):
            sampler.epoch = lambda epoch=epoch: epoch
            drawn += list(sampler)
        return drawn

    assert draws(0)[40:] == draws(1)
    assert draws(0)[80:] == draws(2)


def test_a_history_is_loaded_as_it_was_saved(pool: PairPool, judged_rollouts: Path, tmp_path: Path):
    notebook = ErrorNotebook(short_half_life=7)
    notebook.observe(read_rollouts([judged_rollouts]))
    history = SnapshotHistory(Snapshot(0, ErrorNotebook()))
    history.announce(Snapshot(24, notebook, QuizResult(3, 2, 10, {ErrorType.TYPE: 4})))
    history.save(tmp_path)
    first, second = SnapshotHistory.load(tmp_path)
    assert (first.from_position, first.quiz, first.notebook.scored) == (0, None, 0)
    assert (second.from_position, second.quiz) == (24, QuizResult(3, 2, 10, {ErrorType.TYPE: 4}))
    assert second.notebook.kinds() == notebook.kinds()
    (tmp_path / "notebook-1.json").unlink()
    with pytest.raises(DataError, match=r"notebook-1\.json"):
        SnapshotHistory.load(tmp_path)


def test_the_log_of_draws_is_taken_back_to_the_step_of_a_resume(pool: PairPool, judged_rollouts: Path, tmp_path: Path):
    path, draws = tmp_path / "draws.jsonl", list(make_sampler(pool))
    log = DrawLog(path, pool, writes=True)
    for step in range(3):
        log.take(step, draws[8 * step : 8 * step + 8])
        metrics = log.metrics()
    with open(path, "a") as file:
        file.write('{"position": 24, "st')  # torn by a kill

    resumed = DrawLog(path, pool, writes=True)
    resumed.go_on_from(2, draws_per_step=8)
    resumed.take(2, draws[16:24])
    lines = path.read_text().splitlines()
    assert len(lines) == 16
    assert resumed.metrics() == metrics
    assert path.read_text().splitlines()[:16] == lines
    with pytest.raises(RunDirectoryError, match="does not hold the 2 x 4 draws before step 2"):
        DrawLog(path, pool, writes=True).go_on_from(2, draws_per_step=4)
    fewer = build_pair_pool(list(read_rollouts([judged_rollouts]))[5:])
    with pytest.raises(RunDirectoryError, match="they have changed since the run began"):
        DrawLog(path, fewer, writes=True).go_on_from(2, draws_per_step=8)


def test_shares_of_the_draws_are_those_since_the_last_time_and_counts_those_of_the_run(pool: PairPool, tmp_path: Path):
    log, draws = DrawLog(tmp_path / "draws.jsonl", pool, writes=True), list(make_sampler(pool))
    names = [placed for placed in draws if type_of(pool, placed) is ErrorType.NAME]
    types = [placed for placed in draws if type_of(pool, placed) is ErrorType.TYPE]
    log.take(0, [names[0], names[0], names[1], types[0]])
    first = log.metrics()
    assert (first["draws/type/name"], first["draws/type/type"], first["draws/part/start"]) == (0.75, 0.25, 1.0)
    assert first["draws/distinct_pairs"] == len({placed.draw for placed in (names[0], names[1], types[0])})
    log.take(1, [replace(types[0], draw=replace(types[0].draw, part="replay"))])
    second = log.metrics()
    assert (second["draws/type/name"], second["draws/type/type"]) == (0.0, 1.0)
    assert (second["draws/part/start"], second["draws/part/replay"]) == (0.0, 1.0)
    assert second["draws/distinct_pairs"] == first["draws/distinct_pairs"]
    assert log.metrics() == {}
