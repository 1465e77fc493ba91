"""The built-in models' tokenizer: every answer is short, and any text comes back as it was."""

from __future__ import annotations

import string

import pytest

from model_adapters.zoo.training.material import TrainingSet
from tools.zoo.tokenizer import build_tokenizer, vocabulary_text


def test_letters_and_first_words_of_labels_are_single_tokens(
    phantom: TrainingSet, colours: TrainingSet
) -> None:
    sets = (phantom, colours)
    tokenizer = build_tokenizer(list(vocabulary_text(sets)), [w for s in sets for w in s.wordings])
    for word in (*string.ascii_uppercase, *phantom.wordings):
        assert len(tokenizer.tokenize(word)) == 1
    assert len(tokenizer.tokenize("warm red")) == 2
    text = "Zürich, 5 µm: naïve?\n\tA) x"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_a_vocabulary_too_small_is_reported() -> None:
    with pytest.raises(ValueError, match="raise VOCABULARY_SIZE"):
        build_tokenizer(["a"], [f"word{number}{'xyz' * 12}" for number in range(120)])
