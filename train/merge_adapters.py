"""`rlcode merge-adapters`: several LoRA adapters of one base made into one.

    rlcode merge-adapters runs/lists/adapter runs/strings/adapter --output runs/both --method ties --density 0.5
    rlcode merge-adapters runs/lists/adapter runs/strings/adapter --output runs/both --search \\
        --benchmark jsonl --benchmark_file validation.jsonl --num_samples 10

With --search the weights are found by pass@k on validation problems: all further options are those of `rlcode eval`,
which evaluates every candidate on the same problems with the same seeds. Each adapter alone and equal weights are
always among the candidates. The same command goes on with a search that was killed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rlcode.errors import ConfigError
from train.merging import METHODS, Merger, Recipe, check_sources

GRID = [0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5]


def main(argv: list[str]) -> int:
    """Run the command and return 0.

    Raises:
        ConfigError: options that don't fit together. InputError: adapters that don't.
        PolicyMismatchError: the result, loaded again, is not what was merged. SandboxError, EngineError: a candidate
            could not be evaluated.
    """
    args, rest = _parser().parse_known_args(argv)
    from train.unproven import require_new

    recipe = Recipe(args.method, args.density, args.rank, args.seed)
    if rest and not args.search:
        raise ConfigError(f"no option {rest[0]}; with --search, options of `rlcode eval` can follow")
    if args.search and args.weights:
        raise ConfigError("--search finds the weights; leave out --weights")
    require_new(args.output)
    base = check_sources(args.adapters, args.model, recipe)
    if args.search:
        from train.merge_search import search

        search(args.adapters, base, recipe, args, rest)
        return 0
    merger = Merger(args.adapters, base, recipe)
    weights = tuple(args.weights or recipe.equal_weights(len(args.adapters)))
    merger.merge(weights, merger.newest_version + 1, args.output)
    shown = ", ".join(f"{adapter} × {weight:g}" for adapter, weight in zip(args.adapters, weights, strict=True))
    print(f"merged adapter in {args.output}: {recipe.method} of {shown}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rlcode merge-adapters",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("adapters", type=Path, nargs="+", metavar="ADAPTER", help="directories of LoRA adapters")
    parser.add_argument("--output", type=Path, required=True, help="directory of the merged adapter")
    parser.add_argument("--model", help="their base; default: the one that the first adapter names")
    parser.add_argument("--method", choices=METHODS, default="linear", help="PEFT's combination_type (default linear)")
    parser.add_argument("--weights", type=float, nargs="+", help="one for each adapter; default: equal ones")
    parser.add_argument("--density", type=float, help="share of values that ties, dare and magnitude_prune keep")
    parser.add_argument("--rank", type=int, help="of the result of svd methods; default: the adapters' highest")
    parser.add_argument("--seed", type=int, default=0, help="of what DARE drops and of the samples (default 0)")
    search = parser.add_argument_group("search, with options of `rlcode eval` behind these")
    search.add_argument("--search", action="store_true", help="find the weights by pass@k on validation problems")
    search.add_argument(
        "--grid", type=float, nargs="+", default=GRID, help="weights to try for each adapter (default 0 to 1.5 by 0.25)"
    )
    search.add_argument("--max_candidates", type=int, default=24, help="evaluated at most (default 24)")
    search.add_argument("--search_dir", type=Path, help="gets all candidates; default: OUTPUT-search")
    return parser
