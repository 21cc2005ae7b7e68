"""Small run directories, written by the project's own writers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eval.figures import Figures, greedy_interval, pass_at_ks
from eval.judging import Judged
from eval.report import ReportFiles
from eval.samples import Sample
from rlcode.data import jsonl
from rlcode.run_directory import RunDirectory, write_json, write_json_lines
from rlcode.types import (
    Completion,
    ErrorType,
    EvalReport,
    Problem,
    Program,
    Rollout,
    TestCase,
    TestKind,
    Unscored,
    Verdict,
)
from sampling.notebook import ErrorNotebook
from sampling.store import RolloutStore

OWNED = "document.documentElement.dataset.owned = 'yes'"
HOSTILE = f'</script></style></title><img src=x onerror="{OWNED}"><svg onload="{OWNED}"></svg>\'"&lt;\x1b[2J'
"""Does what no text may: get out of where it stands, and run."""
PROMPT = "def f(x):\n"
PROBLEMS = [
    Problem(task_id, PROMPT, (TestCase(TestKind.ASSERTS, code="assert f(1) == 1"),), "f")
    for task_id in ("p/easy", "p/hard", f"p/{HOSTILE}")
]
LOG = [
    {
        "step": step,
        "reward": 0.25 * step,
        "loss": 1.0 / step,
        "groups/zero_variance_share": 0.1 * step,
        "entropy": 0.5,
        "held_back/pass_rate_shown": 0.5,
        "held_back/pass_rate_all": 0.5 - 0.1 * step,
        "held_back/gap": 0.1 * step,
        "queue/job_wait": 0.5 * step,
        "seconds/generate": 3.0,
        "seconds/update": 1.0,
        "seconds/step": 4.0,
    }
    for step in (1, 2, 3, 4)
]
ALARM = {"step": 3, "name": "held_back_gap", "message": f"the gap grew {HOSTILE}", "values": {"now": 0.3}}

Ending = ErrorType | str | None
"""None is a pass, a text why it is unscored."""


def verdict(ending: Ending, text: str = "") -> Verdict | None:
    if isinstance(ending, ErrorType):
        said = {"exception": "Error", "line": 2, "first_failing_test": f"assert {text}", "detail": f"Error: {text}"}
        return Verdict(ending, 1, 3, stdout=text, time_s=0.02, memory_mb=13.0, backend="local", **said)
    return Verdict(None, 3, 3, time_s=0.01, memory_mb=12.0, backend="local") if ending is None else None


def rollout(task_id: str, index: int, ending: Ending, version: int = 0, text: str = "") -> Rollout:
    body = f"    return {index} + {version}  # {ending} {text}"
    completion = Completion(task_id, index, body, (1,), (2, 3), (-0.5, -0.5), "stop", version)
    judged = verdict(ending, text)
    reason = None if judged else str(ending)
    return Rollout(completion, Program(PROMPT + body, "continuation"), judged, reason)


def rollouts(endings: dict[str, Sequence[Ending]], version: int = 0, text: str = "") -> list[Rollout]:
    """Of each problem one for each ending."""
    return [
        rollout(task_id, index, ending, version, text)
        for task_id, given in endings.items()
        for index, ending in enumerate(given)
    ]


def store(path: Path, found: Sequence[Rollout], suffix: str = "") -> None:
    with RolloutStore(path, suffix) as files:
        for one in found:
            files.append(one)


def evaluation(
    path: Path, endings: dict[str, Sequence[Ending]], *, with_samples: bool = True, text: str = "", policy: Any = None
) -> None:
    """What `rlcode eval --greedy` leaves; the first ending of a problem is the greedy answer's too."""
    by_id = {problem.task_id: problem for problem in PROBLEMS}
    judged = [
        _judged(by_id[one.completion.task_id], one, place) for place, one in enumerate(rollouts(endings, text=text))
    ]
    first = [
        _judged(one.problem, rollouts({one.problem.task_id: endings[one.problem.task_id]})[0], place)
        for place, one in enumerate(one for one in judged if one.sample.index == 0)
    ]
    with ReportFiles(path, PROBLEMS, with_samples=with_samples) as files:
        files.add_all(judged)
        files.add_all(first, is_greedy=True)
        files.write(_report(files.figures, files.greedy, policy or {"samples": "elsewhere.jsonl"}))


