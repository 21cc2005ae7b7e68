"""The error notebook: shares of all scored samples, two memories, exact on disk."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlcode.errors import DataError
from rlcode.types import Completion, ErrorType, Program, Rollout, Verdict
from sampling.notebook import ErrorNotebook

error_types = st.one_of(st.none(), st.sampled_from(ErrorType))


def rollout(error_type: ErrorType | None, task_id: str = "t") -> Rollout:
    verdict = Verdict(error_type, int(error_type is None), 1)
    return Rollout(Completion(task_id, 0, "x"), Program("x", "whole"), verdict)


def notebook_of(outcomes: list[ErrorType | None], **half_lives: float) -> ErrorNotebook:
    notebook = ErrorNotebook(**half_lives)
    for outcome in outcomes:
        notebook.observe([rollout(outcome)])
    return notebook


def test_the_denominator_is_all_scored_samples_passes_included():
    notebook = notebook_of([ErrorType.NAME, None, None, ErrorType.TYPE], short_half_life=1e9, long_half_life=1e9)
    assert notebook.frequency(ErrorType.NAME) == pytest.approx(0.25)
    assert notebook.frequency(ErrorType.INDEX) == 0.0


def test_a_sample_without_a_verdict_changes_nothing():
    notebook = notebook_of([ErrorType.NAME])
    notebook.observe([Rollout(Completion("t", 1, "x"), Program("x", "whole"), None, "the sandbox was lost")])
    assert notebook.scored == 1
    assert notebook.frequency(ErrorType.NAME) == 1.0


def test_after_one_half_life_of_passes_a_failure_weighs_half():
    notebook = notebook_of([ErrorType.NAME] + [None] * 10, short_half_life=10, long_half_life=10)
    seen = sum(0.5 ** (i / 10) for i in range(11))
    assert notebook.frequency(ErrorType.NAME) == pytest.approx(0.5 / seen)


def test_what_is_frequent_now_outweighs_what_was_frequent_once():
    notebook = notebook_of([ErrorType.SYNTAX] * 500 + [ErrorType.INDEX] * 50, short_half_life=20, long_half_life=5000)
    assert notebook.frequency(ErrorType.INDEX, "short") > notebook.frequency(ErrorType.SYNTAX, "short")
    assert notebook.frequency(ErrorType.INDEX, "long") < notebook.frequency(ErrorType.SYNTAX, "long")


def test_frequencies_come_most_frequent_first():
    notebook = notebook_of([ErrorType.NAME, ErrorType.TYPE, ErrorType.TYPE], short_half_life=1e9, long_half_life=1e9)
    assert list(notebook.frequencies()) == [ErrorType.TYPE, ErrorType.NAME]


def test_problems_are_told_apart():
    notebook = ErrorNotebook()
    notebook.observe([rollout(ErrorType.NAME, "a")])
    notebook.observe([rollout(None, "b")])
    assert notebook.problem_frequency("a", ErrorType.NAME) == 1.0
    assert notebook.problem_frequency("b", ErrorType.NAME) == 0.0
    assert notebook.problem_frequency("never seen", ErrorType.NAME) == 0.0


@given(st.lists(error_types, max_size=40))
def test_shares_never_add_up_to_more_than_one(outcomes: list[ErrorType | None]):
    notebook = notebook_of(outcomes, short_half_life=5, long_half_life=50)
    total = math.fsum(notebook.frequencies().values())
    assert 0 <= total <= 1 + 1e-9
    if outcomes and None not in outcomes:
        assert total == pytest.approx(1)


@given(st.lists(error_types, max_size=30), st.lists(error_types, max_size=10))
def test_a_saved_notebook_goes_on_exactly_where_it_was(tmp_path_factory, before, after):
    path: Path = tmp_path_factory.mktemp("notebook") / "notebook.json"
    notebook = notebook_of(before, short_half_life=7, long_half_life=31)
    notebook.save(path)
    loaded = ErrorNotebook.load(path)
    for outcome in after:
        notebook.observe([rollout(outcome)])
        loaded.observe([rollout(outcome)])
    assert loaded.frequencies("short") == notebook.frequencies("short")
    assert loaded.frequencies("long") == notebook.frequencies("long")
    assert loaded.scored == notebook.scored


def test_a_file_that_is_no_notebook_is_named(tmp_path: Path):
    path = tmp_path / "notebook.json"
    path.write_text("{}")
    with pytest.raises(DataError, match=r"notebook\.json"):
        ErrorNotebook.load(path)
