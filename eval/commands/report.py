"""`rlcode report`: the page of a run."""

from __future__ import annotations

import argparse
from pathlib import Path

from rlcode.errors import InputError

_DESCRIPTION = """Write one HTML file that shows what a run directory holds: pass rates with intervals, error types over
time and by problem, what was drawn, what the trainers logged, the sandbox, and every sample with its verdict.

  rlcode report runs/night
  rlcode report runs/eval-dpo --output dpo.html

RUN is what quickstart, run, rollout, eval or a training script wrote, finished or not. The file needs no network and no
other file; it can be mailed."""


def main(argv: list[str]) -> int:
    """Run the command and return 0.

    Raises:
        InputError: there is no such run, or the file can't be written. DataError: a file of the run can't be used.
    """
    args = _parser().parse_args(argv)
    from eval.run_report.build import build_page
    from rlcode.run_directory import write_atomically

    output: Path = args.output or args.run / "report.html"
    if output.is_dir():
        raise InputError(f"{output} is a directory; name a file for --output")
    write_atomically(output, build_page(args.run))
    print(f"{output}: {output.stat().st_size / 1e3:,.0f} kB; open it in a browser")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rlcode report",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="run directory")
    parser.add_argument("--output", type=Path, metavar="FILE", help="default: RUN/report.html")
    return parser
