"""What built-in models learn from: arrays and strings that the caller hands over."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from model_adapters.zoo.architecture import IMAGE_SIZE


@dataclass(frozen=True)
class TrainingSet:
    """One labelled set of images with the words to ask about it.

    `images` is uint8, (n, 64, 64) grey or (n, 64, 64, 3); `labels` int64 (n,) indexes `wordings`.
    `label_prompts` hold `{classes}`, `letters_prompts` hold `{options}`; `subjects` are phrases for what
    the images are ("chest X-ray"), put into the built-in templates. `masks` bool (n, 64, 64) marks
    lesions. `share` is the set's part of every batch. `turnable` says that an image upside down is as
    good as upright (a tissue patch is, a chest is not).
    """

    name: str
    images: np.ndarray = field(repr=False)
    labels: np.ndarray = field(repr=False)
    wordings: tuple[str, ...]
    label_prompts: tuple[str, ...]
    letters_prompts: tuple[str, ...]
    subjects: tuple[str, ...]
    share: float
    masks: np.ndarray | None = field(default=None, repr=False)
    turnable: bool = False

    def __post_init__(self) -> None:
        if self.images.shape[1:3] != (IMAGE_SIZE, IMAGE_SIZE) or self.images.dtype != np.uint8:
            raise ValueError(f"zoo: images of {self.name!r} must be uint8 of {IMAGE_SIZE} x {IMAGE_SIZE}")
        if len(self.images) != len(self.labels) or len(np.unique(self.labels)) != len(self.wordings):
            raise ValueError(f"zoo: {self.name!r} needs one label an image and images of every class")
