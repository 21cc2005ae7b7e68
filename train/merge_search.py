"""The weights of a merge, found by pass@k on validation problems.

First the fixed ones: each adapter alone, equal weights, all of them in full. Then, from the best so far, one weight at
a time takes each value of the grid, until a round over all of them brings nothing better. What wins is thus never worse
on these problems than the best fixed one. It was chosen by them, so its own pass@k there flatters it: measure it on
others.

    DIR/run.json           what is searched
    DIR/candidates/W_W/    `adapter/` and `evaluation/` of the weights W, W
    DIR/search.json, .md   all candidates, as far as it got
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval.evaluations import PASSED, read_evaluation
from eval.paired import paired_difference
from rlcode.errors import ConfigError, SandboxError
from rlcode.run_directory import RunDirectory
from rlcode.types import EvalReport, Problem, from_json
from train.merge_table import Candidate, Weights, shown, table, write_candidates
from train.merging import Merger, Recipe

if TYPE_CHECKING:
    from sampling.engine import Engine
    from sandbox.protocol import Sandbox

_OURS = ("--model", "--adapter", "--samples", "--output_dir", "--overwrite", "--seed")


Try = Callable[[Weights, bool], Candidate]


def search(adapters: Sequence[Path], base: str, recipe: Recipe, args: argparse.Namespace, rest: list[str]) -> Candidate:
    """Search, write the best merged adapter to `args.output`, and return it. `rest`: options of `rlcode eval`.

    Raises:
        ConfigError: an option can't be used. RunDirectoryError: the directory is of another search.
        SandboxError, EngineError: a candidate could not be evaluated.
    """
    from eval.main import check_ks, open_engine_for, open_sandbox_for
    from rlcode.data.registry import problems_from

    directory = args.search_dir or args.output.with_name(args.output.name + "-search")
    evaluation = _evaluation_arguments(base, directory, args.seed, rest)
    check_ks(evaluation.k, evaluation.num_samples)
    problems = problems_from(evaluation)
    merger = Merger(adapters, base, recipe, on_gpu=evaluation.engine == "transformers")  # vLLM takes nearly all of one
    rank = max(evaluation.engine_max_lora_rank, _rank(adapters, recipe))
    with ExitStack() as stack:
        run = stack.enter_context(RunDirectory(directory, "merge-search", _config(adapters, recipe, args, rest)))
        run.bind({"adapters": [one["adapter_sha256"] for one in merger.provenance((1.0,) * len(adapters))["adapters"]]})
        sandbox = stack.enter_context(open_sandbox_for(evaluation))
        engine = stack.enter_context(open_engine_for(_with(evaluation, engine_max_lora_rank=rank)))
        trial = _Trials(directory, merger, evaluation, problems, engine, sandbox, args.max_candidates)
        best = climb(trial.try_out, len(adapters), recipe, args.grid, args.max_candidates, min(evaluation.k))
    _finish(args.output, trial, best, min(evaluation.k))
    return best


def _evaluation_arguments(base: str, directory: Path, seed: int, rest: list[str]) -> argparse.Namespace:
    from eval.arguments import parse_arguments

    for name in _OURS:
        if any(word == name or word.startswith(f"{name}=") for word in rest):
            raise ConfigError(f"{name} is the search's own affair; leave it out")
    return parse_arguments([*rest, "--model", base, "--output_dir", str(directory), "--seed", str(seed)])


def _config(adapters: Sequence[Path], recipe: Recipe, args: argparse.Namespace, rest: list[str]) -> dict[str, Any]:
    """What must be the same for a search to go on; `max_candidates` may change."""
    return {"adapters": adapters, **vars(recipe), "grid": args.grid, "evaluation": rest}


def _rank(adapters: Sequence[Path], recipe: Recipe) -> int:
    from sampling.adapters import read_adapter_config

    ranks = [read_adapter_config(adapter)["r"] for adapter in adapters]
    return sum(ranks) if recipe.method == "cat" else max([*ranks, recipe.rank or 0])


def _with(args: argparse.Namespace, **changed: Any) -> argparse.Namespace:
    return argparse.Namespace(**{**vars(args), **changed})


def fixed_weights(count: int, recipe: Recipe) -> list[Weights]:
    """Each adapter alone, equal weights, all of them in full."""
    alone = [tuple(float(place == at) for place in range(count)) for at in range(count)]
    return list(dict.fromkeys([*alone, recipe.equal_weights(count), (1.0,) * count]))


def climb(try_out: Try, count: int, recipe: Recipe, grid: Sequence[float], most: int, k: int) -> Candidate:
    """The best candidate by pass@`k`, of equal ones the first; at most `most` are tried, the fixed ones in any case."""
    tried = {weights: try_out(weights, True) for weights in fixed_weights(count, recipe)}

    def best() -> Candidate:
        return max(tried.values(), key=lambda candidate: candidate.value(k))

    start = None
    while start != best().weights and len(tried) < most:
        start = best().weights
        for place in range(count):
            for weights in _neighbours(best().weights, place, grid):
                if weights not in tried and len(tried) < most:
                    tried[weights] = try_out(weights, False)
    return best()


def _neighbours(weights: Weights, place: int, grid: Sequence[float]) -> Iterator[Weights]:
    for value in grid:
        changed = (*weights[:place], float(value), *weights[place + 1 :])
        if any(changed):
            yield changed


@dataclass
class _Trials:
    """Merges and evaluates candidates, or reads what a run before made of them."""

    directory: Path
    merger: Merger
    evaluation: argparse.Namespace
    problems: Sequence[Problem]
    engine: Engine
    sandbox: Sandbox
    most: int
    done: list[Candidate] = field(default_factory=list)

    def folder(self, weights: Weights) -> Path:
        return self.directory / "candidates" / "_".join(f"{weight:g}" for weight in weights)

    def try_out(self, weights: Weights, is_fixed: bool) -> Candidate:
        from eval.report import remove_report

        report = self._report(weights)
        ks = {str(k) for k in self.evaluation.k}
        if ks - report.pass_at_k.keys():
            remove_report(self.folder(weights) / "evaluation")  # so that the next run judges it again
            why = "; ".join(report.withheld.values()) or "samples that could not be judged"
            raise SandboxError(f"pass@k of weights {shown(weights)} is withheld: {why}; run the same command again")
        candidate = Candidate(weights, report.pass_at_k, report.greedy, is_fixed)
        self.done.append(candidate)
        print(f"candidate {len(self.done)} (of {self.most} at most), weights {shown(weights)}: {candidate.describe()}")
        write_candidates(self.directory, self.done)
        return candidate

    def _report(self, weights: Weights) -> EvalReport:
        from eval.main import evaluate_policy, run_config

        folder, version = self.folder(weights), self.merger.newest_version + 1 + len(self.done)
        written = folder / "evaluation" / "report.json"
        if written.is_file():
            return from_json(EvalReport, json.loads(written.read_text(encoding="utf-8")))
        if not (folder / "adapter").exists():
            self.merger.merge(weights, version, folder / "adapter")
        self.engine.load_adapter(version, folder / "adapter")
        args = _with(self.evaluation, adapter=folder / "adapter", output_dir=folder / "evaluation")
        with RunDirectory(args.output_dir, "eval", run_config(args)) as directory:
            return evaluate_policy(args, self.problems, directory, self.engine, self.sandbox)


def _finish(output: Path, trials: _Trials, best: Candidate, k: int) -> None:
    from rich.console import Console

    from train.unproven import unproven

    with unproven(output) as part:
        shutil.copytree(trials.folder(best.weights) / "adapter", part, dirs_exist_ok=True)
    fixed = max((one for one in trials.done if one.is_fixed), key=lambda one: one.value(k))
    Console().print(table(trials.done, best))
    if best.weights != fixed.weights:
        gain = _gain(trials.folder(best.weights), trials.folder(fixed.weights))
        print(f"over the best fixed weights ({shown(fixed.weights)}): pass@1 {gain}")
    print(f"merged adapter in {output}, weights {shown(best.weights)}; chosen by these problems: measure it on others")


def _gain(one: Path, other: Path) -> str:
    """Of pass@1, over the problems that both have scored samples of."""
    rates = [_pass_rates(folder / "evaluation") for folder in (one, other)]
    shared = sorted(rates[0].keys() & rates[1].keys())
    if len(shared) < 2:
        return "can't be told from so few problems"
    gain = paired_difference([rates[0][task] for task in shared], [rates[1][task] for task in shared])
    return f"{gain.mean:+.3f} [{gain.mean - gain.half_width:+.3f}, {gain.mean + gain.half_width:+.3f}], paired"


def _pass_rates(evaluation: Path) -> dict[str, float]:
    outcomes = read_evaluation(evaluation).outcomes
    return {task: sum(one == PASSED for one in said) / len(said) for task, said in outcomes.items() if said}
