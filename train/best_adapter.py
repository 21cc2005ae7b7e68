"""`best_adapter` in a run directory: the adapter that did best so far, whole at every moment.

It is a link into `best_adapters/`, so that one adapter takes the place of another in one operation. Each checkpoint has
a copy, since a run that resumes knows nothing of what came after.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from sampling.adapters import adapter_version
from train.policy import save_policy

NAME = "best_adapter"


class BestAdapter:
    """The best adapter of the run in `run`; one process (`writes`) does what is done to files."""

    def __init__(self, run: Path, writes: bool) -> None:
        self.path = run / NAME
        self._adapters = run / f"{NAME}s"
        self._writes = writes

    def keep(self, trainer: Any, base_model: str, version: int) -> None:
        """The adapter in training is the best one now. Every process must call this."""
        adapter = self._adapters / f"v{version}"
        save_policy(trainer, adapter, base_model, version)
        if self._writes:
            self._point_to(adapter)

    def save_to(self, folder: Path) -> None:
        """Put a copy into a checkpoint's `folder`, if there is a best adapter. (Beside the checkpoint's own adapter it
        would be loaded instead of that one: `Trainer` prefers adapters in folders.)"""
        if self._writes and self.path.exists():
            shutil.copytree(self.path, folder / NAME, dirs_exist_ok=True)

    def go_on_from(self, folder: Path | None) -> None:
        """Make it what it was when a checkpoint's `folder` was written; without one there is none yet."""
        if not self._writes:
            return
        if folder is not None and (folder / NAME).is_dir():
            restored = self._adapters / f"v{adapter_version(folder / NAME)}"
            shutil.copytree(folder / NAME, restored, dirs_exist_ok=True)
            self._point_to(restored)
            return
        self.path.unlink(missing_ok=True)
        shutil.rmtree(self._adapters, ignore_errors=True)

    def _point_to(self, adapter: Path) -> None:
        """Let the link lead to `adapter`, and remove the others."""
        link = self.path.with_name(f".{NAME}.new")
        link.unlink(missing_ok=True)
        link.symlink_to(adapter.relative_to(self.path.parent))
        os.replace(link, self.path)
        for other in self._adapters.iterdir():
            if other != adapter:
                shutil.rmtree(other)
