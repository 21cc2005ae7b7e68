"""evalplus's rules, by what the real sandbox says of programs."""

from __future__ import annotations

import copy
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eval.main import main
from rlcode.data import evalplus, humanevalplus, mbppplus
from rlcode.data.evalplus import passed_base
from rlcode.types import ErrorType, EvalReport, PartialLimits, Problem, Program, Verdict, from_json
from sandbox.pool import open_sandbox
from sandbox.protocol import Job, Sandbox
from tests.test_data_plus import ROW, file_of

NEEDS_TOO_MUCH = "Mbpp/255"
"""Its plus inputs ask for a list of 25 million combinations, some 3 GB."""
_ENDLESS = "def f(pairs, n):\n    while not pairs:\n        pass\n    return 2"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with open_sandbox("auto") as sandbox:
        yield sandbox


def judge(sandbox: Sandbox, *pairs: tuple[Problem, str], is_slow: bool = False) -> list[Verdict]:
    limits = PartialLimits(time_s=0.5) if is_slow else PartialLimits()
    jobs = [Job(problem, Program(source, "test"), problem.limits_in(limits)) for problem, source in pairs]
    results = list(sandbox.judge(jobs))
    assert all(isinstance(result, Verdict) for result in results), results
    return [result for result in results if isinstance(result, Verdict)]


def outcomes(sandbox: Sandbox, problem: Problem, *sources: str) -> list[tuple[bool | None, bool]]:
    """Of each program: whether it passed the base tests, and all."""
    verdicts = judge(sandbox, *((problem, source) for source in sources), is_slow=True)
    return [(passed_base(problem, verdict), verdict.passed) for verdict in verdicts]


def plus(tmp_path: Path, **change: Any) -> Problem:
    (problem,) = mbppplus.load(file_of(tmp_path, {**ROW, **change}), None)
    return problem


def test_reference_solutions_of_mbppplus_pass_base_and_plus(sandbox: Sandbox, shared_data: Path) -> None:
    """Every eighth, and all with a rule of their own; `docs/benchmarks.md` tells of all."""
    problems = mbppplus.load(shared_data / "MbppPlus-v0.1.0.jsonl.gz", None)
    some = [p for p in problems[::8] if p.task_id not in (*mbppplus.LIMITS, NEEDS_TOO_MUCH)]
    some += [p for p in problems if p.task_id in evalplus.RULES and p not in some]
    verdicts = judge(sandbox, *((problem, problem.reference_solution) for problem in some))
    assert {p.task_id: str(v) for p, v in zip(some, verdicts, strict=True) if not v.passed} == {}


def test_a_program_may_pass_the_base_tests_and_fail_the_plus_tests(sandbox: Sandbox, tmp_path: Path) -> None:
    problem = plus(
        tmp_path,
        task_id="Mbpp/3",
        prompt="",
        canonical_solution="def f(n):\n    return n * n\n",
        base_input=[[2], [3]],
        plus_input=[[-1], [10]],
    )
    assert outcomes(
        sandbox,
        problem,
        "def f(n):\n    return n ** 2",
        "def f(n):\n    return n ** 2 if n > 0 else 0",
        "def f(n):\n    return n ** 2 if n > 2 else 0",
        "def f(n):\n    return n + n if n == 2 else 0",
        "def f(n):\n    while n == 10:\n        pass\n    return n * n",
        "def f(n):\n    while n == 3:\n        pass\n    return n * n",
        "import os\ndef f(n):\n    return n * n if n > 0 else os._exit(0)",
        "import os\ndef f(n):\n    return n * n if n != 3 else os._exit(0)",
        "def f(n) return n * n",
        "def g(n):\n    return n * n",
    ) == [
        (True, True),
        (True, False),
        (False, False),
        (False, False),
        (True, False),
        (False, False),
        (True, False),
        (False, False),
        (False, False),
        (False, False),
    ]


def test_an_answer_that_says_it_is_equal_to_everything_passes_nothing(sandbox: Sandbox, tmp_path: Path) -> None:
    equal = ":\n    def __eq__(self, other): return True\n    __hash__ = None\ndef f(*given): return Equal()"
    liar, same = f"class Equal(int){equal}", f"class Equal{equal}"
    peek = "import sys\ndef f(*given):\n    return sys.modules['__main__'].expected(*given)"
    assert outcomes(sandbox, plus(tmp_path), liar, same, peek) == [(False, False)] * 3


@pytest.mark.parametrize(
    ("atol", "reference", "answer", "right"),
    [
        (0, "0.5", "0.5 + 5e-7", True),
        (0, "0.5", "0.5 + 5e-6", False),
        (0, "[0.5, 1.5]", "[0.5, 1.5 + 5e-7]", True),
        (0, "[0.5, 1.5]", "(0.5, 1.5)", False),
        (0, "[0.5, 1]", "[0.5 + 5e-7, 1]", False),
        (0, "[0.5, 1.5]", "[0.5]", False),
        (0, "10", "10.0", True),
        (0, "10", "10 + 1e-9", False),
        (0.01, "1", "1.005", False),
        (0.01, "1.0", "1.005", True),
        (0.01, "[[1.0], [2.0]]", "[[1.005], [2.0]]", True),
        (0.01, "'a'", "'b'", False),
        (0, "(1, 2)", "[1, 2]", False),
        (0, "None", "None", True),
    ],
)
def test_numbers_are_compared_with_the_tolerance_of_the_task(
    sandbox: Sandbox, tmp_path: Path, atol: float, reference: str, answer: str, right: bool
) -> None:
    problem = plus(tmp_path, canonical_solution=f"def f(*given):\n    return {reference}\n", prompt="", atol=atol)
    assert outcomes(sandbox, problem, f"def f(*given):\n    return {answer}") == [(right, right)]


