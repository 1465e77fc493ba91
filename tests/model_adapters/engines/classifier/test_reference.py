"""R on images whose classes are known, and that it is the same whenever it is trained."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.special import logsumexp

from model_adapters.engines.classifier.reference import (
    RECIPE,
    ReferenceRecipe,
    spread,
    to_reference_pixels,
    train_reference,
)

QUICK = ReferenceRecipe(width=8, steps=40, batch=32)


def gratings(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Stripes of a random phase, upright or lying, in noise: no pixel alone tells which."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    axis = np.arange(64)
    waves = np.cos(axis * 0.9 + rng.uniform(0, 2 * np.pi, (count, 1)))
    stripes = np.where(labels[:, None, None] == 0, waves[:, None, :], waves[:, :, None])
    noisy = 127 + 40 * stripes + 30 * rng.standard_normal((count, 64, 64))
    grey = np.clip(noisy, 0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=3), labels


TRAIN, VALIDATION, TEST = gratings(0, 96), gratings(1, 64), gratings(2, 200)


def test_learns_what_no_pixel_tells() -> None:
    fitted = train_reference(*TRAIN, *VALIDATION, 2, recipe=QUICK)
    scores = fitted.predict(TEST[0])
    assert scores.shape == (200, 2)
    np.testing.assert_allclose(logsumexp(scores, axis=1), 0, atol=1e-6)
    assert (scores.argmax(axis=1) == TEST[1]).mean() > 0.95
    assert len(fitted.steps) == 2
    assert set(fitted.steps) <= {24, 32, 40}
    kept = -fitted.predict(VALIDATION[0])[np.arange(64), VALIDATION[1]].mean()
    assert fitted.validation_log_loss == pytest.approx(kept, abs=1e-6)


def test_learns_nothing_from_labels_that_mean_nothing() -> None:
    rng = np.random.default_rng(3)
    fitted = train_reference(
        TRAIN[0], rng.permutation(TRAIN[1]), VALIDATION[0], rng.permutation(VALIDATION[1]), 2, recipe=QUICK
    )
    assert fitted.validation_log_loss == pytest.approx(np.log(2), abs=0.05)


def test_same_network_whatever_the_threads_and_the_global_seed() -> None:
    short = ReferenceRecipe(width=8, steps=6, batch=32)
    before = torch.get_num_threads()
    found = []
    for threads, seed in ((1, 11), (2, 12)):
        torch.set_num_threads(threads)
        torch.manual_seed(seed)
        state = torch.get_rng_state()
        found.append(train_reference(*TRAIN, *VALIDATION, 2, recipe=short).predict(TEST[0][:20]))
        assert torch.equal(torch.get_rng_state(), state)
        assert torch.get_num_threads() == threads
    torch.set_num_threads(before)
    np.testing.assert_array_equal(found[0], found[1])
    other = train_reference(*TRAIN, *VALIDATION, 2, seed=1, recipe=short).predict(TEST[0][:20])
    assert not np.allclose(found[0], other)


def test_prediction_does_not_depend_on_the_company() -> None:
    fitted = train_reference(*TRAIN, *VALIDATION, 2, recipe=ReferenceRecipe(width=8, steps=5, batch=32))
    together = fitted.predict(TEST[0][:30])
    alone = np.concatenate([fitted.predict(image[None]) for image in TEST[0][:30]])
    np.testing.assert_allclose(together, alone, atol=1e-4)
    np.testing.assert_allclose(fitted.predict(TEST[0][:30, :, ::-1]), together, atol=1e-4)  # mirrored


def test_class_without_an_image_and_few_images() -> None:
    few = TRAIN[0][:7], TRAIN[1][:7]
    fitted = train_reference(*few, *VALIDATION, 3, recipe=ReferenceRecipe(width=8, steps=4, batch=32))
    assert fitted.predict(TEST[0][:5]).shape == (5, 3)


def test_pictures_are_shrunk_with_antialiasing() -> None:
    """Fine stripes become grey; without antialiasing they would become coarse ones."""
    stripes = np.zeros((500, 256), np.uint8)
    stripes[:, ::2] = 255
    pixels = to_reference_pixels(Image.fromarray(stripes))
    assert pixels.shape == (64, 64, 3)
    assert pixels.dtype == np.uint8
    assert np.abs(pixels[:, 2:-2].astype(float) - 127.5).max() < 3


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (TRAIN[0][:, :32], TRAIN[1], r"train: uint8 \(96, 32, 64, 3\)"),
        (TRAIN[0].astype(np.float32), TRAIN[1], "train: float32"),
        (TRAIN[0], TRAIN[1][:4], r"\(4,\) labels for 96 images"),
        (TRAIN[0], TRAIN[1] + 1, "labels 1 to 2, 2 classes"),
    ],
)
def test_what_does_not_fit_is_refused(images: np.ndarray, labels: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train_reference(images, labels, *VALIDATION, 2, recipe=QUICK)


def test_the_last_step_is_always_a_candidate() -> None:
    assert RECIPE.snapshots[-1] == 1.0
    with pytest.raises(ValueError, match="leave out the last"):
        train_reference(*TRAIN, *VALIDATION, 2, recipe=ReferenceRecipe(width=8, steps=4, snapshots=(0.5,)))


@pytest.mark.parametrize(("images", "count"), [(5, 8), (8, 8), (9, 8), (4186, 1024), (90_000, 1024)])
def test_batch_statistics_are_measured_on_images_from_the_first_to_the_last(images: int, count: int) -> None:
    """Folders list their images class by class: the first thousand of a large task may all be of one class."""
    places = spread(images, count).numpy()
    assert len(set(places)) == min(images, count)
    assert (places[0], places[-1]) == (0, images - 1)
    assert np.diff(places).max() <= max(1, int(np.ceil(images / (count - 1))))
