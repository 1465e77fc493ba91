"""Small material to train on, and how to train on it in seconds."""

from __future__ import annotations

import pytest
import torch

from model_adapters.zoo.training.optimise import StageSettings
from tests.model_adapters.zoo.conftest import colours, phantom
from tools.zoo.families import Scale
from tools.zoo.train import Recipe

__all__ = ["colours", "phantom"]

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    return Recipe(
        scale=Scale(width=32, heads=1, vision_layers=2, vision_mlp=32, decoder_layers=2, decoder_mlp=32),
        vision=StageSettings(steps=6, batch=8, learning_rate=2e-3),
        text=StageSettings(steps=6, batch=8, learning_rate=2e-3),
        joint=StageSettings(steps=6, batch=8, learning_rate=2e-3),
    )
