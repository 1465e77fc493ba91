"""The three stages of training, each a function over a `TinyModel`; none knows a family.

1. vision: the vision tower with a class loss, and where masks are known a loss of each patch's class;
2. text: the decoder alone, on dialogues in which a learnt vector of the class stands in for the image;
3. joint: connector and decoder, the vision tower frozen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from model_adapters.zoo.architecture import TinyModel
from model_adapters.zoo.training import dialogue
from model_adapters.zoo.training.material import TrainingSet, draw_images
from model_adapters.zoo.training.optimise import Report, StageSettings, run
from model_adapters.zoo.training.questions import Exercise, pose
from model_adapters.zoo.training.vision_heads import VisionHeads

_Module = TypeVar("_Module", bound=nn.Module)

STAND_IN_TOKENS = 4  # copies of the class vector that take the image's place in the text stage


def vision_stage(
    tiny: TinyModel, sets: Sequence[TrainingSet], settings: StageSettings, seed: int, report: Report
) -> list[float]:
    """Train the vision tower through the tokens that the connector reads; return the loss of every step."""
    generator = np.random.default_rng([seed, 1])
    heads = _seeded(lambda: VisionHeads(tiny.vision_width, sets), seed)

    def step() -> Tensor:
        batch = draw_images(sets, settings.batch, generator)
        tokens = tiny.see(batch.pixels)
        return heads.class_loss(tokens, batch) + heads.lesion_loss(tokens, batch)

    return run("vision", step, [tiny.vision, heads], settings, report)


def text_stage(
    tiny: TinyModel,
    sets: Sequence[TrainingSet],
    settings: StageSettings,
    seed: int,
    report: Report,
    *,
    letters_share: float,
) -> list[float]:
    """Teach the decoder the questions: a noisy vector of the class's wording stands in for the image."""
    generator = np.random.default_rng([seed, 2])
    noise = torch.Generator().manual_seed(seed)
    wordings = sorted({word for s in sets for word in s.wordings})
    stand_in = _seeded(lambda: nn.Embedding(len(wordings), tiny.decoder_width), seed)

    def step() -> Tensor:
        exercises, words = [], []
        for _ in range(settings.batch):
            source = sets[int(generator.integers(len(sets)))]
            label = int(generator.integers(len(source.wordings)))
            exercises.append(pose(source, label, generator, letters_share=letters_share))
            words.append(wordings.index(source.wordings[label]))
        images = stand_in(torch.tensor(words))[:, None].expand(-1, STAND_IN_TOKENS, -1)
        images = images + 0.5 * torch.randn(images.shape, generator=noise)
        return dialogue_loss(tiny, exercises, images)

    return run("text", step, [tiny.decoder, tiny.head, stand_in], settings, report)


def joint_stage(
    tiny: TinyModel,
    sets: Sequence[TrainingSet],
    settings: StageSettings,
    seed: int,
    report: Report,
    *,
    letters_share: float,
) -> list[float]:
    """Train connector and decoder on images that the frozen vision tower sees."""
    generator = np.random.default_rng([seed, 3])

    def step() -> Tensor:
        batch = draw_images(sets, settings.batch, generator)
        exercises = [
            pose(sets[which], int(label), generator, letters_share=letters_share)
            for which, label in zip(batch.sets, batch.labels, strict=True)
        ]
        with torch.no_grad():
            tokens = tiny.see(batch.pixels)
        return dialogue_loss(tiny, exercises, tiny.connect(tokens))

    return run("joint", step, [tiny.connector, tiny.decoder, tiny.head], settings, report)


def dialogue_loss(tiny: TinyModel, exercises: Sequence[Exercise], images: Tensor) -> Tensor:
    """Loss of a batch, its shorter and its longer dialogues apart, which spares half of the padding."""
    order = sorted(range(len(exercises)), key=lambda k: len(exercises[k].prompt))
    total = torch.zeros(())
    for part in (order[: len(order) // 2], order[len(order) // 2 :]):
        dialogues = dialogue.encode(tiny, [exercises[k] for k in part])
        total = total + dialogue.loss(tiny, dialogues, images[part]) * (len(part) / len(order))
    return total


def _seeded(make: Callable[[], _Module], seed: int) -> _Module:
    """Make a module whose weights depend on `seed` alone, and leave the global generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()
