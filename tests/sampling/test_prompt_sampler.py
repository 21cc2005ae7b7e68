"""The prompt sampler: chances by the closed form, a floor for every problem, draws that a seed fixes."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlcode.errors import ConfigError
from rlcode.types import Completion, ErrorType, Program, Rollout, Verdict
from sampling.notebook import ErrorNotebook
from sampling.prompt_sampler import Band, PromptSampler, PromptSampling, beta_binomial

TASKS = [f"t{number}" for number in range(6)]
G = 8

Seen = list[tuple[int, str, ErrorType | None]]
"""Policy version, task, and how a sample ended."""
seen = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(TASKS), st.one_of(st.none(), st.sampled_from(ErrorType))), max_size=80
)


def notebook_of(samples: Seen, half_life: float = 20_000) -> ErrorNotebook:
    notebook = ErrorNotebook(half_life, half_life)
    notebook.observe(
        Rollout(Completion(task, 0, "x", policy_version=version), Program("x", "whole"), Verdict(e, int(e is None), 1))
        for version, task, e in samples
    )
    return notebook


def outcomes(task: str, passes: int, failures: int, error: ErrorType = ErrorType.NAME) -> Seen:
    return [(0, task, None)] * passes + [(0, task, error)] * failures


def chances(samples: Seen, tasks: list[str] = TASKS, **options: object) -> dict[str, float]:
    sampler = PromptSampler(tasks, PromptSampling(G, **options))
    return dict(zip(sampler.task_ids, sampler.chances(notebook_of(samples)), strict=True))


def first(samples: Seen, count: int, *, step: int = 0, seed: int = 0, batch: int = 0) -> list[str]:
    order = PromptSampler(TASKS, PromptSampling(G)).order(notebook_of(samples), seed=seed, step=step, batch=batch)
    return list(itertools.islice(order, count))


def moment(alpha: Fraction, beta: Fraction, power: int) -> Fraction:
    """E[p ** power] of Beta(alpha, beta)."""
    return math.prod((Fraction(alpha + i, alpha + beta + i) for i in range(power)), start=Fraction(1))


@given(st.integers(2, 20), st.integers(1, 60), st.integers(1, 60))
def test_the_number_of_passes_is_beta_binomial(size: int, alpha: int, beta: int):
    found = beta_binomial(size, np.array([float(alpha)]), np.array([float(beta)]))[0]
    assert found.sum() == pytest.approx(1)
    assert found[size] == pytest.approx(float(moment(Fraction(alpha), Fraction(beta), size)))
    assert found[0] == pytest.approx(float(moment(Fraction(beta), Fraction(alpha), size)))
    assert found @ np.arange(size + 1) == pytest.approx(size * alpha / (alpha + beta))


@given(seen, st.floats(1, 50))
def test_the_chance_of_a_mixed_group_follows_the_closed_form(samples: Seen, half_life: float):
    notebook = notebook_of(samples, half_life)
    sampler = PromptSampler(TASKS, PromptSampling(G))
    for task, chance in zip(sampler.task_ids, sampler.mixed_chances(notebook), strict=True):
        counts = notebook.evidence().get(task, {})
        passes = Fraction(1 + counts.get(None, 0.0))
        failures = Fraction(1 + sum(count for kind, count in counts.items() if kind is not None))
        assert chance == pytest.approx(float(1 - moment(passes, failures, G) - moment(failures, passes, G)))


def test_evidence_is_forgotten_with_the_long_half_life():
    notebook = ErrorNotebook(short_half_life=1, long_half_life=10)
    notebook.observe(
        Rollout(Completion("old", 0, "x", policy_version=0), Program("x", "whole"), Verdict(None, 1, 1)) for _ in "x"
    )
    notebook.observe(
        Rollout(Completion("new", 0, "x", policy_version=1), Program("x", "whole"), Verdict(ErrorType.NAME, 0, 1))
        for _ in range(10)
    )
    assert notebook.evidence()["old"] == {None: pytest.approx(0.5)}
    assert notebook.evidence("short")["old"] == {None: pytest.approx(0.5**10)}


def test_a_narrower_band_counts_only_the_pass_rates_inside_it():
    sampler = PromptSampler(["a"], PromptSampling(G, band=Band(0.2, 0.8)))
    # before anything was seen every number of passes from 0 to 8 has the same chance; 2 to 6 are in the band
    assert sampler.mixed_chances(ErrorNotebook())[0] == pytest.approx(5 / 9)


@given(seen, st.floats(0, 1), st.floats(0, 3))
def test_every_problem_keeps_its_part_of_the_exploration(samples: Seen, exploration: float, power: float):
    found = chances(samples, exploration=exploration, power=power)
    assert math.fsum(found.values()) == pytest.approx(1)
    assert min(found.values()) >= exploration / len(TASKS) - 1e-12


def test_problems_come_first_as_often_as_their_chances_say():
    samples = outcomes("t0", 40, 0) + outcomes("t1", 4, 4) + outcomes("t2", 0, 40)
    sampler, notebook = PromptSampler(TASKS, PromptSampling(G)), notebook_of(samples)
    draws = 4000
    drawn = Counter(next(sampler.order(notebook, seed=1, step=step)) for step in range(draws))
    for task, chance in zip(sampler.task_ids, sampler.chances(notebook), strict=True):
        assert drawn[task] / draws == pytest.approx(chance, abs=4 * math.sqrt(chance / draws))


def test_what_is_always_or_never_solved_loses_against_what_is_mixed_and_the_unseen_is_not_starved():
    samples = outcomes("t0", 40, 0) + outcomes("t1", 20, 20) + outcomes("t2", 0, 40)
    found = chances(samples, power=0)
    assert found["t1"] > 2.5 * found["t0"]
    assert found["t1"] > 2.5 * found["t2"]
    assert found["t1"] > found["t3"] > 2 * found["t0"]


def test_mistakes_that_are_frequent_now_weigh_more_by_the_power():
    often = outcomes("t0", 4, 4, ErrorType.INDEX) + outcomes("t3", 4, 4, ErrorType.INDEX)
    rare = outcomes("t1", 4, 4, ErrorType.NAME)
    for power in (0.0, 1.0, 2.0):
        found = chances(often + rare, exploration=0, power=power)
        assert found["t0"] / found["t1"] == pytest.approx(2**power)


def test_a_problem_without_a_failure_has_the_weight_of_an_average_one():
    samples = outcomes("t0", 4, 4, ErrorType.INDEX) + outcomes("t1", 4, 4) + outcomes("t2", 8, 0)
    sampler = PromptSampler(TASKS, PromptSampling(G))
    weights = dict(zip(sampler.task_ids, sampler.error_weights(notebook_of(samples)), strict=True))
    assert weights["t2"] == weights["t3"] == 1
    assert (weights["t0"] + weights["t1"]) / 2 == pytest.approx(1)


@given(seen, st.integers(0, 2**32 - 1), st.integers(0, 10_000))
def test_a_draw_depends_on_seed_step_and_notebook_alone(samples: Seen, seed: int, step: int):
    drawn = first(samples, 12, seed=seed, step=step)
    assert drawn == first(samples, 12, seed=seed, step=step)
    sampler = PromptSampler(TASKS[::-1], PromptSampling(G))  # nor on the order of the problems, or on earlier draws
    next(sampler.order(notebook_of(samples), seed=seed, step=0))
    assert drawn == list(itertools.islice(sampler.order(notebook_of(samples), seed=seed, step=step), 12))


def test_other_seeds_steps_and_batches_draw_something_else():
    assert len({tuple(first([], 6, seed=seed, step=step, batch=batch)) for seed, step, batch in KEYS}) > 20


KEYS = list(itertools.product(range(3), repeat=3))


@given(seen)
def test_no_problem_comes_twice_before_all_came_once(samples: Seen):
    drawn = first(samples, 3 * len(TASKS))
    for start in range(0, len(drawn), len(TASKS)):
        assert sorted(drawn[start : start + len(TASKS)]) == TASKS


@settings(max_examples=50)
@given(st.lists(seen, min_size=3, max_size=3))
def test_in_which_order_notebooks_are_merged_changes_no_draw(parts: list[Seen]):
    sampler = PromptSampler(TASKS, PromptSampling(G))
    drawn = set()
    for order in itertools.permutations(parts):
        notebook = ErrorNotebook(50, 50)
        for part in order:
            notebook.merge(notebook_of(part, 50))
        drawn.add((*sampler.chances(notebook), *itertools.islice(sampler.order(notebook, seed=3, step=5), 6)))
    assert len(drawn) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_generations": 1}, "num_generations 1"),
        ({"exploration": 1.5}, "exploration"),
        ({"power": -1.0}, "error_type_power"),
        ({"prior": (0.0, 1.0)}, "prior"),
    ],
)
def test_options_that_can_not_be_are_refused(options: dict, message: str):
    with pytest.raises(ConfigError, match=message):
        PromptSampling(**{"num_generations": 8, **options})


@pytest.mark.parametrize("bounds", [[0.5], [0.8, 0.2], [0, 1.5], [-0.1, 1], [0.5, 0.5]])
def test_a_band_is_two_rising_shares(bounds: list[float]):
    with pytest.raises(ConfigError, match="group_band"):
        Band.from_list(bounds)
