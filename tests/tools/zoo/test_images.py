"""What training draws: balanced classes, masks that move with images, pixels as the processor makes them."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from model_adapters.zoo.training.material import TrainingSet
from tools.zoo.families import siglip_image_processor
from tools.zoo.images import draw_images, resize


def test_masks_move_with_their_images(phantom: TrainingSet) -> None:
    masks = np.asarray(phantom.masks)
    bright_where_lesion = TrainingSet(
        name="x",
        images=masks.astype(np.uint8) * 255,
        labels=phantom.labels,
        masks=masks,
        wordings=phantom.wordings,
        label_prompts=(),
        letters_prompts=(),
        subjects=(),
        share=1.0,
    )
    batch = draw_images([bright_where_lesion], 40, np.random.default_rng(0))
    seen = (batch.pixels[:, 0].numpy() + 1.0) / 2.0
    by_patch = seen.reshape(40, 8, 8, 8, 8).mean((2, 4)).reshape(40, 64)
    interior = np.abs(by_patch - batch.lesion.numpy())
    assert interior.max() < 1e-6


def test_classes_and_sets_are_drawn_by_their_shares(phantom: TrainingSet, colours: TrainingSet) -> None:
    batch = draw_images([phantom, colours], 1000, np.random.default_rng(0))
    assert 0.54 < (batch.sets == 0).mean() < 0.66
    assert np.bincount(batch.labels[batch.sets == 0]).min() > 80
    assert batch.lesion[batch.sets == 1].isnan().all()
    assert not batch.lesion[batch.sets == 0].isnan().any()


@settings(max_examples=15, deadline=None)
@given(width=st.integers(8, 150), height=st.integers(8, 150), mode=st.sampled_from(["L", "RGB"]))
def test_resizing_is_the_processors(width: int, height: int, mode: str) -> None:
    pixels = np.random.default_rng(width * 1000 + height).integers(0, 256, (height, width, 3), np.uint8)
    image = Image.fromarray(pixels).convert(mode)
    theirs = siglip_image_processor()(image, return_tensors="np")["pixel_values"][0]
    ours = resize(image).astype(np.float32) / 127.5 - 1.0
    assert np.abs(theirs - ours.transpose(2, 0, 1)).max() < 1e-5
