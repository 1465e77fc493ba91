"""What is measured: the built-in model, once as the project runs it and once as plain transformers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image

from model_adapters.interface import Engine, Query

MODEL = "zoo/llava-healthy"
TASK = "phantom"
BATCH = 16


@dataclass(frozen=True)
class Subject:
    """The built-in model behind the project's engine, the same model plainly loaded, and the question."""

    engine: Engine = field(repr=False)
    model: Any = field(repr=False)
    processor: Any = field(repr=False)
    prompt: str
    rendered: str  # the prompt in the model's chat template
    labels: tuple[str, ...]

    def queries(self, images: Sequence[Image.Image]) -> list[Query]:
        """Ask the task's primary prompt about every image."""
        return [Query(str(i), image, self.prompt, self.labels) for i, image in enumerate(images)]

    def inputs(self, images: Sequence[Image.Image], answer: str = "") -> dict[str, Any]:
        """Prepare a batch with the model's own processor, as the library's documentation does."""
        made = self.processor(
            text=[self.rendered + answer] * len(images),
            images=list(images),
            return_tensors="pt",
            padding=True,
            add_special_tokens=False,
        )
        return dict(made)

    def label_tokens(self, label: str) -> list[int]:
        """Return the tokens of a label as the answer."""
        return list(self.processor.tokenizer(label, add_special_tokens=False)["input_ids"])


def load_subject() -> Subject:
    """Load the built-in model both ways, on the CPU in single precision."""
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor
    from transformers.utils import logging

    from model_adapters.catalog.registry import load_engine, resolve
    from model_adapters.catalog.revision import model_folder
    from tasks import catalog
    from tasks.questions import label_question

    logging.disable_progress_bar()
    card = resolve([MODEL])[0].card
    task = catalog.load(TASK)
    question = label_question(task, task.primary)
    folder = model_folder(card)
    processor = AutoProcessor.from_pretrained(folder)
    processor.tokenizer.padding_side = "left"
    content = [{"type": "image"}, {"type": "text", "text": question.text}]
    return Subject(
        engine=load_engine(card, device="cpu", dtype="float32", batch_size=BATCH),
        model=AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval(),
        processor=processor,
        prompt=question.text,
        rendered=processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
        ),
        labels=question.labels,
    )


def draw(first: int, count: int) -> tuple[list[Image.Image], np.ndarray]:
    """Return generated images of 64 x 64 pixels, as RGB, and their classes (count,)."""
    from harness.data.phantom import generate

    drawn = generate(first, count)
    return [Image.fromarray(pixels).convert("RGB") for pixels in drawn.images], drawn.labels


def batches(images: Sequence[Image.Image]) -> list[list[Image.Image]]:
    """Cut images into batches."""
    return [list(images[start : start + BATCH]) for start in range(0, len(images), BATCH)]
