"""`rlcode plan`: what a training run will take, told before a GPU is spent. Nothing is loaded and nothing is trained.

    rlcode plan --config configs/dpo.yaml --gpus 4 --accelerate_config configs/accelerate/zero2.yaml

The configuration is parsed as the training script parses it. Memory is an estimate by the formulas in
`train/memory_plan.py`; it knows nothing of what else is on the device.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlcode.config import parse_config, written_values
from rlcode.errors import ConfigError
from rlcode.run_directory import write_json
from train.arguments import GrpoArguments, PairArguments, PlanArguments, PolicyArguments
from train.batch_plan import RunLength
from train.memory_plan import GIB, Verdict
from train.planning import Fields, Plan, layout_of, make_plan, what_fits

if TYPE_CHECKING:
    from rich.table import Table

_OWN: dict[str, list[type]] = {"dpo": [PairArguments, PolicyArguments], "grpo": [GrpoArguments]}


def main(argv: list[str]) -> int:
    """Run `rlcode plan ARGV…`; returns 0 where the run fits, also tightly, and 1 where it does not."""
    if "-h" in argv or "--help" in argv:
        parse_config([PlanArguments], argv, prog="rlcode plan")
    written = written_values(argv)
    method = _method(written)
    plan_args, *rest = parse_config(
        [PlanArguments, *_OWN[method]],
        [*argv, "--use_cpu", "true"],  # a machine without the GPUs may plan for them
        prog="rlcode plan",
        others=lambda: [_model_config(), _planned(method, _processes(written))],
    )
    values = Fields(method, {key: value for part in rest for key, value in vars(part).items()})
    plan = make_plan(plan_args, values)
    show(plan)
    if plan_args.json:
        write_json(Path(plan_args.json), plan.to_json())
    return 1 if plan.verdict == Verdict.DOES_NOT_FIT else 0


def _method(written: dict[str, Any]) -> str:
    """Which training script the fields are for.

    Raises:
        ConfigError: they could be for either.
    """
    if written.get("method") in _OWN:
        return written["method"]
    names = {method: _field_names(method) for method in _OWN}
    dpo, grpo = (written.keys() & (names[one] - names[other]) for one, other in (("dpo", "grpo"), ("grpo", "dpo")))
    if bool(dpo) == bool(grpo):
        raise ConfigError("the fields given are of no one training script; say which with --method dpo or grpo")
    return "dpo" if dpo else "grpo"


def _processes(written: dict[str, Any]) -> int:
    try:
        gpus = int(written["gpus"]) if written.get("gpus") else None
    except ValueError:
        return 1  # the parser says what is wrong with it
    return layout_of(PlanArguments(gpus=gpus, accelerate_config=written.get("accelerate_config"))).gpus


def _model_config() -> type:
    from trl import ModelConfig

    return ModelConfig


def _trl_config(method: str) -> type:
    from trl import DPOConfig, GRPOConfig

    return DPOConfig if method == "dpo" else GRPOConfig


def _planned(method: str, processes: int) -> type:
    """TRL's configuration as each of so many processes would see it: TRL checks its batches by their number."""
    base = _trl_config(method)
    return type(base.__name__, (base,), {"world_size": property(lambda self: processes), "__doc__": base.__doc__})


def _field_names(method: str) -> set[str]:
    return {
        field.name
        for part in (*_OWN[method], _model_config(), _trl_config(method))
        for field in dataclasses.fields(part)
    }


def show(plan: Plan) -> None:
    """Print the plan for people."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
    console.print(memory_table(plan))
    console.print(plan.batch.describe())
    if plan.length:
        console.print(describe_length(plan.length))
    for note in plan.notes:
        console.print(note)
    console.print(verdict_line(plan))


def memory_table(plan: Plan) -> Table:
    """What lies where, for each device."""
    from rich.table import Table

    layout, demand = plan.demand.layout, plan.demand
    shared = f"ZeRO stage {layout.zero_stage}" if layout.zero_stage else "whole copies"
    title = f"{layout.gpus} training processes, {shared}" if layout.gpus > 1 else "1 training process"
    table = Table("GiB for each device, estimated", "device", "host", "when", "what", title=title)
    for column in table.columns[1:3]:
        column.justify = "right"
    for line in plan.memory.lines:
        table.add_row(line.name, _gib(line.device), _gib(line.host), line.phase, line.note)
    table.add_section()
    table.add_row("at the worst moment", _gib(plan.memory.device()), _gib(plan.memory.host()), "", "")
    table.add_row("device", _gib(plan.device_memory), "", "", f"{demand.sequences} × {demand.length:,} tokens a pass")
    return table


def _gib(size: int) -> str:
    if not size:
        return "–"
    return f"{size / GIB:.2f}" if size >= GIB / 100 else "<0.01"


def describe_length(length: RunLength) -> str:
    """How long the run is and what it leaves on disk, in one line."""
    written = f", {length.generated_tokens:,} of them written by the policy" if length.generated_tokens else ""
    checkpoints = f"{length.checkpoints} × {length.checkpoint_bytes / GIB:.2f} of checkpoints"
    return (
        f"{length.steps:,} optimizer steps; at most {length.tokens:,} tokens{written}; "
        f"at most {length.disk / GIB:.2f} GiB on disk ({checkpoints}, {length.log_bytes / GIB:.2f} of logs)"
    )


def verdict_line(plan: Plan) -> str:
    """Whether it fits, by how much, and what would help."""
    left = (plan.device_memory - plan.memory.device()) / GIB
    if plan.verdict == Verdict.FITS:
        return f"fits: an estimated {left:.1f} GiB of each device stay free"
    if plan.verdict == Verdict.TIGHT:
        return f"tight: an estimated {left:.1f} GiB of each device stay free, and buffers are not counted; try it first"
    ways = list(what_fits(plan))
    helps = "one of these would do: " + "; ".join(ways) if ways else "no single change of those known here would do"
    return f"does not fit: an estimated {-left:.1f} GiB too much for each device; {helps}"
