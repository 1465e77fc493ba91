"""Training questions: the answer is always the right one, however the question is put."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_adapters.zoo.training.material import TrainingSet
from model_adapters.zoo.training.questions import draw_question


@given(seed=st.integers(0, 2**32 - 1), label=st.integers(0, 4))
def test_the_letter_stands_at_the_right_option(phantom: TrainingSet, seed: int, label: int) -> None:
    question = draw_question(phantom, label, np.random.default_rng(seed), letters_share=1.0)
    wording = phantom.wordings[label]
    assert re.search(rf"(?<![A-Za-z]){question.answer}[).:] {wording}(?![a-z])", question.prompt)
    assert "{" not in question.prompt


@given(seed=st.integers(0, 2**32 - 1), label=st.integers(0, 4))
def test_a_free_answer_is_the_wording(phantom: TrainingSet, seed: int, label: int) -> None:
    question = draw_question(phantom, label, np.random.default_rng(seed), letters_share=0.0)
    assert question.answer == phantom.wordings[label]
    assert "{" not in question.prompt


def test_options_are_shuffled(phantom: TrainingSet) -> None:
    generator = np.random.default_rng(0)
    answers = [draw_question(phantom, 2, generator, letters_share=1.0).answer for _ in range(500)]
    counts = [answers.count(letter) for letter in "ABCDE"]
    assert min(counts) > 50


def test_a_set_without_images_of_a_class_is_refused(colours: TrainingSet) -> None:
    with pytest.raises(ValueError, match="images of every class"):
        dataclasses.replace(colours, wordings=("warm red", "blue", "green"))
