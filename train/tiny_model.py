"""Make the quickstart's base model: a tokenizer and a Qwen2 of 0.4 million parameters, trained from nothing.

This is the one model here that is not trained with TRL: a plain loop over the tiny world's corpus, on the CPU, in
about a minute. It does not aim at a good model. It makes one that fails now and then, in many ways, as a base model
does, for the real training to mend.
"""

from __future__ import annotations

import math
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

# Idle OpenMP threads that spin slow a busy machine down fourfold; read once, when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.nn.utils.rnn import pad_sequence
from transformers import GenerationConfig, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from rlcode.tiny.corpus import Mistakes, make_corpus
from rlcode.tiny.tasks import FULL_WORLD, SMALL_WORLD, World

# A tokenizer that lies beside a Qwen2 model is given this split on loading, whatever it was trained with. The split
# also ends a token at each newline, so that a prompt and its completion never merge.
_QWEN2_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_END = "<|endoftext|>"
_PAD = "<|pad|>"
_VOCABULARY_SIZE = 780
_TOKENIZER_EXAMPLES = 3000
_LOSS_IGNORED = -100
_BUCKET_BATCHES = 50

OnProgress = Callable[[int, int, float], None]
"""Called after a step with its number, the number of steps and the loss (nats per token)."""


@dataclass(frozen=True)
class TinyRecipe:
    """How to train the tiny model. The defaults are the quickstart's full preset."""

    examples: int = 16_000
    bug_scale: float = 0.7
    batch_size: int = 16
    learning_rate: float = 3e-3
    layers: int = 3
    world: World = FULL_WORLD
    mistakes: Mistakes = "accidental"


FULL_RECIPE = TinyRecipe()
CI_RECIPE = TinyRecipe(examples=8_000, bug_scale=0.85, layers=2, world=SMALL_WORLD)
"""A third of the work: the lists alone, two steps at most."""
SYSTEMATIC_RECIPE = TinyRecipe(examples=20_000, bug_scale=1.0, learning_rate=4e-3, mistakes="systematic")
"""For the samplers' test bed: greedy answers fail too, in a long tail of error types (`rlcode.tiny.misconceptions`)."""


def train_tiny_model(
    output_dir: Path, *, recipe: TinyRecipe = FULL_RECIPE, seed: int = 0, on_progress: OnProgress | None = None
) -> None:
    """Train the tiny model and save it with its tokenizer in `output_dir`, ready for `from_pretrained`.

    The same recipe and seed give the same model on the same machine and number of threads.
    """
    corpus = list(make_corpus(recipe.examples, seed, recipe.bug_scale, recipe.world, recipe.mistakes))
    tokenizer = train_tokenizer(corpus[:_TOKENIZER_EXAMPLES])
    examples = [encode_example(tokenizer, prompt, body) for prompt, body in corpus]
    torch.manual_seed(seed)
    model = new_model(tokenizer, recipe.layers)
    batches = list(length_bucketed_batches(examples, recipe.batch_size, random.Random(seed)))
    fit(model, batches, recipe.learning_rate, on_progress)
    model.generation_config = _generation_config(tokenizer)
    model.save_pretrained(output_dir)
    tokenizer.save_pretrained(output_dir)


def train_tokenizer(corpus: list[tuple[str, str]]) -> PreTrainedTokenizerFast:
    """A byte-level BPE over `corpus`, with Qwen2's way to split text into words."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_QWEN2_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY_SIZE,
        special_tokens=[_END, _PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator((prompt + body for prompt, body in corpus), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, eos_token=_END, pad_token=_PAD, padding_side="left", clean_up_tokenization_spaces=False
    )


def new_model(tokenizer: PreTrainedTokenizerFast, layers: int) -> Qwen2ForCausalLM:
    """A Qwen2 with random weights, in fp32. Heads have 32 dimensions: vLLM's CPU attention has no smaller ones."""
    return Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=len(tokenizer),
            hidden_size=96,
            intermediate_size=256,
            num_hidden_layers=layers,
            num_attention_heads=3,
            num_key_value_heads=1,
            max_position_embeddings=512,
            tie_word_embeddings=True,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=None,
            initializer_range=0.08,
        )
    )


@dataclass(frozen=True)
class Example:
    """Token ids of a prompt and its body, and how many of them are the prompt's."""

    ids: list[int]
    prompt_length: int


def encode_example(tokenizer: PreTrainedTokenizerFast, prompt: str, body: str) -> Example:
    """The example as token ids, closed by the end token."""
    prompt_ids = tokenizer.encode(prompt)
    return Example([*prompt_ids, *tokenizer.encode(body), tokenizer.eos_token_id], len(prompt_ids))


def length_bucketed_batches(examples: list[Example], batch_size: int, rng: random.Random) -> Iterator[list[Example]]:
    """Each example once, in batches of about equal length so that little is padding, in random order."""
    stretch = batch_size * _BUCKET_BATCHES
    for start in range(0, len(examples), stretch):
        bucket = sorted(examples[start : start + stretch], key=lambda example: len(example.ids))
        batches = [bucket[i : i + batch_size] for i in range(0, len(bucket), batch_size)]
        rng.shuffle(batches)
        yield from batches


def fit(
    model: Qwen2ForCausalLM, batches: list[list[Example]], learning_rate: float, on_progress: OnProgress | None = None
) -> None:
    """One pass of AdamW over `batches`, in place."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, betas=(0.9, 0.99), weight_decay=0.1)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_factor(step, len(batches)))
    model.train()
    for step, batch in enumerate(batches, start=1):
        loss = body_loss(model, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        if on_progress is not None:
            on_progress(step, len(batches), loss.item())
    model.eval()


def rate_factor(step: int, steps: int) -> float:
    """The share of the full learning rate: warm-up over 5 % of the steps, flat, down to 0 over the last 60 %."""
    warmup = math.ceil(0.05 * steps)
    return min(1.0, (step + 1) / warmup, (steps - step) / (0.6 * steps))


def body_loss(model: Qwen2ForCausalLM, batch: list[Example]) -> torch.Tensor:
    """Mean negative log-likelihood (nats) of the body tokens and the end token: the prompts are only read."""
    ids = pad_sequence([torch.tensor(example.ids) for example in batch], batch_first=True, padding_value=0)
    labels = pad_sequence([_labels(example) for example in batch], batch_first=True, padding_value=_LOSS_IGNORED)
    # Padding stands at the end, where causal attention never looks: no mask is needed.
    hidden = model.model(input_ids=ids).last_hidden_state[:, :-1]
    targets = labels[:, 1:]
    wanted = targets != _LOSS_IGNORED
    return torch.nn.functional.cross_entropy(model.lm_head(hidden[wanted]), targets[wanted])


def _labels(example: Example) -> torch.Tensor:
    labels = torch.tensor(example.ids)
    labels[: example.prompt_length] = _LOSS_IGNORED
    return labels


def _generation_config(tokenizer: PreTrainedTokenizerFast) -> GenerationConfig:
    return GenerationConfig(
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        max_new_tokens=128,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
