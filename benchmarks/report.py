"""What it takes to make the page of a large run, and to use it.

A GRPO run of synthetic rollouts: problems of different difficulty, programs of some hundred characters of which a third
are alike, errors of several types. Making: seconds, growth of the process, size of the file. Using, in headless
Chromium: seconds until the samples are there, until a filter has been applied, until a text was found.

Run: python -m benchmarks.report [--rollouts 100000] [--json FILE]
"""

from __future__ import annotations

import argparse
import re
import resource
import shutil
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.measuring import in_new_process, resident_mb
from benchmarks.pool import synthetic
from rlcode.run_directory import write_json
from rlcode.types import Rollout
from sampling.rollout_lines import encode

VERSIONS = 400
"""Policies that wrote the rollouts, one after the other."""
ROUNDS = 5
TEXTS = ("x7 = xs[3]", "message", "no such text")
_FILTER = """([box, value]) => new Promise((done) => {
  const count = document.getElementById("count");
  const started = performance.now();
  new MutationObserver(() => requestAnimationFrame(() => done(performance.now() - started))).observe(
    count, { childList: true, characterData: true, subtree: true });
  const element = document.getElementById(box);
  element.value = value;
  element.dispatchEvent(new Event(box === "text" ? "input" : "change"));
})"""


def main() -> None:
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory(dir=arguments.directory) as folder:
        run = Path(folder) / "run"
        run.mkdir()
        with open(run / "rollouts-rank0-00000.jsonl", "wb") as file:
            file.writelines(encode(rollout(number, arguments)) for number in range(arguments.rollouts))
        page = Path(folder) / "report.html"
        figures: dict[str, Any] = {"rollouts": arguments.rollouts, "tokens": arguments.tokens}
        figures["making"] = in_new_process(making, run, page)
        figures["using"] = using(page)
    show(figures)
    if arguments.json:
        write_json(arguments.json, figures)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rollouts", type=int, default=100_000)
    parser.add_argument("--tokens", type=int, default=200, help="of a completion, on average (default %(default)s)")
    parser.add_argument("--directory", help="where the run is written; a GB")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    return parser.parse_args()


def rollout(number: int, arguments: argparse.Namespace) -> Rollout:
    one = synthetic(number, arguments.tokens)
    version = number * VERSIONS // arguments.rollouts
    return replace(one, completion=replace(one.completion, policy_version=version))


def making(run: Path, page: Path) -> dict[str, float]:
    """In a process of its own, so that its peak is the page's."""
    from eval.run_report.build import build_page
    from rlcode.run_directory import write_atomically

    before, started = resident_mb(), time.perf_counter()
    write_atomically(page, build_page(run))
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    cpu = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "seconds": seconds,
        "cpu_s": cpu.ru_utime + cpu.ru_stime,
        "growth_mb": peak - before,
        "file_mb": page.stat().st_size / 1e6,
        "shown": samples_shown(page.read_text(encoding="utf-8")),
        "run_mb": sum(file.stat().st_size for file in run.iterdir()) / 1e6,
    }


def samples_shown(page: str) -> int:
    """Samples that the page has one by one."""
    found = re.search(r"(?:All )?([\d,]+)(?: of [\d,]+)? samples are here", page)
    return int(found[1].replace(",", "")) if found else 0


def using(path: Path) -> dict[str, Any]:
    """Medians of `ROUNDS` visits, in seconds; a filter's time ends with the frame that shows its result."""
    from playwright.sync_api import sync_playwright

    visits = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium") or "chromium")
        for _ in range(ROUNDS):
            page = browser.new_page()
            started = time.perf_counter()
            page.goto(path.as_uri())
            page.wait_for_selector("html[data-ready]", timeout=120_000)
            ready = time.perf_counter() - started
            outcome = page.evaluate(_FILTER, ["outcome", "name"]) / 1000
            texts = [page.evaluate(_FILTER, ["text", text]) / 1000 for text in TEXTS]
            page.evaluate("document.getElementById('outcome').value = ''")
            visits.append({"ready_s": ready, "outcome_s": outcome, "first_text_s": texts[0], "text_s": texts[-1]})
            page.close()
        browser.close()
    return {name: statistics.median(visit[name] for visit in visits) for name in visits[0]}


def show(figures: dict[str, Any]) -> None:
    making, using = figures["making"], figures["using"]
    table = Table("what", "")
    table.add_row("rollouts", f"{figures['rollouts']:,}")
    table.add_row("on disk", f"{making['run_mb']:,.0f} MB")
    table.add_row("making the page, wall time", f"{making['seconds']:.1f} s")
    table.add_row("making the page, CPU time", f"{making['cpu_s']:.1f} s")
    table.add_row("growth of the process at most", f"{making['growth_mb']:,.0f} MiB")
    table.add_row("the page", f"{making['file_mb']:.1f} MB")
    table.add_row("samples that it shows one by one", f"{making['shown']:,}")
    table.add_row("opened, until the samples are there", f"{using['ready_s']:.2f} s")
    table.add_row("a filter by outcome", f"{using['outcome_s']:.3f} s")
    table.add_row("the first search for a text, with the pause in typing", f"{using['first_text_s']:.3f} s")
    table.add_row("another one", f"{using['text_s']:.3f} s")
    Console().print(table)


if __name__ == "__main__":
    main()
