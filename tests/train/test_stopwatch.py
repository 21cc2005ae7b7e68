"""Each second belongs to one part, and what GRPO logs of them is where they really went."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer
from trl import GRPOConfig

from rlcode.types import Completion, ErrorType, Problem, TestCase, TestKind, Unscored, Verdict
from sampling.engine import GenerationRequest, SamplingParams
from sandbox.protocol import Job
from tests.train.model_configs import model_config
from train import policy_rollouts
from train.arguments import GrpoArguments
from train.grpo import train_grpo
from train.stopwatch import Stopwatch


class Clock:
    """Stands still until it is moved on; from any thread."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += seconds


def test_while_a_part_is_measured_within_another_the_outer_one_stands_still():
    clock = Clock()
    watch = Stopwatch(clock)
    clock.pass_by(1)
    with watch.measure("outer"):
        clock.pass_by(2)
        with watch.measure("inner"):
            clock.pass_by(4)
        clock.pass_by(8)
        assert watch.part == "outer"
    assert watch.part is None
    assert watch.lap() == {"outer": 10, "inner": 4, "update": 1}
    clock.pass_by(16)
    assert watch.lap() == {"update": 16}


def test_the_time_in_which_items_are_made_is_not_that_in_which_they_are_used():
    clock = Clock()
    watch = Stopwatch(clock)

    def slow() -> Iterator[int]:
        for item in range(3):
            clock.pass_by(1)
            yield item
        clock.pass_by(10)

    with watch.measure("use"):
        for _ in watch.each("make", slow()):
            clock.pass_by(100)
        watch.go_on_as("tidy")
        clock.pass_by(1000)
    assert watch.lap() == {"use": 300, "make": 13, "tidy": 1000, "update": 0}


def test_a_part_ends_when_it_raises():
    clock = Clock()
    watch = Stopwatch(clock)

    def fail() -> None:
        with watch.measure("part"):
            clock.pass_by(1)
            raise ValueError

    with pytest.raises(ValueError):
        fail()
    clock.pass_by(2)
    assert watch.lap() == {"part": 1, "update": 2}


parts = st.recursive(
    st.just([]), lambda inner: st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9), inner), max_size=3)
)


@given(parts)
def test_the_parts_are_the_whole_however_they_are_nested(tree: list):
    clock = Clock()
    watch = Stopwatch(clock)

    def walk(nodes: list) -> None:
        for part, seconds, inner in nodes:
            with watch.measure(part):
                clock.pass_by(seconds)
                walk(inner)
            clock.pass_by(1)

    walk(tree)
    assert sum(watch.lap().values()) == pytest.approx(clock.now)


# GRPO with an engine and a sandbox that take as long as the test says.

G, GROUPS = 4, 2
DRAWN = G * GROUPS
PROBLEMS = [
    Problem(f"t{n}", "def solve():\n", (TestCase(TestKind.ASSERTS, code="assert solve() == 1"),), "solve")
    for n in range(8)
]


@dataclass
class SlowEngine:
    """Takes a second for each completion. Those of a group differ."""

    tokenizer: Any
    clock: Clock
    policy_version: int = 0
    written: int = 0
    name, block_size = "slow", None

    def load_adapter(self, version: int, path: Path) -> float:
        self.policy_version = version
        self.clock.pass_by(3)
        return 0.0

    def generate(self, requests: Iterable[GenerationRequest], params: SamplingParams) -> Iterator[Completion]:
        for request in requests:
            text = f"    return {request.index % 2}\n"
            ids = (*self.tokenizer(text)["input_ids"], self.tokenizer.eos_token_id)
            self.clock.pass_by(1)
            self.written += 1
            yield Completion(
                *(request.task_id, request.index, text, request.prompt_token_ids, ids, (-1.0,) * len(ids), "stop"),
                policy_version=self.policy_version,
            )


@dataclass
class SlowSandbox:
    """Says nothing until it may with so many programs waiting; then time passes, and it judges them."""

    clock: Clock
    may_speak: Callable[[int], bool]
    takes: float
    unscored: int = 0
    """So many of the first jobs get no verdict."""
    waiting: list[tuple[Job, Future]] = field(default_factory=list)
    lock: Any = field(default_factory=threading.Lock)
    backend = "slow"

    def __post_init__(self) -> None:
        self.is_closed = threading.Event()
        threading.Thread(target=self._work, daemon=True).start()

    def submit(self, job: Job) -> Future:
        done: Future = Future()
        with self.lock:
            self.waiting.append((job, done))
        return done

    def _work(self) -> None:
        while not self.is_closed.is_set():
            time.sleep(0.001)
            with self.lock:
                if self.waiting and self.may_speak(len(self.waiting)):
                    self.clock.pass_by(self.takes)
                    waiting, self.waiting = self.waiting, []
                    for job, done in waiting:
                        done.set_result(self._judge(job))

    def _judge(self, job: Job) -> Verdict | Unscored:
        if self.unscored:
            self.unscored -= 1
            return Unscored("no sandbox today")
        right = "return 1" in str(job.program.source)
        return Verdict(None, 1, 1) if right else Verdict(ErrorType.WRONG_ANSWER, 0, 1)


