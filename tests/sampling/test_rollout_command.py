"""`rlcode rollout`: every completion judged once, on disk as it comes, gone on with after a stop."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import sampling.engine
from rlcode.cli import main
from rlcode.run_directory import write_json_lines
from rlcode.tiny.tasks import make_problems
from rlcode.types import Completion, ErrorType, Program, Rollout, Unscored, Verdict, to_json
from sampling.adapters import base_fingerprint
from sampling.commands.progress import Progress
from sampling.engine import GenerationRequest, SamplingParams
from sampling.rollout_lines import Outcome
from sampling.store import read_rollouts, write_rollouts
from sampling.tally import Tally
from sandbox import pool
from sandbox.protocol import Job
from tests.random_models import make_adapter

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def problems(tmp_path: Path) -> Path:
    path = tmp_path / "problems.jsonl"
    write_json_lines(path, map(to_json, make_problems("train", 3, 0)))
    return path


def rollout(model: Path, problems: Path, run: Path, *more: object) -> int:
    arguments = ["--model", model, "--benchmark_file", problems, "--output_dir", run, "--sandbox", "local"]
    arguments += ["--num_generations", 4, "--max_completion_length", 8, *more]
    return main(["rollout", *map(str, arguments)])


def judged(run: Path) -> list[Rollout]:
    return sorted(read_rollouts([run]), key=lambda one: (one.completion.task_id, one.completion.index))


def test_it_writes_each_completion_of_each_problem_with_its_verdict(tmp_path, random_model, problems, capsys):
    assert rollout(random_model, problems, tmp_path / "run") == 0
    rollouts = judged(tmp_path / "run")
    assert len({(r.completion.task_id, r.completion.index) for r in rollouts}) == len(rollouts) == 12
    assert all(r.verdict is not None and r.completion.policy_version == 0 for r in rollouts)
    assert "12 rollouts" in capsys.readouterr().out


def test_after_a_kill_the_same_command_ends_with_the_rollouts_of_an_undisturbed_run(tmp_path, random_model, problems):
    assert rollout(random_model, problems, tmp_path / "whole") == 0
    assert rollout(random_model, problems, tmp_path / "killed") == 0
    file = tmp_path / "killed" / "rollouts-00000.jsonl"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])  # in the middle of a line
    assert rollout(random_model, problems, tmp_path / "killed") == 0
    tokens = [
        {(r.completion.task_id, r.completion.index): r.completion.token_ids for r in judged(tmp_path / run)}
        for run in ("whole", "killed")
    ]
    assert tokens[0] == tokens[1]
    assert len(judged(tmp_path / "killed")) == 12


def test_with_a_cache_no_program_is_judged_twice_and_nothing_else_changes(tmp_path, random_model, problems, capsys):
    for run in ("first", "second"):
        assert rollout(random_model, problems, tmp_path / run, "--cache", tmp_path / "verdicts.sqlite") == 0
    shown = capsys.readouterr().err
    assert "0 verdicts found" in shown
    assert "12 verdicts found" in shown
    assert [r.verdict for r in judged(tmp_path / "first")] == [r.verdict for r in judged(tmp_path / "second")]


def test_a_run_may_go_on_with_another_cache(tmp_path, random_model, problems):
    assert rollout(random_model, problems, tmp_path / "run", "--cache", tmp_path / "one.sqlite") == 0
    assert rollout(random_model, problems, tmp_path / "run", "--cache", tmp_path / "two.sqlite") == 0


class BrokenSandbox:
    """Loses every second job, as a sandbox does whose containers die."""

    backend, image_digest, workers = "local", "", 1

    def __init__(self) -> None:
        self._judged = itertools.count()

    def submit(self, job: Job) -> Future[Verdict | Unscored]:
        future: Future[Verdict | Unscored] = Future()
        future.set_result(Unscored("the container died") if next(self._judged) % 2 else Verdict(None, 1, 1))
        return future

    def judge(self, jobs: Iterable[Job]) -> Iterator[Verdict | Unscored]:
        return (self.submit(job).result() for job in jobs)

    def close(self) -> None: ...

    def __enter__(self) -> BrokenSandbox:
        return self

    def __exit__(self, *exc: object) -> None: ...


def test_what_could_not_be_judged_stops_the_run_and_gets_another_try(
    tmp_path, random_model, problems, monkeypatch, capsys
):
    with monkeypatch.context() as patch:
        patch.setattr(pool, "open_sandbox", lambda *args, **options: BrokenSandbox())
        assert rollout(random_model, problems, tmp_path / "run") == 1
        assert "the container died" in capsys.readouterr().err
    assert rollout(random_model, problems, tmp_path / "run") == 0
    rollouts = judged(tmp_path / "run")
    assert len(rollouts) == 12
    assert all(r.verdict is not None for r in rollouts)


def test_a_missing_docker_engine_ends_with_exit_code_2_and_leaves_nothing(
    tmp_path, random_model, problems, monkeypatch, capsys
):
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    assert rollout(random_model, problems, tmp_path / "run", "--sandbox", "docker") == 2
    assert "Docker" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_row_without_tests_is_named(tmp_path, random_model, problems, capsys):
    row = json.loads(problems.read_text().splitlines()[0])
    write_json_lines(problems, [{**row, "tests": []}])
    assert rollout(random_model, problems, tmp_path / "run") == 2
    assert "problems.jsonl" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_what_was_judged_in_another_image_is_refused_with_the_difference(
    tmp_path, random_model, problems, monkeypatch, capsys
):
    assert rollout(random_model, problems, tmp_path / "run") == 0
    with monkeypatch.context() as patch:
        patch.setattr(BrokenSandbox, "image_digest", "sha256:new")
        patch.setattr(pool, "open_sandbox", lambda *args, **options: BrokenSandbox())
        assert rollout(random_model, problems, tmp_path / "run") == 2
    assert "sandbox.image_digest: '' then, 'sha256:new' now" in capsys.readouterr().err
    assert len(judged(tmp_path / "run")) == 12


def test_other_weights_or_problems_under_the_same_name_are_refused(
    tmp_path, random_model, random_adapter, problems, capsys
):
    adapter = shutil.copytree(random_adapter, tmp_path / "adapter")
    assert rollout(random_model, problems, tmp_path / "run", "--adapter", adapter) == 0
    make_adapter(adapter, random_model, seed=2)
    assert rollout(random_model, problems, tmp_path / "run", "--adapter", adapter) == 2
    assert "adapter_sha256" in capsys.readouterr().err
    shutil.copytree(random_adapter, adapter, dirs_exist_ok=True)
    write_json_lines(problems, map(to_json, make_problems("train", 3, 1)))
    assert rollout(random_model, problems, tmp_path / "run", "--adapter", adapter) == 2
    assert "problems_sha256" in capsys.readouterr().err


def test_the_record_of_a_run_says_what_it_was_made_with(tmp_path, random_model, random_adapter, problems):
    assert rollout(random_model, problems, tmp_path / "run", "--adapter", random_adapter, "--time_limit", 3) == 0
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["config"]["seed"] == 0
    assert record["versions"]["torch"]
    made_with = record["made_with"]
    assert made_with["policy_version"] == judged(tmp_path / "run")[0].completion.policy_version == 1
    assert made_with["model_fingerprint"] == base_fingerprint(str(random_model))
    assert made_with["sandbox"] == {"backend": "local", "image_digest": ""}
    assert made_with["limits"]["time_s"] == 3.0


def test_the_summary_counts_what_an_earlier_start_left(tmp_path, random_model, problems, capsys):
    assert rollout(random_model, problems, tmp_path / "run") == 0
    first = capsys.readouterr().out
    assert rollout(random_model, problems, tmp_path / "run") == 0
    assert capsys.readouterr().out == first
    rollouts = judged(tmp_path / "run")
    for error_type, count in Counter(one.verdict.error_type for one in rollouts if one.verdict).items():
        assert f"{error_type or 'passed'} " in first
        assert f" {count} " in first


@dataclass
class Tokenizer:
    """What the command asks of one, where nothing is generated for real."""

    chat_template: str = ""

    def __call__(self, text: str, **options: Any) -> dict[str, list[int]]:
        return {"input_ids": [1]}


class SlowEngine:
    """Writes a completion now and then, and takes notes; the tenth one never comes."""

    name = "slow"
    tokenizer = Tokenizer()
    policy_version = 0
    block_size = None

    def __init__(self) -> None:
        self.is_closed = False

    def generate(self, requests: Iterable[GenerationRequest], params: SamplingParams) -> Iterator[Completion]:
        for number, request in enumerate(requests):
            if number == 10:
                os.kill(os.getpid(), self.signal)
                time.sleep(60)
            yield Completion(request.task_id, request.index, "    return 1\n", finish_reason="stop")

    signal = signal.SIGINT

    def close(self) -> None:
        self.is_closed = True

    def __enter__(self) -> SlowEngine:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stop_interrupts_the_engine_and_keeps_what_was_drawn(
    tmp_path, random_model, problems, monkeypatch, capsys, number, exit_code
):
    slow = SlowEngine()
    slow.signal = number
    with monkeypatch.context() as patch:
        patch.setattr(sampling.engine, "open_engine", lambda *args, **options: slow)
        assert rollout(random_model, problems, tmp_path / "run") == exit_code
    assert slow.is_closed
    assert len(judged(tmp_path / "run")) == 10
    shown = capsys.readouterr().out
    assert "10 rollouts" in shown
    assert "stopped with 2 to go" in shown
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert rollout(random_model, problems, tmp_path / "run") == 0
    assert len(judged(tmp_path / "run")) == 12


class TwiceStopped(SlowEngine):
    def generate(self, requests: Iterable[GenerationRequest], params: SamplingParams) -> Iterator[Completion]:
        try:
            yield from super().generate(requests, params)
        finally:
            os.kill(os.getpid(), self.signal)


def test_a_second_ctrl_c_ends_at_once(tmp_path, random_model, problems, monkeypatch):
    monkeypatch.setattr(sampling.engine, "open_engine", lambda *args, **options: TwiceStopped())
    assert rollout(random_model, problems, tmp_path / "run") == 130
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_two_sigterms_at_once_are_one_request(tmp_path, random_model, problems, monkeypatch, capsys):
    twice = TwiceStopped()
    twice.signal = signal.SIGTERM
    monkeypatch.setattr(sampling.engine, "open_engine", lambda *args, **options: twice)
    assert rollout(random_model, problems, tmp_path / "run") == 143
    assert len(judged(tmp_path / "run")) == 10
    assert "stopped with 2 to go" in capsys.readouterr().out


def test_progress_says_how_fast_how_well_and_how_long(monkeypatch):
    tally = Tally(total=100)
    clock = iter([0.0, 10.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    shown = Progress(tally, SimpleNamespace(in_flight=7, waiting_for_caller=2))
    for index in range(20):
        tally.count_drawn(Completion("p", index, "", token_ids=(1,) * 30))
        error_type = (None, ErrorType.NAME, ErrorType.NAME, ErrorType.SYNTAX)[index % 4]
        tally.count_judged(Outcome("p", index, True, error_type is None, error_type))
    assert shown.line() == (
        "20/100 judged · 60 tokens/s, 2.0 completions/s, 2.0 judged/s · 25.0% passed, name 50.0%, syntax 25.0%"
        " · 5 to judge, 2 to write · 0:00:40 left"
    )


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory, random_model) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    write_json_lines(folder / "problems.jsonl", map(to_json, make_problems("train", 3, 0)))
    assert rollout(random_model, folder / "problems.jsonl", folder / "run") == 0
    return folder / "run"


def show(*arguments: object) -> int:
    return main(["rollout", "show", *map(str, arguments)])


def test_show_gives_prompt_completion_program_and_verdict(finished_run, capsys):
    (one, *_) = judged(finished_run)
    assert show(finished_run, "--task", one.completion.task_id, "--limit", 1) == 0
    shown = capsys.readouterr().out
    problem = next(p for p in make_problems("train", 3, 0) if p.task_id == one.completion.task_id)
    assert problem.prompt.splitlines()[0] in shown
    assert one.completion.task_id in shown
    assert "completion (" in shown
    assert "program (continuation)" in shown
    assert "tests passed" in shown


def test_show_picks_by_outcome(finished_run, capsys):
    errors = Counter(one.verdict.error_type for one in judged(finished_run) if one.verdict)
    error_type, count = errors.most_common(1)[0]
    show(finished_run, "--error_type", error_type)
    assert capsys.readouterr().out.count("completion (") == count
    show(finished_run, "--failed")
    assert capsys.readouterr().out.count("completion (") == 12 - errors[None]
    show(finished_run, "--passed")
    assert capsys.readouterr().out.count("completion (") == errors[None]
    show(finished_run, "--limit", 2)
    assert capsys.readouterr().out.count("completion (") == 2


def test_show_spells_out_what_a_terminal_would_obey(tmp_path, capsys):
    completion = Completion("p", 0, "\x1b[2Jreturn 1", finish_reason="stop")
    verdict = Verdict(ErrorType.NAME, 0, 1, detail="\x1b]0;title\x07", line=1)
    write_rollouts(tmp_path / "one.jsonl", [Rollout(completion, Program("\x1b[31m", "fence"), verdict)])
    assert show(tmp_path / "one.jsonl") == 0
    shown = capsys.readouterr().out
    assert "\\x1b[2Jreturn 1" in shown
    assert "\x1b[2J" not in shown
    assert "\x1b]0" not in shown


def test_show_works_in_a_pipe_that_closes_early(finished_run):
    rollouts = list(read_rollouts([finished_run])) * 200
    write_rollouts(finished_run.parent / "many.jsonl", rollouts)
    command = [sys.executable, "-m", "rlcode.cli", "rollout", "show", str(finished_run.parent / "many.jsonl")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()
    assert process.returncode == 0
