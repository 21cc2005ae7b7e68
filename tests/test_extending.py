"""The examples of docs/extending.md work as they stand there."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from rlcode.data import registry
from rlcode.errors import ConfigError
from rlcode.extraction_worker import Extractor
from rlcode.prompts import PromptFormat
from rlcode.types import ErrorType, Limits, PartialLimits, Problem, Program, TestCase, TestKind, Verdict
from sampling.engine import SamplingParams
from sampling.rollouts import make_requests, roll_out
from sampling.strategies import STRATEGIES, make_strategy
from sandbox.pool import open_sandbox
from sandbox.protocol import Job, Sandbox
from tests.sampling.drawn import judged_problems, run_of, type_counts

PAGE = (Path(__file__).parents[1] / "docs" / "extending.md").read_text(encoding="utf-8")
DOUBLE = Problem(
    "double", "def double(x):\n", (TestCase(TestKind.ASSERTS, "assert double(2) == 4"),), entry_point="double"
)
RIGHT = "def double(x):\n    return 2 * x\n"


def example(heading: str, name: str) -> ModuleType:
    """The code under a heading of the page as a module called `name`."""
    (code,) = re.findall(rf"^## {heading}\n.*?^```python\n(.*?)^```", PAGE, re.M | re.S)
    module = ModuleType(name)
    sys.modules[name] = module  # dataclasses look their module up
    exec(compile(code, f"docs/extending.md, {heading}", "exec"), vars(module))
    return module


@pytest.fixture(autouse=True)
def _no_module_stays() -> Iterator[None]:
    before = set(sys.modules)
    yield
    for name in {"rlcode.data.questions", "example"} - before:
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with open_sandbox("local", workers=1) as sandbox:
        yield sandbox


def judge(sandbox: Sandbox, problem: Problem, source: str) -> Verdict:
    (verdict,) = sandbox.judge([Job(problem, Program(source, "whole"), Limits())])
    assert isinstance(verdict, Verdict)
    return verdict


def test_a_benchmark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox):
    example("A benchmark", "rlcode.data.questions")
    monkeypatch.setattr(registry, "BENCHMARKS", (*registry.BENCHMARKS, "questions"))
    row = {"id": "q/1", "question": "Return x twice.", "function": "twice", "examples": [[[2], 4], [["a"], "aa"]]}
    (tmp_path / "questions.jsonl").write_text(json.dumps(row) + "\n")
    (problem,) = registry.load_problems("questions", tmp_path / "questions.jsonl")
    assert judge(sandbox, problem, "def twice(x):\n    return x + x\n").passed
    verdict = judge(sandbox, problem, "def twice(x):\n    return 4\n")
    assert (verdict.error_type, verdict.tests_passed, verdict.tests_total) == (ErrorType.WRONG_ANSWER, 1, 2)


def test_a_strategy(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(STRATEGIES, "limits", example("A strategy", "example").LimitsStrategy)
    rollouts = judged_problems({"a": [ErrorType.NAME] * 9 + [ErrorType.TIMEOUT] * 3 + [ErrorType.MEMORY]})
    alone = run_of("limits", rollouts, length=300)
    assert set(type_counts(alone.pool, map(alone.draw, range(300)))) == {ErrorType.TIMEOUT, ErrorType.MEMORY}
    mixed = run_of("limits", rollouts, length=300, others=1.0)
    counts: Counter[ErrorType] = type_counts(mixed.pool, map(mixed.draw, range(300)))
    assert 60 < counts[ErrorType.NAME] < 140, "a third"
    with pytest.raises(ConfigError, match="negative"):
        make_strategy("limits", others=-1)


def test_a_reward(sandbox: Sandbox):
    made = example("A reward", "example")
    reward = made.speed_reward([DOUBLE], sandbox)
    slow = "import time\ntime.sleep(0.6)\n" + RIGHT
    try:
        said = reward([DOUBLE.prompt] * 3, [RIGHT, slow, "def double(x):\n    return x\n"], task_id=["double"] * 3)
    finally:
        reward.close()
    assert said == [1.0, 0.5, 0.0]
    assert made.speed(made.Sample(None)) is None


def test_a_backend_of_the_sandbox():
    seen: list[int] = []
    with example("A backend of the sandbox", "example").open_recording(seen) as pool:
        assert judge(pool, DOUBLE, RIGHT).passed
        assert judge(pool, DOUBLE, "def double(x):\n    return x\n").error_type == ErrorType.WRONG_ANSWER
    assert len(seen) >= 2


def test_a_backend_of_generation(sandbox: Sandbox):
    from tests.tokenizers import make_tokenizer

    engine = example("A backend of generation", "example").TableEngine(
        {"double": "    return x + x\n"}, make_tokenizer()
    )
    requests = list(make_requests([DOUBLE], engine, 2, PromptFormat("completion")))
    with Extractor() as extractor:
        rollouts = list(
            roll_out(
                requests,
                [DOUBLE],
                engine=engine,
                params=SamplingParams(),
                sandbox=sandbox,
                extractor=extractor,
                limits=PartialLimits(),
            )
        )
    assert [rollout.verdict.passed for rollout in rollouts if rollout.verdict] == [True, True]
    assert {rollout.completion.index for rollout in rollouts} == {0, 1}
