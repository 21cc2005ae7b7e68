"""`rlcode doctor`: what this machine can do, what is missing, what that blocks, and the command that mends it.

    rlcode doctor
    rlcode doctor --json machine.json

Every probe stands by itself: a torch that crashes its process is a finding like any other.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
from dataclasses import asdict
from functools import partial
from pathlib import Path

from rlcode.run_directory import write_json
from train.doctor.findings import Finding, State, examine

_DESCRIPTION = """\
Say what this machine can do, what is missing, what that blocks, and the command that mends it.

Ends with 0 if training and judging are possible here, else with 1.
"""


def main(argv: list[str]) -> int:
    """Run `rlcode doctor ARGV…`; returns 0 where training and judging are possible, else 1."""
    args = _parser().parse_args(argv)
    findings = diagnose(args.output_dir, thorough=args.thorough)
    possible = all(finding.state != State.BLOCKS for found in findings.values() for finding in found)
    report = {"possible": possible, "areas": {area: [*map(asdict, found)] for area, found in findings.items()}}
    if args.json == "-" or importlib.util.find_spec("rich") is None:  # what is missing may be what the table needs
        print(json.dumps(report, indent=2))
    else:
        from train.doctor.view import show

        show(findings, possible=possible)
    if args.json not in (None, "-"):
        write_json(Path(args.json), report)
    return 0 if possible else 1


def diagnose(runs: Path, *, thorough: bool = False) -> dict[str, list[Finding]]:
    """All findings by area; `runs` is where runs are to be written. `thorough` imports vLLM too."""
    from train.doctor import building, devices, judging, machine, packages

    gpu = devices.has_gpu()
    needed = ("system", "torch", "required packages")
    found = examine(
        {
            "system": machine.system,
            "cores": machine.cores,
            "memory": machine.memory,
            "shared memory": machine.shared_memory,
            "disks": partial(machine.disks, runs),
            "model cache": machine.model_cache,
            "GPUs": devices.gpus,
            "torch": partial(devices.torch_works, gpu),
            "required packages": packages.required,
            "optional packages": packages.optional,
            "vLLM": partial(packages.vllm, gpu, imported=thorough),
            "docker": judging.docker,
            "local": judging.local,
            "compiler": building.compiler,
            "locks": building.locks,
        },
        needed,
    )

    def together(*names: str) -> list[Finding]:
        return [finding for name in names for finding in found[name]]

    return {
        "machine": together("system", "cores", "memory", "shared memory", "disks", "model cache"),
        "devices": together("GPUs", "torch"),
        "sandbox": [*together("docker", "local"), judging.conclusion(found["docker"], found["local"])],
        "packages": together("required packages", "optional packages", "vLLM"),
        "DeepSpeed's builds": together("compiler", "locks"),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rlcode doctor", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--output_dir", type=Path, default=Path("runs"), help="where runs will be written (%(default)s)"
    )
    parser.add_argument("--thorough", action="store_true", help="import vLLM too, which takes longer than all the rest")
    parser.add_argument(
        "--json", nargs="?", const="-", metavar="FILE", help="findings as JSON: to FILE beside the table, or alone"
    )
    return parser
