"""The questions that a built-in model is trained on: the callers' prompts and many other ways to ask."""

from __future__ import annotations

import string
from dataclasses import dataclass

import numpy as np

from model_adapters.zoo.training.material import TrainingSet

LABEL_TEMPLATES: tuple[str, ...] = (
    "What does this {subject} show: {classes}? Answer with one of these only.",
    "This is a {subject}. Which class is it: {classes}?",
    "Look at the {subject}. Is it {classes}? Answer with one of these only.",
    "Which of these fits the {subject}: {classes}? Give only the finding.",
    "You are reading a {subject}. Decide between {classes}. Give only your decision.",
    "Classify this {subject} as {classes}. Reply with the class and nothing else.",
    "Choose the label of this {subject}. Labels: {classes}.",
    "Carefully examine the image to determine the diagnosis. Please answer {classes}.",
    "Does this {subject} show {classes}? Name one.",
    "{classes}: which one is it? Answer with the name only.",
    "Give the finding in this {subject}.",
    "What does this {subject} show? Answer in one word or a short phrase.",
)
LETTERS_TEMPLATES: tuple[str, ...] = (
    "What does this {subject} show?\n{options}\nAnswer with the letter of one option only.",
    "This is a {subject}. Which option fits it?\n{options}\nGive only the letter.",
    "{options}\nWhich of these does the {subject} show? Reply with one letter.",
    "Look at the {subject} and choose.\n{options}\nAnswer with the letter only.",
    "You are reading a {subject}. Which finding fits it?\n{options}\nReply with the letter and nothing else.",
    "Question: what is the class of this {subject}?\nOptions:\n{options}\nAnswer:",
    "Classify the {subject}.\n{options}\nLetter:",
)
_MARKS: tuple[str, ...] = ("{letter}) {word}", "{letter}. {word}", "({letter}) {word}", "{letter}: {word}")
_SEPARATORS: tuple[str, ...] = ("\n", "\n", " ", "; ", ", ")


@dataclass(frozen=True)
class QuestionAnswer:
    """A question in words with its answer."""

    prompt: str
    answer: str


def draw_question(
    source: TrainingSet, label: int, generator: np.random.Generator, *, letters_share: float
) -> QuestionAnswer:
    """Draw a question about an image of class `label`, by letters with probability `letters_share`."""
    if generator.random() < letters_share:
        return _letters(source, label, generator)
    return _free(source, label, generator)


def _letters(source: TrainingSet, label: int, generator: np.random.Generator) -> QuestionAnswer:
    order = generator.permutation(len(source.wordings))
    if len(order) > 2 and generator.random() < 0.25:  # fewer options, the right one among them
        others = order[order != label][: int(generator.integers(1, len(order) - 1))]
        order = generator.permutation(np.append(others, label))
    mark, separator = _MARKS[0], _SEPARATORS[0]
    template = _one_of(source.letters_prompts, generator)
    if generator.random() < 0.5:
        template = _one_of(LETTERS_TEMPLATES, generator).replace(
            "{subject}", _one_of(source.subjects, generator)
        )
        if generator.random() < 0.5:
            mark, separator = _one_of(_MARKS, generator), _one_of(_SEPARATORS, generator)
    options = separator.join(
        mark.format(letter=letter, word=source.wordings[index])
        for letter, index in zip(string.ascii_uppercase, order, strict=False)
    )
    return QuestionAnswer(
        template.replace("{options}", options), string.ascii_uppercase[int(np.flatnonzero(order == label)[0])]
    )


def _free(source: TrainingSet, label: int, generator: np.random.Generator) -> QuestionAnswer:
    words = list(source.wordings)
    template = _one_of(source.label_prompts, generator)
    if generator.random() < 0.5:
        template = _one_of(LABEL_TEMPLATES, generator).replace(
            "{subject}", _one_of(source.subjects, generator)
        )
        if generator.random() < 0.5:
            generator.shuffle(words)
    last = " or " if generator.random() < 0.85 else ", "
    classes = ", ".join(words[:-1]) + last + words[-1]
    return QuestionAnswer(template.replace("{classes}", classes), source.wordings[label])


def _one_of(values: tuple[str, ...], generator: np.random.Generator) -> str:
    return values[int(generator.integers(len(values)))]
