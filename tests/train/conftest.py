"""Judged rollouts to train from, and a thread alone to do it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rlcode.types import Completion, ErrorType, Program, Rollout, Verdict
from sampling.store import write_rollouts


@pytest.fixture(scope="session")
def judged_rollouts(tmp_path_factory, random_model: Path) -> Path:
    """Eight problems with two passed and three failed completions each."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(random_model)
    errors = (None, None, ErrorType.NAME, ErrorType.TYPE, ErrorType.NAME)
    rollouts = []
    for problem in range(8):
        prompt = f"def solve(xs):\n    # {problem}\n"
        for index, error in enumerate(errors):
            text = f"    return {'xs' if error is None else 'ys'} + [{index}]"
            ids = (*tokenizer(text)["input_ids"], tokenizer.eos_token_id)
            completion = Completion(
                f"p{problem}", index, text, tuple(tokenizer(prompt)["input_ids"]), ids, (-1.0,) * len(ids), "stop"
            )
            verdict = Verdict(error, int(error is None), 1)
            rollouts.append(Rollout(completion, Program(prompt + text, "continuation"), verdict))
    path = tmp_path_factory.mktemp("rollouts") / "rollouts.jsonl"
    write_rollouts(path, rollouts)
    return path


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """torch on one thread: a step of a tiny model is too small for two."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
