"""Rows as verl's trainers read them, from parquet: `data_source`, `prompt` (messages), `ability`, `reward_model` (with
`ground_truth`: the tests, mostly as JSON text) and `extra_info` (`split`, `index`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlcode.data.importing.columns import make_problem, user_message
from rlcode.errors import DataError
from rlcode.types import Problem

COLUMNS = ("data_source", "prompt", "reward_model")


def problem_from_row(row: Mapping[str, Any], number: int, where: str) -> Problem:
    """One row as a problem. Its task id is `data_source/index`, or else the number of the row.

    Raises:
        DataError: it can't be used; a row of another ability than code has no tests.
    """
    reward, extra = row["reward_model"], row.get("extra_info") or {}
    if not isinstance(reward, Mapping) or "ground_truth" not in reward:
        raise DataError(f"{where}: reward_model has no `ground_truth`")
    prompt = row["prompt"].tolist() if hasattr(row["prompt"], "tolist") else row["prompt"]
    if not isinstance(prompt, list):
        raise DataError(f"{where}: prompt must be a list of messages, got {type(prompt).__name__}")
    source, index = str(row["data_source"]), extra.get("index")
    task_id = f"{source}/{number if index is None else index}"
    split = extra.get("split")
    texts = {"prompt": user_message(prompt, where), "task_id": f"{task_id}/{split}" if split else task_id}
    return make_problem(reward["ground_truth"], task_id, source, where, texts)
