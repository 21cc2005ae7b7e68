"""Fixtures that every test may use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ALL_TESTS = "RLCODE_ALL_TESTS" in os.environ
"""Whether what differs little from what is tested anyhow is tested too: hours instead of one."""


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with the benchmark files, beside the checkout; a test that needs it fails where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    assert folder.is_dir(), f"{folder} is missing: it holds the benchmark files that the tests judge against"
    return folder


def run_quickstart(output_dir: Path, engine: str, sandbox: str) -> Path:
    """Run `rlcode quickstart --preset ci` as people do, in a process of its own; returns its run directory."""
    command = [str(Path(sys.executable).with_name("rlcode")), "quickstart", "--preset", "ci"]
    command += ["--engine", engine, "--sandbox", sandbox, "--output_dir", str(output_dir)]
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return output_dir


@pytest.fixture(scope="session")
def quickstart_run(tmp_path_factory) -> Path:
    """A finished quickstart: its model, problems and rollouts serve other tests."""
    return run_quickstart(tmp_path_factory.mktemp("quickstart") / "run", "transformers", "docker")


@pytest.fixture(scope="session")
def random_model(tmp_path_factory) -> Path:
    """A tiny Qwen2 with random weights."""
    from tests.random_models import make_model  # it loads torch, which most tests do without

    return make_model(tmp_path_factory.mktemp("random") / "model", seed=0)


@pytest.fixture(scope="session")
def random_adapter(tmp_path_factory, random_model: Path) -> Path:
    """A LoRA adapter on it that changes what it says."""
    from tests.random_models import make_adapter

    return make_adapter(tmp_path_factory.mktemp("random") / "adapter", random_model)
