"""What an export costs beside the bare merge that it is: PEFT's `merge_and_unload`, `save_pretrained` and no proof.

Both load base and adapter, merge, and write weights and tokenizer, in turns and in one process, on a Qwen2 with random
weights. `merge` is the export without its proof, `proof` what the proof takes (base + adapter asked before, the merged
model loaded again and asked), in transformers alone.

Run: python -m benchmarks.export [--rounds 7] [--json FILE]
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.engines import make_adapter, make_model
from benchmarks.measuring import spread
from rlcode.run_directory import write_json

SIZES = ((256, 6), (512, 10))
"""Hidden size and layers."""


@dataclass
class Size:
    """One size of model: seconds of each round."""

    megabytes: float
    """Of its weights."""
    bare_s: list[float] = field(default_factory=list)
    merge_s: list[float] = field(default_factory=list)
    proof_s: list[float] = field(default_factory=list)

    def ratios(self, seconds: list[float]) -> list[float]:
        """To the bare merge of the same round."""
        return [one / bare for one, bare in zip(seconds, self.bare_s, strict=True)]


def measure(hidden: int, layers: int, rounds: int) -> Size:
    """Both in turns; a first round is not counted."""
    with tempfile.TemporaryDirectory() as folder:
        model = make_model(Path(folder) / "model", hidden, layers)
        adapter = make_adapter(Path(folder) / "adapter", model)
        size = Size((model / "model.safetensors").stat().st_size / 1e6)
        output = Path(folder) / "output"
        for number in range(rounds + 1):
            for ours in (True, False) if number % 2 else (False, True):
                merge, proof = export(model, adapter, output) if ours else (bare(model, adapter, output), 0.0)
                shutil.rmtree(output)
                if number and ours:
                    size.merge_s.append(merge)
                    size.proof_s.append(proof)
                elif number:
                    size.bare_s.append(merge)
    return size


def bare(model: Path, adapter: Path, output: Path) -> float:
    """Seconds of what people do by hand."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    started = time.perf_counter()
    tokenizer = AutoTokenizer.from_pretrained(model)
    policy = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(model, dtype="auto"), str(adapter))
    policy.merge_and_unload().save_pretrained(output)
    tokenizer.save_pretrained(output)
    return time.perf_counter() - started


def export(model: Path, adapter: Path, output: Path) -> tuple[float, float]:
    """Seconds of the export, without and of its proof."""
    from train.exporter import ExportOptions, export_adapter

    started = time.perf_counter()
    proof = export_adapter(ExportOptions(adapter, output, model=str(model)))
    return time.perf_counter() - started - proof.seconds["proof"], proof.seconds["proof"]


def main() -> None:
    arguments = parse_arguments()
    sizes = [measure(*size, arguments.rounds) for size in SIZES]
    show(sizes)
    if arguments.json:
        write_json(arguments.json, [asdict(size) for size in sizes])


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    return parser.parse_args()


def show(sizes: list[Size]) -> None:
    table = Table(title="Export against a bare merge")
    for heading in ("weights, MB", "bare, s", "merge, s", "to bare", "proof, s", "to bare"):
        table.add_column(heading, justify="right")
    for size in sizes:
        table.add_row(
            f"{size.megabytes:.0f}",
            spread(size.bare_s),
            spread(size.merge_s),
            spread(size.ratios(size.merge_s)),
            spread(size.proof_s),
            spread(size.ratios(size.proof_s)),
        )
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
