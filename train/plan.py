"""`rlcode plan`: what a training run will take, told before a GPU is spent. Nothing is loaded and nothing is trained.

    rlcode plan --config configs/dpo.yaml --gpus 4 --accelerate_config configs/accelerate/zero2.yaml \
        --gradient_accumulation_steps 2

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
from train.arguments import (
    DeviceArguments,
    GrpoArguments,
    PairArguments,
    PlanArguments,
    PolicyArguments,
    SftArguments,
)
from train.batch_plan import RunLength
from train.memory_plan import GIB, Verdict
from train.planning import Fields, Plan, layout_of, make_plan, what_fits

if TYPE_CHECKING:
    from rich.table import Table

_OWN: dict[str, list[type]] = {
    "dpo": [PairArguments, PolicyArguments],
    "sft": [SftArguments, PolicyArguments],
    "grpo": [GrpoArguments],
}


def main(argv: list[str]) -> int:
    """Run `rlcode plan ARGV…`; returns 0 where the run fits, also tightly, and 1 where it does not."""
    if "-h" in argv or "--help" in argv:
        parse_config([PlanArguments], argv, prog="rlcode plan")
    written = written_values(argv)
    plans = plans_of_loop(argv) if "methods" in written else {"": plan_of(argv, _method(written))}
    for name, plan in plans.items():
        if name:
            print(f"── {name}")
        show(plan)
    if written.get("json"):
        done = {name: plan.to_json() for name, plan in plans.items()}
        write_json(Path(str(written["json"])), done.get("", done))
    return 1 if any(plan.verdict == Verdict.DOES_NOT_FIT for plan in plans.values()) else 0


def plan_of(argv: list[str], method: str) -> Plan:
    """The plan of one training script, whose fields and ours are in `argv`.

    Raises:
        ConfigError: the script would refuse them, or nothing can be planned with them.
    """
    plan_args, *rest = parse_config(
        [PlanArguments, *_OWN[method]],
        [*argv, "--use_cpu", "true"],  # a machine without the GPUs may plan for them
        prog="rlcode plan",
        others=lambda: [_model_config(), _planned(method, _processes(written_values(argv)))],
    )
    return make_plan(plan_args, Fields(method, {key: value for part in rest for key, value in vars(part).items()}))


def plans_of_loop(argv: list[str]) -> dict[str, Plan]:
    """The plan of each method of an `rlcode run`, in a round that has an adapter to start from."""
    from train.loop_arguments import LoopArguments, command_line

    nowhere = [] if written_values(argv).get("output_dir") else ["--output_dir", "planned"]
    devices, args = parse_config([DeviceArguments, LoopArguments], [*argv, *nowhere], prog="rlcode plan")
    ours = {name: value for name, value in vars(devices).items() if name != "json"}
    ours |= {"accelerate_config": args.accelerate_config, "adapter": args.adapter or "of the round before"}
    ours |= {"model_name_or_path": args.model, "output_dir": args.output_dir}
    scripts = {"rft": "sft"}
    return {
        method: plan_of([*command_line({**args.options(method), **ours})], scripts.get(method, method))
        for method in args.methods
    }


def _method(written: dict[str, Any]) -> str:
    """Which training script the fields are for.

    Raises:
        ConfigError: they could be for several, or for none.
    """
    if written.get("method") in _OWN:
        return str(written["method"])
    names = {method: _field_names(method) for method in _OWN}
    known = written.keys() & set().union(*names.values())
    fitting = [method for method in _OWN if known <= names[method]]
    if len(fitting) != 1:
        raise ConfigError("the fields given are of no one training script; say which with --method dpo, sft or grpo")
    return fitting[0]


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
    from trl import DPOConfig, GRPOConfig, SFTConfig

    return {"dpo": DPOConfig, "sft": SFTConfig, "grpo": GRPOConfig}[method]


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
    written = f" and {length.generated_tokens:,} written by the policy" if length.generated_tokens else ""
    checkpoints = f"{length.checkpoints} × {length.checkpoint_bytes / GIB:.2f} of checkpoints"
    return (
        f"{length.steps:,} optimizer steps; at most {length.tokens:,} tokens trained on{written}; "
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
