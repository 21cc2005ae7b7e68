"""What becomes a side of a pair, which side is chosen over which, and that no order of arrival matters."""

from __future__ import annotations

import gc
import weakref
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from rlcode.errors import DataError
from rlcode.types import Completion, ErrorType, Program, Rollout, Stage, Verdict
from sampling.arguments import PoolArguments
from sampling.choices import MAX_COMPARED, RULES
from sampling.edit_distance import edit_distance
from sampling.pool import ERROR_TYPES, PASSED, PairPool, PoolOptions, build_pair_pool
from sampling.sides import COLUMNS
from tests.sampling.judged import one_problem, rollout


def rejected_tasks(pool: PairPool) -> list[str]:
    return [pool.sides.task_ids[problem] for problem in pool.problems]


def one_of_each(task_id: str) -> list[Rollout]:
    return [rollout(task_id, 0, None), rollout(task_id, 1, ErrorType.NAME), rollout(task_id, 2, None)]


def sized(index: int, error_type: ErrorType | None, tokens: Iterable[int], version: int = 0, finish: str = "stop"):
    """A rollout of problem `p` with these tokens, and a program that no other index has."""
    made = rollout("p", index, error_type)
    tokens = tuple(tokens)
    return replace(
        made,
        completion=replace(made.completion, token_ids=tokens, policy_version=version, finish_reason=finish),
    )


def indices(pool: PairPool, sides: Iterable[int]) -> list[int]:
    return sorted(int(pool.sides.index[side]) for side in sides)


def choices(pool: PairPool, rejected: int, count: int = 50) -> Counter[int]:
    """Which indices are chosen over a side, and how often."""
    random = np.random.default_rng(0)
    return Counter(int(pool.sides.index[pool.choose(rejected, random)]) for _ in range(count))


def colliding(seed: int, count: int) -> list[Rollout]:
    """Few different ones, so that keys collide, programs repeat and verdicts contradict each other."""
    random = Random(seed)
    return [_colliding(random) for _ in range(count)]


def _colliding(random: Random) -> Rollout:
    source = random.choice(["return 0", "return 0  # zero", "return 1", "return 2\n\n", "x = (", "y", "z", None])
    usual = [None, ErrorType.SYNTAX, ErrorType.NAME, ErrorType.WRONG_ANSWER][hash_of(source) % 4]
    error_type = random.choice([usual] * 20 + [None, ErrorType.NO_CODE, ErrorType.FORBIDDEN])
    completion = Completion(
        task_id=random.choice("ab"),
        index=random.randrange(3),
        text=random.choice(["text", "another", "\ud800 ü"]),
        prompt_token_ids=random.choice([(1, 2), (1, 2), (3,)]),
        token_ids=tuple(random.choices(range(4), k=random.randrange(6))),
        finish_reason=random.choice(["stop", "stop", "length"]),
        policy_version=random.randrange(2),
        seed=random.randrange(2),
    )
    signature = random.choice(["a message", None])
    verdict = Verdict(error_type, int(error_type is None), 1, signature=signature)
    return Rollout(completion, Program(source, "whole"), random.choice([verdict] * 9 + [None]))


def hash_of(source: str | None) -> int:
    return sum(map(ord, (source or "").partition("#")[0].strip()))


OPTIONS = st.builds(
    PoolOptions,
    chosen=st.sampled_from(sorted(RULES)),
    failure_pairs=st.sampled_from([0.0, 0.5, 1.0]),
    min_passed=st.integers(1, 2),
    min_failed=st.integers(1, 2),
    max_length_ratio=st.sampled_from([None, 1.0, 1.5, 2.0]),
    max_side_tokens=st.sampled_from([None, 5]),
)
ROLLOUTS = st.builds(colliding, st.integers(0, 2**32), st.integers(2, 40))
generated = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])


def pool_of(rollouts: list[Rollout], options: PoolOptions | None = None) -> PairPool:
    """The pool; an example without a pair is no example."""
    try:
        return build_pair_pool(rollouts, options)
    except DataError:
        assume(False)
        raise


# What is kept.


