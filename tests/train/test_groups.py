"""Batches of groups: what is dropped, how many are drawn in its place, and that a batch is always full."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlcode.errors import ConfigError
from rlcode.types import Completion, ErrorType, Program, Rollout, Verdict
from sampling.prompt_sampler import Band
from train.groups import Fate, Group, GroupBatch, GroupFilter

G = 8


def group(passed: int, failed: int, unscored: int = 0, task_id: str = "t") -> Group:
    verdicts = [Verdict(None, 1, 1)] * passed + [Verdict(ErrorType.NAME, 0, 1)] * failed + [None] * unscored
    rollouts = (
        Rollout(Completion(task_id, index, "x"), Program("x", "whole"), verdict)
        for index, verdict in enumerate(verdicts)
    )
    return Group(task_id, tuple(rollouts))


def fill(batch: GroupBatch, groups: list[Group]) -> GroupBatch:
    """Draw from `groups` in their order, and again from the start, until the batch wants no more."""
    at = 0
    while wanted := batch.wanted():
        batch.add([groups[(at + i) % len(groups)] for i in range(wanted)])
        at += wanted
    return batch


@pytest.mark.parametrize(
    ("found", "fate"),
    [
        (group(4, 4), Fate.KEPT),
        (group(8, 0), Fate.ALL_PASS),
        (group(0, 8), Fate.ALL_FAIL),
        (group(1, 7), Fate.OUT_OF_BAND),
        (group(7, 1), Fate.OUT_OF_BAND),  # 0.875 is the band's own end
        (group(1, 1, 6), Fate.KEPT),
        (group(2, 0, 6), Fate.ALL_PASS),
        (group(1, 0, 7), Fate.UNSCORED),
        (group(0, 0, 8), Fate.UNSCORED),
    ],
)
def test_the_fate_of_a_group_is_that_of_its_scored_samples(found: Group, fate: Fate):
    assert found.fate(Band(0.2, 0.875)) is fate
    assert found.has_variance == (fate in (Fate.KEPT, Fate.OUT_OF_BAND))


def test_groups_without_variance_are_replaced_by_others():
    batch = fill(GroupBatch(4, GroupFilter()), [group(8, 0), group(4, 4), group(0, 8), group(2, 6)])
    assert [chosen.fate(Band()) for chosen in batch.chosen()] == [Fate.KEPT] * 4
    assert batch.rounds == 2
    assert batch.metrics()["groups/zero_variance_trained"] == 0
    assert batch.short == 0


def test_where_half_of_the_groups_have_no_variance_under_five_percent_of_the_trained_ones_have_none():
    chance, flat, drawn, batches = random.Random(0), 0.0, 0, 150
    for _ in range(batches):
        groups = [chance.choice([group(8, 0), group(0, 8), group(4, 4), group(2, 6)]) for _ in range(40)]
        batch = fill(GroupBatch(8, GroupFilter()), groups)
        flat += batch.metrics()["groups/zero_variance_trained"] / batches
        drawn += len(batch.drawn)
    assert flat < 0.01
    assert drawn / batches / 8 < 2.5  # twice as many is the least that it takes


def test_where_no_group_has_variance_the_batch_is_full_and_says_so():
    batch = fill(GroupBatch(4, GroupFilter(max_refills=3)), [group(0, 8)])
    assert len(batch.drawn) == 16
    assert len(batch.chosen()) == 4
    metrics = batch.metrics()
    assert metrics["groups/short"] == 4
    assert metrics["groups/zero_variance_trained"] == 1
    assert metrics["groups/dropped_all_fail"] == 12


def test_a_batch_that_stays_short_takes_dropped_groups_with_variance_first():
    groups = [group(8, 0), group(1, 7), group(0, 1, 7), group(4, 4)]
    batch = fill(GroupBatch(4, GroupFilter(band=Band(0.2, 0.8), max_refills=0)), groups)
    assert [chosen.fate(Band(0.2, 0.8)) for chosen in batch.chosen()] == [
        Fate.KEPT,
        Fate.OUT_OF_BAND,
        Fate.ALL_PASS,
        Fate.UNSCORED,
    ]


def test_without_the_filter_the_first_groups_are_the_batch():
    groups = [group(8, 0, task_id="a"), group(0, 8, task_id="b"), group(4, 4, task_id="c")]
    batch = fill(GroupBatch(3, GroupFilter(enabled=False)), groups)
    assert batch.chosen() == groups
    assert batch.metrics()["groups/zero_variance_trained"] == pytest.approx(2 / 3)
    assert batch.metrics()["groups/dropped_all_pass"] == batch.metrics()["groups/short"] == 0


@given(
    st.integers(1, 10),
    st.integers(0, 4),
    st.lists(st.tuples(st.integers(0, G), st.integers(0, G), st.integers(0, 2)), min_size=1, max_size=60),
)
def test_a_batch_is_always_full_within_its_bounds_and_every_group_is_accounted_for(
    size: int, max_refills: int, samples: list[tuple[int, int, int]]
):
    batch = fill(GroupBatch(size, GroupFilter(max_refills=max_refills)), [group(*one) for one in samples])
    assert len(batch.chosen()) == size
    assert len(batch.drawn) <= (1 + max_refills) * size
    assert batch.rounds <= 1 + max_refills
    metrics = batch.metrics()
    dropped = sum(value for name, value in metrics.items() if name.startswith("groups/dropped"))
    assert metrics["groups/drawn"] == size + dropped + metrics["groups/surplus"]
    assert metrics["groups/zero_variance_trained"] * size == pytest.approx(metrics["groups/short"])
    assert not (metrics["groups/short"] and metrics["groups/surplus"])


def test_a_negative_bound_is_refused():
    with pytest.raises(ConfigError, match="max_refills"):
        GroupFilter(max_refills=-1)
