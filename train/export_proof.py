"""What an export is held against: base + adapter, as its files are, before anything is merged.

Of fixed prompts base + adapter gives logits, greedy answers and how clearly it prefers each token of them. What was
written must agree, loaded again: in logits (`TOLERANCE`), in the tokens of the answers, and in their log-probabilities.
A token may differ only where base + adapter prefers its own by less than `NEAR_TIE`: rounding decides there, and what
follows is another text. All of it is written down (`Proof`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from rlcode.errors import PolicyMismatchError
from sampling.decoding import sequence_logprobs
from sampling.engine import Engine, GenerationRequest, SamplingParams
from sampling.identity import LoadedPolicy, mean_gap, tolerance_for
from sampling.transformers_engine import TransformersEngine

PROMPTS = (
    'def solve(xs):\n    """Keep the even numbers, then return the sum."""\n',
    "import math\n\n\ndef area(r: float) -> float:\n",
    "# Sort the list.\n",
    'def solve(s):\n    """Reverse the string."""\n    return',
)
GREEDY_TOKENS = 32
TOLERANCE = {"float32": 1e-4, "float16": 1e-2, "bfloat16": 5e-2}
"""Largest difference of a logit that rounding explains, as a share of the largest logit: merging rounds W + BA once
more."""
NEAR_TIE = {"float32": 1e-2, "float16": 0.1, "bfloat16": 0.5}
"""Margin of a token over the next best one (nats) that rounding may turn round: two logits between 16 and 32 are at
best 1/8 apart in bfloat16."""
ENOUGH_KEPT = 0.9
"""Of the adapter's update. An update that is small next to the weights' own steps is mostly rounded away, and then the
merged model is the base rather than the policy; no gap of logits shows it, since they too are small."""


@dataclass(frozen=True)
class Answer:
    """A greedy answer of base + adapter."""

    prompt: tuple[int, ...]
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    margins: tuple[float, ...]
    """Of each token over the next best one, in nats."""

    @property
    def whole(self) -> tuple[int, ...]:
        return self.prompt + self.token_ids


@dataclass(frozen=True)
class Reference:
    """What base + adapter says."""

    answers: tuple[Answer, ...]
    logits: tuple[torch.Tensor, ...]
    """Of each prompt with its answer."""
    sequences: tuple[tuple[int, ...], ...]
    """Those that the adapter's trainer wrote its log-probabilities of."""
    base_logprobs: list[list[float]]
    """What the base alone says of them."""


@dataclass(frozen=True)
class Change:
    """Where a target matrix differs most from the base's: the element at `place` of the flattened matrix."""

    target: str
    place: int
    before: float
    after: float
    kept: float | None = None
    """How much of the adapter's update is there after rounding: what merging did, along that update. None for DoRA,
    whose update is no sum."""


@dataclass(frozen=True)
class EngineProof:
    """How an engine that loaded the export answers, next to base + adapter."""

    engine: str
    dtype: str
    tokens: int
    """Of all greedy answers of base + adapter."""
    same_tokens: int
    """Up to the first one in each answer that differs."""
    near_ties: int
    """Answers that part where rounding decides."""
    logprob_gap: float
    """Mean over the tokens of the answers, in nats."""


@dataclass(frozen=True)
class Proof:
    """`export_proof.json`."""

    kind: str
    """`merged` or `adapter`."""
    base_model: str
    base_fingerprint: str
    adapter: str
    adapter_sha256: str
    policy_version: int
    dtype: str
    target_matrices: int
    changed_matrices: int
    logit_gap: float
    """Largest difference of a logit to base + adapter, as a share of the largest one."""
    tolerance: float
    near_tie: float
    """Margin in nats under which a greedy token may differ."""
    trainer_gap: float | None
    """Mean gap to what the adapter's trainer wrote down (nats per token); None where it wrote nothing."""
    engines: tuple[EngineProof, ...]
    seconds: dict[str, float]
    """`merge`: load, merge and write. `proof`: all the rest."""
    versions: dict[str, str]
    update_kept: float | None = None
    """Mean over the target matrices of what rounding left of the adapter's update; None where nothing was merged, and
    for DoRA."""

    @property
    def is_rounded_away(self) -> bool:
        """Whether rounding took so much of the update that the merged weights are not the policy's."""
        return self.update_kept is not None and self.update_kept < ENOUGH_KEPT

    def describe(self) -> str:
        """One line."""
        parts = [
            f"{self.changed_matrices} of {self.target_matrices} target matrices differ from the base",
            f"logits agree with base + adapter to {self.logit_gap:.1e}",
            *(f"{one.same_tokens} of {one.tokens} greedy tokens are the same in {one.engine}" for one in self.engines),
        ]
        if self.update_kept is not None:
            parts.append(f"{self.update_kept:.0%} of the adapter's update is there after rounding to {self.dtype}")
        if self.trainer_gap is not None:
            parts.append(f"the trainer's log-probabilities are met to {self.trainer_gap:.1e} nats per token")
        return ", ".join(parts)


