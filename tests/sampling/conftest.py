"""Servers that several modules ask."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sampling.servers import Server


@pytest.fixture(scope="session")
def vllm_server(tmp_path_factory, random_model: Path) -> Iterator[Server]:
    """A server for the random model, up; who kills it starts it again."""
    server = Server(random_model, tmp_path_factory.mktemp("server") / "log", "--max_lora_rank", "16")
    try:
        yield server.wait()
    finally:
        server.kill()
