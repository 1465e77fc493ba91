"""Probes on randomly projected features: the check that widths do not make the difference (torch)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from probes.fit.linear import fit_linear
from probes.fit.scaling import Floats, random_projection, standardise

Integers = NDArray[np.integer]

DIMENSION = 512


def needs_projection(widths: Sequence[int], dimension: int = DIMENSION) -> bool:
    """Tell whether layers differ in width, or are wider than a projection would be."""
    return len(set(widths)) > 1 or any(width > dimension for width in widths)


def project(
    train: Floats, others: Sequence[Floats], *, dimension: int = DIMENSION, seed: int = 0
) -> list[NDArray[np.float32]]:
    """Standardise one site's features by its training images and project all to `dimension` numbers.

    Standardised first, because a few features of a language model are a thousand times larger than the
    others, and a projection of the raw ones would show these alone.

    Args:
        train: (images, width).
        others: features of further images, each (images, width).
        dimension: of the projection.
        seed: of the projection; sites of one seed share it, whatever their widths.

    Returns the projected features of train, then of the others, each (images, dimension).
    """
    scaling = standardise(train[None])
    matrix = random_projection(train.shape[1], dimension, seed=seed)
    return [scaling.apply(part[None])[0] @ matrix for part in (train, *others)]


def projected_predictions(
    layers: Iterable[tuple[Floats, Floats, Floats]],
    train_labels: Integers,
    validation_labels: Integers,
    classes: int,
    *,
    dimension: int = DIMENSION,
    seed: int = 0,
    device: str = "cpu",
) -> NDArray[np.int64]:
    """Return the classes (sites, test images) that linear probes on projected features predict.

    Args:
        layers: per site, features (images, width) of train, validation and test; widths may differ. Taken
            one at a time, so that only one site's whole features need be in memory.
        train_labels: (images,), from 0 to `classes` - 1.
        validation_labels: (images,).
        classes: number of classes.
        dimension: of the projection.
        seed: of the projection.
        device: where torch computes.
    """
    parts = [project(a, (b, c), dimension=dimension, seed=seed) for a, b, c in layers]
    train, validation, test = (np.stack(split) for split in zip(*parts, strict=True))
    probes = fit_linear(train, train_labels, validation, validation_labels, classes, device=device)
    return probes.predict(test).argmax(axis=2)
