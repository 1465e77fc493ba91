"""Greedy writing: the arguments that make it greedy, where it ends, what was written."""

from __future__ import annotations

from typing import Any

from model_adapters.catalog.card import GenerationSettings
from model_adapters.interface import Generation


def end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    """Return the tokens at which a model's turn ends, as its generation config and tokenizer say."""
    stated = getattr(model.generation_config, "eos_token_id", None)
    ends = stated if isinstance(stated, list) else [stated, tokenizer.eos_token_id]
    return frozenset(int(token) for token in ends if token is not None)


def greedy(
    max_new_tokens: int, ends: frozenset[int], tokenizer: Any, settings: GenerationSettings
) -> dict[str, Any]:
    """Return arguments of `generate` that make it greedy whatever a model's own generation config says.

    Of the card's `settings` the penalty on repetition counts.
    """
    return {
        "max_new_tokens": max_new_tokens,
        "do_sample": False,
        "num_beams": 1,
        "repetition_penalty": settings.repetition_penalty,
        "no_repeat_ngram_size": 0,
        "temperature": None,
        "top_p": None,
        "top_k": None,
        "eos_token_id": sorted(ends) or None,
        "pad_token_id": tokenizer.pad_token_id,
    }


def read_generation(tokens: list[int], ends: frozenset[int], tokenizer: Any) -> Generation:
    """Return the text before the first end token; without one the token limit cut it off."""
    stop = next((index for index, token in enumerate(tokens) if token in ends), None)
    text = tokenizer.decode(tokens[:stop], skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return Generation(text, finished=stop is not None)
