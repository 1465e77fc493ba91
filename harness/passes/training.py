"""Train an engine that must learn a task before it answers: from its train split, chosen on validation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.data.dataset import DataError, Dataset, Sample
from harness.data.progress import Step
from model_adapters.interface import LabelledImages, Trainable, TrainingImages
from tasks.files import cache_folder, json_hash
from tasks.questions import label_question


def train_engine(
    engine: Trainable, dataset: Dataset, *, seed: int, progress: Step, title: str = "training"
) -> None:
    """Train, or read back what was trained on the same images; test images are never shown.

    `progress` opens a step of this title, as `Console.step` does.

    Raises:
        DataError: train or validation has no image.
        ModelError: training fails.
    """
    images = training_images(dataset)
    with progress(title, engine.training_steps, unit="steps") as advance:
        engine.train(images, seed=seed, cache=cache_folder() / "classifiers", progress=advance)


def training_images(dataset: Dataset) -> TrainingImages:
    """Return a task's train and validation images, with the words that stand for its classes."""
    for name in ("train", "val"):
        if not dataset.split(name):
            raise DataError(f"{dataset.task.id}: no {name} image, so no classifier can be trained")
    return TrainingImages(
        key=_key(dataset),
        labels=label_question(dataset.task, dataset.task.primary).labels,
        train=labelled_images(dataset, dataset.split("train")),
        validation=labelled_images(dataset, dataset.split("val")),
    )


def labelled_images(dataset: Dataset, samples: Sequence[Sample]) -> LabelledImages:
    """Return some of a task's images with their classes; each picture is read when it is needed."""
    labels = np.array([sample.label for sample in samples])
    return LabelledImages(labels, lambda index: dataset.read(samples[index]))


def _key(dataset: Dataset) -> str:
    """Return a hash of everything that is learned from: pixels and labels of train and validation, in order."""

    def lines(samples: tuple[Sample, ...]) -> list[list[object]]:
        return [[s.id, s.label, s.pixel_hash] for s in samples]

    parts = [dataset.fingerprint, lines(dataset.split("train")), lines(dataset.split("val"))]
    return json_hash(parts)[:32]
