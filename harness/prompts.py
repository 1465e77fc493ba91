"""Turn a task's prompts and an image into queries, and an answer's position back into a class."""

from __future__ import annotations

import hashlib
import itertools
import math
import string
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import Image

from model_adapters.interface import Query
from tasks.spec import PromptSpec, TaskSpec

LETTERS = string.ascii_uppercase
MAX_ALL_ORDERS = 3  # up to this many classes every option order is asked
SEEDED_ORDERS = 4  # above it, this many per image


@dataclass(frozen=True)
class Question:
    """A prompt as one image is asked it.

    `order[i]` is the class that stands at position i of the options and of the scored labels.
    """

    prompt_id: str
    text: str
    labels: tuple[str, ...]
    order: tuple[int, ...]

    def query(self, sample_id: str, image: Image.Image) -> Query:
        """Attach the question to an image."""
        return Query(id=sample_id, image=image, prompt=self.text, labels=self.labels)

    def by_class(self, values: tuple[float, ...]) -> tuple[float, ...]:
        """Reorder values that came in the order of `labels` into the order of the classes."""
        placed = dict(zip(self.order, values, strict=True))
        return tuple(placed[index] for index in range(len(values)))


def label_question(task: TaskSpec, prompt: PromptSpec) -> Question:
    """Render a label prompt: the classes in the task's order, the answer a class's wording."""
    wordings = tuple(c.wording for c in task.classes)
    return Question(
        prompt_id=prompt.id,
        text=prompt.template.replace("{classes}", _enumerate(wordings)),
        labels=wordings,
        order=tuple(range(len(wordings))),
    )


def letters_questions(task: TaskSpec, prompt: PromptSpec, sample_id: str) -> tuple[Question, ...]:
    """Render a letters prompt under every option order (up to 3 classes) or a seeded set of 4 orders.

    Above 3 classes the orders of one image are cyclic shifts, evenly spaced, of one shuffle that depends
    on the task's seed and the image alone: so no class stands at one letter twice.
    """
    return tuple(_letters_question(task, prompt, order) for order in _orders(task, sample_id))


def shuffled_letters_question(task: TaskSpec, prompt: PromptSpec, sample_id: str) -> Question:
    """Render a letters prompt under one order drawn for this image, every order as likely as any other.

    It depends on the task's seed and the image alone, so over the images the letter of the right option
    says nothing about its class.
    """
    order = shuffled_order(len(task.classes), f"{task.seed}:{sample_id}:one order")
    return _letters_question(task, prompt, order)


def _orders(task: TaskSpec, sample_id: str) -> Iterator[tuple[int, ...]]:
    count = len(task.classes)
    if count <= MAX_ALL_ORDERS:
        yield from itertools.permutations(range(count))
        return
    shuffled = shuffled_order(count, f"{task.seed}:{sample_id}")
    for k in range(SEEDED_ORDERS):
        shift = math.floor(k * count / SEEDED_ORDERS)
        yield shuffled[shift:] + shuffled[:shift]


def shuffled_order(count: int, key: str) -> tuple[int, ...]:
    """Return a permutation of range(count) that depends on `key` alone, on every machine and version."""
    return tuple(sorted(range(count), key=lambda i: hashlib.sha256(f"{key}:{i}".encode()).digest()))


def _letters_question(task: TaskSpec, prompt: PromptSpec, order: tuple[int, ...]) -> Question:
    options = "\n".join(
        f"{letter}) {task.classes[index].wording}" for letter, index in zip(LETTERS, order, strict=False)
    )
    return Question(
        prompt_id=prompt.id,
        text=prompt.template.replace("{options}", options),
        labels=tuple(LETTERS[: len(order)]),
        order=order,
    )


def _enumerate(words: tuple[str, ...]) -> str:
    """Join words as English does: `a or b`, `a, b or c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