def test_chosen_passed_rejected_failed_and_both_are_of_one_problem():
    pool = build_pair_pool([*one_of_each("a"), *one_of_each("b")])
    sides = pool.sides
    for rejected in pool.rejected:
        assert ERROR_TYPES[sides.error_type[rejected]] is ErrorType.NAME
        for chosen in pool.candidates(rejected):
            assert sides.error_type[chosen] == PASSED
            assert sides.problem[chosen] == sides.problem[rejected]


def test_problems_that_always_or_never_pass_give_no_pair():
    rollouts = [rollout("easy", 0, None), rollout("hard", 0, ErrorType.NAME), *one_problem(ErrorType.TYPE)]
    pool = build_pair_pool(rollouts)
    assert rejected_tasks(pool) == ["p"]
    assert pool.summary.one_sided == 2


def test_equal_programs_of_one_problem_count_once_but_not_across_problems():
    rollouts = [
        rollout(task_id, index, ErrorType.NAME if index else None, text=f"return {bool(index)}\n\n" + " " * index)
        for task_id in ("a", "b")
        for index in (0, 1, 2)
    ]
    pool = build_pair_pool(rollouts)
    assert rejected_tasks(pool) == ["a", "b"]
    assert list(np.bincount(pool.scored.side)) == [1, 2, 1, 2]
    assert pool.summary.duplicates == 2


def test_equal_programs_are_known_by_the_program_and_not_by_what_was_written_around_it():
    twins = [rollout("p", i, ErrorType.NAME, text=f"Here you are, number {i}") for i in (1, 2)]
    twins = [replace(twin, program=Program("return x", "fenced")) for twin in twins]
    assert build_pair_pool([rollout("p", 0, None), *twins]).summary.duplicates == 1


def test_of_equal_programs_the_newest_policys_stays_unless_it_was_cut_off():
    same = replace(rollout("p", 0, None), program=Program("return one", "whole"))
    versions = [
        replace(same, completion=replace(same.completion, policy_version=version, finish_reason=finish))
        for version, finish in ((1, "stop"), (3, "length"), (2, "stop"))
    ]
    pool = build_pair_pool([*versions, rollout("p", 1, ErrorType.NAME)])
    kept = pool.candidates(pool.rejected[0])
    assert list(pool.sides.policy_version[kept]) == [2]
    assert list(np.bincount(pool.scored.side)[kept]) == [3]


def test_an_unscored_side_enters_no_pair():
    unscored = Rollout(Completion("p", 9, "return 9"), Program("return 9", "whole"), None, "the sandbox was lost")
    pool = build_pair_pool([*one_problem(ErrorType.NAME), unscored])
    assert set(pool.sides.index) == {0, 1}
    assert pool.summary.unscored == 1


def test_a_verdict_over_no_test_is_neither_a_pass_nor_a_failure():
    untested = replace(rollout("p", 9, None), verdict=Verdict(None, 0, 0))
    assert set(build_pair_pool([*one_problem(ErrorType.NAME), untested]).sides.index) == {0, 1}


def test_an_unscored_twin_hides_no_scored_one():
    twin = Rollout(Completion("p", 9, "return 0"), Program("return 0", "whole"), None, "the sandbox was lost")
    pool = build_pair_pool([twin, *one_problem(ErrorType.NAME)])
    assert len(pool.rejected) == 1


@pytest.mark.parametrize("other", [None, ErrorType.TIMEOUT])
def test_a_program_that_was_judged_in_different_ways_is_dropped_with_all_its_copies(other: ErrorType | None):
    once, again = (rollout("p", i, kind, text="return flaky()") for i, kind in ((7, ErrorType.NAME), (8, other)))
    elsewhere = rollout("q", 7, None, text="return flaky()")
    pool = build_pair_pool([*one_problem(ErrorType.NAME), once, again, elsewhere, rollout("q", 1, ErrorType.NAME)])
    assert indices(pool, range(len(pool.sides))) == [0, 1, 1, 7], "the other problem's is believed"
    assert pool.summary.unstable == 2


