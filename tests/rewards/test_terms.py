"""Each term by itself: what it gives for which sample."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trl.rewards import get_soft_overlong_punishment

from rewards.correctness import correctness_term
from rewards.format import proper_form
from rewards.fraction import fraction, fraction_term
from rewards.judged import Sample
from rewards.ladder import DEFAULT_VALUES, RUNGS, Ladder
from rewards.length import SoftOverlong
from rlcode.errors import ConfigError, DataError
from rlcode.extraction import Found, extract
from rlcode.types import ErrorType, Problem, Program, Stage, TestCase, TestKind, Verdict

PASSED = Verdict(None, 3, 3)
errors = st.sampled_from([None, *ErrorType])


@st.composite
def verdicts(draw: st.DrawFn) -> Verdict:
    total = draw(st.integers(0, 6))
    return Verdict(draw(errors), draw(st.integers(0, total)), total)


@pytest.mark.parametrize(
    "term", [correctness_term, fraction_term, Ladder(), SoftOverlong(10), proper_form], ids=["c", "f", "la", "le", "fo"]
)
def test_no_term_has_a_number_for_a_sample_without_a_verdict(term):
    assert term(Sample(None, Program("x", Found.BLOCK), 10, True)) is None


# fraction


@given(verdicts())
def test_the_fraction_is_one_for_a_pass_alone_and_never_above_the_share_of_passed_tests(verdict: Verdict):
    value = fraction(verdict)
    assert value is not None
    assert (value == 1.0) == verdict.passed
    assert 0 <= value <= (verdict.tests_passed / verdict.tests_total if verdict.tests_total else 0)


def test_the_fraction_is_the_share_of_passed_tests():
    assert fraction(Verdict(ErrorType.WRONG_ANSWER, 2, 3)) == pytest.approx(2 / 3)
    assert fraction(Verdict(ErrorType.TIMEOUT, 1, 4)) == 0.25


def test_an_error_beside_the_tests_counts_as_a_failed_one():
    assert fraction(Verdict(ErrorType.OUTPUT, 4, 4)) == 0.75


@pytest.mark.parametrize("error", [e for e in ErrorType if e.stage < Stage.RUN])
def test_what_did_not_load_or_was_forbidden_has_no_fraction(error: ErrorType):
    assert fraction(Verdict(error, 3, 4)) == 0.0


# ladder


def test_a_longer_way_is_worth_more():
    values = [DEFAULT_VALUES[stage] for stage in Stage]
    assert all(low < high for low, high in itertools.pairwise(values))
    ways = [
        *(ErrorType.NO_CODE, ErrorType.SYNTAX, ErrorType.IMPORT, ErrorType.NAME, ErrorType.WRONG_ANSWER),
    ]
    ladder = Ladder()
    worth = [*(ladder.value(Verdict(error, 0, 3)) for error in ways), ladder.value(PASSED)]
    assert worth == values == [0.0, 0.1, 0.2, 0.3, 0.4, 1.0]


def test_limits_and_crashes_are_worth_what_an_exception_is_and_an_attack_what_no_program_is():
    ladder = Ladder()
    for error in (ErrorType.TIMEOUT, ErrorType.MEMORY, ErrorType.OUTPUT, ErrorType.CRASH, ErrorType.NO_RESULT):
        assert ladder.failures[error] == ladder.failures[ErrorType.TYPE]
    assert ladder.failures[ErrorType.FORBIDDEN] == ladder.failures[ErrorType.NO_CODE]


def test_every_error_type_has_a_value_below_a_pass():
    ladder = Ladder()
    assert set(ladder.failures) == set(ErrorType)
    assert max(ladder.failures.values()) < ladder.passed == 1.0


def test_a_verdict_that_is_no_pass_and_no_error_is_worth_what_no_result_is():
    assert Ladder({"no_result": 0.05}).value(Verdict(None, 0, 0)) == 0.05


def test_a_rung_moves_its_error_types_and_an_error_type_of_its_own_wins():
    ladder = Ladder({"run": 0.25, "timeout": 0.05, "pass": 2})
    assert ladder.failures[ErrorType.KEY] == 0.25
    assert ladder.failures[ErrorType.TIMEOUT] == 0.05
    assert ladder.failures[ErrorType.WRONG_ANSWER] == 0.4
    assert ladder.value(PASSED) == 2.0


@pytest.mark.parametrize("name", [*RUNGS, *ErrorType])
def test_no_failure_may_be_worth_as_much_as_a_pass(name: str):
    values = {name: 0.4} if name == "pass" else {name: 1.0}
    with pytest.raises(ConfigError, match="every failure must be worth less than a pass"):
        Ladder(values)


def test_an_unknown_error_type_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"unknown rung or error type 'segfault'; known: extract, .*no_code,"):
        Ladder({"segfault": 0.1})


@pytest.mark.parametrize("value", ["0.1", True, None, float("nan"), float("inf")])
def test_a_value_on_the_ladder_must_be_a_number(value: object):
    with pytest.raises(ConfigError, match="ladder: syntax must be a number"):
        Ladder({"syntax": value})


# length


@pytest.mark.parametrize(("tokens", "penalty"), [(0, 0), (80, 0), (90, -0.5), (99, -0.95), (100, -1), (101, -1)])
def test_the_penalty_grows_over_the_last_fifth(tokens: int, penalty: float):
    assert SoftOverlong(100).penalty(tokens) == pytest.approx(penalty)


@given(st.integers(1, 4000), st.integers(1, 1000), st.integers(0, 6000))
def test_the_penalty_is_the_one_that_trl_has_of_the_paper(longest: int, cache: int, tokens: int):
    cache = min(cache, longest)
    (expected,) = get_soft_overlong_punishment(longest, cache)([[0] * tokens])
    assert SoftOverlong(longest, cache / longest).penalty(tokens) == pytest.approx(expected, abs=1e-9)


def test_the_length_term_says_what_it_needs():
    with pytest.raises(DataError, match="completion_ids"):
        SoftOverlong(100)(Sample(PASSED))
    with pytest.raises(ConfigError, match="max_completion_length"):
        SoftOverlong(0)
    for share in (0, 1.1, float("nan")):
        with pytest.raises(ConfigError, match="overlong_share"):
            SoftOverlong(100, share)


# format

HEAD = Problem("t", "def f(x):\n", (TestCase(TestKind.ASSERTS, code="assert f(1) == 1"),), "f")
WORDS = Problem("t", "Return x.", HEAD.tests, "f", prompt_is_code=False)
PROGRAM = "def f(x):\n    return x\n"
BLOCK = f"```python\n{PROGRAM}```"


@pytest.mark.parametrize(
    ("problem", "is_chat", "text", "value"),
    [
        (WORDS, True, BLOCK, 1),
        (HEAD, True, f"Here it is.\n\n{BLOCK}\nIt returns its argument.", 1),
        (WORDS, True, "```python\ndef f(x:\n    return x\n```", 1),  # the form is right, the program is not
        (WORDS, True, f"```python\n{PROGRAM}", 0),
        (WORDS, True, f"{BLOCK}\nFor example:\n```python\nprint(f(1))\n```", 0),
        (WORDS, True, PROGRAM, 0),
        (HEAD, True, "```python\n    return x\n```", 0),
        (WORDS, True, "I can't.", 0),
        (WORDS, True, "", 0),
        (HEAD, False, "    return x\n", 1),
        (HEAD, False, "    return (x\n", 1),
        (HEAD, False, BLOCK, 0),
        (HEAD, False, "Here it is:\n\n    return x\n", 0),
        (WORDS, False, f"{PROGRAM}```", 1),
        (WORDS, False, f"{PROGRAM}```\nIt returns its argument.", 1),
        (WORDS, False, f"{PROGRAM}[DONE]", 1),
        (WORDS, False, PROGRAM, 0),
        (WORDS, False, BLOCK, 0),
    ],
)
def test_the_form_is_the_one_that_the_prompt_asked_for(problem: Problem, is_chat: bool, text: str, value: float):
    program = extract(text, problem)
    assert proper_form(Sample(PASSED, program, is_chat=is_chat)) == value, program.how


def test_the_format_term_says_what_it_needs():
    with pytest.raises(DataError, match="column `program`"):
        proper_form(Sample(PASSED))
