"""`rlcode pairs`: preference pairs from judged rollouts, as a data set for any DPO trainer."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from rlcode.errors import InputError
from sampling.arguments import PoolArguments, add_pool_options, require, strategy_options_from
from sampling.tokenizer import tokenizer_of

if TYPE_CHECKING:
    from datasets import Dataset
    from rich.table import Table

    from sampling.notebook import ErrorNotebook
    from sampling.pool import PairPool
    from sampling.pool_summary import PoolSummary
    from sampling.strategies.protocol import Draw

DESCRIPTION = """\
Pairs of completions of one prompt, one that passed and one that failed, from what `rlcode rollout` or training wrote.
Writes a data set with TRL's columns (prompt, chosen, rejected, as text and as token ids) and where both sides come
from, and says what was left out and why. train/dpo.py does not need it: it draws its pairs itself.
"""
EXAMPLES = """\
examples:
  rlcode pairs runs/r1 --output pairs --model Qwen/Qwen2.5-Coder-0.5B --num_pairs 2000
  rlcode pairs runs/r1 runs/r2 --output pairs --strategy frequency --strategy_options '{"power": 2}' --chosen nearest
  rlcode pairs runs/r1 --output pairs.jsonl --format jsonl --all
"""
REASONS = {
    "unscored": "could not be judged",
    "unstable": "the same program was judged in different ways",
    "too_long": "longer than --max_side_tokens",
    "duplicates": "another completion has the same program",
    "cut_off": "passed, but was cut off at the length limit",
    "one_sided": "nothing under the same prompt to pair it with",
    "too_unequal": "lengths differ by more than --max_length_ratio",
}
FORMATS = ("arrow", "jsonl", "parquet")


def main(argv: list[str]) -> int:
    """Run `rlcode pairs ARGV…`; returns the exit code."""
    return run(parser().parse_args(argv))


def parser() -> argparse.ArgumentParser:
    """The parser; nothing heavy is imported for it."""
    raw = argparse.RawDescriptionHelpFormatter
    whole = argparse.ArgumentParser(
        prog="rlcode pairs", description=DESCRIPTION, epilog=EXAMPLES, formatter_class=raw, allow_abbrev=False
    )
    whole.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run directory, or a file of rollouts")
    whole.add_argument("--output", type=Path, required=True, help="what to write; must not be there yet")
    whole.add_argument(
        "--format",
        choices=FORMATS,
        default="arrow",
        help="arrow: a folder for `datasets.load_from_disk`; the others are one file (default %(default)s)",
    )
    whole.add_argument("--model", help="its tokenizer makes the prompts' text; none: there is no column prompt")
    drawn = whole.add_argument_group("which pairs")
    drawn.add_argument("--all", action="store_true", help="every pair once, in order, instead of draws")
    drawn.add_argument("--num_pairs", type=int, default=256, help="drawn (default %(default)s)")
    drawn.add_argument("--strategy", default="frequency", help="which failures are drawn (default %(default)s)")
    drawn.add_argument("--strategy_options", default="{}", metavar="JSON", help="the strategy's own options")
    drawn.add_argument("--notebook", type=Path, help="error notebook of earlier rounds; the rollouts are added to it")
    drawn.add_argument("--seed", type=int, default=0)
    add_pool_options(whole.add_argument_group("what becomes a pair"))
    return whole


def run(arguments: argparse.Namespace) -> int:
    """Write the data set.

    Raises:
        InputError: the output is there already, an option is out of range, or the rollouts have no pairs.
    """
    from rich.console import Console

    from sampling.notebook import ErrorNotebook
    from sampling.pool import build_pair_pool
    from sampling.store import read_rollouts

    if arguments.output.exists():
        raise InputError(f"{arguments.output} is there already; name another --output or remove it")
    require(arguments.num_pairs >= 1, "num_pairs must be at least 1")
    options = PoolArguments(**{one.name: getattr(arguments, one.name) for one in fields(PoolArguments)}).pool_options()
    tokenizer = tokenizer_of(arguments.model) if arguments.model else None
    notebook = ErrorNotebook.load(arguments.notebook) if arguments.notebook else ErrorNotebook()
    pool = build_pair_pool(notebook.watched(read_rollouts(arguments.runs, logprobs=False)), options)
    Console(highlight=False).print(summary_table(pool.summary))
    draws = every_pair(pool) if arguments.all else drawn_pairs(pool, notebook, arguments)
    pairs = pool.to_dataset(draws, tokenizer)
    write(pairs, arguments.output, arguments.format)
    print(f"{len(pairs)} pairs in {arguments.output}")
    return 0


def every_pair(pool: PairPool) -> Iterator[Draw]:
    """Each pair of the pool once."""
    from sampling.strategies.protocol import Draw

    for rejected in map(int, pool.rejected):
        for chosen in map(int, pool.candidates(rejected)):
            yield Draw(rejected, chosen, "all")


def drawn_pairs(pool: PairPool, notebook: ErrorNotebook, arguments: argparse.Namespace) -> Iterator[Draw]:
    """What a strategy draws that knows the notebook."""
    from sampling.draws import PairSequence
    from sampling.snapshots import Snapshot, SnapshotHistory
    from sampling.strategies import make_strategy

    strategy = make_strategy(arguments.strategy, **strategy_options_from(arguments.strategy_options))
    history = SnapshotHistory(Snapshot(0, notebook))
    sequence = PairSequence(pool, strategy, history, length=arguments.num_pairs, seed=arguments.seed)
    return map(sequence.draw, range(arguments.num_pairs))


def summary_table(summary: PoolSummary) -> Table:
    """What became of the rollouts, for people."""
    from rich.table import Table

    table = Table("", "rollouts", title=f"{summary.pairs:,} pairs of {summary.problems:,} problems")
    table.columns[1].justify = "right"
    table.add_row("read", f"{summary.read:,}")
    table.add_section()
    for name, count in summary.dropped.items():
        if count:
            table.add_row(REASONS[name], f"{-count:,}")
    table.add_section()
    table.add_row("passed", f"{summary.passed:,}")
    table.add_row("failed", f"{summary.failed:,}")
    return table


def write(pairs: Dataset, output: Path, file_format: str) -> None:
    """Write `pairs` to `output`, whole or not at all."""
    from datasets import disable_progress_bars

    disable_progress_bars()
    output.parent.mkdir(parents=True, exist_ok=True)
    part = output.with_name(f".{output.name}.part")
    writers = {"arrow": pairs.save_to_disk, "jsonl": pairs.to_json, "parquet": pairs.to_parquet}
    writers[file_format](part)
    os.replace(part, output)