def test_two_messages_for_one_type_of_error_are_no_contradiction():
    twins = [rollout("p", i, ErrorType.NAME, text="return x") for i in (1, 2)]
    verdicts = [Verdict(ErrorType.NAME, 0, 1, signature=signature) for signature in ("x", "y")]
    rollouts = [replace(twin, verdict=verdict) for twin, verdict in zip(twins, verdicts, strict=True)]
    assert build_pair_pool([rollout("p", 0, None), *rollouts]).summary.unstable == 0


def test_a_completion_that_was_cut_off_is_never_chosen():
    rollouts = [rollout("p", 0, None, finish="length"), rollout("p", 1, None), rollout("p", 2, ErrorType.NAME)]
    pool = build_pair_pool(rollouts)
    assert indices(pool, pool.candidates(pool.rejected[0])) == [1]
    assert pool.summary.cut_off == 1


def test_completions_of_different_prompts_make_no_pair():
    """Runs that asked in different ways: what is right under one prompt was not written under the other."""
    asked = [(1, None), (1, ErrorType.NAME), (2, ErrorType.TYPE), (2, None)]
    rollouts = [
        replace(made, completion=replace(made.completion, prompt_token_ids=(prompt,)))
        for index, (prompt, error_type) in enumerate(asked)
        for made in [rollout("p", index, error_type)]
    ]
    pool = build_pair_pool(rollouts)
    assert [indices(pool, pool.candidates(rejected)) for rejected in pool.rejected] == [[0], [3]]


def test_without_any_pair_the_error_says_what_to_do_and_what_was_there():
    with pytest.raises(DataError, match=r"of 1 rollouts were left out: 1 one sided.*num_generations"):
        build_pair_pool([rollout("p", 0, ErrorType.NAME)])


def test_no_rollout_at_all_is_told_alike():
    with pytest.raises(DataError, match="num_generations"):
        build_pair_pool([])


def test_a_number_beyond_all_bounds_is_told_with_its_rollout():
    made = rollout("p", 3, None)
    with pytest.raises(DataError, match="rollout 3 of task p has a number that is too large"):
        build_pair_pool([replace(made, completion=replace(made.completion, seed=1 << 63))])


# Filters.


@pytest.mark.parametrize(("least", "tasks"), [(1, ["a", "b"]), (2, ["a"])])
def test_a_problem_needs_so_many_different_passes(least: int, tasks: list[str]):
    rollouts = [*one_of_each("a"), rollout("b", 0, None), rollout("b", 1, ErrorType.NAME)]
    assert rejected_tasks(build_pair_pool(rollouts, PoolOptions(min_passed=least))) == tasks


def test_copies_are_no_different_passes():
    twins = [rollout("p", index, None, text="return 1") for index in range(5)]
    with pytest.raises(DataError):
        build_pair_pool([*twins, rollout("p", 9, ErrorType.NAME)], PoolOptions(min_passed=2))


@pytest.mark.parametrize(("least", "tasks"), [(1, ["p", "q", "q"]), (2, ["q", "q"])])
def test_a_problem_needs_so_many_different_failures(least: int, tasks: list[str]):
    more = [rollout("q", 0, None), rollout("q", 1, ErrorType.NAME), rollout("q", 2, ErrorType.TYPE)]
    pool = build_pair_pool([*one_problem(ErrorType.NAME), *more], PoolOptions(min_failed=least))
    assert rejected_tasks(pool) == tasks


@pytest.mark.parametrize(
    ("ratio", "chosen"), [(1.0, [2]), (1.4, [1, 2, 3]), (1.39, [2, 3]), (2.0, [1, 2, 3, 4]), (None, [*range(6)])]
)
def test_lengths_differ_at_most_by_the_ratio(ratio: float | None, chosen: list[int]):
    lengths = [0, 5, 7, 9, 14, 15]  # 7 / 5 is 1.4, and 9 / 7 less
    rollouts = [sized(index, None, range(length)) for index, length in enumerate(lengths)]
    pool = build_pair_pool([*rollouts, sized(9, ErrorType.NAME, range(7))], PoolOptions(max_length_ratio=ratio))
    assert indices(pool, pool.candidates(pool.rejected[0])) == chosen
    assert pool.summary.too_unequal == len(lengths) - len(chosen)


