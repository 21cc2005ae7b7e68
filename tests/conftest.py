"""Fixtures that every test may use."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with the benchmark files, beside the checkout; a test that needs it fails where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    assert folder.is_dir(), f"{folder} is missing: it holds the benchmark files that the tests judge against"
    return folder
