"""The error notebook: shares of all scored samples, two memories, sums that merge in any order, exact on disk."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlcode.errors import DataError
from rlcode.types import Completion, ErrorType, Program, Rollout, Verdict
from sampling.notebook import ErrorNotebook, Kind

Sample = tuple[int, str, ErrorType | None, str]
"""Policy version, task, how it ended, and its message's signature."""

samples = st.lists(
    st.tuples(
        st.integers(0, 6),
        st.sampled_from("ab"),
        st.one_of(st.none(), st.sampled_from(ErrorType)),
        st.sampled_from(["", "list index out of range", "'_' \ud7ff ♥"]),
    ),
    max_size=40,
)


def rollout(
    error_type: ErrorType | None, task_id: str = "t", *, version: int = 0, signature: str | None = None
) -> Rollout:
    verdict = Verdict(error_type, int(error_type is None), 1, signature=signature)
    return Rollout(Completion(task_id, 0, "x", policy_version=version), Program("x", "whole"), verdict)


def notebook_of(seen: list[Sample], **half_lives: float) -> ErrorNotebook:
    notebook = ErrorNotebook(**half_lives)
    notebook.observe(rollout(e, task, version=v, signature=s if e else None) for v, task, e, s in seen)
    return notebook


def shares(notebook: ErrorNotebook) -> object:
    """Everything that a notebook can be asked for."""
    return (
        notebook.scored,
        [(notebook.kinds(h), notebook.frequencies(h), notebook.problems(h), notebook.samples(h)) for h in HORIZONS],
        [notebook.counts(version) for version in notebook.versions()],
    )


HORIZONS = ("short", "long")


@given(samples, st.integers(1, 5))
def test_rollouts_that_are_watched_go_on_as_they_came_and_are_all_taken_down(seen: list[Sample], piece: int):
    rollouts = [rollout(e, task, version=v, signature=s if e else None) for v, task, e, s in seen]
    watching = ErrorNotebook()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sampling.notebook._PIECE", piece)
        assert list(watching.watched(iter(rollouts))) == rollouts
    assert shares(watching) == shares(notebook_of(seen))


def test_the_denominator_is_all_scored_samples_passes_included():
    notebook = ErrorNotebook()
    notebook.observe(map(rollout, [ErrorType.NAME, None, None, ErrorType.TYPE]))
    assert notebook.frequency(ErrorType.NAME) == 0.25
    assert notebook.frequency(ErrorType.INDEX) == 0.0


def test_a_sample_without_a_verdict_changes_nothing():
    notebook = ErrorNotebook()
    notebook.observe([rollout(ErrorType.NAME)])
    notebook.observe([Rollout(Completion("t", 1, "x"), Program("x", "whole"), None, "the sandbox was lost")])
    assert notebook.scored == 1
    assert notebook.frequency(ErrorType.NAME) == 1.0


def test_after_one_half_life_of_a_newer_policys_passes_a_failure_weighs_half():
    notebook = ErrorNotebook(short_half_life=10, long_half_life=10)
    notebook.observe([rollout(ErrorType.NAME, version=0)])
    notebook.observe([rollout(None, version=1)] * 10)
    passes = sum(0.5 ** (i / 10) for i in range(10))
    assert notebook.frequency(ErrorType.NAME) == pytest.approx(0.5 / (0.5 + passes))


def test_samples_of_one_policy_weigh_the_same_in_whatever_order_they_came():
    failures_first = ErrorNotebook(short_half_life=2, long_half_life=2)
    for error_type in [ErrorType.NAME] * 10 + [None] * 10:
        failures_first.observe([rollout(error_type)])
    assert failures_first.frequency(ErrorType.NAME) == 0.5


def test_what_is_frequent_now_outweighs_what_was_frequent_once():
    notebook = ErrorNotebook(short_half_life=20, long_half_life=5000)
    notebook.observe([rollout(ErrorType.SYNTAX, version=0)] * 500)
    notebook.observe([rollout(ErrorType.INDEX, version=1)] * 50)
    assert notebook.frequency(ErrorType.INDEX, "short") > notebook.frequency(ErrorType.SYNTAX, "short")
    assert notebook.frequency(ErrorType.INDEX, "long") < notebook.frequency(ErrorType.SYNTAX, "long")


def test_the_trend_is_positive_for_what_becomes_more_frequent_and_negative_for_what_fades():
    notebook = ErrorNotebook(short_half_life=20, long_half_life=5000)
    notebook.observe([rollout(ErrorType.SYNTAX, version=0)] * 100)
    notebook.observe([rollout(ErrorType.INDEX, version=1)] * 100)
    assert notebook.trend(ErrorType.INDEX) > 0.3
    assert notebook.trend(ErrorType.SYNTAX) < -0.3
    assert notebook.trend(ErrorType.NAME) == 0


