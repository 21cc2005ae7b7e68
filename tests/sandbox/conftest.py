"""What the tests of real sandboxes share. A machine without a Docker engine fails them; none is skipped."""

from __future__ import annotations

import os
from collections.abc import Iterator

import docker
import pytest

from rlcode.errors import SandboxUnavailableError
from sandbox import image
from sandbox.docker import connect


@pytest.fixture(scope="session")
def base_image() -> str:
    """A base that the engine has, with python3."""
    return os.environ.get("RLCODE_TEST_BASE", "rlcode-base:bookworm")


@pytest.fixture(scope="session")
def engine(base_image: str) -> Iterator[docker.DockerClient]:
    """The Docker engine, with this version's sandbox image on it."""
    client = connect()
    try:
        image.find(client)
    except SandboxUnavailableError:
        image.build(client, base_image)
    yield client
    client.close()
