# ruff: noqa: RUF012 (the library looks for lists and dictionaries)
"""Patches of pictures in their own shape, as many as fit into a number of tokens.

As in Hulu-Med's own code a picture given as a PIL image has its two sides swapped when the size to which it
is resized is computed; one given as an array has not.
"""

import math

import numpy as np
import torch
from PIL import Image
from transformers.image_processing_utils import BaseImageProcessor, BatchFeature


def simple_batched_resize(images, factor, min_tokens, max_tokens):
    """Return (height, width) of each picture in pixels; all pictures of a call share `max_tokens`."""
    sizes = []
    for image in images:
        height, width = image.size if isinstance(image, Image.Image) else image.shape[:2]
        share = max_tokens * factor**2 // len(images)
        tall, wide = (round(side / factor) * factor for side in (height, width))
        if tall * wide > share:
            beta = math.sqrt(height * width / share)
            tall, wide = (math.floor(side / beta / factor) * factor for side in (height, width))
        if tall * wide < min_tokens * factor**2:
            beta = math.sqrt(min_tokens * factor**2 / (height * width))
            tall, wide = (math.ceil(side * beta / factor) * factor for side in (height, width))
        sizes.append((tall, wide))
    return sizes


class HulumedImageProcessor(BaseImageProcessor):
    model_input_names = ["pixel_values", "grid_sizes", "merge_sizes"]

    def __init__(
        self, image_mean=0.5, image_std=0.5, min_tokens=4 * 4, max_tokens=16384, patch_size=14, **kwargs
    ):
        super().__init__(**kwargs)
        self.image_mean, self.image_std = image_mean, image_std
        self.min_tokens, self.max_tokens, self.patch_size = min_tokens, max_tokens, patch_size

    def preprocess(self, images, merge_size=1, return_tensors=None):
        merges = merge_size if isinstance(merge_size, list) else [merge_size] * len(images)
        sizes = simple_batched_resize(images, self.patch_size * merges[0], self.min_tokens, self.max_tokens)
        patches = [self._patches(*each) for each in zip(images, sizes, merges, strict=True)]
        grids = [(1, tall // self.patch_size, wide // self.patch_size) for tall, wide in sizes]
        data = {
            "pixel_values": torch.from_numpy(np.concatenate(patches)),
            "grid_sizes": torch.tensor(grids),
            "merge_sizes": torch.tensor(merges),
        }
        return BatchFeature(data, tensor_type=return_tensors)

    def __call__(self, images, **kwargs):
        return self.preprocess(images, **kwargs)

    def _patches(self, image, size, merge):
        picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
        pixels = np.asarray(picture.resize(size[::-1], Image.Resampling.BICUBIC), dtype=np.float32) / 255
        pixels = (pixels - self.image_mean) / self.image_std
        side = self.patch_size * merge
        squares = pixels.reshape(size[0] // side, merge, self.patch_size, -1, merge, self.patch_size, 3)
        return np.float32(squares.transpose(0, 3, 1, 4, 6, 2, 5).reshape(-1, 3 * self.patch_size**2))
