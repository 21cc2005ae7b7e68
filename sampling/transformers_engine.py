"""The embedded default engine: a transformers model in this process, decoded in closed blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Self

import torch
from transformers import AutoModelForCausalLM

from rlcode.errors import EngineError, InputError, PolicyMismatchError
from rlcode.types import Completion
from sampling.adapters import check_adapter, weight_files
from sampling.decoding import Chooser, Row, decode_block, sequence_logprobs
from sampling.engine import GenerationRequest, SamplingParams, decode, request_seed
from sampling.identity import BaseScores, LoadedPolicy
from sampling.tokenizer import tokenizer_of


class TransformersEngine:
    """Generates with a model in this process: its own copy, or one that a trainer shares with it."""

    name = "transformers"

    def __init__(self, model: Any, tokenizer: Any, *, base_model: str, batch_size: int = 64) -> None:
        self.model: Any = model
        self.tokenizer = tokenizer
        self.policy_version = 0
        self.block_size: int | None = batch_size
        self._base_model = base_model
        self._versions: set[int] = set()
        self._open_blocks = 0
        self._base_scores = BaseScores(self._score_base)

    @classmethod
    def from_pretrained(cls, model: str, *, batch_size: int = 64) -> Self:
        """Load `model` onto the GPU where there is one, in bfloat16 there and in float32 on a CPU.

        Raises:
            InputError: the model can't be loaded.
        """
        weight_files(model)
        tokenizer = tokenizer_of(model)
        return cls(_load(model), tokenizer, base_model=model, batch_size=batch_size)

    def load_adapter(self, version: int, path: Path) -> float | None:
        if version in self._versions or version < 1:
            raise InputError(f"policy version {version} can't be used (again); adapters count up from 1")
        self._require_no_open_block()
        check_adapter(path, self._base_model)
        previous = getattr(self._require_model(), "active_adapter", None)
        policy = self._put_on(f"v{version}", path)
        try:
            gap = self._check(version, path)
        except PolicyMismatchError:
            self._take_off(f"v{version}", previous)
            raise
        if previous is not None:
            policy.delete_adapter(previous)
        self._versions.add(version)
        self.policy_version = version
        return gap

    def load_weights(self, directory: str) -> None:
        """Read all weights from `directory`, for the requests from now on.

        Raises:
            EngineError: completions are in flight. InputError: the directory can't be loaded.
        """
        self._require_no_open_block()
        self.model = None  # before the new weights, for there may be no room for both
        self.model = _load(directory)
        self._base_scores.forget()

    @property
    def dtype(self) -> str:
        return str(self._require_model().dtype).removeprefix("torch.")

    def _require_no_open_block(self) -> None:
        if self._open_blocks:
            raise EngineError("a block of completions is half drawn: finish or close `generate` first")

    def _put_on(self, name: str, path: Path) -> Any:
        from peft import PeftModel

        try:
            if isinstance(self.model, PeftModel):
                self.model.load_adapter(str(path), adapter_name=name)
                self.model.set_adapter(name)
            else:
                self.model = PeftModel.from_pretrained(self.model, str(path), adapter_name=name)
        except (ValueError, RuntimeError) as error:
            raise InputError(f"adapter {path} can't be put on {self._base_model}: {error}") from error
        return self.model.eval()

    def _take_off(self, name: str, previous: str | None) -> None:
        if previous is None:
            self.model = self.model.unload()
        else:
            self.model.set_adapter(previous)
            self.model.delete_adapter(name)

    def _check(self, version: int, path: Path) -> float | None:
        loaded = LoadedPolicy(version, path, "the engine transformers", self.dtype)
        sequences = loaded.sequences(self.tokenizer)
        return loaded.check(self.score(sequences), self._base_scores.of(sequences))

    def _score_base(self, sequences: Sequence[Sequence[int]]) -> list[list[float]]:
        with self._require_model().disable_adapter():
            return self.score(sequences)

    def generate(self, requests: Iterable[GenerationRequest], params: SamplingParams) -> Iterator[Completion]:
        source = iter(requests)
        while block := list(islice(source, self.block_size)):
            yield from self._generate_block(block, params)

    def _generate_block(self, block: Sequence[GenerationRequest], params: SamplingParams) -> Iterator[Completion]:
        model = self._require_model()
        for request in block:
            _require_known_tokens(request, model.config.get_text_config().vocab_size)
        with self._in_block(model):
            rows = decode_block(
                model,
                [request.prompt_token_ids for request in block],
                [request_seed(params.seed, request) for request in block],
                choose=Chooser(params),
                ended=_End(self.tokenizer, set() if params.ignore_eos else self._eos_ids, params.stop),
                max_tokens=params.max_completion_length,
                pad_id=self._pad_id,
            )
            for row, by_itself in rows:
                yield self._completion(block[row.place], row, by_itself, params)

    @contextmanager
    def _in_block(self, model: Any) -> Iterator[None]:
        was_training = model.training
        model.eval()
        self._open_blocks += 1
        try:
            yield
        finally:
            self._open_blocks -= 1
            model.train(was_training)

    def _completion(self, request: GenerationRequest, row: Row, by_itself: bool, params: SamplingParams) -> Completion:
        return Completion(
            task_id=request.task_id,
            index=request.index,
            text=decode(self.tokenizer, row.token_ids, params.stop),
            prompt_token_ids=request.prompt_token_ids,
            token_ids=tuple(row.token_ids),
            logprobs=tuple(row.logprobs),
            finish_reason="stop" if by_itself else "length",
            policy_version=self.policy_version,
            seed=row.seed,
        )

    def score(self, sequences: Sequence[Sequence[int]]) -> list[list[float]]:
        model = self._require_model()
        return [sequence_logprobs(model, sequence) for sequence in sequences]

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


def _require_known_tokens(request: GenerationRequest, vocabulary: int) -> None:
    highest = max(request.prompt_token_ids)
    if highest >= vocabulary:
        raise InputError(
            f"the prompt of task {request.task_id} holds the token id {highest}, out of vocabulary: the model has "
            f"{vocabulary}; encode it with the model's own tokenizer"
        )


def _load(model: str) -> Any:
    cuda = torch.cuda.is_available()
    try:
        loaded = AutoModelForCausalLM.from_pretrained(model, dtype=torch.bfloat16 if cuda else torch.float32)
    except (OSError, ValueError) as error:
        raise InputError(f"model {model!r} can't be loaded: {error}") from error
    return loaded.to("cuda" if cuda else "cpu").eval()


class _End:
    """Whether a completion is over: its last token is one of the model's end tokens, or completes a stop string."""

    def __init__(self, tokenizer: Any, eos_ids: set[int], stop: tuple[str, ...]) -> None:
        self._tokenizer = tokenizer
        self._eos_ids = eos_ids
        self._stop = stop
        # a token holds at least one byte; some more of them, since tokenizers trim where a text begins
        self._tail = max((len(string.encode()) for string in stop), default=0) + 8

    def __call__(self, token_ids: list[int]) -> bool:
        if token_ids[-1] in self._eos_ids:
            return True
        if not self._stop:
            return False
        tail = self._tokenizer.decode(token_ids[-self._tail :], skip_special_tokens=True)
        return any(string in tail for string in self._stop)
