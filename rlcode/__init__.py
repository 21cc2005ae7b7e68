"""rlcode: reinforcement-learning post-training of code LLMs that follows the model's own errors.

The names below are what other people's scripts use; each is imported when first asked for, so that
`import rlcode` costs nothing.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Completion": "rlcode.types",
    "CompositeReward": "rewards.composite",
    "CorrectnessReward": "rewards.correctness",
    "ErrorNotebook": "sampling.notebook",
    "ErrorType": "rlcode.types",
    "FormatReward": "rewards.format",
    "FractionReward": "rewards.fraction",
    "LadderReward": "rewards.ladder",
    "LengthReward": "rewards.length",
    "Limits": "rlcode.types",
    "Problem": "rlcode.types",
    "Program": "rlcode.types",
    "TestCase": "rlcode.types",
    "Verdict": "rlcode.types",
    "estimate_pass_at_k": "eval.pass_at_k",
    "load_problems": "rlcode.data.registry",
    "open_engine": "sampling.engine",
    "open_sandbox": "sandbox.pool",
}

__all__ = sorted([*_HOMES, "__version__"])


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'rlcode' has no attribute {name!r}")
    return getattr(load_sibling(_HOMES[name]), name)


def load_sibling(module: str) -> Any:
    """Import a module of ours by name, and refuse one of the user's that hides it.

    Raises:
        ShadowedPackageError: another file (a `rewards.py` beside the launched script, say) was found instead.
    """
    package = module.partition(".")[0]
    ours = Path(__file__).resolve().parent.parent / package
    found = Path(getattr(importlib.import_module(package), "__file__", None) or "a namespace package").resolve()
    if ours not in found.parents:
        from rlcode.errors import ShadowedPackageError

        raise ShadowedPackageError(
            f"`import {package}` finds {found}, which hides rlcode's own {ours}; rename the former or move it away"
        )
    return importlib.import_module(module)