def test_one_type_is_told_apart_by_message_at_the_second_depth():
    notebook = ErrorNotebook()
    messages = ["list index out of range", "list index out of range", "string index out of range"]
    notebook.observe(rollout(ErrorType.INDEX, signature=message) for message in messages)
    notebook.observe([rollout(None)])
    assert notebook.frequency(ErrorType.INDEX) == 0.75
    assert notebook.frequency(Kind(ErrorType.INDEX, "list index out of range")) == 0.5
    worst_first = [Kind(ErrorType.INDEX, f"{of} index out of range") for of in ("list", "string")]
    assert list(notebook.kinds()) == worst_first


def test_frequencies_come_most_frequent_first():
    notebook = ErrorNotebook()
    notebook.observe(map(rollout, [ErrorType.NAME, ErrorType.TYPE, ErrorType.TYPE]))
    assert list(notebook.frequencies()) == [ErrorType.TYPE, ErrorType.NAME]


def test_problems_are_told_apart_and_the_worst_comes_first():
    notebook = ErrorNotebook()
    notebook.observe([rollout(None, "b"), rollout(ErrorType.NAME, "a"), rollout(ErrorType.NAME, "b")])
    assert notebook.problem_frequency("a", ErrorType.NAME) == 1.0
    assert notebook.problem_frequency("b", ErrorType.NAME) == 0.5
    assert notebook.problem_frequency("never seen", ErrorType.NAME) == 0.0
    assert [(p.task_id, p.samples, p.failing) for p in notebook.problems()] == [("a", 1, 1.0), ("b", 2, 0.5)]


def test_policies_are_kept_apart():
    notebook = ErrorNotebook()
    notebook.observe([rollout(ErrorType.NAME, version=3), rollout(None, version=3), rollout(None, version=7)])
    assert notebook.versions() == [3, 7]
    assert notebook.counts(3) == {Kind(ErrorType.NAME, ""): 1, None: 1}
    assert notebook.counts(7) == {None: 1}


def test_a_policy_that_weighs_a_millionth_is_forgotten_and_memory_stays_bounded():
    notebook = ErrorNotebook(short_half_life=1, long_half_life=1)
    for version in range(100):
        notebook.observe([rollout(ErrorType.NAME, version=version)])
    assert notebook.scored == 100
    assert notebook.versions() == list(range(79, 100))


@given(samples)
def test_shares_add_up_to_one_with_the_passes(seen: list[Sample]):
    notebook = notebook_of(seen, short_half_life=5, long_half_life=50)
    for horizon in HORIZONS:
        total = math.fsum(notebook.frequencies(horizon).values())
        assert 0 <= total <= 1 + 1e-9
        if seen and all(error_type is not None for _, _, error_type, _ in seen):
            assert total == pytest.approx(1)
        assert math.fsum(notebook.kinds(horizon).values()) == pytest.approx(total)


@given(samples, st.randoms(use_true_random=False))
def test_the_order_of_the_samples_changes_nothing(seen: list[Sample], random):
    shuffled = random.sample(seen, len(seen))
    lives = {"short_half_life": 3, "long_half_life": 9}
    assert shares(notebook_of(shuffled, **lives)) == shares(notebook_of(seen, **lives))


@given(st.lists(samples, min_size=3, max_size=3))
def test_merging_in_any_order_gives_the_notebook_that_saw_it_all(parts: list[list[Sample]]):
    lives = {"short_half_life": 1, "long_half_life": 1}  # short enough for policies to be forgotten on the way
    whole = shares(notebook_of(list(itertools.chain(*parts)), **lives))
    for order in itertools.permutations(parts):
        merged = ErrorNotebook(**lives)
        for part in order:
            merged.merge(notebook_of(part, **lives))
        assert shares(merged) == whole


def test_notebooks_with_other_half_lives_are_not_merged():
    with pytest.raises(ValueError, match="half-lives"):
        ErrorNotebook(10, 20).merge(ErrorNotebook(10, 30))


@given(samples, samples)
def test_a_saved_notebook_goes_on_exactly_where_it_was(tmp_path_factory, before: list[Sample], after: list[Sample]):
    path: Path = tmp_path_factory.mktemp("notebook") / "notebook.json"
    notebook = notebook_of(before, short_half_life=7, long_half_life=31)
    notebook.save(path)
    loaded = ErrorNotebook.load(path)
    assert shares(loaded) == shares(notebook)
    for version, task, error_type, signature in after:
        for book in (notebook, loaded):
            book.observe([rollout(error_type, task, version=version, signature=signature)])
    assert shares(loaded) == shares(notebook)


@pytest.mark.parametrize("text", ["{}", "[]", "nonsense", '{"format_version": 1, "scored": 3}'])
def test_a_file_that_is_no_notebook_is_named(tmp_path: Path, text: str):
    path = tmp_path / "notebook.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"notebook\.json"):
        ErrorNotebook.load(path)
