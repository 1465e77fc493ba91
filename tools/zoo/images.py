"""Images to train on, drawn in batches: every class of a set equally often, lightly augmented."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from model_adapters.zoo.architecture import IMAGE_SIZE, PATCH_SIZE
from model_adapters.zoo.training.material import TrainingSet


def resize(image: Image.Image) -> np.ndarray:
    """Bring a picture to uint8 (64, 64, 3) exactly as the models' image processor does."""
    return np.asarray(
        image.convert("RGB").resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BICUBIC), dtype=np.uint8
    )


@dataclass(frozen=True)
class ImageBatch:
    """Drawn images: `pixels` (n, 3, 64, 64) in [-1, 1]; per image its set, label and patch-wise lesion part.

    `lesion` (n, patches) holds the part of each patch that is lesion, NaN where the set has no masks.
    """

    pixels: Tensor
    sets: np.ndarray
    labels: np.ndarray
    lesion: Tensor


def draw_images(
    sets: Sequence[TrainingSet], count: int, generator: np.random.Generator, *, augment: bool = True
) -> ImageBatch:
    """Draw `count` images by the sets' shares, every class of a set equally often, lightly augmented."""
    shares = np.array([s.share for s in sets])
    chosen = generator.choice(len(sets), count, p=shares / shares.sum())
    pixels, labels, lesion = [], [], []
    for which in chosen:
        source = sets[which]
        label = int(generator.integers(len(source.wordings)))
        index = generator.choice(np.flatnonzero(source.labels == label))
        image = source.images[index].astype(np.float32) / 127.5 - 1.0
        image = np.repeat(image[..., None], 3, axis=-1) if image.ndim == 2 else image
        mask = (
            source.masks[index].astype(np.float32)
            if source.masks is not None
            else np.full(image.shape[:2], np.nan)
        )
        if augment:
            image, mask = _augment(image, mask, source, generator)
        pixels.append(image.transpose(2, 0, 1))
        labels.append(label)
        lesion.append(_by_patch(mask))
    return ImageBatch(
        torch.from_numpy(np.ascontiguousarray(np.stack(pixels))),
        chosen,
        np.array(labels),
        torch.from_numpy(np.stack(lesion).astype(np.float32)),
    )


def _by_patch(mask: np.ndarray) -> np.ndarray:
    side = IMAGE_SIZE // PATCH_SIZE
    return mask.reshape(side, PATCH_SIZE, side, PATCH_SIZE).mean((1, 3)).reshape(-1)


def _augment(
    image: np.ndarray, mask: np.ndarray, source: TrainingSet, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Mirror, shift by a few pixels, change intensity; generated sets with masks need less of it."""
    if generator.random() < 0.5:
        image, mask = image[:, ::-1], mask[:, ::-1]
    if source.turnable:
        turns = int(generator.integers(4))
        image, mask = np.rot90(image, turns), np.rot90(mask, turns)
    reach = 2 if source.masks is not None else 6
    down, right = generator.integers(0, 2 * reach + 1, 2)
    image = np.pad(image, ((reach, reach), (reach, reach), (0, 0)), mode="reflect")
    mask = np.pad(mask, reach, mode="reflect")
    image = image[down : down + IMAGE_SIZE, right : right + IMAGE_SIZE]
    mask = mask[down : down + IMAGE_SIZE, right : right + IMAGE_SIZE]
    if source.masks is None:
        gain, offset = generator.uniform(0.8, 1.2), generator.uniform(-0.15, 0.15)
        tint = generator.uniform(-0.06, 0.06, 3) if source.turnable else 0.0
        noise = generator.normal(0.0, generator.uniform(0.0, 0.06), image.shape)
        image = np.clip(image * gain + offset + tint + noise, -1.0, 1.0)
    return image.astype(np.float32), mask
