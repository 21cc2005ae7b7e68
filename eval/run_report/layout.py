"""What a run directory holds, whatever command wrote it: its sets of judged samples and its trainings, in their order.

rlcode quickstart     eval/base, dpo-1, dpo-2, eval/after_DPO, grpo, eval/after_GRPO, eval/exported
rlcode run            start/validation, round-01/{rollouts,dpo,…,validation}, round-02/…
everything else       the directory itself
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from eval.evaluations import GREEDY, REPORT, VERDICTS
from rlcode.errors import DataError, InputError
from sampling.adapters import METADATA_FILE

_QUICKSTART = ("eval/base", "dpo-*", "eval/after_DPO", "grpo", "eval/after_GRPO", "eval/exported")
_LOOP = ("start/validation", "round-*")
_ROLLOUTS = ("rollouts*.jsonl", "unscored*.jsonl")
_OF_GRPO = "rollouts-rank*.jsonl"
QUIZ = "quiz"


class Role(StrEnum):
    """What a set of samples was drawn for."""

    EVALUATION = "evaluation"
    GREEDY = "greedy answers"
    ROLLOUTS = "rollouts"
    """Before training, by one policy."""
    GROUPS = "groups"
    """In GRPO, by ever newer policies."""
    QUIZ = "quiz"

    @property
    def by_version(self) -> bool:
        """Whether the policies that wrote its samples are shown one after the other."""
        return self in (Role.GROUPS, Role.QUIZ)


@dataclass(frozen=True)
class SampleSet:
    """Judged samples that belong together."""

    name: str
    role: Role
    files: tuple[Path, ...]
    folder: Path

    @property
    def report(self) -> dict[str, Any]:
        """The report of `rlcode eval` beside it; empty where there is none."""
        return _json(self.folder / REPORT) if self.role in (Role.EVALUATION, Role.GREEDY) else {}


@dataclass(frozen=True)
class Training:
    """A run of a training script."""

    name: str
    folder: Path
    kind: str
    """dpo, grpo or sft."""
    rollouts: tuple[Path, ...] = ()
    """Files and directories that its pairs come from."""


@dataclass
class Layout:
    """All parts of a run."""

    path: Path
    kind: str
    sets: list[SampleSet] = field(default_factory=list)
    trainings: list[Training] = field(default_factory=list)
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    """`run.json` of the run and of its stages, by name."""
    problem_files: list[Path] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    """What the run names and the machine no longer has."""


def read_layout(path: Path) -> Layout:
    """Look into the run directory `path`; nothing of any length is read yet.

    Raises:
        InputError: it is no directory, or has nothing of a run. DataError: a file that says what ran can't be read.
    """
    if not path.is_dir():
        raise InputError(f"{path} is no run directory; name what a command of rlcode wrote with --output_dir")
    record = _json(path / "run.json")
    layout = Layout(path, record.get("kind", "evaluation" if (path / REPORT).exists() else "run"))
    if record := record or _record_of_report(path):
        layout.records["this run"] = record
    for folder in _stages(path, layout.kind):
        _add_stage(layout, folder)
    layout.problem_files += sorted([*path.glob("problems/*.jsonl"), *path.glob("round-*/problems.jsonl")])
    if not layout.sets and not layout.trainings:
        raise InputError(
            f"{path} has neither samples nor a training in it, so there is nothing to report; name the directory that "
            "quickstart, run, rollout, eval or a training script wrote"
        )
    return layout


def _record_of_report(path: Path) -> dict[str, Any]:
    """What stands for `run.json` where a samples file was judged."""
    report = _json(path / REPORT)
    if not report:
        return {}
    config = {name: report.get(name) for name in ("benchmark", "policy", "data", "seed", "backend", "image_digest")}
    return {"kind": "eval", "config": config, "versions": report.get("versions", {})}


def _stages(path: Path, kind: str) -> Iterator[Path]:
    patterns = {"quickstart": _QUICKSTART, "loop": _LOOP}.get(kind, ())
    for pattern in patterns:
        for folder in sorted(path.glob(pattern)):
            yield from _stages_of_round(folder) if kind == "loop" and pattern == _LOOP[1] else [folder]
    if not patterns:
        yield path


def _stages_of_round(folder: Path) -> list[Path]:
    """In the order in which the loop walks through them: trainings by the version of the policy that they made."""
    order = {"rollouts": -1, "validation": 1}
    stages = [stage for stage in folder.iterdir() if stage.is_dir()]
    return sorted(stages, key=lambda stage: (order.get(stage.name, 0), _version(stage), stage.name))


def _version(stage: Path) -> int:
    """Of the policy that a stage made; of one that has made none yet, a later one than any."""
    records = (_json(stage / folder / METADATA_FILE) for folder in ("adapter", "model"))
    return int(next((record["policy_version"] for record in records if "policy_version" in record), 1 << 62))


def _add_stage(layout: Layout, folder: Path) -> None:
    name = "" if folder == layout.path else _readable(folder.relative_to(layout.path).as_posix())
    record = _json(folder / "run.json")
    if name and record:
        layout.records[name] = record
    if not name:
        _add_problem_file(layout, record)
    layout.sets += _evaluations(folder, name) or _rollouts(folder, name)
    training = _training(folder, name, record)
    if training is None:
        return
    layout.trainings.append(training)
    if not name and training.kind == "dpo":
        layout.sets = [*_pairs_sources(layout, training), *layout.sets]
    if any((folder / QUIZ).glob(_ROLLOUTS[0])):
        layout.sets.append(SampleSet(f"quiz, {training.name}", Role.QUIZ, _files(folder / QUIZ), folder / QUIZ))


def _readable(name: str) -> str:
    """`eval/after_DPO` as the quickstart calls it, `round-01/dpo` as it is."""
    return name.removeprefix("eval/").replace("_", " ") if name.startswith("eval/") else name


def _add_problem_file(layout: Layout, record: dict[str, Any]) -> None:
    config = record.get("config", {})
    if not config.get("benchmark_file") or config.get("benchmark") != "jsonl":
        return
    file = Path(config["benchmark_file"])
    if file.exists():
        layout.problem_files.append(file)
    else:
        layout.absent.append(f"the problems, {file}")


def _evaluations(folder: Path, name: str) -> list[SampleSet]:
    """What `rlcode eval` wrote, or the quickstart's evaluations."""
    title = name or "evaluation"
    if (folder / VERDICTS).exists():
        files = ((folder / VERDICTS, Role.EVALUATION), (folder / GREEDY, Role.GREEDY))
    elif folder.parent.name == "eval" and (folder / "rollouts.jsonl").exists():
        files = ((folder / "rollouts.jsonl", Role.EVALUATION), (folder / "greedy.jsonl", Role.GREEDY))
    else:
        return []
    return [
        SampleSet(title if role is Role.EVALUATION else f"{title}, greedy", role, (file,), folder)
        for file, role in files
        if file.exists()
    ]


