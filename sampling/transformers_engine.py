"""The embedded default engine: Hugging Face `generate`, with noise that belongs to the sample, not to the batch.

Sampling is done by the Gumbel-max trick inside a logits processor: the noise of a token is a hash of the sample's
seed, the position and the token id, so a completion does not depend on which others it is drawn with.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LogitsProcessor,
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from rlcode.errors import EngineError, InputError
from rlcode.types import Completion
from sampling.adapters import check_adapter
from sampling.engine import GenerationRequest, SamplingParams, decode, request_seed

# SplitMix64 (Steele et al., 2014), as signed 64-bit constants because torch has no unsigned arithmetic
_GAMMA = -7046029254386353131
_MIX_1 = -4658895280553007687
_MIX_2 = -7723592293110705685


class TransformersEngine:
    """Generates with a model in this process: its own copy, or one that a trainer shares with it."""

    name = "transformers"

    def __init__(self, model: Any, tokenizer: Any, *, base_model: str, batch_size: int = 64) -> None:
        self.model: Any = model
        self.tokenizer = tokenizer
        self.policy_version = 0
        self._base_model = base_model
        self._batch_size = batch_size
        self._versions: set[int] = set()

    @classmethod
    def from_pretrained(cls, model: str, *, batch_size: int = 64) -> Self:
        """Load `model` onto the GPU where there is one, in bfloat16 there and in float32 on a CPU.

        Raises:
            InputError: the model can't be loaded.
        """
        cuda = torch.cuda.is_available()
        try:
            tokenizer = AutoTokenizer.from_pretrained(model)
            loaded = AutoModelForCausalLM.from_pretrained(model, dtype=torch.bfloat16 if cuda else torch.float32)
        except (OSError, ValueError) as error:
            raise InputError(f"model {model!r} can't be loaded: {error}") from error
        return cls(loaded.to("cuda" if cuda else "cpu").eval(), tokenizer, base_model=model, batch_size=batch_size)

    def load_adapter(self, version: int, path: Path) -> None:
        from peft import PeftModel

        if version in self._versions:
            raise InputError(f"policy version {version} was loaded before; versions are never used again")
        check_adapter(path, self._base_model)
        name = f"v{version}"
        try:
            if isinstance(self.model, PeftModel):
                previous = self.model.active_adapter
                self.model.load_adapter(str(path), adapter_name=name)
                self.model.set_adapter(name)
                self.model.delete_adapter(previous)
            else:
                self.model = PeftModel.from_pretrained(self.model, str(path), adapter_name=name)
        except (ValueError, RuntimeError) as error:
            raise InputError(f"adapter {path} can't be put on {self._base_model}: {error}") from error
        self.model.eval()
        self._versions.add(version)
        self.policy_version = version

    def generate(self, requests: Sequence[GenerationRequest], params: SamplingParams) -> Iterator[Completion]:
        for start in range(0, len(requests), self._batch_size):
            yield from self._generate_batch(requests[start : start + self._batch_size], params)

    @torch.no_grad()
    def _generate_batch(self, batch: Sequence[GenerationRequest], params: SamplingParams) -> list[Completion]:
        model = self._require_model()
        input_ids, attention_mask = _pad_left([r.prompt_token_ids for r in batch], self._pad_id, model.device)
        seeds = [request_seed(params.seed, request) for request in batch]
        chooser = _KeyedChooser(seeds, input_ids.shape[1], greedy=params.temperature == 0)
        with _eval_mode(model):
            output = model.generate(
                input_ids=input_ids,
                attention_mask=attention_mask,
                logits_processor=_processors(params, chooser),
                # the processors above do all the choosing; what the model's own file says of sampling is not wanted
                do_sample=False,
                temperature=None,
                top_p=None,
                top_k=None,
                repetition_penalty=None,
                max_new_tokens=params.max_completion_length,
                pad_token_id=self._pad_id,
                use_cache=True,
                **({"stop_strings": list(params.stop), "tokenizer": self.tokenizer} if params.stop else {}),
            )
        tokens = output[:, input_ids.shape[1] :].tolist()
        logprobs = torch.stack(chooser.logprobs, dim=1).tolist()
        return [
            self._completion(request, ids, chosen, seed, params)
            for request, ids, chosen, seed in zip(batch, tokens, logprobs, seeds, strict=True)
        ]

    def _completion(
        self, request: GenerationRequest, ids: list[int], logprobs: list[float], seed: int, params: SamplingParams
    ) -> Completion:
        length, finished = _length(ids, self._eos_ids)
        if not finished and params.stop:
            length, finished = self._length_to_stop(ids, params)
        return Completion(
            task_id=request.task_id,
            index=request.index,
            text=decode(self.tokenizer, ids[:length], params.stop),
            prompt_token_ids=request.prompt_token_ids,
            token_ids=tuple(ids[:length]),
            logprobs=tuple(logprobs[:length]),
            finish_reason="stop" if finished else "length",
            policy_version=self.policy_version,
            seed=seed,
        )

    def _length_to_stop(self, ids: list[int], params: SamplingParams) -> tuple[int, bool]:
        """Tokens up to and with the one that completes a stop string: `generate` pads the rest of the batch."""
        for length in range(1, len(ids) + 1):
            tail = self.tokenizer.decode(ids[max(0, length - 32) : length], skip_special_tokens=True)
            if any(stop in tail for stop in params.stop):
                return length, True
        return len(ids), False

    @property
    def _eos_ids(self) -> set[int]:
        eos = self._require_model().generation_config.eos_token_id
        ids = eos if isinstance(eos, list) else [eos]
        return {i for i in [*ids, self.tokenizer.eos_token_id] if i is not None}

    @property
    def _pad_id(self) -> int:
        pad = self.tokenizer.pad_token_id
        return pad if pad is not None else self.tokenizer.eos_token_id

    def _require_model(self) -> Any:
        if self.model is None:
            raise EngineError("the engine was closed")
        return self.model

    def close(self) -> None:
        self.model = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class _KeyedChooser(LogitsProcessor):
    """Last of the list: leaves a finite score on the token that was drawn alone, and notes its log-probability."""

    def __init__(self, seeds: list[int], prompt_length: int, *, greedy: bool) -> None:
        self._seeds = torch.tensor(seeds)
        self._prompt_length = prompt_length
        self._greedy = greedy
        self.logprobs: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        position = input_ids.shape[1] - self._prompt_length
        logprobs = torch.log_softmax(scores.float(), dim=-1)
        noisy = logprobs if self._greedy else logprobs + gumbel_noise(self._seeds.to(scores.device), position, scores)
        choice = noisy.argmax(dim=-1, keepdim=True)
        self.logprobs.append(logprobs.gather(1, choice).squeeze(1))
        return torch.full_like(scores, -torch.inf).scatter(1, choice, 0.0)


def gumbel_noise(seeds: torch.Tensor, position: int, like: torch.Tensor) -> torch.Tensor:
    """Standard Gumbel noise (batch, vocabulary), a pure function of each row's seed, the position and the token id."""
    tokens = torch.arange(like.shape[1], device=like.device)
    rows = _mix(seeds + torch.full_like(seeds, position + 1) * _GAMMA)
    bits = _mix(rows[:, None] + _GAMMA * (tokens[None, :] + 1))
    uniform = _shift_right(bits, 11).float().add_(0.5).mul_(2.0**-53)
    # an exponential variate from log1p keeps the precision of small ones, where the large Gumbels come from
    exponential = torch.log1p(uniform.neg_()).neg_().clamp_(max=50.0)
    return exponential.log_().neg_()