def _judged(problem: Problem, one: Rollout, place: int) -> Judged:
    sample = Sample(problem.task_id, one.completion.index, one.completion.text, place=place)
    return Judged(sample, one.program, one.verdict or Unscored(one.unscored_reason or ""), problem)


def _report(figures: Figures, greedy: Figures, policy: dict[str, Any]) -> EvalReport:
    given, withheld = pass_at_ks(figures.results, [1], 7)
    return EvalReport(
        "jsonl",
        len(PROBLEMS),
        figures.num_samples,
        given,
        figures.error_types(),
        figures.unscored,
        withheld,
        greedy=greedy_interval(greedy.results),
        seed=7,
        backend="scripted",
        image_digest="sha256:0",
        policy=policy,
        versions={"python": "3.11"},
    )


def draw(position: int, task_id: str, chosen: int, rejected: int, error_type: ErrorType) -> dict[str, Any]:
    """A line of draws.jsonl."""
    sides = {"chosen": chosen, "rejected": rejected}
    placed = {name: {"side": index, "index": index, "policy_version": 0} for name, index in sides.items()}
    line = {"position": position, "step": position // 2, "task_id": task_id, "error_type": str(error_type)}
    return {**line, "part": "window" if position % 2 else "replay", **placed}


def training(path: Path, kind: str, config: dict[str, Any] | None = None) -> None:
    """What every training script leaves."""
    with RunDirectory(path, kind, {"learning_rate": 1e-3, "note": HOSTILE, **(config or {})}):
        pass
    write_json(path / "trainer_state.json", {"log_history": LOG})


def dpo(path: Path, seen: Sequence[Rollout], draws: Sequence[dict[str, Any]], **config: Any) -> None:
    training(path, "dpo", config)
    write_json_lines(path / "draws.jsonl", draws)
    notebook = ErrorNotebook()
    notebook.observe(seen)
    notebook.save(path / "notebook.json")


START = {"p/easy": (None, None, ErrorType.SYNTAX, None), "p/hard": (ErrorType.WRONG_ANSWER,) * 3 + (None,)}
LATER = {"p/easy": (None,) * 4, "p/hard": (ErrorType.WRONG_ANSWER, None, None, "the engine is gone")}
ROUND = {
    "p/easy": (None, ErrorType.SYNTAX, ErrorType.SYNTAX, ErrorType.NAME),
    f"p/{HOSTILE}": (None, ErrorType.TYPE, f"lost {HOSTILE}", ErrorType.TIMEOUT),
}
DRAWS = [
    draw(0, "p/easy", 0, 1, ErrorType.SYNTAX),
    draw(1, "p/easy", 0, 1, ErrorType.SYNTAX),
    draw(2, "p/easy", 0, 3, ErrorType.NAME),
    draw(3, f"p/{HOSTILE}", 0, 1, ErrorType.TYPE),
]
GROUPS = {1: {"p/easy": (None, None), "p/hard": (ErrorType.KEY, None)}, 2: {"p/easy": (None, None)}}


def loop(path: Path) -> Path:
    """One round of `rlcode run` with DPO and GRPO, whose programs, messages and names are hostile."""
    with RunDirectory(path, "loop", {"methods": ["dpo", "grpo"], "system_prompt": HOSTILE}):
        first = path / "round-01"
        first.mkdir()
        jsonl.save(PROBLEMS, first / "problems.jsonl")
        evaluation(path / "start" / "validation", START)
        seen = rollouts(ROUND, text=HOSTILE)
        store(first / "rollouts", seen)
        dpo(first / "dpo", seen, DRAWS)
        training(first / "grpo", "grpo")
        for version, endings in GROUPS.items():
            store(first / "grpo", rollouts(endings, version), "-rank0")
        write_json_lines(first / "grpo" / "alarms.jsonl", [ALARM])
        evaluation(first / "validation", LATER, text=HOSTILE)
        stages = ("start/validation", *(f"round-01/{name}" for name in ("rollouts", "dpo", "grpo", "validation")))
        write_json_lines(path / "stages.jsonl", [{"name": name, "seconds": 90.0, "command": []} for name in stages])
    return path
