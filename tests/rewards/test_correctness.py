"""Verdict to number: 1, 0, or nothing."""

from __future__ import annotations

import pytest

from rewards.correctness import CorrectnessReward
from rlcode.errors import DataError
from rlcode.types import ErrorType, Problem, TestCase, TestKind, Verdict
from sandbox.pool import open_sandbox

PASSED = Verdict(None, 3, 3)
FAILED = Verdict(ErrorType.WRONG_ANSWER, 2, 3)


def test_passed_is_one_failed_is_zero_and_unscored_is_none():
    reward = CorrectnessReward()
    assert reward(["p"] * 3, ["a", "b", "c"], verdict=[PASSED, FAILED, None]) == [1.0, 0.0, None]


def test_partial_success_and_no_test_at_all_earn_nothing():
    reward = CorrectnessReward()
    assert reward(["p"] * 2, ["a", "b"], verdict=[Verdict(None, 2, 3), Verdict(None, 0, 0)]) == [0.0, 0.0]


def test_trl_can_name_it():
    assert CorrectnessReward().__name__ == "correctness"


def test_in_a_stock_script_it_judges_texts_and_chat_messages_itself():
    test = TestCase(TestKind.ASSERTS, code="assert double(4) == 8")
    problem = Problem("p/1", "def double(x):\n", (test,), "double")
    with open_sandbox("local", workers=1) as sandbox:
        reward = CorrectnessReward([problem], sandbox)
        completions = [
            "    return 2 * x\n",
            "    return x\n",
            [{"role": "assistant", "content": "```python\ndef double(x):\n    return x + x\n```"}],
        ]
        assert reward([problem.prompt] * 3, completions, task_id=["p/1"] * 3) == [1.0, 0.0, 1.0]
        with pytest.raises(DataError, match="p/2"):
            reward([problem.prompt], ["    return x"], task_id=["p/2"])


def test_without_verdicts_and_without_a_sandbox_it_says_what_it_needs():
    with pytest.raises(DataError, match="verdict"):
        CorrectnessReward()(["p"], ["a"])
