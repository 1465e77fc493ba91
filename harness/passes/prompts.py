"""Turn a task's prompts and an image into queries, and an answer's position back into a class."""

from __future__ import annotations

import string
from dataclasses import dataclass

from PIL import Image

from model_adapters.interface import Query
from tasks.option_orders import one_option_order, option_orders
from tasks.spec import PromptSpec, TaskSpec

LETTERS = string.ascii_uppercase


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
    """Render a letters prompt under every option order (up to 3 classes) or a seeded set of 4 orders."""
    orders = option_orders(len(task.classes), task.seed, sample_id)
    return tuple(_letters_question(task, prompt, order) for order in orders)


def shuffled_letters_question(task: TaskSpec, prompt: PromptSpec, sample_id: str) -> Question:
    """Render a letters prompt under one order drawn for this image, every order as likely as any other.

    It depends on the task's seed and the image alone, so over the images the letter of the right option
    says nothing about its class.
    """
    return _letters_question(task, prompt, one_option_order(len(task.classes), task.seed, sample_id))


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
