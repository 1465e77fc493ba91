"""Teach a model the words of the right answer, and choose by the label scores of the validation images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from model_adapters.engines.transformers.engine import TransformersEngine
from model_adapters.finetune.examples import Example, ExamplePreparer, answer_loss
from model_adapters.finetune.lora import Attached, set_training
from model_adapters.finetune.settings import TuningSettings
from model_adapters.interface import LabelledImages, ModelError, Query, TrainingImages

_NO_IMAGE = Image.new("RGB", (1, 1))  # the words of an answer do not depend on the picture
_AT_ONCE = 16  # validation images between two looks at whether to stop


@dataclass(frozen=True)
class TuningTask:
    """What is learned: one prompt, and labelled images of train and validation."""

    prompt: str
    images: TrainingImages = field(repr=False)

    def query(self, images: LabelledImages, index: int, what: str) -> Query:
        """Return the question about one image."""
        return Query(f"{what} {index}", images.read(index), self.prompt, self.images.labels)


class LanguageObjective:
    """The answer's tokens. Satisfies `training.Objective`."""

    def __init__(
        self, engine: TransformersEngine, attached: Attached, task: TuningTask, settings: TuningSettings
    ) -> None:
        self._engine, self._task, self._settings = engine, task, settings
        self.parameters: dict[str, nn.Parameter] = attached.parameters
        self.images = len(task.images.train)
        self.title = engine.card.name
        self.device = torch.device(engine.description.device)
        self.dtype = engine.description.dtype
        self._prepare = ExamplePreparer(engine)

    def train_mode(self, training: bool) -> None:
        """Turn dropout of what is trained on, or off."""
        set_training(self._engine, self._settings, training)

    def weight(self, chosen: Sequence[int]) -> int:
        """Return how many answer tokens some training images have."""
        labels = self._task.images.train.labels
        question = Query("label", _NO_IMAGE, self._task.prompt, self._task.images.labels)
        return sum(len(self._prepare.answer(question, int(labels[i]))) for i in chosen)

    def loss(self, chosen: Sequence[int]) -> Tensor:
        """Return the sum of -log p over the answers' tokens of some training images."""
        train = self._task.images.train
        examples = [Example(self._task.query(train, i, "train"), int(train.labels[i])) for i in chosen]
        batch = self._prepare(examples)
        return answer_loss(self._engine._model, batch, logits_to_keep=self._engine._keeps_last)

    def validate(self, interrupted: Callable[[], bool]) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the validation images' label scores, by the engine itself."""
        validation, rows = self._task.images.validation, []
        for first in range(0, len(validation), _AT_ONCE):
            if interrupted():
                return None
            chosen = range(first, min(first + _AT_ONCE, len(validation)))
            queries = [self._task.query(validation, i, "validation") for i in chosen]
            for query, found in zip(queries, self._engine.score(queries).scores, strict=True):
                if found.error is not None:
                    raise ModelError(f"{self.title}: cannot score {query.id} ({found.error})")
                rows.append(found.raw)
        return np.array(rows), validation.labels
