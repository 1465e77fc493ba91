"""The phantom generator: each image depends on its index alone, classes are balanced and hard to guess."""

from __future__ import annotations

import hashlib
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from harness.data.phantom import (
    CALCIFIED,
    CLASSES,
    CYST,
    GENERATOR_VERSION,
    NORMAL,
    appearance_of,
    generate,
    label_of,
)


@settings(max_examples=8, deadline=None)
@given(first=st.integers(0, 100_000), count=st.integers(2, 40), data=st.data())
def test_an_image_is_the_same_alone_and_in_any_batch(first: int, count: int, data: st.DataObject) -> None:
    batch = generate(first, count)
    place = data.draw(st.integers(0, count - 1))
    alone = generate(first + place, 1)
    assert np.array_equal(alone.images[0], batch.images[place])
    assert np.array_equal(alone.masks[0], batch.masks[place])
    assert alone.labels[0] == batch.labels[place] == label_of(first + place)


def test_pixels_of_this_generator_version_are_fixed() -> None:
    batch = generate(0, 40)
    assert GENERATOR_VERSION == 2
    assert (
        hashlib.sha256(batch.images.tobytes()).hexdigest()
        == "48d94f2854022936757a63b733342d5d862e0ba053e517672d9456ba54342734"
    )


@given(first=st.integers(0, 1_000_000), count=st.integers(1, 60))
def test_classes_are_balanced_over_any_range(first: int, count: int) -> None:
    counts = np.bincount([label_of(i) for i in range(first, first + count)], minlength=len(CLASSES))
    assert counts.max() - counts.min() <= 2


def test_the_order_of_classes_does_not_repeat() -> None:
    orders = {tuple(label_of(5 * block + k) for k in range(5)) for block in range(200)}
    assert len(orders) > 60


def test_shapes_types_and_masks() -> None:
    batch = generate(7, 50, size=48)
    assert batch.images.shape == batch.masks.shape == (50, 48, 48)
    assert (batch.images.dtype, batch.labels.dtype, batch.masks.dtype) == (np.uint8, np.int64, bool)
    areas = batch.masks.mean((1, 2))
    shown = np.array([appearance_of(index) for index in range(7, 57)])
    assert (areas[shown == NORMAL] == 0).all()
    assert (areas[shown != NORMAL] > 0.01).all()


def test_about_one_image_in_twelve_looks_like_another_class() -> None:
    atypical = [appearance_of(index) != label_of(index) for index in range(4000)]
    assert 0.06 < np.mean(atypical) < 0.10
    places = [k for k, strange in enumerate(atypical) if strange]
    assert {appearance_of(k) for k in places} == {label_of(k) for k in places} == set(range(len(CLASSES)))


def test_lesions_differ_from_what_surrounds_them_as_their_class_says() -> None:
    batch = generate(0, 200)
    inside = np.array(
        [
            i[m].mean() - i[~m].mean() if m.any() else 0.0
            for i, m in zip(batch.images, batch.masks, strict=True)
        ]
    )
    brightest = np.array(
        [i[m].max() if m.any() else 0 for i, m in zip(batch.images, batch.masks, strict=True)]
    )
    assert inside[batch.labels == CYST].mean() < inside[batch.labels == CALCIFIED].mean() - 30
    assert brightest[batch.labels == CALCIFIED].mean() > brightest[batch.labels == CYST].mean() + 50


def test_pixels_alone_do_not_give_the_class_away() -> None:
    train, test = generate(0, 1500), generate(2000, 500)
    flat = [b.images.reshape(len(b.images), -1) / 127.5 - 1.0 for b in (train, test)]
    accuracy = LogisticRegression(C=1e-3, max_iter=100).fit(flat[0], train.labels).score(flat[1], test.labels)
    assert 0.25 < accuracy < 0.50


def test_drawing_is_fast() -> None:
    began = time.process_time()
    generate(0, 128)
    assert time.process_time() - began < 128 / 80  # 400 a second on a quiet core


@pytest.mark.parametrize(("first", "count", "size"), [(-1, 1, 64), (0, 0, 64), (0, 1, 8)])
def test_impossible_arguments_are_refused(first: int, count: int, size: int) -> None:
    with pytest.raises(ValueError, match="phantom"):
        generate(first, count, size=size)
