"""`rlcode compare`: is one evaluation better than another, and where?"""

from __future__ import annotations

import argparse
from pathlib import Path

from rlcode.errors import ConfigError

_DESCRIPTION = """Compare evaluations that `rlcode eval` wrote, problem by problem: the first one is the baseline.

  rlcode compare runs/eval-base runs/eval-dpo
  rlcode compare runs/eval-base runs/eval-dpo runs/eval-grpo --k 1 10 --markdown comparison.md

Says whether a difference can be seen and how large it is, or how many more problems would be needed; which problems
were won and lost; which error types went away and came. With more than two, each is compared with the first, and the
p-values are corrected for their number (Holm).

Exit code 0: compared, whatever came out. 2: these evaluations can't be compared."""


def main(argv: list[str]) -> int:
    """Run the command and return 0.

    Raises:
        InputError: the evaluations can't be read or compared.
    """
    args = _parse(argv)
    from eval.comparison import compare
    from eval.comparison_words import as_json, markdown, print_comparison
    from eval.evaluations import read_evaluation
    from rlcode.run_directory import write_atomically, write_json

    evaluations = [read_evaluation(path) for path in args.evaluations]
    comparisons = compare(evaluations, ks=args.k, common=args.common, ignore=args.ignore, seed=args.seed)
    points = args.points / 100
    if args.json:
        write_json(args.json, {"comparisons": [as_json(one, points) for one in comparisons]})
    if args.markdown:
        write_atomically(args.markdown, markdown(comparisons, points, args.show))
    for comparison in comparisons:
        print_comparison(comparison, points, args.show)
    return 0


def _parse(argv: list[str]) -> argparse.Namespace:
    args = _parser().parse_args(argv)
    if args.k and min(args.k) < 1:
        raise ConfigError(f"--k must be 1 or more, got {min(args.k)}")
    if not 0 < args.points < 100:
        raise ConfigError(f"--points must be above 0 and below 100, got {args.points:g}")
    if args.show < 0:
        raise ConfigError(f"--show must be 0 or more, got {args.show}")
    args.k = sorted(set(args.k))
    return args


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rlcode compare",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("evaluations", type=Path, nargs="+", metavar="EVALUATION", help="directory, report.json or verdicts.jsonl")
    add("--k", type=int, nargs="+", default=[], metavar="K", help="the ks of pass@k (default: those of all reports)")
    add("--common", action="store_true", help="compare on the problems that all have, and tell which were left out")
    add(
        "--ignore",
        nargs="+",
        default=[],
        metavar="SETTING",
        help="settings that may differ: temperature, limits.time_s",
    )
    add("--points", type=float, default=2.0, help="difference that you would like to see, in points (default 2)")
    add("--show", type=int, default=10, help="problems to list of those won, and of those lost (default 10)")
    add("--markdown", type=Path, metavar="FILE", help="write the comparison as Markdown too")
    add("--json", type=Path, metavar="FILE", help="write all of it as JSON too")
    add("--seed", type=int, default=0, help="of intervals and tests (default 0)")
    return parser
