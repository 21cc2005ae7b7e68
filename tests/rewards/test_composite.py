"""The weighted sum of terms, as TRL calls it."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.composite import TERM_NAMES, CompositeReward
from rewards.correctness import CorrectnessReward
from rewards.format import FormatReward
from rewards.fraction import FractionReward
from rewards.ladder import LadderReward
from rewards.length import LengthReward
from rlcode.config import parse_config
from rlcode.errors import ConfigError, DataError
from rlcode.extraction import Found
from rlcode.types import ErrorType, Problem, Program, TestCase, TestKind, Verdict
from sandbox.pool import open_sandbox
from train.arguments import GrpoArguments

PASSED = Verdict(None, 4, 4)
WRONG = Verdict(ErrorType.WRONG_ANSWER, 1, 4)
BROKEN = Verdict(ErrorType.SYNTAX, 0, 4)
BLOCK = Program("x", Found.BLOCK)
OTHER = Program("x", Found.IN_TEXT)
ALL = {"correctness": 1.0, "fraction": 0.5, "ladder": 0.25, "length": 0.1, "format": 0.2}
COLUMNS = {
    "verdict": [PASSED, WRONG, BROKEN, None],
    "program": [BLOCK, OTHER, BLOCK, None],
    "completion_ids": [[1] * 100, [1] * 90, [1] * 10, [1] * 100],
}
PROMPTS = [[{"role": "user", "content": "p"}]] * 4
COMPLETIONS = [[{"role": "assistant", "content": "c"}]] * 4
PARTS = {
    "correctness": [1, 0, 0],
    "fraction": [1, 0.25, 0],
    "ladder": [1, 0.4, 0.1],
    "length": [-1, -0.5, 0],
    "format": [1, 0, 1],
}


def test_the_reward_is_the_weighted_sum_of_the_terms_and_none_without_a_verdict():
    rewards = CompositeReward(ALL, max_completion_length=100)(PROMPTS, COMPLETIONS, **COLUMNS)
    expected = [sum(ALL[name] * PARTS[name][place] for name in ALL) for place in range(3)]
    assert rewards[:3] == pytest.approx(expected)
    assert rewards[3] is None


@given(st.dictionaries(st.sampled_from(TERM_NAMES), st.floats(0.01, 10), min_size=1))
def test_any_terms_with_any_weights_add_up(weights: dict[str, float]):
    rewards = CompositeReward(weights, max_completion_length=100)(PROMPTS, COMPLETIONS, **COLUMNS)
    assert rewards[3] is None
    for place in range(3):
        assert rewards[place] == pytest.approx(sum(weights[name] * PARTS[name][place] for name in weights))


def test_each_term_is_logged_by_its_own_name_as_it_is_for_every_scored_sample():
    logged = defaultdict(list)
    reward = CompositeReward(ALL, max_completion_length=100)
    reward(PROMPTS, COMPLETIONS, log_metric=lambda name, value: logged[name].append(value), **COLUMNS)
    assert logged == {f"reward/{name}": pytest.approx(values) for name, values in PARTS.items()}


def test_a_batch_without_any_verdict_has_no_reward_and_logs_nothing():
    def log(name: str, value: float) -> None:
        raise AssertionError(name)

    assert CompositeReward()(["p"], ["a"], verdict=[None], log_metric=log) == [None]


def test_by_default_it_is_the_binary_reward_under_its_name():
    ours, plain = CompositeReward(), CorrectnessReward()
    assert ours.__name__ == plain.__name__ == "correctness"
    assert ours(PROMPTS, COMPLETIONS, **COLUMNS) == plain(PROMPTS, COMPLETIONS, **COLUMNS) == [1.0, 0.0, 0.0, None]


@pytest.mark.parametrize("terms", [{"fraction": 1, "length": 0.1}, {"correctness": 2}])
def test_a_sum_that_is_no_term_by_itself_has_a_name_of_its_own(terms: dict):
    assert CompositeReward(terms, max_completion_length=8).__name__ == "composite"


@pytest.mark.parametrize(
    ("reward", "values"),
    [
        (FractionReward(), [1, 0.25, 0, None]),
        (LadderReward(values={"syntax": -1}), [1, 0.4, -1, None]),
        (LengthReward(max_completion_length=100), [-1, -0.5, 0, None]),
        (FormatReward(), [1, 0, 1, None]),
    ],
    ids=lambda part: getattr(part, "__name__", ""),
)
def test_a_term_can_be_a_reward_function_of_its_own(reward, values: list):
    assert reward(PROMPTS, COMPLETIONS, **COLUMNS) == values


def test_in_a_stock_script_every_term_has_what_it_needs():
    tests = tuple(TestCase(TestKind.ASSERTS, code=f"assert double({n}) == {2 * n}") for n in (0, 4))
    problem = Problem("p/1", "Double x.", tests, "double", prompt_is_code=False)
    texts = ["```python\ndef double(x):\n    return x + x\n```", "def double(x):\n    return x\n", "no"]
    with open_sandbox("local", workers=1) as sandbox:
        reward = CompositeReward(ALL, [problem], sandbox, max_completion_length=100)
        given_by_trl = {"task_id": ["p/1"] * 3, "completion_ids": [[1] * 30, [1] * 90, [1]], "trainer_state": None}
        messages = [[{"role": "assistant", "content": text}] for text in texts]
        rewards = reward(PROMPTS[:3], messages, **given_by_trl)
    assert rewards == pytest.approx([1 + 0.5 + 0.25 + 0 + 0.2, 0.5 * 0.5 + 0.25 * 0.4 - 0.1 * 0.5, 0])


def test_without_verdicts_and_without_a_sandbox_it_says_what_it_needs():
    with pytest.raises(DataError, match="CompositeReward needs either a column `verdict`"):
        CompositeReward()(["p"], ["a"])


def grpo_arguments(*argv: str) -> GrpoArguments:
    (arguments,) = parse_config([GrpoArguments], list(argv), prog="test")
    return arguments


def test_the_configuration_takes_terms_as_a_mapping_and_the_command_line_as_json(tmp_path):
    file = tmp_path / "grpo.yaml"
    file.write_text(
        "reward_terms: {ladder: 1, length: 0.1}\nladder: {pass: 2, import: 0.15, no_code: -1}\noverlong_share: 0.5\n"
    )
    written = grpo_arguments("--config", str(file))
    assert written.reward_terms == {"ladder": 1, "length": 0.1}
    reward = CompositeReward.from_arguments(written, max_completion_length=100)
    assert reward.weights == {"ladder": 1.0, "length": 0.1}
    assert reward(PROMPTS, COMPLETIONS, **COLUMNS) == pytest.approx([2 - 0.1, 0.4 - 0.08, 0.1, None])
    assert grpo_arguments("--reward_terms", '{"format": 3}').reward_terms == {"format": 3}
    assert grpo_arguments().reward_terms == {"correctness": 1.0}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "reward_terms: {speed: 1}",
            "unknown term 'speed'; known terms: correctness, fraction, ladder, length, format",
        ),
        ("reward_terms: {}", "at least one term with its weight; known terms: correctness"),
        ("reward_terms: {correctness: much}", "reward_terms: correctness must be a number, got 'much'"),
        ("reward_terms: {correctness: .nan}", "must be a number, got nan"),
        ("reward_terms: {correctness: true}", "must be a number, got True"),
        ("reward_terms: {correctness: 1, length: -0.1}", "length must not be negative"),
        ("reward_terms: {correctness: 0}", "at least one weight must be above 0"),
        ("reward_terms: [correctness]", "takes one value, got a list"),
        ("reward_terms: correctness", "reward_terms is not JSON"),
        ("reward_terms: null", "reward_terms must have a value"),
        ("ladder: {run: 0.2}", "no term `ladder`"),
        ("reward_terms: {ladder: 1}\nladder: {runs: 0.2}", "unknown rung or error type 'runs'"),
        ("reward_terms: {ladder: 1}\nladder: {answer: 1}", "less than a pass"),
        ("reward_terms: {length: 1}\noverlong_share: 0", "overlong_share must be above 0"),
    ],
)
def test_a_configuration_that_can_not_be_is_refused_with_what_is_known(tmp_path, line: str, message: str):
    file = tmp_path / "grpo.yaml"
    file.write_text(line + "\n")
    with pytest.raises(ConfigError, match=message):
        grpo_arguments("--config", str(file))
