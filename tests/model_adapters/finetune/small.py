"""Small things to fine-tune: a tiny model, a few phantom images, settings of a handful of steps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from harness.data.phantom import generate
from model_adapters.catalog.registry import load_engine, resolve
from model_adapters.engines.transformers.engine import TransformersEngine
from model_adapters.finetune.checkpoints import Checkpoints
from model_adapters.finetune.language import LanguageObjective, TuningTask
from model_adapters.finetune.lora import Attached, attach
from model_adapters.finetune.settings import TuningSettings
from model_adapters.finetune.training import Tuning
from model_adapters.interface import LabelledImages, Query, TrainingImages

FAMILIES = ("llava_clip", "qwen2_5_vl", "gemma3")
LABELS = ("normal", "benign", "benign cyst", "malignant")  # two of them begin alike, and all differ in length
PROMPT = "normal, benign, benign cyst or malignant?"
SETTINGS = TuningSettings(
    rank=4, alpha=8, batch=4, micro_batch=2, epochs=2, evaluations=4, patience=9, learning_rate=5e-3
)


def images(first: int, count: int) -> LabelledImages:
    """Phantom images of 32 pixels a side, with labels that are dealt in turn."""
    pictures = generate(first, count, size=32).images
    return LabelledImages(np.arange(count) % len(LABELS), lambda index: Image.fromarray(pictures[index]))


def small_task(train: int = 10, validation: int = 8) -> TuningTask:
    """A task of so many images."""
    parts = images(0, train), images(5000, validation)
    return TuningTask(PROMPT, TrainingImages("small", LABELS, *parts))


def load(folder: Path) -> TransformersEngine:
    """Load a model anew, as tuning changes it."""
    engine = load_engine(resolve([str(folder)])[0].card, device="cpu", batch_size=8)
    assert isinstance(engine, TransformersEngine)
    return engine


class Subject:
    """A freshly loaded model with everything to tune it, its checkpoint in `folder`."""

    def __init__(self, model: Path, folder: Path, settings: TuningSettings = SETTINGS) -> None:
        self.engine = load(model)
        self.settings = settings
        self.task = small_task()
        self.attached: Attached = attach(self.engine, settings)
        self.objective = LanguageObjective(self.engine, self.attached, self.task, settings)
        self.tuning = Tuning(self.objective, settings, Checkpoints(folder, "key"))

    def scores(self) -> np.ndarray:
        """The label scores of the validation images."""
        asked = [self.task.query(self.task.images.validation, i, "v") for i in range(8)]
        return np.array([found.raw for found in self.engine.score(asked).scores])


def queries() -> tuple[Query, ...]:
    """Questions whose prompts, pictures and labels differ in length, size and number."""
    pictures = generate(0, 3, size=32).images
    return (
        Query("a", Image.fromarray(pictures[0]), PROMPT, LABELS),
        Query("b", Image.fromarray(pictures[1]).resize((64, 32)), "A longer question: what is it?", LABELS),
        Query("c", Image.fromarray(pictures[2]), "?", ("normal", "pneumonia")),
    )


def with_settings(**changes: object) -> TuningSettings:
    """The small settings with some changed."""
    return replace(SETTINGS, **changes)  # type: ignore[arg-type]