def test_a_side_without_tokens_counts_as_one_long():
    rollouts = [sized(0, None, ()), sized(1, ErrorType.NAME, (1, 2)), sized(2, ErrorType.NAME, (1, 2, 3))]
    pool = build_pair_pool(rollouts, PoolOptions(max_length_ratio=2))
    assert indices(pool, pool.rejected) == [1]


def test_completions_with_too_many_tokens_are_left_out_and_a_shorter_twin_stays():
    twins = [replace(sized(i, None, range(n)), program=Program("return 1", "whole")) for i, n in ((0, 6), (1, 5))]
    pool = build_pair_pool(
        [*twins, sized(2, ErrorType.NAME, range(5)), sized(3, ErrorType.NAME, range(6))], PoolOptions(max_side_tokens=5)
    )
    assert indices(pool, range(len(pool.sides))) == [1, 2]
    assert pool.summary.too_long == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"failure_pairs": -0.1},
        {"failure_pairs": 1.1},
        {"min_passed": 0},
        {"min_failed": 0},
        {"max_length_ratio": 0.9},
        {"max_side_tokens": 0},
        {"chosen": "best"},
    ],
)
def test_options_out_of_range_are_refused(wrong: dict):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        PoolOptions(**wrong)


def test_every_rule_can_be_configured_by_its_name():
    assert list(PoolArguments.__dataclass_fields__["chosen"].metadata["choices"]) == list(RULES)
    assert PoolArguments().pool_options() == PoolOptions()


# Which is chosen.


def test_random_chooses_every_candidate():
    pool = build_pair_pool([sized(9, ErrorType.NAME, (1,)), *(sized(i, None, (i,)) for i in range(4))])
    assert set(choices(pool, pool.rejected[0])) == {0, 1, 2, 3}


def test_shortest_chooses_the_fewest_tokens_and_the_first_of_equal_ones():
    lengths = [3, 2, 2, 4]
    rollouts = [sized(i, None, range(n)) for i, n in enumerate(lengths)]
    pool = build_pair_pool([sized(9, ErrorType.NAME, (1,)), *rollouts], PoolOptions(chosen="shortest"))
    assert set(choices(pool, pool.rejected[0])) == {1}


def test_most_recent_chooses_among_those_of_the_newest_policy():
    rollouts = [sized(i, None, (1,), version=version) for i, version in enumerate([0, 2, 1, 2])]
    pool = build_pair_pool([sized(9, ErrorType.NAME, (1,)), *rollouts], PoolOptions(chosen="most_recent"))
    assert set(choices(pool, pool.rejected[0])) == {1, 3}


TOKENS = st.lists(st.integers(0, 3), max_size=8)


@generated
@given(TOKENS, st.lists(TOKENS, min_size=1, max_size=MAX_COMPARED))
def test_nearest_chooses_the_least_edit_distance_and_the_first_of_equal_ones(
    failed: list[int], passed: list[list[int]]
):
    rollouts = [sized(i, None, tokens) for i, tokens in enumerate(passed)]
    pool = build_pair_pool([sized(99, ErrorType.NAME, failed), *rollouts], PoolOptions(chosen="nearest"))
    distances = [slow_distance(failed, tokens) for tokens in passed]
    assert set(choices(pool, pool.rejected[0], 3)) == {distances.index(min(distances))}


@generated
@given(TOKENS, TOKENS)
@example([1] * 3000, [1] * 10)
def test_edit_distance_counts_inserted_and_deleted_tokens(one: list[int], other: list[int]):
    assert edit_distance(np.array(one, dtype=np.int32), np.array(other, dtype=np.int32)) == slow_distance(one, other)


def slow_distance(one: list[int], other: list[int]) -> int:
    """The textbook's table (Wagner and Fischer, 1974), without substitutions."""
    row = list(range(len(other) + 1))
    for i, left in enumerate(one, start=1):
        before, row = row, [i]
        for j, right in enumerate(other, start=1):
            row.append(before[j - 1] if left == right else 1 + min(before[j], row[j - 1]))
    return row[-1]


# Pairs between two failures.