@pytest.mark.parametrize(
    ("task", "given", "reference", "answer", "right"),
    [
        (2, [[1], [2]], "(1, 2)", "[2, 1, 1]", True),
        (2, [[1], [2]], "(1, 2)", "(1, 3)", False),
        (2, [[1], [2]], "(1, 2)", "5", False),
        (737, ["a"], "__import__('re').match('a', 'a')", "7", True),
        (737, ["a"], "__import__('re').match('a', 'a')", "False", False),
        (737, ["a"], "__import__('re').match('b', 'a')", "None", True),
        (164, [1, 2], "True", "False", True),
        (295, [4], "3", "0", True),
        (295, [4], "3", "1", False),
        (558, [1, 23], "9", "4", True),
        (558, [1, 23], "9", "5", False),
        (581, [3, 4], "33", "35", True),
        (581, [3, 4], "33", "34", False),
    ],
)
def test_some_tasks_have_a_rule_of_their_own(
    sandbox: Sandbox, tmp_path: Path, task: int, given: list[Any], reference: str, answer: str, right: bool
) -> None:
    problem = plus(
        tmp_path,
        task_id=f"Mbpp/{task}",
        canonical_solution=f"def f(*given):\n    return {reference}\n",
        prompt="",
        base_input=[given],
        plus_input=[given],
    )
    assert outcomes(sandbox, problem, f"def f(*given):\n    return {answer}") == [(right, right)]


def humaneval_rows(file: Path) -> Iterator[dict[str, Any]]:
    """Rows of HumanEval+'s format, with the inputs of HumanEval's own tests in the place of both lists."""
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            space: dict[str, Any] = {}
            exec(row["prompt"] + row["canonical_solution"] + "\n" + row["test"], space)
            inputs = []

            def candidate(*given: Any, keep: list[Any] = inputs, name: str = row["entry_point"], space=space) -> Any:
                keep.append(copy.deepcopy(given))
                return space[name](*given)

            space["check"](candidate)
            distinct = [list(given) for given in dict.fromkeys(map(repr, inputs)) for given in [eval(given)]]
            atol = 1e-6 if row["task_id"] in ("HumanEval/2", "HumanEval/4", "HumanEval/32") else 0
            yield {**row, "base_input": distinct[:9], "plus_input": distinct[:9], "atol": atol}


def test_reference_solutions_of_humaneval_pass_in_the_form_of_humanevalplus(
    sandbox: Sandbox, shared_data: Path, tmp_path: Path
) -> None:
    """There is no file of HumanEval+ here: its form is made of HumanEval's own inputs."""
    path = file_of(tmp_path, *humaneval_rows(shared_data / "HumanEval.jsonl.gz"))
    problems = humanevalplus.load(path, None)
    verdicts = judge(sandbox, *((problem, problem.reference_solution) for problem in problems))
    assert len(problems) == 164
    assert {p.task_id: str(v) for p, v in zip(problems, verdicts, strict=True) if not v.passed} == {}
    roots = next(problem for problem in problems if problem.task_id == "HumanEval/32")
    assert outcomes(sandbox, roots, "def find_zero(xs):\n    return 0.0") == [(False, False)]


def test_what_base_and_plus_tests_cost_a_program_is_one_limit(sandbox: Sandbox, tmp_path: Path) -> None:
    (verdict,) = judge(sandbox, (plus(tmp_path), _ENDLESS), is_slow=True)
    assert verdict.error_type is ErrorType.TIMEOUT


def test_the_report_has_the_base_tests_beside_all(sandbox: Sandbox, tmp_path: Path) -> None:
    rows = [{**ROW, "task_id": f"Mbpp/{number}"} for number in (75, 413)]
    right = ROW["canonical_solution"]
    only_base = "def f(pairs, n):\n    return 2 if pairs else 3"
    wrong = "def f(pairs, n):\n    return 3"
    samples = [("75", right), ("75", only_base), ("75", wrong), ("MBPP/413", only_base), ("413", right), ("413", right)]
    written = tmp_path / "samples.jsonl"
    written.write_text("".join(json.dumps({"task_id": t, "solution": s}) + "\n" for t, s in samples), encoding="utf-8")
    argv = ["--benchmark", "mbppplus", "--benchmark_file", file_of(tmp_path, *rows), "--samples", written]
    assert (
        main([*map(str, argv), "--k", "1", "3", "--sandbox", sandbox.backend, "--output_dir", str(tmp_path / "o")]) == 0
    )
    report = from_json(EvalReport, json.loads((tmp_path / "o" / "report.json").read_text(encoding="utf-8")))
    assert {k: i.value for k, i in report.pass_at_k.items()} == {"1": pytest.approx(0.5), "3": 1.0}
    assert {k: i.value for k, i in report.pass_at_k_base.items()} == {"1": pytest.approx(5 / 6), "3": 1.0}
    verdicts = [
        json.loads(line) for line in (tmp_path / "o" / "verdicts.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert [(row["passed"], row["passed_base"]) for row in verdicts] == [
        (True, True),
        (False, True),
        (False, False),
        (False, True),
        (True, True),
        (True, True),
    ]
    assert "| pass@1 base | 83.3% |" in (tmp_path / "o" / "report.md").read_text(encoding="utf-8")
