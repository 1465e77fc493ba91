"""Which questions an image is asked: the text, the labels to choose from, and the order in which options stand.

A run asks them and a verifier knows them from here. Orders depend on the task's seed and the image alone.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from tasks.spec import PromptSpec, TaskSpec

LETTERS = string.ascii_uppercase
MAX_ALL_ORDERS = 3  # up to this many classes every option order is asked
SEEDED_ORDERS = 4  # above it, this many per image

Order = tuple[int, ...]  # the class at each position

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Question:
    """A prompt as one image is asked it.

    `order[i]` is the class that stands at position i of the options and of the scored labels.
    """

    prompt_id: str
    text: str
    labels: tuple[str, ...]
    order: Order

    def by_class(self, values: Sequence[_Value]) -> tuple[_Value, ...]:
        """Reorder values that came in the order of `labels` into the order of the classes."""
        placed = dict(zip(self.order, values, strict=True))
        return tuple(placed[index] for index in range(len(values)))


def label_question(task: TaskSpec, prompt: PromptSpec) -> Question:
    """Render a label prompt: the classes in the task's order, the answer a class's wording."""
    wordings = tuple(c.wording for c in task.classes)
    text = prompt.template.replace("{classes}", _enumerate(wordings))
    return Question(prompt.id, text, wordings, tuple(range(len(wordings))))


def letters_questions(task: TaskSpec, prompt: PromptSpec, sample_id: str) -> tuple[Question, ...]:
    """Render a letters prompt under every option order (up to 3 classes) or a seeded set of 4.

    Above 3 classes the orders of one image are cyclic shifts, evenly spaced, of one shuffle: so no class
    stands at one letter twice.
    """
    classes = len(task.classes)
    if classes <= MAX_ALL_ORDERS:
        orders = list(itertools.permutations(range(classes)))
    else:
        shuffled = shuffled_order(classes, f"{task.seed}:{sample_id}")
        shifts = [math.floor(k * classes / SEEDED_ORDERS) for k in range(SEEDED_ORDERS)]
        orders = [shuffled[shift:] + shuffled[:shift] for shift in shifts]
    return tuple(_letters_question(task, prompt, order) for order in orders)


def shuffled_letters_question(task: TaskSpec, prompt: PromptSpec, sample_id: str) -> Question:
    """Render a letters prompt under one order drawn for this image, every order as likely as any other.

    So over the images the letter of the right option says nothing about its class.
    """
    order = shuffled_order(len(task.classes), f"{task.seed}:{sample_id}:one order")
    return _letters_question(task, prompt, order)


def variant_questions(task: TaskSpec, sample_id: str) -> tuple[Question, ...]:
    """Return every question beside the primary one, in the order of the task's prompts."""
    questions: list[Question] = []
    for prompt in task.prompts:
        if prompt.kind == "letters":
            questions += letters_questions(task, prompt, sample_id)
        elif prompt.id != task.primary_prompt:
            questions.append(label_question(task, prompt))
    return tuple(questions)


def letters_prompt(task: TaskSpec) -> PromptSpec | None:
    """Return the task's first prompt that asks for a letter, None where it has none."""
    return next((prompt for prompt in task.prompts if prompt.kind == "letters"), None)


def shuffled_order(count: int, key: str) -> Order:
    """Return a permutation of range(count) that depends on `key` alone, on every machine and version."""
    return tuple(sorted(range(count), key=lambda i: hashlib.sha256(f"{key}:{i}".encode()).digest()))


def _letters_question(task: TaskSpec, prompt: PromptSpec, order: Order) -> Question:
    letters = LETTERS[: len(order)]
    options = [f"{letter}) {task.classes[k].wording}" for letter, k in zip(letters, order, strict=True)]
    text = prompt.template.replace("{options}", "\n".join(options))
    return Question(prompt.id, text, tuple(letters), order)


def _enumerate(words: Sequence[str]) -> str:
    """Join words as English does: `a or b`, `a, b or c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
