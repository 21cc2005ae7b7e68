"""What streaming, the store and long runs of `rlcode rollout` cost.

Streaming: the wall time of drawing and judging together, against the slower of the two alone: 1.00 is a stream that
adds nothing. Engine and sandbox are clocks that sleep, in cases where one, the other or none is the bottleneck; and,
with `--model`, a real engine with the local sandbox, on one core each; where those two cores are not free, their CPU
time says what streaming costs.

Store: the share of a run's wall time that goes into writing. Memory: what the process grows by over many completions,
all of them judged, written and counted, and then looked through again as by a run that goes on.

Run: python -m benchmarks.rollouts [--model DIR --problems FILE] [--completions 100000] [--json FILE]
"""

from __future__ import annotations

import argparse
import itertools
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.measuring import InstantWorker, in_new_process, resident_mb, spread
from rlcode.data.registry import load_problems
from rlcode.extraction_worker import Extractor
from rlcode.prompts import PromptFormat
from rlcode.run_directory import write_json
from rlcode.types import Completion, PartialLimits, Problem, Rollout, TestCase, TestKind
from sampling.commands.run import find_done
from sampling.rollout_lines import outcome_from
from sampling.rollouts import answers_to, judge_completions, make_requests, rollout_of
from sampling.store import RolloutStore
from sampling.tally import Tally
from sandbox import cpu_meter
from sandbox.judging import Judging
from sandbox.pool import WorkerPool, open_sandbox, usable_cores

PROBLEM = Problem("synthetic", "", (TestCase(TestKind.ASSERTS, code="assert f() == 1"),), entry_point="f")
PROBLEMS = {PROBLEM.task_id: PROBLEM}
WORKERS = 2
SYNTHETIC = 400
"""Completions of each synthetic case."""
TOKENS = 300
"""Of each synthetic completion."""


@dataclass(frozen=True)
class Case:
    """An engine that finishes `block` completions at a time, each after `engine_ms` more, and programs that take
    `sandbox_ms` on one of the workers; every `slow_every`-th takes `slow_ms` instead."""

    name: str
    engine_ms: float
    sandbox_ms: float
    block: int = 1
    slow_every: int = 0
    slow_ms: float = 0.0


CASES = (
    Case("engine slower", engine_ms=20, sandbox_ms=20),
    Case("sandbox slower", engine_ms=10, sandbox_ms=40),
    Case("both as fast", engine_ms=20, sandbox_ms=40),
    Case("both as fast, blocks of 64", engine_ms=20, sandbox_ms=40, block=64),
    Case("engine slower, some programs slow", engine_ms=20, sandbox_ms=15, slow_every=100, slow_ms=1000),
)


def main() -> None:
    arguments = parse_arguments()
    figures: dict[str, Any] = {"cores": usable_cores(), "streaming": streaming(arguments.rounds)}
    if arguments.model:
        figures["real"] = in_new_process(real, arguments.model, arguments.problems, arguments.rounds)
        show_ratios("Streaming, real engine and sandbox, one core each", [figures["real"]])
    figures["store"] = in_new_process(writing, 2000)
    figures["memory"] = in_new_process(memory, arguments.completions)
    show_rest(figures)
    if arguments.json:
        write_json(arguments.json, figures)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="of the real engine; none: synthetic ones alone")
    parser.add_argument("--problems", type=Path, help="file of rlcode's own problems, for the real engine")
    parser.add_argument("--completions", type=int, default=100_000, help="over which memory is watched")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    return parser.parse_args()


# Streaming.


def streaming(rounds: int) -> list[dict[str, Any]]:
    figures = [in_new_process(synthetic, case, rounds) for case in CASES]
    show_ratios(f"Streaming, {SYNTHETIC} completions, {WORKERS} workers, engine and sandbox that sleep", figures)
    return figures


def synthetic(case: Case, rounds: int) -> dict[str, Any]:
    """Wall seconds of drawing alone, judging alone and both, by turns."""
    with Extractor() as extractor, WorkerPool(lambda limits: SleepingWorker(case), WORKERS, backend="sleeping") as pool:
        written = list(synthetic_completions(SYNTHETIC))

        def draw() -> Iterator[Completion]:
            return slowly(written, case)

        def judge(completions: Iterable[Completion]) -> int:
            stream = judge_completions(completions, PROBLEMS, sandbox=pool, extractor=extractor, limits=PartialLimits())
            return sum(rollout.verdict is not None for rollout in stream)

        judge(written[:100])
        return {"case": case.name, **by_turns(rounds, draw, written, judge)}


