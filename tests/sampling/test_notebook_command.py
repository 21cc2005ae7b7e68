"""`rlcode notebook show`: what a person reads of the policy's weaknesses."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlcode.cli import main
from rlcode.types import Completion, ErrorType, Program, Rollout, Verdict
from sampling.notebook import ErrorNotebook
from sampling.notebook_view import arrow
from sampling.store import write_rollouts


def rollout(task_id: str, index: int, error_type: ErrorType | None, source: str = "", **more) -> Rollout:
    verdict = Verdict(error_type, int(error_type is None), 1, **more)
    return Rollout(Completion(task_id, index, source), Program(source, "whole"), verdict)


FAILING = "def f(xs):\n    first = xs[0]\n    return first\n"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    broken = {"detail": "IndexError: list index out of range", "signature": "list index out of range", "line": 2}
    write_rollouts(
        tmp_path / "rollouts-00000.jsonl",
        [
            rollout("easy", 0, None),
            rollout("hard", 0, ErrorType.INDEX, FAILING, **broken),
            rollout("hard", 1, ErrorType.INDEX, FAILING + "\n# a longer one\n", **broken),
            rollout("easy", 1, ErrorType.NAME, "f = \x1b[31mred", detail="NameError: name 'red'", line=1),
        ],
    )
    return tmp_path


def test_types_are_shown_by_frequency_with_message_worst_problem_and_a_marked_program(run: Path, capsys):
    assert main(["notebook", "show", str(run)]) == 0
    shown = capsys.readouterr().out
    assert "4 scored samples, policy version 0" in shown
    assert shown.index("index") < shown.index("name")
    assert "50.0%" in shown
    assert "list index out of range" in shown
    assert shown.index("hard") < shown.index("easy")
    assert ">    2 |     first = xs[0]" in shown
    assert "hard, sample 0" in shown, "the shortest program is the example"


def test_what_a_program_writes_can_not_steer_the_terminal(run: Path, capsys):
    main(["notebook", "show", str(run)])
    shown = capsys.readouterr().out
    assert "\x1b[31m" not in shown
    assert "\\x1b[31mred" in shown


def test_the_notebook_can_be_written_for_training(run: Path, tmp_path: Path, capsys):
    assert main(["notebook", "show", str(run), "--output", str(tmp_path / "notebook.json")]) == 0
    assert ErrorNotebook.load(tmp_path / "notebook.json").frequency(ErrorType.INDEX) == 0.5


def test_a_directory_without_rollouts_is_an_error_that_says_what_writes_them(tmp_path: Path, capsys):
    assert main(["notebook", "show", str(tmp_path)]) == 2
    assert "rlcode rollout" in capsys.readouterr().err


def test_an_arrow_is_drawn_only_where_chance_does_not_explain_the_difference():
    notebook = ErrorNotebook(short_half_life=100, long_half_life=10_000)
    notebook.observe([Rollout(Completion("t", 0, ""), Program("", "whole"), Verdict(ErrorType.NAME, 0, 1))] * 50)
    notebook.observe([rollout("t", 0, None)] * 50)
    notebook.observe(newer(ErrorType.NAME, 52) + newer(None, 48))
    assert arrow(notebook, ErrorType.NAME) == "→"
    notebook.observe(newer(ErrorType.INDEX, 200))
    assert arrow(notebook, ErrorType.INDEX) == "↑"
    assert arrow(notebook, ErrorType.NAME) == "↓"


def newer(error_type: ErrorType | None, count: int) -> list[Rollout]:
    verdict = Verdict(error_type, int(error_type is None), 1)
    return [Rollout(Completion("t", 0, "", policy_version=1), Program("", "whole"), verdict)] * count
