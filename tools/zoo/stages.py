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
from torch.nn import functional

from model_adapters.zoo.architecture import TinyModel
from model_adapters.zoo.training.dialogue import batch_loss
from model_adapters.zoo.training.material import TrainingSet
from model_adapters.zoo.training.optimise import Report, StageSettings, run
from model_adapters.zoo.training.questions import draw_question
from tools.zoo.images import ImageBatch, draw_images

_Module = TypeVar("_Module", bound=nn.Module)

STAND_IN_TOKENS = 4  # copies of the class vector that take the image's place in the text stage
_HEALTHY_PATCH_WEIGHT = 0.1  # most patches hold no lesion; without a weight they would drown the others


class VisionHeads(nn.Module):
    """What the vision tower is trained to say: an image's class, and the class of what each patch holds.

    Linear heads over the tokens that the connector reads; thrown away after training.
    """

    def __init__(self, width: int, sets: Sequence[TrainingSet]) -> None:
        super().__init__()
        sizes = [len(s.wordings) for s in sets]
        self._offsets = np.cumsum([0, *sizes])
        columns = np.arange(sum(sizes))
        self._own = torch.from_numpy(
            np.stack(
                [
                    (columns >= start) & (columns < start + n)
                    for start, n in zip(self._offsets, sizes, strict=False)
                ]
            )
        )
        self.image_norm, self.patch_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.image_class = nn.Linear(width, sum(sizes))
        self.patch_class = nn.Linear(width, 1 + sum(sizes))  # first: no lesion

    def class_loss(self, tokens: Tensor, batch: ImageBatch) -> Tensor:
        """Cross-entropy of the image's class among its own set's, from the mean of its tokens."""
        logits = self.image_class(self.image_norm(tokens.mean(1)))
        logits = logits.masked_fill(~self._own[batch.sets], -torch.inf)
        return functional.cross_entropy(logits, self._targets(batch))

    def lesion_loss(self, tokens: Tensor, batch: ImageBatch) -> Tensor:
        """Cross-entropy of each patch's parts (no lesion, lesion of the class), where masks are known."""
        known = ~batch.lesion.isnan().any(1)
        if not known.any():
            return tokens.new_zeros(())
        part = batch.lesion[known]
        log = self.patch_class(self.patch_norm(tokens[known])).log_softmax(-1)
        of_class = log.gather(
            2, (1 + self._targets(batch)[known])[:, None, None].expand(-1, part.shape[1], 1)
        )
        loss = -(part * of_class.squeeze(-1) + (1.0 - part) * log[..., 0])
        weight = part + _HEALTHY_PATCH_WEIGHT
        return (loss * weight).sum() / weight.sum()

    def _targets(self, batch: ImageBatch) -> Tensor:
        return torch.from_numpy(self._offsets[batch.sets] + batch.labels)


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
        questions, words = [], []
        for _ in range(settings.batch):
            source = sets[int(generator.integers(len(sets)))]
            label = int(generator.integers(len(source.wordings)))
            questions.append(draw_question(source, label, generator, letters_share=letters_share))
            words.append(wordings.index(source.wordings[label]))
        images = stand_in(torch.tensor(words))[:, None].expand(-1, STAND_IN_TOKENS, -1)
        images = images + 0.5 * torch.randn(images.shape, generator=noise)
        return batch_loss(tiny, questions, images)

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
        questions = [
            draw_question(sets[which], int(label), generator, letters_share=letters_share)
            for which, label in zip(batch.sets, batch.labels, strict=True)
        ]
        with torch.no_grad():
            tokens = tiny.see(batch.pixels)
        return batch_loss(tiny, questions, tiny.connect(tokens))

    return run("joint", step, [tiny.connector, tiny.decoder, tiny.head], settings, report)


def _seeded(make: Callable[[], _Module], seed: int) -> _Module:
    """Make a module whose weights depend on `seed` alone, and leave the global generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()
