"""Let the parts of a model that lie behind a change get used to it: a short joint stage on cached tokens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from model_adapters.zoo.architecture import TinyModel
from model_adapters.zoo.training.dialogue import batch_loss
from model_adapters.zoo.training.material import TrainingSet
from model_adapters.zoo.training.optimise import Report, StageSettings, run
from model_adapters.zoo.training.questions import pose

SETTINGS = StageSettings(steps=100, batch=32, learning_rate=1e-3)
_LETTERS_SHARE = 0.3


def adapt(
    tiny: TinyModel,
    source: TrainingSet,
    tokens: Tensor,
    indices: np.ndarray,
    modules: Sequence[nn.Module],
    *,
    seed: int,
    settings: StageSettings = SETTINGS,
    report: Report = lambda progress: None,
) -> list[float]:
    """Train `modules` of a model in place on questions about some images; return the loss of every step.

    `tokens` (n, tokens, width) are what the connector reads of the images `indices` (n,) of `source`. All
    other weights stay as they are.
    """
    generator = np.random.default_rng([seed, 4])
    labels = source.labels[indices]

    def step() -> Tensor:
        drawn = generator.integers(len(indices), size=settings.batch)
        exercises = [pose(source, int(labels[k]), generator, letters_share=_LETTERS_SHARE) for k in drawn]
        return batch_loss(tiny, exercises, tiny.connect(tokens[torch.from_numpy(drawn)]))

    wanted = {id(weight): weight.requires_grad for weight in tiny.model.parameters()}
    chosen = {id(weight) for module in modules for weight in module.parameters()}
    try:
        for weight in tiny.model.parameters():
            weight.requires_grad_(id(weight) in chosen)
        return run("adapt", step, modules, settings, report)
    finally:
        for weight in tiny.model.parameters():
            weight.requires_grad_(wanted[id(weight)])
            weight.grad = None
