"""Weights in the place of adapters: the explicit choice `--engine_sync merged`, for what an engine can't serve as LoRA.

Each policy is merged into its base, or is a whole checkpoint of its own (full fine-tuning), and the engine reads all of
its weights from a directory. That moves the model's bytes where an adapter moves its own.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, Self

from rlcode.errors import InputError, RlcodeError
from rlcode.types import Completion
from sampling.adapters import check_adapter, check_checkpoint, is_checkpoint
from sampling.engine import Engine, GenerationRequest, SamplingParams
from sampling.identity import LoadedPolicy, fixed_sequences


class ReloadableEngine(Engine, Protocol):
    """An engine whose weights can be replaced by others of the same architecture."""

    @property
    def dtype(self) -> str:
        """Precision of the weights."""
        ...

    def load_weights(self, directory: str) -> None:
        """Read all weights from `directory`, for the requests from now on.

        Raises:
            EngineError: completions are in flight.
        """
        ...


class MergedEngine:
    """Any engine of this process, with policies as whole weights."""

    def __init__(self, engine: ReloadableEngine, base_model: str) -> None:
        self.name = engine.name
        self.tokenizer: Any = engine.tokenizer
        self.block_size = engine.block_size
        self.policy_version = 0
        self._engine = engine
        self._base_model = base_model
        self._versions: set[int] = {0}
        self._base_scores = engine.score(fixed_sequences(self.tokenizer))
        self._directory = tempfile.TemporaryDirectory(prefix="rlcode-merged-")
        self._in_force = base_model  # where the weights of the engine are from

    def load_adapter(self, version: int, path: Path) -> float | None:
        """As every engine does; `path` may be a whole checkpoint too. Nothing may be in flight."""
        if version in self._versions or version < 1:
            raise InputError(f"policy version {version} can't be used (again); they count up from 1")
        self._versions.add(version)
        with tempfile.TemporaryDirectory(dir=self._directory.name) as unproven:
            weights = write_merged(self._base_model, path, Path(unproven))
            self._engine.load_weights(str(weights))
            try:
                gap = self._check(version, path)
            except RlcodeError:
                self._engine.load_weights(self._in_force)
                raise
            self._keep(weights, version)
        self._engine.policy_version = self.policy_version = version
        return gap

    def _keep(self, weights: Path, version: int) -> None:
        """Keep what is in force, so that a policy that is refused later can be taken back."""
        before, self._in_force = Path(self._in_force), str(weights)
        if weights.parent.parent == Path(self._directory.name):
            self._in_force = str(weights.rename(Path(self._directory.name) / f"v{version}"))
        if before.parent == Path(self._directory.name):
            for file in before.iterdir():
                file.unlink()
            before.rmdir()

    def _check(self, version: int, path: Path) -> float | None:
        loaded = LoadedPolicy(version, path, f"the engine {self.name} with merged weights", self._engine.dtype)
        sequences = loaded.sequences(self.tokenizer)
        same_questions = sequences == fixed_sequences(self.tokenizer)
        return loaded.check(self.score(sequences), self._base_scores if same_questions else None)

    def generate(self, requests: Iterable[GenerationRequest], params: SamplingParams) -> Iterator[Completion]:
        return self._engine.generate(requests, params)

    def score(self, sequences: Sequence[Sequence[int]]) -> list[list[float]]:
        return self._engine.score(sequences)

    def close(self) -> None:
        self._engine.close()
        self._directory.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def write_merged(base_model: str, policy: Path, directory: Path) -> Path:
    """Where the whole weights of the policy are: merged into `directory`, or `policy` itself if that is a checkpoint.

    Raises:
        InputError: it is neither, or an adapter of another base.
    """
    if is_checkpoint(policy):
        check_checkpoint(policy, base_model)
        return policy
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    check_adapter(policy, base_model)
    base = AutoModelForCausalLM.from_pretrained(base_model, dtype="auto")
    try:
        merged = PeftModel.from_pretrained(base, str(policy)).merge_and_unload(safe_merge=True)
    except (ValueError, RuntimeError) as error:
        raise InputError(f"adapter {policy} can't be merged into {base_model}: {error}") from error
    merged.save_pretrained(directory / "weights")
    return directory / "weights"
