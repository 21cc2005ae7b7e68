"""The tokenizer of a model, whoever asks for it."""

from __future__ import annotations

from typing import Any

from rlcode.errors import InputError


def tokenizer_of(model: str, **options: Any) -> Any:
    """The tokenizer of `model`, a directory or a hub name; `options` as `AutoTokenizer` takes them.

    Raises:
        InputError: it can't be loaded.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(model, **options)
    except (OSError, ValueError) as error:
        raise InputError(f"no tokenizer for model {model!r}: {error}") from error
