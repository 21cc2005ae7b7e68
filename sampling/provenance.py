"""What a run's configuration stood for: fingerprints of weights, data and sandbox, written into its `run.json`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rlcode.run_directory import file_hash
from rlcode.types import PartialLimits, Problem, to_json
from sampling.adapters import base_fingerprint
from sampling.engine import Engine
from sandbox.protocol import Sandbox


def made_with(
    model: str,
    adapter: Path | None,
    engine: Engine,
    problems: Iterable[Problem],
    sandbox: Sandbox,
    limits: PartialLimits,
) -> dict[str, Any]:
    """All that decides a run's samples and verdicts beside its configuration."""
    return {
        "model_fingerprint": base_fingerprint(model),
        "adapter_sha256": _policy_hash(adapter) if adapter else None,
        "policy_version": engine.policy_version,
        "problems_sha256": _problems_hash(problems),
        "sandbox": {"backend": sandbox.backend, "image_digest": sandbox.image_digest},
        "limits": vars(limits),
    }


def _policy_hash(policy: Path) -> str:
    """Of an adapter's weights, or of whole ones."""
    adapter = policy / "adapter_model.safetensors"
    return file_hash(adapter) if adapter.exists() else base_fingerprint(str(policy))


def _problems_hash(problems: Iterable[Problem]) -> str:
    digest = hashlib.sha256()
    for problem in problems:
        digest.update(json.dumps(to_json(problem), sort_keys=True).encode() + b"\n")
    return digest.hexdigest()
