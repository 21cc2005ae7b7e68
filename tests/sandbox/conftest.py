"""What the tests of real sandboxes share. A machine without a Docker engine fails them; none is skipped."""

from __future__ import annotations

import os
from collections.abc import Iterator

import docker
import pytest

from rlcode.errors import SandboxUnavailableError
from sandbox import image
from sandbox.docker import connect
from sandbox.pool import open_sandbox
from sandbox.protocol import Sandbox


@pytest.fixture(scope="session")
def base_image() -> str:
    """A base that the engine has, with python3."""
    return os.environ.get("RLCODE_TEST_BASE", "rlcode-base:trixie")


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


@pytest.fixture(scope="session", params=["local", "docker"])
def lone(request: pytest.FixtureRequest, engine: docker.DockerClient) -> Iterator[Sandbox]:
    """A sandbox with one worker, so that programs follow each other in the same place."""
    with open_sandbox(request.param, workers=1) as opened:
        yield opened