def ask_reference(policy: Any, tokenizer: Any, base: str, exported: LoadedPolicy) -> Reference:
    """What the PEFT model `policy` says, and its base beneath it."""
    engine = TransformersEngine(policy, tokenizer, base_model=base)
    sequences = exported.sequences(tokenizer)
    with policy.disable_adapter():
        base_logprobs = engine.score(sequences)
    prompts = [tuple(tokenizer(text)["input_ids"]) for text in PROMPTS]
    tokens = greedy_tokens(engine, prompts)
    logits = tuple(_logits(policy, prompt + answer) for prompt, answer in zip(prompts, tokens, strict=True))
    answers = map(_answer, prompts, tokens, logits)
    return Reference(tuple(answers), logits, sequences, base_logprobs)


def _answer(prompt: tuple[int, ...], token_ids: tuple[int, ...], logits: torch.Tensor) -> Answer:
    logprobs = torch.log_softmax(logits[len(prompt) - 1 : -1], dim=-1)
    best = logprobs.topk(2, dim=-1).values
    own = logprobs.gather(1, torch.tensor(token_ids)[:, None])[:, 0]
    return Answer(prompt, token_ids, tuple(own.tolist()), tuple((best[:, 0] - best[:, 1]).tolist()))


def greedy_tokens(engine: Engine, prompts: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """The engine's greedy answer to each prompt."""
    requests = [GenerationRequest(f"prompt {place}", 0, prompt) for place, prompt in enumerate(prompts)]
    params = SamplingParams(temperature=0, max_completion_length=GREEDY_TOKENS)
    answers = {one.task_id: one.token_ids for one in engine.generate(requests, params)}
    return [answers[request.task_id] for request in requests]


@torch.no_grad()
def _logits(model: Any, token_ids: Sequence[int]) -> torch.Tensor:
    ids = torch.tensor([list(token_ids)], device=model.device)
    logits: torch.Tensor = model(input_ids=ids, use_cache=False).logits[0].float().cpu()
    return logits


def changes_by_merging(policy: Any) -> list[Change]:
    """Merge the adapter of a PEFT model into its base, and tell where each target matrix changes most."""
    changes = []
    for name, layer in lora_layers(policy):
        before, update = _weight(layer).detach().clone(), _update(layer)
        layer.merge()
        after = _weight(layer).detach()
        changes.append(replace(_largest_change(name, before, after), kept=_share_kept(before, after, update)))
    return changes


def _update(layer: Any) -> torch.Tensor | None:
    """What an adapter adds to its matrix."""
    (adapter,) = layer.active_adapters
    if layer.use_dora.get(adapter):
        return None
    update: torch.Tensor = layer.get_delta_weight(adapter).detach().float()
    return update


def _share_kept(before: torch.Tensor, after: torch.Tensor, update: torch.Tensor | None) -> float | None:
    if update is None or not update.any():
        return None
    return float(((after.float() - before.float()) * update).sum() / update.square().sum())


def mean_kept(changes: Sequence[Change]) -> float | None:
    """Over the matrices of which it is known."""
    known = [change.kept for change in changes if change.kept is not None]
    return sum(known) / len(known) if known else None


def _largest_change(name: str, before: torch.Tensor, after: torch.Tensor) -> Change:
    place = int((after.float() - before.float()).abs().argmax())
    return Change(name, place, before.flatten()[place].item(), after.flatten()[place].item())


def lora_layers(policy: Any) -> list[tuple[str, Any]]:
    """The layers that the adapter targets, by their names in the base model."""
    modules = policy.named_modules()
    return [(name.removeprefix("base_model.model."), layer) for name, layer in modules if hasattr(layer, "lora_A")]


def _weight(layer: Any) -> torch.Tensor:
    weight: torch.Tensor = layer.get_base_layer().weight
    return weight


def count_changed(changes: Sequence[Change], loaded: Any | None) -> int:
    """How many target matrices differ from the base's; in the model `loaded` from disk, where one is given."""
    changed = [change for change in changes if change.before != change.after]
    if loaded is None:
        return len(changed)
    modules = dict(loaded.named_modules())
    return sum(modules[one.target].weight.flatten()[one.place].item() == one.after for one in changed)


def check_changed(changed: int, changes: Sequence[Change], adapter: Path) -> None:
    """
    Raises:
        PolicyMismatchError: some target matrix is the base's.
    """
    if changed != len(changes):
        raise PolicyMismatchError(
            f"{len(changes) - changed} of {len(changes)} matrices that the adapter {adapter} targets are those of the "
            "base after merging: an adapter that was not trained?"
        )


def check_logits(model: Any, reference: Reference, dtype: str) -> float:
    """The largest gap of a logit to base + adapter, as a share of the largest one.

    Raises:
        PolicyMismatchError: it is more than rounding explains.
    """
    gaps = [
        ((_logits(model, answer.whole) - expected).abs().max() / expected.abs().max()).item()
        for answer, expected in zip(reference.answers, reference.logits, strict=True)
    ]
    if not all(gap <= TOLERANCE[dtype] for gap in gaps):  # NaN is no gap that may be
        raise PolicyMismatchError(
            f"the exported model's logits differ from base + adapter by {max(gaps):.2e} (relative; tolerance "
            f"{TOLERANCE[dtype]:.0e}); try --dtype float32"
        )
    return max(gaps)


def check_trainer(model: Any, reference: Reference, exported: LoadedPolicy) -> float | None:
    """As in any engine: the gap to what the adapter's trainer wrote down.

    Raises:
        PolicyMismatchError: it is not that policy.
    """
    return exported.check([sequence_logprobs(model, one) for one in reference.sequences], reference.base_logprobs)


def check_engine(engine: Engine, reference: Reference, dtype: str, engine_dtype: str) -> EngineProof:
    """Hold the greedy answers of an engine that loaded the export against those of base + adapter.

    Raises:
        PolicyMismatchError: they part where rounding does not explain it, or their log-probabilities do.
    """
    proof = EngineProof(engine.name, engine_dtype, 0, 0, 0, 0.0)
    given = greedy_tokens(engine, [answer.prompt for answer in reference.answers])
    for answer, token_ids in zip(reference.answers, given, strict=True):
        same = _same_up_to(answer.token_ids, token_ids)
        is_tie = same < len(answer.token_ids)
        if is_tie:
            _require_near_tie(engine.name, answer, same, dtype)
        proof = replace(
            proof,
            tokens=proof.tokens + len(answer.token_ids),
            same_tokens=proof.same_tokens + same,
            near_ties=proof.near_ties + is_tie,
        )
    return replace(proof, logprob_gap=_check_logprobs(engine, reference, dtype))


def _same_up_to(expected: Sequence[int], given: Sequence[int]) -> int:
    pairs = enumerate(zip(expected, given, strict=False))
    return next((place for place, (one, other) in pairs if one != other), min(len(expected), len(given)))


def _require_near_tie(engine: str, answer: Answer, place: int, dtype: str) -> None:
    if not answer.margins[place] <= NEAR_TIE[dtype]:
        raise PolicyMismatchError(
            f"{engine} gives another greedy answer with the export than base + adapter: token {place + 1} differs, "
            f"which base + adapter prefers by {answer.margins[place]:.2g} nats (rounding explains {NEAR_TIE[dtype]:g})"
        )


def _check_logprobs(engine: Engine, reference: Reference, dtype: str) -> float:
    scores = engine.score([answer.whole for answer in reference.answers])
    said = [one[len(answer.prompt) - 1 :] for one, answer in zip(scores, reference.answers, strict=True)]
    gap = mean_gap(said, [answer.logprobs for answer in reference.answers])
    if not gap <= tolerance_for(dtype):
        raise PolicyMismatchError(
            f"{engine.name}'s log-probabilities with the export are {gap:.4g} nats per token from those of base + "
            f"adapter (tolerance {tolerance_for(dtype):g})"
        )
    return gap
