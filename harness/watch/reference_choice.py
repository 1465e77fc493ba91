"""Which classifier is R, the ceiling that the vision layers are held against, and what it says."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from harness.data.dataset import Dataset
from harness.data.progress import Step
from harness.passes.prompts import query_of
from harness.passes.training import train_engine
from harness.watch.fitting import PREDICTED
from model_adapters.catalog.card import ModelCard
from model_adapters.interface import LabelScores, ModelError, Trainable
from tasks.questions import label_question
from tasks.sources import SplitName

BUILT_IN = "built-in"
_AT_ONCE = 256


def chosen_reference(name: str) -> ModelCard | None:
    """Return the card of the classifier that is to be R; None for the built-in one.

    Raises:
        ModelError: the name stands for no classifier.
    """
    from model_adapters.catalog.registry import resolve

    if name == BUILT_IN:
        return None
    found = resolve([name])
    if len(found) != 1 or found[0].card.classifier is None:
        raise ModelError(
            f"--reference {name}: is no image classifier; there are {BUILT_IN} and those of the group `reference`"
        )
    return found[0].card


def built_in_scores(
    images: Mapping[SplitName, NDArray[np.uint8]],
    labels: Mapping[SplitName, NDArray[np.integer]],
    classes: int,
    *,
    seed: int,
) -> dict[SplitName, NDArray[np.float64]]:
    """Train the built-in reference and return its log-probabilities of validation and test.

    `images` are those that `model_adapters.engines.classifier.reference.to_reference_pixels` makes, by split.
    """
    from model_adapters.engines.classifier import reference

    fitted = reference.train_reference(
        images["train"],
        labels["train"],
        images["val"],
        labels["val"],
        classes,
        seed=seed,
        recipe=reference.RECIPE,
    )
    return {name: fitted.predict(images[name]) for name in PREDICTED}


def reference_scores(
    card: ModelCard,
    dataset: Dataset,
    *,
    seed: int,
    progress: Step,
    offline: bool = False,
) -> Mapping[SplitName, NDArray[np.float64]]:
    """Train a card's classifier on the task, or read it back, and return its log-probabilities of
    validation and test.

    Each array has the shape (images, classes), in the order of the data set's samples.

    Raises:
        ModelError: it cannot be trained, or cannot score an image.
    """
    from model_adapters.catalog.registry import load_engine

    engine = load_engine(card, offline=offline)
    try:
        if not isinstance(engine, Trainable):
            raise ModelError(f"{card.name}: the engine {card.engine} trains no classifier")
        train_engine(engine, dataset, seed=seed, progress=progress, title=f"reference {card.name}")
        question = label_question(dataset.task, dataset.task.primary)
        scores: dict[SplitName, NDArray[np.float64]] = {}
        for name in PREDICTED:
            samples = dataset.split(name)
            rows = []
            for first in range(0, len(samples), _AT_ONCE):
                asked = [query_of(question, s.id, dataset.read(s)) for s in samples[first : first + _AT_ONCE]]
                answers = engine.score(asked).scores
                rows += [_row(card, query.id, found) for query, found in zip(asked, answers, strict=True)]
            scores[name] = np.array(rows)
        return scores
    finally:
        engine.close()


def _row(card: ModelCard, image: str, scores: LabelScores) -> tuple[float, ...]:
    if scores.error is not None:
        raise ModelError(f"{card.name}: cannot score {image} ({scores.error})")
    return scores.raw
