"""Small material to train on, and the built-in model as a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from harness.data.phantom import CLASSES, generate
from model_adapters.catalog.built_in_weights import build_one, names
from model_adapters.zoo.training.material import TrainingSet

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def phantom() -> TrainingSet:
    batch = generate(1_000_000, 60)
    return TrainingSet(
        name="phantom",
        images=batch.images,
        labels=batch.labels,
        masks=batch.masks,
        wordings=CLASSES,
        label_prompts=("What does it show: {classes}?",),
        letters_prompts=("What does it show?\n{options}\nAnswer with a letter.",),
        subjects=("ultrasound image",),
        share=0.6,
    )


@pytest.fixture(scope="session")
def colours() -> TrainingSet:
    """Plain red and plain blue pictures, without masks."""
    images = np.zeros((20, 64, 64, 3), np.uint8)
    images[:10, ..., 0] = 200
    images[10:, ..., 2] = 200
    return TrainingSet(
        name="colours",
        images=images,
        labels=np.repeat([0, 1], 10),
        wordings=("warm red", "blue"),
        label_prompts=("Which colour is it, {classes}?",),
        letters_prompts=("Which colour?\n{options}",),
        subjects=("picture",),
        share=0.4,
        turnable=True,
    )


@pytest.fixture(scope="session", params=names())
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of each healthy model in turn."""
    return build_one(request.param, tmp_path_factory.mktemp("zoo"))
