"""What each way to choose pairs is worth, on two beds: a model that errs by noise, and one that errs with a system.

Every run is paired: for one seed all arms have the same problems, completions of round one, adapter start and noise,
and the baseline `uniform` is the mean of three draws, whose differences are the A/A runs. Settings are tuned on
validation problems (`--phase tune`), arms screened on a few seeds and confirmed on fresh ones.

A measured cell is a line of the results file and is not measured again, so a run can be stopped at any moment and
goes on with the same command; `--table` prints what the file says and measures nothing.

Run: python -m benchmarks.samplers [--bed systematic] [--phase screen] [--jobs 2] [--results FILE] [--json FILE]
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from benchmarks.sampler_results import NO_TRAINING, Budget, Cell, Measured, append_result, read_results
from benchmarks.sampler_table import BASELINE, BASELINE_DRAWS, arm_name, figures, groups_of, show
from rlcode.run_directory import write_json

if TYPE_CHECKING:
    from benchmarks.sampler_beds import Bed

RESULTS = Path(__file__).with_name("results") / "samplers.jsonl"
FIRST_SEEDS = {"tune": 900, "screen": 100, "confirm": 200}
_WIDTH = 300
"""Of the tables in a file, which nobody reads line by line on a terminal."""
SEEDS = {"tune": 2, "screen": 4, "confirm": 16}


def main() -> None:
    args = parse_arguments()
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    if not args.table:
        measure(args, console)
    groups = groups_of(read_results(args.results))
    show(groups, console)
    if args.json:
        write_json(args.json, figures(groups))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bed", choices=("noise", "systematic", "all"), default="all")
    parser.add_argument("--phase", choices=tuple(SEEDS), default="screen", help="tune, screen or confirm")
    parser.add_argument("--seeds", type=int, help=f"how many; default {SEEDS}")
    parser.add_argument("--arms", nargs="+", help=f"names; default: all. {BASELINE} is always among them")
    parser.add_argument("--objectives", nargs="+", help="dpo, dpo_nll, sft; default: all, sft for the baseline alone")
    parser.add_argument("--rounds", type=int, help="default: the bed's")
    parser.add_argument("--pairs", type=int, help="of each round; default: the bed's")
    parser.add_argument("--jobs", type=int, default=1, help="processes, one core each")
    parser.add_argument("--sandbox", choices=("auto", "docker", "local"), default="auto")
    parser.add_argument("--work", type=Path, default=Path("runs/samplers"), help="base models, shared rollouts, cache")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true", help="measure nothing, print what the results say")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    return parser.parse_args()


def measure(args: argparse.Namespace, console: Console) -> None:
    """All cells that the arguments ask for and the results do not have."""
    from benchmarks.sampler_beds import BEDS, make_bases

    beds = [bed for name, bed in BEDS.items() if args.bed in (name, "all")]
    done = {measured.cell for measured in read_results(args.results)}
    wanted = [cell for bed in beds for cell in cells_of(bed, args)]
    missing = [cell for cell in wanted if cell not in done]
    console.print(
        f"{len(wanted)} cells, {len(wanted) - len(missing)} of them measured before; results in {args.results}"
    )
    if not missing:
        return
    args.work.mkdir(parents=True, exist_ok=True)
    for bed in beds:
        make_bases(bed, args.work, console.print)
    with _progress(console) as progress:
        task = progress.add_task("cells", total=len(missing))
        for measured in run_cells(missing, args.work, args.sandbox, args.jobs):
            append_result(args.results, measured)
            progress.console.print(describe(measured), highlight=False)
            progress.advance(task)


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, TimeRemainingColumn(), console=console)


def cells_of(bed: Bed, args: argparse.Namespace) -> Iterator[Cell]:
    """What one bed is to be measured with, seed by seed, so that a run that is stopped has whole seeds."""
    budget = replace(bed.budget, rounds=args.rounds or bed.budget.rounds, pairs=args.pairs or bed.budget.pairs)
    first = FIRST_SEEDS[args.phase]
    for seed in range(first, first + (args.seeds or SEEDS[args.phase])):
        yield Cell(bed.name, args.phase, NO_TRAINING, NO_TRAINING, 0, seed, budget, 0.0, 0.0)
        if args.phase == "tune":
            yield from _tuning_cells(bed, budget, seed, args.objectives)
        else:
            yield from _comparison_cells(bed, budget, args, seed)


def _tuning_cells(bed: Bed, budget: Budget, seed: int, objectives: Sequence[str] | None) -> Iterator[Cell]:
    for objective in objectives or bed.learning_rates:
        for rate in bed.rate_grid:
            for weight in bed.nll_weight_grid if objective == "dpo_nll" else (0.0,):
                yield Cell(bed.name, "tune", objective, BASELINE, 0, seed, budget, rate, weight)


def _comparison_cells(bed: Bed, budget: Budget, args: argparse.Namespace, seed: int) -> Iterator[Cell]:
    from benchmarks.sampler_arms import ARMS

    for objective in args.objectives or bed.learning_rates:
        rate = bed.learning_rates[objective]
        weight = bed.nll_weight if objective == "dpo_nll" else 0.0
        chosen = dict.fromkeys([BASELINE, *(args.arms or (ARMS if objective != "sft" else ()))])
        for arm in chosen:
            for draw in range(BASELINE_DRAWS if arm == BASELINE else 1):
                yield Cell(bed.name, args.phase, objective, arm, draw, seed, budget, rate, weight)


def run_cells(cells: Sequence[Cell], work: Path, sandbox: str, jobs: int) -> Iterator[Measured]:
    """Measure the cells, in this process or in `jobs` others; each yields as it is finished."""
    if jobs == 1:
        yield from _in_this_process(cells, work, sandbox)
        return
    with multiprocessing.get_context("spawn").Pool(jobs, _open_workshop, (work, sandbox)) as pool:
        yield from pool.imap_unordered(_run_in_workshop, cells)


def _in_this_process(cells: Iterable[Cell], work: Path, sandbox: str) -> Iterator[Measured]:
    from benchmarks.sampler_cells import Workshop, run_cell

    with Workshop(work, sandbox) as workshop:
        for cell in cells:
            yield Measured(cell, run_cell(cell, workshop))


def _open_workshop(work: Path, sandbox: str) -> None:
    global _workshop
    from benchmarks.sampler_cells import Workshop

    _workshop = Workshop(work, sandbox)


def _run_in_workshop(cell: Cell) -> Measured:
    from benchmarks.sampler_cells import run_cell

    return Measured(cell, run_cell(cell, _workshop))


def describe(measured: Measured) -> str:
    """One line for the log."""
    cell, result = measured
    name = f"{cell.bed} {cell.seed} {cell.objective} {arm_name(cell)}" + (f" #{cell.draw}" if cell.draw else "")
    return (
        f"{name}: pass@1 {result.pass_at_1:.3f}, greedy {result.greedy:.3f}, pass@10 {result.pass_at_10:.3f}; "
        f"{result.cpu_s:.0f} s of processor time, {result.wall_s:.0f} s"
    )


if __name__ == "__main__":
    main()
