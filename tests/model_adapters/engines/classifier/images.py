"""Small generated tasks for image classifiers, and cards of small networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from model_adapters.catalog.card import ModelCard, make_card
from model_adapters.catalog.registry import load_engine
from model_adapters.engines.classifier.engine import ImageClassifierEngine
from model_adapters.interface import LabelledImages, Query, TrainingImages

SMALL: dict[str, dict[str, Any]] = {
    "resnet": {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"},
    "vit": {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "patch_size": 8,
        "hidden_dropout_prob": 0.1,
    },
}
COLOURS = {"red": (200, 60, 60), "green": (60, 200, 60), "blue": (60, 60, 200)}


def picture(label: int, seed: int, side: int = 40) -> Image.Image:
    """A noisy picture of the class's colour."""
    rng = np.random.default_rng(seed)
    colour = np.array(list(COLOURS.values())[label]) + rng.normal(0, 25, (side, side, 3))
    return Image.fromarray(np.clip(colour, 0, 255).astype(np.uint8))


def images_of(labels: list[int], seed: int) -> LabelledImages:
    return LabelledImages(np.array(labels), lambda index: picture(labels[index], 1000 * seed + index))


def task(
    train: list[int], validation: list[int] | None = None, classes: int = 3, key: str = "colours"
) -> TrainingImages:
    chosen = train if validation is None else validation
    return TrainingImages(key, tuple(COLOURS)[:classes], images_of(train, 1), images_of(chosen, 2))


def card(kind: str = "resnet", **settings: Any) -> ModelCard:
    classifier = {"kind": kind, "family": "cnn", "image_size": 32, "configuration": SMALL.get(kind, {})}
    content = {
        "name": f"test/{kind}",
        "engine": "image_classifier",
        "classifier": {**classifier, **settings},
    }
    return make_card(content, "test")


def engine(of: ModelCard, **arguments: object) -> ImageClassifierEngine:
    given = {"steps": 6, "batch": 8, "evaluations": 3, **arguments}
    if "epochs" in given:
        del given["steps"]
    made = load_engine(of, device="cpu", model_args={key: str(value) for key, value in given.items()})
    assert isinstance(made, ImageClassifierEngine)
    return made


def trained(
    of: ModelCard, images: TrainingImages, cache: Path, seed: int = 0, **arguments: object
) -> ImageClassifierEngine:
    made = engine(of, **arguments)
    made.train(images, seed=seed, cache=cache, progress=lambda steps: None)
    return made


def questions(labels: list[int], order: tuple[str, ...], seed: int = 3) -> list[Query]:
    return [
        Query(str(index), picture(label, 1000 * seed + index), "Which colour?", order)
        for index, label in enumerate(labels)
    ]


def scores(of: ImageClassifierEngine, asked: list[Query]) -> np.ndarray:
    """Raw scores (queries, labels); an error fails the test."""
    found = of.score(asked).scores
    assert [one.error for one in found] == [None] * len(asked)
    return np.array([one.raw for one in found])