def by_turns(
    rounds: int,
    draw: Callable[[], Iterator[Completion]],
    written: list[Completion],
    judge: Callable[[Iterable[Completion]], int],
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, Any]:
    """Seconds of each, round by round, and the ratio of both together to the slower one."""
    seconds: dict[str, list[float]] = {"draw": [], "judge": [], "both": []}
    for _ in range(rounds):
        seconds["draw"].append(taken_s(lambda: len(list(draw())), clock))
        seconds["judge"].append(taken_s(lambda: judge(written), clock))
        seconds["both"].append(taken_s(lambda: judge(draw()), clock))
    ratios = [
        both / max(parts) for both, *parts in zip(seconds["both"], seconds["draw"], seconds["judge"], strict=True)
    ]
    return {**seconds, "ratio": ratios}


def taken_s(work: Callable[[], int], clock: Callable[[], float]) -> float:
    started = clock()
    assert work()
    return clock() - started


def slowly(completions: Iterable[Completion], case: Case) -> Iterator[Completion]:
    """As an engine that works on its own clock only while it is asked."""
    stream = iter(completions)
    while block := list(itertools.islice(stream, case.block)):
        time.sleep(case.engine_ms * len(block) / 1000)
        yield from block


class SleepingWorker(InstantWorker):
    """Passes every program after a while."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._count = 0

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        self._count += 1
        is_slow = self._case.slow_every and self._count % (self._case.slow_every // WORKERS) == 0
        time.sleep((self._case.slow_ms if is_slow else self._case.sandbox_ms) / 1000)
        return super().answer(request)


def synthetic_completions(count: int) -> Iterator[Completion]:
    """As a model writes them: a program of some length, with its tokens and log-probabilities."""
    chance = random.Random(0)
    logprobs = tuple(-chance.expovariate(2) for _ in range(TOKENS))
    for index in range(count):
        text = f"```python\ndef f():\n    return {index}\n{'# a line of a comment' * (TOKENS // 10)}\n```"
        ids = tuple(range(index % 1000, index % 1000 + TOKENS))
        yield Completion(PROBLEM.task_id, index, text, ids, ids, logprobs, "stop", seed=index)


def real(model: str, problems_file: Path, rounds: int) -> dict[str, Any]:
    """The same with the `transformers` engine on one thread and one worker of the local sandbox; also what the store
    takes of the whole."""
    import torch

    from sampling.engine import SamplingParams

    torch.set_num_threads(1)
    problems = load_problems("jsonl", problems_file)
    with Extractor() as extractor, open_sandbox("local", 1) as sandbox, open_real_engine(model) as engine:
        requests = list(make_requests(problems, engine, 8, PromptFormat("completion")))
        params = SamplingParams(max_completion_length=100)

        def draw() -> Iterator[Completion]:
            return engine.generate(requests, params)

        def judge(completions: Iterable[Completion]) -> int:
            by_id = {problem.task_id: problem for problem in problems}
            stream = judge_completions(completions, by_id, sandbox=sandbox, extractor=extractor, limits=PartialLimits())
            return written_s(stream)[0]

        written = list(draw())
        judge(written[:50])
        figures = by_turns(rounds, draw, written, judge)
        workers_cpu = cpu_meter.workers_meter("local")
        cpu = by_turns(rounds, draw, written, judge, lambda: time.process_time() + workers_cpu())
        stream = judge_completions(
            draw(), {p.task_id: p for p in problems}, sandbox=sandbox, extractor=extractor, limits=PartialLimits()
        )
        started = time.monotonic()
        _, writing_s = written_s(stream)
        share = writing_s / (time.monotonic() - started)
    parts = zip(cpu["both"], cpu["draw"], cpu["judge"], strict=True)
    cpu_ratio = statistics.median(both / (draw_s + judge_s) for both, draw_s, judge_s in parts)
    return {
        "case": f"{len(requests)} completions of {Path(model).name}",
        **figures,
        "store_share": share,
        "cpu_s": cpu,
        "cpu_ratio": cpu_ratio,
    }


def open_real_engine(model: str) -> Any:
    from sampling.engine import EngineSettings, open_engine

    return open_engine(EngineSettings("transformers", batch_size=32), model)


def written_s(rollouts: Iterable[Rollout]) -> tuple[int, float]:
    """How many rollouts were stored, and the processor time that writing them took, in seconds."""
    seconds = 0.0
    with tempfile.TemporaryDirectory() as folder, RolloutStore(Path(folder)) as store:
        for rollout in rollouts:
            started = time.thread_time()  # not the wait for a core, or for the other threads of this process
            store.append(rollout)
            seconds += time.thread_time() - started
        return store.appended, seconds


# Store and memory.


def judged_synthetically(count: int, directory: Path) -> Iterator[tuple[Rollout, RolloutStore, Tally]]:
    """What `rlcode rollout` does with each completion, with an engine and a sandbox that take no time."""
    tally = Tally(count)
    with (
        Extractor() as extractor,
        WorkerPool(lambda limits: InstantWorker(), WORKERS, backend="instant") as pool,
        RolloutStore(directory) as store,
        Judging[Completion](sandbox=pool, extractor=extractor, limits=PartialLimits()) as judging,
    ):
        for judged in judging.judge(answers_to(PROBLEMS, synthetic_completions(count))):
            yield rollout_of(judged), store, tally


def writing(count: int) -> dict[str, float]:
    """Milliseconds per rollout."""
    with tempfile.TemporaryDirectory() as folder:
        rollouts = [rollout for rollout, _, _ in judged_synthetically(count, Path(folder))]
    stored, seconds = written_s(rollouts)
    return {"ms_per_rollout": 1000 * seconds / stored, "tokens": TOKENS}


def memory(count: int) -> dict[str, float]:
    """MiB that the process grows by between a tenth of the way and its end, and while a run that goes on looks at what
    is there; and what these take."""
    held: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        for number, (rollout, store, tally) in enumerate(judged_synthetically(count, Path(folder)), start=1):
            store.append(rollout)
            tally.count_judged(outcome_from(rollout))
            if number % (count // 20) == 0:
                held.append(resident_mb())
        seconds = time.monotonic() - started
        stored_mb = sum(path.stat().st_size for path in Path(folder).iterdir()) / (1 << 20)
        before, started = resident_mb(), time.monotonic()
        with RolloutStore(Path(folder)) as store:
            assert len(find_done(store, Tally(count))) == count
        looked_s, looked_mb = time.monotonic() - started, resident_mb() - before
    return {
        "completions": count,
        "grown_mb": max(held) - held[1],
        "held_mb": held[-1],
        "stored_mb": stored_mb,
        "per_s": count / seconds,
        "resume_s": looked_s,
        "resume_mb": looked_mb,
    }


# The report.


def show_ratios(title: str, figures: list[dict[str, Any]]) -> None:
    table = Table(title=title)
    table.add_column("case")
    for heading in ("draw alone, s", "judge alone, s", "both, s", "both to the slower"):
        table.add_column(heading, justify="right")
    for one in figures:
        parts = [f"{statistics.median(one[part]):.2f}" for part in ("draw", "judge", "both")]
        table.add_row(one["case"], *parts, spread(one["ratio"], 2))
    Console(width=140).print(table)


def show_rest(figures: dict[str, Any]) -> None:
    store, found = figures["store"], figures["memory"]
    table = Table(title="Store and memory")
    table.add_column("what")
    table.add_column("", justify="right")
    table.add_row(f"writing a rollout of {store['tokens']} tokens", f"{store['ms_per_rollout']:.2f} ms")
    if "real" in figures:
        table.add_row("writing, share of a real run's wall time", f"{figures['real']['store_share']:.2%}")
        table.add_row(
            "CPU time of a real run, to the sum of its two halves alone", f"{figures['real']['cpu_ratio']:.2f}"
        )
    table.add_row(f"growth of the process over {found['completions']} completions", f"{found['grown_mb']:.1f} MiB")
    table.add_row("what the process holds", f"{found['held_mb']:.0f} MiB")
    table.add_row("on disk", f"{found['stored_mb']:.0f} MiB")
    table.add_row("extracted, judged by an instant sandbox and written", f"{found['per_s']:.0f} per second")
    table.add_row("time until a run that goes on knows what is there", f"{found['resume_s']:.1f} s")
    table.add_row("growth meanwhile", f"{found['resume_mb']:.1f} MiB")
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