def _mix(x: torch.Tensor) -> torch.Tensor:
    x = (x ^ _shift_right(x, 30)) * _MIX_1
    x = (x ^ _shift_right(x, 27)) * _MIX_2
    return x ^ _shift_right(x, 31)


def _shift_right(x: torch.Tensor, bits: int) -> torch.Tensor:
    return (x >> bits) & ((1 << (64 - bits)) - 1)  # logical shift; torch's is arithmetic


def _processors(params: SamplingParams, chooser: _KeyedChooser) -> LogitsProcessorList:
    warpers: list[LogitsProcessor] = []
    if params.temperature not in (0, 1):
        warpers.append(TemperatureLogitsWarper(float(params.temperature)))
    if params.top_k:
        warpers.append(TopKLogitsWarper(params.top_k))
    if params.top_p < 1:
        warpers.append(TopPLogitsWarper(params.top_p))
    return LogitsProcessorList([*warpers, chooser])


def _pad_left(rows: list[tuple[int, ...]], pad: int, device: Any) -> tuple[torch.Tensor, torch.Tensor]:
    width = max(map(len, rows))
    ids = torch.tensor([[pad] * (width - len(row)) + list(row) for row in rows], device=device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=device)
    return ids, mask


def _length(ids: list[int], eos_ids: set[int]) -> tuple[int, bool]:
    for position, token in enumerate(ids):
        if token in eos_ids:
            return position + 1, True
    return len(ids), False


@contextmanager
def _eval_mode(model: Any) -> Iterator[None]:
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)
