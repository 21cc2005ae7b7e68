"""The two worlds that samplers are compared in, and what is trained and measured there.

`noise`: the quickstart's model, whose greedy answers are mostly right; one round of DPO. `systematic`: greedy answers
fail too, in a long tail of error types, and the mix of errors moves over eight rounds (`rlcode.tiny.misconceptions`).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.sampler_results import Budget
from rlcode.tiny.tasks import FULL_WORLD, Split, make_problems
from rlcode.types import Problem
from train.tiny_model import FULL_RECIPE, SYSTEMATIC_RECIPE, TinyRecipe, train_tiny_model

BASES = 2
"""Base models of each bed; seeds take them by turns, so that no finding is one model's."""
HELD_OUT_PROBLEMS = 100
QUIZ_PROBLEMS = 40
OBJECTIVES: Mapping[str, tuple[str, ...]] = {"dpo": ("sigmoid",), "dpo_nll": ("sigmoid", "sft"), "sft": ("sft",)}
"""TRL's `loss_type` by name: DPO, DPO with an NLL term on `chosen`, and that term alone."""


@dataclass(frozen=True)
class Bed:
    name: str
    recipe: TinyRecipe
    budget: Budget
    learning_rates: Mapping[str, float]
    """By objective. Of the grid the one with the best pass@1 on validation problems with the baseline's pairs, of those
    within 0.01 the smallest (phase `tune` of the results)."""
    nll_weight: float
    """Of `dpo_nll`, against DPO's own term; chosen likewise."""
    rate_grid: tuple[float, ...]
    nll_weight_grid: tuple[float, ...]


BEDS = {
    "noise": Bed(
        "noise",
        FULL_RECIPE,
        Budget(1, 120, 12, 256),
        learning_rates={"dpo": 2e-3, "dpo_nll": 4e-3, "sft": 4e-3},
        nll_weight=5.0,
        rate_grid=(1e-3, 2e-3, 4e-3),
        nll_weight_grid=(1.0, 5.0),
    ),
    "systematic": Bed(
        "systematic",
        SYSTEMATIC_RECIPE,
        Budget(8, 60, 8, 64),
        learning_rates={"dpo": 2e-3, "dpo_nll": 2e-3, "sft": 2e-3},
        nll_weight=5.0,
        rate_grid=(1e-3, 2e-3, 4e-3),
        nll_weight_grid=(5.0,),
    ),
}


def make_bases(bed: Bed, work: Path, on_start: Callable[[str], None]) -> None:
    """Train the bed's base models where they are not there yet, about a minute each."""
    for number in range(BASES):
        path = base_of(bed, work, number)
        if path.exists():
            continue
        on_start(f"making base model {number} of the {bed.name} bed")
        part = path.with_name(path.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        train_tiny_model(part, recipe=bed.recipe, seed=number)
        part.rename(path)


def base_of(bed: Bed, work: Path, seed: int) -> Path:
    """Where the base model of the runs with `seed` lies."""
    return work / f"{bed.name}-base{seed % BASES}"


def problems_of(split: Split, count: int, seed: int) -> list[Problem]:
    """Every seed has problems of its own; both beds have the same."""
    return make_problems(split, count, seed, FULL_WORLD)
