"""Does the engine hold the policy that was trained? Asked after every load, by log-probabilities of fixed sequences.

Who saves an adapter writes down what the trainer's own model says of the sequences (`PolicyRecord`, in the adapter's
`rlcode_adapter.json`), so that any engine in any process can be held against it.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlcode.errors import InputError, PolicyMismatchError
from rlcode.types import from_json
from sampling.adapters import is_trained, read_metadata

logger = logging.getLogger(__name__)

LOGPROB_TOLERANCE = {"float32": 1e-3, "float16": 0.05, "bfloat16": 0.15}
"""Mean gap, in nats per token, that rounding explains, by the coarser precision of the two sides."""
CARRIED = 1.5
"""How much of the gap of two bases a policy on them may have: an adapter carries the error of a quantised base on."""

_MIXED = {"bf16": "bfloat16", "fp16": "float16"}

_TEXTS = (
    'def solve(xs):\n    """Keep the even numbers."""\n    return [x for x in xs if x % 2 == 0]\n',
    "import math\n\n\ndef area(radius: float) -> float:\n    return math.pi * radius**2\n",
    "# Read n, then print the numbers from 1 to n, one on each line.\nn = int(input())\nfor i in range(n):\n",
)
_LONGEST = 48

Sequences = tuple[tuple[int, ...], ...]
"""Token ids of several sequences."""


@dataclass(frozen=True)
class PolicyRecord:
    """What the trainer's model says: `logprobs[i][j]` is that of `token_ids[i][j + 1]` (nats, temperature 1).

    `base_logprobs` is what its base says, where that is quantised: an engine that holds the same base in full is as far
    from the policy as its base is from the trainer's.
    """

    dtype: str
    token_ids: tuple[tuple[int, ...], ...]
    logprobs: tuple[tuple[float, ...], ...]
    base_logprobs: tuple[tuple[float, ...], ...] | None = None


def fixed_sequences(tokenizer: Any) -> tuple[tuple[int, ...], ...]:
    """Some code, and one sequence from all over the vocabulary: a function of the tokenizer alone."""
    texts = [tuple(tokenizer(text)["input_ids"][:_LONGEST]) for text in _TEXTS]
    special = set(tokenizer.all_special_ids)
    drawn = (_hash(place) % len(tokenizer) for place in range(_LONGEST))
    return (*texts, tuple(token for token in drawn if token not in special))


def _hash(place: int) -> int:
    return int.from_bytes(hashlib.blake2b(str(place).encode(), digest_size=8).digest(), "big")


def record_policy(model: Any, tokenizer: Any, mixed_precision: str = "no") -> PolicyRecord:
    """What `model` says of the fixed sequences; where its weights are sharded, every process must call this.
    `mixed_precision`: what accelerate has it compute in (no, bf16, fp16), whatever the precision of its weights."""
    sequences, bits = fixed_sequences(tokenizer), quantised_bits(model)
    logprobs = _logprobs(model, sequences)
    if bits is None:
        stored = str(model.dtype).removeprefix("torch.")
        dtype = max(stored, _MIXED.get(mixed_precision, stored), key=tolerance_for)
        return PolicyRecord(dtype, sequences, logprobs)
    with model.disable_adapter():
        return PolicyRecord(f"{bits} bits", sequences, logprobs, _logprobs(model, sequences))


def _logprobs(model: Any, sequences: Sequences) -> tuple[tuple[float, ...], ...]:
    from sampling.decoding import sequence_logprobs

    return tuple(tuple(sequence_logprobs(model, sequence)) for sequence in sequences)


def quantised_bits(model: Any) -> int | None:
    """Of a weight of the base, where bitsandbytes quantised it; else None."""
    if getattr(model, "is_loaded_in_4bit", False):
        return 4
    return 8 if getattr(model, "is_loaded_in_8bit", False) else None


def read_record(adapter: Path) -> PolicyRecord | None:
    """What was written beside the adapter; None for one from elsewhere.

    Raises:
        InputError: it can't be read.
    """
    written = read_metadata(adapter).get("identity")
    try:
        return None if written is None else from_json(PolicyRecord, written)
    except ValueError as error:
        raise InputError(f"the record of log-probabilities of adapter {adapter} can't be read: {error}") from error


class BaseScores:
    """What an engine's base says of sequences: asked for once, since it stays the same."""

    def __init__(self, ask: Callable[[Sequences], list[list[float]]]) -> None:
        self._ask = ask
        self._known: dict[Sequences, list[list[float]]] = {}

    def of(self, sequences: Sequences) -> list[list[float]]:
        if sequences not in self._known:
            self._known[sequences] = self._ask(sequences)
        return self._known[sequences]

    def forget(self) -> None:
        """The base is another one now."""
        self._known.clear()


@dataclass(frozen=True)
class LoadedPolicy:
    """A policy that an engine just loaded."""

    version: int
    path: Path
    engine: str
    dtype: str
    """The engine's precision."""

    def sequences(self, tokenizer: Any) -> tuple[tuple[int, ...], ...]:
        """What to ask the engine about."""
        record = read_record(self.path)
        return record.token_ids if record else fixed_sequences(tokenizer)

    def check(self, scores: Sequence[Sequence[float]], base: Sequence[Sequence[float]] | None) -> float | None:
        """Hold the engine's `scores` of `sequences` against the record, and against its scores of the `base` model.

        Returns:
            The mean gap to the trainer in nats per token; None where there is no record.
        Raises:
            PolicyMismatchError: the engine does not hold this policy.
        """
        record = read_record(self.path)
        gap = None
        if record is not None:
            gap = mean_gap(scores, record.logprobs)
            self._require_within_tolerance(gap, record, base)
        if base is not None and mean_gap(scores, base) == 0 and is_trained(self.path):
            raise PolicyMismatchError(
                f"{self.engine} says exactly what the base model says after loading policy version {self.version} "
                f"from {self.path}, which is not the base: the adapter is not in force"
            )
        if record is None:
            logger.warning(
                "adapter %s has no record of its trainer's log-probabilities: that %s computes what the trainer did "
                "can't be told",
                self.path,
                self.engine,
            )
        return gap

    def _require_within_tolerance(
        self, gap: float, record: PolicyRecord, base: Sequence[Sequence[float]] | None
    ) -> None:
        tolerance = max(tolerance_for(self.dtype), tolerance_for(record.dtype))
        if record.base_logprobs is not None and base is not None:
            tolerance += CARRIED * mean_gap(base, record.base_logprobs)
        if not gap <= tolerance:
            raise PolicyMismatchError(
                f"{self.engine} does not hold policy version {self.version} from {self.path}: its log-probabilities "
                f"({self.dtype}) are {gap:.4g} nats per token from the trainer's ({record.dtype}), tolerance "
                f"{tolerance:g}"
            )


def tolerance_for(dtype: str) -> float:
    """The tolerance for a precision; one that is unknown (quantised, say) is taken as the coarsest."""
    return LOGPROB_TOLERANCE.get(dtype, max(LOGPROB_TOLERANCE.values()))


def mean_gap(one: Sequence[Sequence[float]], other: Sequence[Sequence[float]]) -> float:
    """Mean absolute difference over all tokens; NaN where a value is."""
    gaps = [abs(a - b) for first, second in zip(one, other, strict=True) for a, b in zip(first, second, strict=True)]
    return sum(gaps) / len(gaps)