LADDER = [ErrorType.NO_CODE, ErrorType.SYNTAX, ErrorType.IMPORT, ErrorType.TIMEOUT, ErrorType.WRONG_ANSWER]


def test_stages_are_the_ladder_and_a_forbidden_attempt_is_on_its_lowest_rung():
    stages = [error_type.stage for error_type in LADDER]
    assert stages == sorted(set(stages))
    assert stages[-1] < Stage.PASS
    assert ErrorType.FORBIDDEN.stage == min(Stage)


def test_a_problem_without_a_pass_gives_pairs_between_failures_where_they_are_wanted():
    rollouts = [rollout("p", index, error_type) for index, error_type in enumerate(LADDER)]
    with pytest.raises(DataError):
        build_pair_pool(rollouts)
    pool = build_pair_pool(rollouts, PoolOptions(failure_pairs=0.1))
    assert [indices(pool, pool.candidates(rejected)) for rejected in pool.rejected] == [
        [1, 2, 3, 4],
        [2, 3, 4],
        [3, 4],
        [4],
    ]
    assert len(pool) == 10
    assert (pool.summary.passed, pool.summary.failed) == (0, 5)


def test_two_failures_of_one_stage_are_no_pair():
    with pytest.raises(DataError):
        build_pair_pool(
            [rollout("p", 0, ErrorType.NAME), rollout("p", 1, ErrorType.TIMEOUT)], PoolOptions(failure_pairs=1)
        )


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_failures_are_chosen_in_their_share_of_the_draws(share: float):
    rollouts = [rollout("p", 0, None), rollout("p", 1, ErrorType.WRONG_ANSWER), rollout("p", 2, ErrorType.SYNTAX)]
    pool = build_pair_pool(rollouts, PoolOptions(failure_pairs=share))
    syntax = next(side for side in pool.rejected if pool.sides.index[side] == 2)
    drawn = choices(pool, syntax, 2000)
    assert drawn[1] / 2000 == pytest.approx(share, abs=0.05)  # five standard errors
    wrong_answer = next(side for side in pool.rejected if pool.sides.index[side] == 1)
    assert set(choices(pool, wrong_answer)) == {0}, "only a pass is better than a wrong answer"


# Whatever the rollouts are.


@generated
@given(ROLLOUTS, OPTIONS, st.randoms(use_true_random=False))
def test_the_order_of_the_rollouts_changes_nothing(rollouts: list[Rollout], options: PoolOptions, random):
    pool = pool_of(rollouts, options)
    random.shuffle(shuffled := list(rollouts))
    other = build_pair_pool(shuffled, options)
    for name in set(COLUMNS) - {"row"}:
        np.testing.assert_array_equal(getattr(other.sides, name), getattr(pool.sides, name), err_msg=name)
    assert (other.sides.task_ids, other.sides.kinds) == (pool.sides.task_ids, pool.sides.kinds)
    assert list(other.rejected) == list(pool.rejected)
    assert other.rows.select(other.sides.row).to_list() == pool.rows.select(pool.sides.row).to_list()
    assert [choices(other, side, 3) for side in other.rejected] == [choices(pool, side, 3) for side in pool.rejected]
    assert other.summary == pool.summary
    assert list(other.scored.side) == list(pool.scored.side)


@generated
@given(ROLLOUTS, OPTIONS)
def test_every_pair_is_one_that_may_be_drawn(rollouts: list[Rollout], options: PoolOptions):
    pool = pool_of(rollouts, options)
    sides, count = pool.sides, 0
    for rejected in pool.rejected:
        candidates = pool.candidates(rejected)
        count += len(candidates)
        assert len(candidates) == len(set(candidates)) > 0
        assert sides.error_type[rejected] != PASSED
        for chosen in candidates:
            assert sides.prompt[chosen] == sides.prompt[rejected]
            assert sides.problem[chosen] == sides.problem[rejected]
            assert sides.stage[chosen] > sides.stage[rejected]
            assert not sides.cut_off[chosen]
            assert options.failure_pairs or sides.error_type[chosen] == PASSED
            shorter, longer = sorted(max(1, int(sides.num_tokens[side])) for side in (chosen, rejected))
            assert options.max_length_ratio is None or longer / shorter <= options.max_length_ratio
        assert pool.choose(rejected, np.random.default_rng(0)) in candidates
    assert count == len(pool)


