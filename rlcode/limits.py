"""The limits that a run sets: the same flags and YAML keys in every command that judges programs.

Which of a run, a problem and its data set decides is said at `rlcode.types.PartialLimits`.
"""

from __future__ import annotations

import argparse
import dataclasses
from dataclasses import dataclass, field
from typing import Any

from rlcode.errors import ConfigError
from rlcode.types import LIMIT_BOUNDS, Limits, PartialLimits

LIMIT_OPTIONS = {
    "time_limit": "time_s",
    "memory_limit_mb": "memory_mb",
    "output_limit_kb": "output_kb",
    "process_limit": "processes",
    "open_files_limit": "open_files",
    "disk_limit_mb": "disk_mb",
    "failure_limit": "failures",
}
"""Option → field of `Limits`."""


def _option(default: float, help_text: str) -> Any:
    # all metadata of a field goes to argparse, so there is no room for more than the help
    return field(default=None, metadata={"help": f"{help_text}; none: what the problem says, or else {default:,.7g}"})


@dataclass
class LimitArguments:
    """What a program may consume in this run.

    Raises:
        ConfigError: a value that no limit can have.
    """

    time_limit: float | None = _option(Limits.time_s, "seconds that a program may consume")
    memory_limit_mb: int | None = _option(Limits.memory_mb, "address space of each process of a program, MiB")
    output_limit_kb: int | None = _option(Limits.output_kb, "what a program may print, KiB")
    process_limit: int | None = _option(Limits.processes, "processes and threads of a program at once")
    open_files_limit: int | None = _option(Limits.open_files, "open files of each process of a program")
    disk_limit_mb: int | None = _option(Limits.disk_mb, "files in a program's work folder, MiB")
    failure_limit: int | None = _option(Limits.failures, "failed tests after which the others are not run")

    def __post_init__(self) -> None:
        limits_from(self)


def add_limit_options(group: argparse._ArgumentGroup, **defaults: float) -> None:
    """The fields of `LimitArguments` as options. `defaults`: those that the command sets where the user does not."""
    for option in dataclasses.fields(LimitArguments):
        kind = type(getattr(Limits, LIMIT_OPTIONS[option.name]))
        help_text, default = option.metadata["help"], defaults.get(option.name)
        if default is not None:
            help_text = f"{help_text.partition(';')[0]} (default {default:,})"
        group.add_argument(f"--{option.name}", type=kind, default=default, help=help_text)


def limits_from(arguments: Any) -> PartialLimits:
    """The limits that the run sets. `arguments` has the attributes of `LimitArguments`.

    Raises:
        ConfigError: a value that no limit can have.
    """
    for option, name in LIMIT_OPTIONS.items():
        value, (least, most) = getattr(arguments, option), LIMIT_BOUNDS[name]
        if value is not None and not least <= value <= most:
            raise ConfigError(f"{option} must be from {least:g} to {most:,}, got {value}")
    return PartialLimits(**{name: getattr(arguments, option) for option, name in LIMIT_OPTIONS.items()})
