"""BigCodeBench-Hard (Zhuo et al. 2024, arXiv 2406.15877): the 148 tasks of BigCodeBench that are most like real ones.

The rows come from the hub's `bigcode/bigcodebench-hard`, or from a file; both and the split are those of
`rlcode.data.bigcodebench`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlcode.data import bigcodebench, hub
from rlcode.types import Problem

HUB_NAME = "bigcode/bigcodebench-hard"
FIELDS = bigcodebench.FIELDS


def load(file: Path | None, split: str | None) -> list[Problem]:
    """See `bigcodebench.load`."""
    return bigcodebench.load_from(HUB_NAME, file, split)


def aliases(task_id: str) -> tuple[str, ...]:
    """Other names that a samples file may use for the task: none."""
    return ()


def version(file: Path | None) -> dict[str, Any]:
    """What tells one version of the data from another."""
    return hub.version(file, hub.Table(HUB_NAME, bigcodebench.VERSIONS[0]))