@generated
@given(ROLLOUTS, OPTIONS)
def test_the_summary_accounts_for_every_rollout(rollouts: list[Rollout], options: PoolOptions):
    summary = pool_of(rollouts, options).summary
    assert summary.read == len(rollouts)
    assert sum(summary.dropped.values()) + summary.passed + summary.failed == summary.read


@generated
@given(ROLLOUTS)
def test_no_side_is_unscored_or_of_a_program_that_was_judged_in_two_ways(rollouts: list[Rollout]):
    pool = pool_of(rollouts)
    scored = [(one.completion.task_id, code_of(one), one) for one in rollouts if one.verdict]
    outcomes: dict[tuple[str, str], set[ErrorType | None]] = {}
    for task_id, code, one in scored:
        outcomes.setdefault((task_id, code), set()).add(one.verdict.error_type)
    believed = {
        (task_id, one.completion.prompt_token_ids, code)
        for task_id, code, one in scored
        if len(outcomes[task_id, code]) == 1
    }
    kept = Counter(pool.sides.task_ids[problem] for problem in pool.sides.problem)
    assert kept == Counter(task_id for task_id, _, _ in believed)


def code_of(one: Rollout) -> str:
    """The program as it is compared; none of those here has a string or an empty line within."""
    source = one.program.source
    return f"no program: {one.completion.text}" if source is None else source.partition("#")[0].strip()


@generated
@given(ROLLOUTS)
def test_texts_and_tokens_come_back_from_the_file_as_they_were(rollouts: list[Rollout]):
    pool = pool_of(rollouts)
    stored = Counter(
        (
            one.completion.task_id,
            one.completion.text.replace("\ud800", "?"),
            one.completion.prompt_token_ids,
            one.completion.token_ids,
        )
        for one in rollouts
    )
    for side, row in enumerate(pool.rows.select(pool.sides.row)):
        assert stored[(row["task_id"], row["text"], tuple(row["prompt_ids"]), tuple(row["completion_ids"]))]
        assert (row["index"], row["seed"], row["policy_version"]) == tuple(
            int(getattr(pool.sides, name)[side]) for name in ("index", "seed", "policy_version")
        )
        assert len(row["completion_ids"]) == pool.sides.num_tokens[side]
        assert list(pool.token_ids(side)) == row["completion_ids"]


# The file.


def test_a_rollout_is_held_no_longer_than_its_turn():
    held: weakref.WeakSet[Rollout] = weakref.WeakSet()
    most = 0
    for_the_pool = (rollout("p", index, ErrorType.NAME if index else None) for index in range(200))

    def stream() -> Iterator[Rollout]:
        nonlocal most
        for made in for_the_pool:
            held.add(made)
            most = max(most, len(held))
            yield made

    build_pair_pool(stream())
    assert most <= 3


def test_the_file_goes_with_the_pool_and_is_where_it_was_asked_for(tmp_path: Path):
    pool = build_pair_pool(one_problem(ErrorType.NAME), cache_dir=tmp_path)
    assert [path.name for path in tmp_path.rglob("*.arrow")] == ["sides.arrow"]
    del pool
    gc.collect()
    assert not list(tmp_path.iterdir())


def test_nothing_is_left_where_no_pool_comes_of_it(tmp_path: Path):
    with pytest.raises(DataError):
        build_pair_pool([rollout("p", 0, None)], cache_dir=tmp_path)
    assert not list(tmp_path.iterdir())


def test_many_pieces_are_one_data_set(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sampling.side_collector._PIECE_BYTES", 100)
    pool = build_pair_pool([rollout("p", 0, None), *(rollout("p", i, ErrorType.NAME) for i in range(1, 60))])
    assert pool.rows.data.column("text").num_chunks == 5
    texts = [pool.rows[int(pool.sides.row[side])]["text"] for side in pool.rejected]
    assert texts == [f"return {i}" for i in range(1, 60)]
