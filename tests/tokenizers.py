"""Real tokenizers, made on the spot, in the shapes that models ship them in."""

from __future__ import annotations

from functools import cache
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

SPECIAL = ["<s>", "</s>", "<|im_start|>", "<|im_end|>"]

WITH_BOS = (
    "{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content }}"
    "{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant] {% endif %}"
)
"""Writes the beginning of the sequence itself, as Llama's."""
_CHATML = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
CHATML = _CHATML + "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
"""Has no beginning of the sequence, as Qwen2.5's."""
SWITCHED = _CHATML + (
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
"""Can switch thinking off, as Qwen3's."""
THINKING = _CHATML + "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
"""Opens the thinking section, as DeepSeek-R1's."""
REFUSES_SYSTEM = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + (CHATML)
)
"""As Gemma's."""
DROPS_SYSTEM = CHATML.replace("{% for m in messages %}", "{% for m in messages if m.role != 'system' %}")


@cache
def _bpe(post: str) -> Tokenizer:
    """A byte-level BPE; `post` is what its post-processor puts around a text, such as `<s> $A`."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    texts = ["def add(a, b):\n    return a + b\n", "Write the Python function that adds two numbers.", "[assistant] "]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=320, special_tokens=SPECIAL, initial_alphabet=alphabet)
    )
    if post:
        bpe.post_processor = processors.TemplateProcessing(
            single=post, special_tokens=[(name, bpe.token_to_id(name)) for name in SPECIAL[:2]]
        )
    return bpe


def make_tokenizer(template: str | None = None, *, eos: str = "</s>", post: str = "<s> $A") -> Any:
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=_bpe(post), bos_token="<s>", eos_token=eos)
    tokenizer.chat_template = template
    return tokenizer
