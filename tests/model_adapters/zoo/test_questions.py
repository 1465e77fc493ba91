"""Training questions: the answer is always the right one, however the question is put."""

from __future__ import annotations

import re
import string

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_adapters.zoo.training.material import TrainingSet
from model_adapters.zoo.training.questions import pose, vocabulary_text
from model_adapters.zoo.training.tokenizer import build_tokenizer


@given(seed=st.integers(0, 2**32 - 1), label=st.integers(0, 4))
def test_the_letter_stands_at_the_right_option(phantom: TrainingSet, seed: int, label: int) -> None:
    exercise = pose(phantom, label, np.random.default_rng(seed), letters_share=1.0)
    wording = phantom.wordings[label]
    assert re.search(rf"(?<![A-Za-z]){exercise.answer}[).:] {wording}(?![a-z])", exercise.prompt)
    assert "{" not in exercise.prompt


@given(seed=st.integers(0, 2**32 - 1), label=st.integers(0, 4))
def test_a_free_answer_is_the_wording(phantom: TrainingSet, seed: int, label: int) -> None:
    exercise = pose(phantom, label, np.random.default_rng(seed), letters_share=0.0)
    assert exercise.answer == phantom.wordings[label]
    assert "{" not in exercise.prompt


def test_options_are_shuffled(phantom: TrainingSet) -> None:
    generator = np.random.default_rng(0)
    answers = [pose(phantom, 2, generator, letters_share=1.0).answer for _ in range(500)]
    counts = [answers.count(letter) for letter in "ABCDE"]
    assert min(counts) > 50


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
