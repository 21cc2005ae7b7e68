"""`rlcode sandbox check` and `rlcode sandbox run`, with real workers; `build` has its own tests."""

from __future__ import annotations

import json
from pathlib import Path

import docker
import pytest

from rlcode.errors import InputError
from sandbox.main import main

TASK = ["--benchmark", "humaneval", "--task", "HumanEval/53", "--backend", "local"]


@pytest.fixture
def problem_file(shared_data: Path) -> str:
    return str(shared_data / "HumanEval.jsonl.gz")


@pytest.mark.parametrize("backend", ["docker", "local", "auto"])
def test_check_says_which_sandbox_works(
    engine: docker.DockerClient, backend: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "--backend", backend]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"{'docker' if backend == 'auto' else backend} works")


@pytest.mark.parametrize(("answer", "passed"), [("x + y", True), ("x - y", False)])
def test_run_prints_the_verdict_and_ends_with_0_only_for_a_pass(
    tmp_path: Path, problem_file: str, answer: str, passed: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "answer.py"
    program.write_text(f"def add(x, y):\n    return {answer}\n")
    assert main(["run", str(program), "--file", problem_file, *TASK]) == (0 if passed else 1)
    verdict = json.loads(capsys.readouterr().out)
    assert verdict["passed"] is passed
    assert verdict["error_type"] == (None if passed else "wrong_answer")


def test_run_names_what_it_can_not_find(tmp_path: Path, problem_file: str) -> None:
    program = tmp_path / "answer.py"
    with pytest.raises(InputError, match=r"answer\.py"):
        main(["run", str(program), "--file", problem_file, *TASK])
    program.write_bytes(b"\xff")
    with pytest.raises(InputError, match="not UTF-8"):
        main(["run", str(program), "--file", problem_file, *TASK])
    program.write_text("x = 1\n")
    with pytest.raises(InputError, match="no task 'HumanEval/999'"):
        main(["run", str(program), "--file", problem_file, *TASK, "--task", "HumanEval/999"])
