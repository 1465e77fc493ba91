"""Questions about coloured pictures, and the answers that they must get."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from PIL import Image

from model_adapters.catalog.card import ModelCard
from model_adapters.engines.openai.engine import OpenAIEngine
from model_adapters.interface import Query
from tests.model_adapters.tiny.openai_server import ColourServer, probabilities

COLOURS = {"normal": (200, 60, 60), "cyst": (60, 200, 60), "benign": (60, 60, 200)}
LABELS = tuple(COLOURS)
PROMPT = "What does it show: normal, cyst or benign?"
SECRET = "sk-a-very-secret-key"
CARD = ModelCard(name="remote", hub_id="a/b")

Start = Callable[..., ColourServer]


class Connect(Protocol):
    """Loads the engine for a server; further words are model arguments."""

    def __call__(self, server: ColourServer, card: ModelCard = ..., **arguments: str) -> OpenAIEngine: ...


def pictures(count: int) -> list[Image.Image]:
    """Noise around each label's colour in turn, of odd sizes: any loss on the way would move the mean."""
    rng = np.random.default_rng(0)
    found = []
    for index in range(count):
        colour = np.array(COLOURS[LABELS[index % len(LABELS)]])
        pixels = np.clip(colour + rng.integers(-60, 61, (9 + index, 13, 3)), 0, 255)
        found.append(Image.fromarray(pixels.astype(np.uint8)))
    return found


def queries_of(
    images: Sequence[Image.Image], labels: Sequence[str] = LABELS, prompt: str = PROMPT
) -> list[Query]:
    return [Query(f"image {index}", image, prompt, tuple(labels)) for index, image in enumerate(images)]


def expected(image: Image.Image) -> list[float]:
    """The log-likelihood of each label about a picture."""
    return [math.log(p) for p in probabilities(image, COLOURS).values()]
