"""Token by token: a block of prompts through a causal model with a key-value cache, a row handed out when it ends.

Rows that ended leave the cache, so a long completion does not carry the short ones along. No row joins later: what a
sample gets depends on its block alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import DynamicCache, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from sampling.engine import SamplingParams
from sampling.keyed_noise import gumbel_noise


@dataclass
class Row:
    """One completion in the making; `place` is its place in the block."""

    place: int
    seed: int
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)


class Chooser:
    """Draws the next token of each row: logits in, token ids and their log-probabilities out."""

    def __init__(self, params: SamplingParams) -> None:
        self._greedy = params.temperature == 0
        self._warpers: list[Any] = []
        if params.temperature not in (0, 1):
            self._warpers.append(TemperatureLogitsWarper(float(params.temperature)))
        if params.top_k:
            self._warpers.append(TopKLogitsWarper(params.top_k))
        if params.top_p < 1:
            self._warpers.append(TopPLogitsWarper(params.top_p))

    def __call__(self, logits: torch.Tensor, seeds: torch.Tensor, position: int) -> tuple[torch.Tensor, torch.Tensor]:
        for warp in self._warpers:
            logits = warp(None, logits)
        logprobs = torch.log_softmax(logits, dim=-1)
        noisy = logprobs if self._greedy else logprobs + gumbel_noise(seeds, position, logprobs)
        choice = noisy.argmax(dim=-1, keepdim=True)
        return choice.squeeze(1), logprobs.gather(1, choice).squeeze(1)


@torch.no_grad()
def decode_block(
    model: Any,
    prompts: Sequence[Sequence[int]],
    seeds: Sequence[int],
    *,
    choose: Chooser,
    ended: Callable[[list[int]], bool],
    max_tokens: int,
    pad_id: int,
) -> Iterator[tuple[Row, bool]]:
    """Yield each row when it is done, with whether it `ended` by itself (else it reached `max_tokens`)."""
    rows = [Row(place, seed) for place, seed in enumerate(seeds)]
    step = _Step(model, prompts, seeds, pad_id)
    while rows:
        tokens, logprobs = choose(step.logits(), step.seeds, len(rows[0].token_ids))
        for row, token, logprob in zip(rows, tokens.tolist(), logprobs.tolist(), strict=True):
            row.token_ids.append(token)
            row.logprobs.append(logprob)
        by_itself = [ended(row.token_ids) for row in rows]
        going = [not end and len(row.token_ids) < max_tokens for row, end in zip(rows, by_itself, strict=True)]
        if any(going):
            step.advance(tokens, going)
        for row, end, goes_on in zip(rows, by_itself, going, strict=True):
            if not goes_on:
                yield row, end
        rows = [row for row, goes_on in zip(rows, going, strict=True) if goes_on]


class _Step:
    """The tensors of the rows that are still going, and the model's cache for them."""

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]], seeds: Sequence[int], pad_id: int) -> None:
        self._model = model
        self._input_ids, self._mask = _pad_left(prompts, pad_id, model.device)
        self.seeds = torch.tensor(seeds, device=model.device)
        self._cache = DynamicCache(config=model.config)
        accepted = inspect.signature(_inner(model).forward).parameters
        self._takes_positions = "position_ids" in accepted
        self._options: dict[str, Any] = {"logits_to_keep": 1} if "logits_to_keep" in accepted else {}

    def logits(self) -> torch.Tensor:
        """Of the next token, in float32."""
        options = dict(self._options)
        if self._takes_positions:
            positions = (self._mask.cumsum(-1) - 1).clamp_(min=0)
            options["position_ids"] = positions[:, -self._input_ids.shape[1] :]
        output = self._model(
            input_ids=self._input_ids,
            attention_mask=self._mask,
            past_key_values=self._cache,
            use_cache=True,
            **options,
        )
        return output.logits[:, -1, :].float()

    def advance(self, tokens: torch.Tensor, going: list[bool]) -> None:
        """Go on behind `tokens` with the rows that are `going`."""
        if not all(going):
            keep = torch.tensor([row for row, goes_on in enumerate(going) if goes_on], device=tokens.device)
            self._cache.batch_select_indices(keep)
            tokens, self._mask, self.seeds = tokens[keep], self._mask[keep], self.seeds[keep]
        self._input_ids = tokens[:, None]
        self._mask = torch.cat([self._mask, self._mask.new_ones(len(tokens), 1)], dim=1)


def _inner(model: Any) -> Any:
    """The model itself, where PEFT wraps it in a class whose `forward` takes anything."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _pad_left(rows: Sequence[Sequence[int]], pad: int, device: Any) -> tuple[torch.Tensor, torch.Tensor]:
    width = max(map(len, rows))
    ids = torch.tensor([[pad] * (width - len(row)) + list(row) for row in rows], device=device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=device)
    return ids, mask


@torch.no_grad()
def sequence_logprobs(model: Any, token_ids: Sequence[int]) -> list[float]:
    """The log-probability of every token but the first, without dropout, at temperature 1."""
    ids = torch.tensor([list(token_ids)], device=model.device)
    was_training = model.training
    model.eval()
    try:
        logits = model(input_ids=ids, use_cache=False).logits[0, :-1].float()
    finally:
        model.train(was_training)
    return torch.log_softmax(logits, dim=-1).gather(1, ids[0, 1:, None])[:, 0].tolist()
