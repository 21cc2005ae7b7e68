"""What of a plan a run asks for again, and how little of it it holds."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from sampling.engine import GenerationRequest
from sampling.rollouts import key_of, unfinished_blocks
from sampling.tally import SampleKeys

PLAN = [GenerationRequest(f"t{task}", index, (task,)) for task in range(4) for index in range(5)]


@given(st.sets(st.sampled_from(PLAN)), st.integers(1, 25))
def test_a_block_is_asked_for_whole_or_not_at_all(done, block_size: int):
    asked = list(unfinished_blocks(PLAN, {key_of(request) for request in done}, block_size))
    for start in range(0, len(PLAN), block_size):
        block = PLAN[start : start + block_size]
        assert [request for request in block if request in asked] == ([] if done.issuperset(block) else block)
    assert asked == sorted(asked, key=PLAN.index)


def test_an_engine_that_batches_by_itself_is_asked_for_what_is_missing_alone():
    done = {key_of(request) for request in PLAN[::3]}
    assert list(unfinished_blocks(PLAN, done, None)) == [request for request in PLAN if key_of(request) not in done]


def test_the_plan_is_read_only_as_far_as_it_is_asked_for():
    plan = (GenerationRequest("t", index, ()) for index in itertools.count())
    asked = unfinished_blocks(plan, SampleKeys(), 4)
    assert [next(asked).index for _ in range(5)] == list(range(5))
    assert next(plan).index == 8


@given(st.sets(st.tuples(st.text(max_size=2), st.integers(0, 300))))
def test_sample_keys_are_a_set(keys):
    held = SampleKeys()
    for task_id, index in keys:
        held.add(task_id, index)
        held.add(task_id, index)
    assert len(held) == len(keys)
    assert all(key in held for key in keys)
    assert ("no such task", 0) not in held
    assert all(((task_id, index + 1) in held) == ((task_id, index + 1) in keys) for task_id, index in keys)