def _rollouts(folder: Path, name: str) -> list[SampleSet]:
    files = _files(folder)
    if not files:
        return []
    is_grpo = any(folder.glob(_OF_GRPO))
    if is_grpo:
        return [SampleSet(name or "grpo", Role.GROUPS, files, folder)]
    title = name if name.endswith("rollouts") else f"{name} rollouts".strip()
    return [SampleSet(title, Role.ROLLOUTS, files, folder)]


def _files(folder: Path) -> tuple[Path, ...]:
    """The files of a rollout store; those that were never judged last."""
    return tuple(file for pattern in _ROLLOUTS for file in sorted(folder.glob(pattern)))


def _training(folder: Path, name: str, record: dict[str, Any]) -> Training | None:
    kind = record.get("kind", "")
    if (folder / "draws.jsonl").exists():
        kind = "dpo"
    elif any(folder.glob(_OF_GRPO)):
        kind = "grpo"
    elif (folder / "examples.jsonl").exists():
        kind = "sft"
    elif kind == "async_grpo":
        kind = "grpo"
    if kind not in ("dpo", "grpo", "sft"):
        return None
    return Training(name or kind, folder, kind, _sources(folder, record) if kind == "dpo" else ())


def _sources(folder: Path, record: dict[str, Any]) -> tuple[Path, ...]:
    """Where the pairs of a DPO run come from: its own folder (quickstart), the round's (loop), or what it was given."""
    if _files(folder):
        return (folder,)
    if _files(folder.parent / "rollouts"):
        return (folder.parent / "rollouts",)
    return tuple(map(Path, record.get("config", {}).get("rollouts") or ()))


def _pairs_sources(layout: Layout, training: Training) -> Iterator[SampleSet]:
    for path in training.rollouts:
        files = _files(path) if path.is_dir() else (path,) if path.exists() else ()
        if files:
            role = Role.GROUPS if any(file.name.startswith("rollouts-rank") for file in files) else Role.ROLLOUTS
            yield SampleSet(f"rollouts of {path.name}", role, files, path)
        else:
            layout.absent.append(f"the rollouts that pairs were drawn from, {path}")


def _json(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} can't be read: {error}; mend it, or move it away to have a report without it"
        ) from error
    if not isinstance(value, dict):
        raise DataError(f"{path} holds no JSON object; mend it, or move it away to have a report without it")
    return value
