"""The questions that the checks of a model ask: pictures of noise, so that nothing depends on what it knows."""

from __future__ import annotations

import numpy as np
from PIL import Image

from model_adapters.interface import Query

LETTERS = ("A", "B", "C", "D", "E")
WORDS = ("normal", "benign", "malignant")
_SIZES = ((64, 64), (160, 96), (96, 224))  # width, height in pixels
_QUESTION = "What does the image show? Answer with one word: normal, benign or malignant."


def noise_queries(labels: tuple[str, ...] = WORDS) -> tuple[Query, ...]:
    """Return the same question about pictures of noise of unequal sizes, wide, high and square."""
    generator = np.random.default_rng(0)
    return tuple(
        Query(
            f"{width}x{height}",
            Image.fromarray(generator.integers(0, 256, (height, width, 3), dtype=np.uint8)),
            _QUESTION,
            labels,
        )
        for width, height in _SIZES
    )