@dataclass
class Setting:
    path: Path
    model: Path
    clock: Clock
    watch: Stopwatch
    engine: SlowEngine

    def all_is_waited_for(self, waiting: int) -> bool:
        """The engine is done with a batch, and the sandbox has the whole of it."""
        return self.watch.part == "judge_wait" and waiting == DRAWN

    def train(self, sandbox: SlowSandbox, **options: Any) -> list[dict[str, float]]:
        """The entries of the log in which something was trained."""
        steps = options.setdefault("max_steps", 2)
        config = GRPOConfig(
            output_dir=str(self.path),
            num_generations=G,
            per_device_train_batch_size=options.pop("per_device_train_batch_size", DRAWN),
            beta=0.0,
            max_completion_length=16,
            learning_rate=1e-4,
            logging_steps=options.pop("logging_steps", 1),
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            report_to="none",
            save_strategy="steps",
            save_steps=steps,
            disable_tqdm=True,
            **options,
        )
        args = GrpoArguments(prompt_style="completion", group_filter=False, max_unscored_share=0.5)
        model = model_config(self.model)
        try:
            train_grpo(args, model, config, PROBLEMS, engine=self.engine, sandbox=sandbox)
        finally:
            sandbox.is_closed.set()
        state = json.loads((self.path / f"checkpoint-{steps}" / "trainer_state.json").read_text())
        return [entry for entry in state["log_history"] if "seconds/step" in entry]


@pytest.fixture
def setting(tmp_path: Path, random_model: Path, monkeypatch: pytest.MonkeyPatch) -> Setting:
    clock = Clock()
    watch = Stopwatch(clock)
    monkeypatch.setattr(policy_rollouts, "Stopwatch", lambda: watch)
    return Setting(tmp_path, random_model, clock, watch, SlowEngine(AutoTokenizer.from_pretrained(random_model), clock))


def seconds(entry: dict[str, float]) -> dict[str, float]:
    return {
        name.removeprefix("seconds/"): value
        for name, value in entry.items()
        if name.startswith("seconds/") and value != 0
    }


def test_verdicts_that_come_after_the_engine_is_done_are_waited_for(setting: Setting):
    sandbox = SlowSandbox(setting.clock, setting.all_is_waited_for, takes=7)
    entries = setting.train(sandbox)
    expected = {"generate": DRAWN, "judge_wait": 7, "sync": 3, "step": DRAWN + 7 + 3}
    assert [seconds(entry) for entry in entries] == [pytest.approx(expected)] * 2


def test_a_sandbox_without_room_holds_the_engine_back(setting: Setting, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sandbox.judging.MOST_IN_FLIGHT", 5)

    def may_speak(waiting: int) -> bool:
        if setting.engine.written == 5:  # it has no room for the sixth
            return setting.watch.part == "hand_over" and waiting == 5
        return setting.watch.part == "judge_wait" and waiting == DRAWN - 5

    sandbox = SlowSandbox(setting.clock, may_speak, takes=10)
    (entry,) = setting.train(sandbox, max_steps=1)
    expected = {"generate": DRAWN, "hand_over": 10, "judge_wait": 10, "sync": 3, "step": DRAWN + 20 + 3}
    assert seconds(entry) == pytest.approx(expected)


def test_over_several_generations_seconds_and_shares_are_those_of_a_step(setting: Setting):
    sandbox = SlowSandbox(setting.clock, setting.all_is_waited_for, takes=7, unscored=3)
    (entry,) = setting.train(sandbox, logging_steps=2)
    assert seconds(entry) == pytest.approx({"generate": DRAWN, "judge_wait": 7, "sync": 3, "step": DRAWN + 10})
    assert entry["rollouts/unscored"] == 3 / (2 * DRAWN)
    scored = Counter(index % 2 for index in range(DRAWN)) + Counter(index % 2 for index in range(3, DRAWN))
    assert entry["rollouts/pass_rate"] == pytest.approx(scored[1] / (2 * DRAWN - 3))
    assert entry["rollouts/error/wrong_answer"] == pytest.approx(scored[0] / (2 * DRAWN - 3))
    assert entry["rollouts/error/syntax"] == 0
    assert entry["groups/zero_variance_share"] == 1 / 4  # one group has a single sample left


@pytest.mark.parametrize(
    ("options", "lags"),
    [
        ({}, [0, 0, 0, 0]),
        ({"num_iterations": 2}, [0, 1, 0, 1]),
        ({"steps_per_generation": 2, "per_device_train_batch_size": DRAWN // 2}, [0, 1, 0, 1]),
    ],
)
def test_samples_that_are_trained_on_again_lag_behind_the_policy(
    setting: Setting, options: dict[str, Any], lags: list[int]
):
    sandbox = SlowSandbox(setting.clock, lambda waiting: True, takes=0)
    entries = setting.train(sandbox, max_steps=4, **options)
    assert [entry["policy/lag"] for entry in entries] == lags
    assert [entry["policy/version"] for entry in entries] == [2, 3, 4, 5]
    tokens = [entry.get("rollouts/tokens") for entry in entries]
    assert [bool(count) for count in tokens] == [lag == 0 for lag in lags]
