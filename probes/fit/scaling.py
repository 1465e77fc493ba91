"""Standardise features and project them to a fixed size: what comes before a probe, without torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Standardiser:
    """Mean and standard deviation of every feature over the training images, per site.

    `mean` and `scale` have the shape (sites, width). Where a feature is constant in training, `scale`
    is infinite, so that the standardised feature is 0 for every image, whatever its value there.
    """

    mean: Floats
    scale: Floats

    def apply(self, features: Floats) -> NDArray[np.float32]:
        """Standardise features of shape (sites, images, width)."""
        return ((features - self.mean[:, None]) / self.scale[:, None]).astype(np.float32)


def standardise(train: Floats) -> Standardiser:
    """Measure the training features, of shape (sites, images, width), in double precision.

    A feature counts as constant where its standard deviation is below 1e-6 of its largest absolute
    value: single precision cannot tell such a feature from its rounding noise.

    Raises:
        ValueError: the array is not three-dimensional, holds no image, or holds a value that is not finite.
    """
    if train.ndim != 3 or 0 in train.shape:
        raise ValueError(f"features of shape {train.shape}: expected (sites, images, width), none of them 0")
    wrong = [site for site in range(len(train)) if not np.isfinite(train[site]).all()]
    if wrong:
        raise ValueError(f"features of site {wrong[0]}: not finite; was the model run in float16?")
    mean = train.mean(axis=1, dtype=np.float64)
    deviation = np.stack([site.std(axis=0, dtype=np.float64) for site in train])
    largest = np.abs(train).max(axis=1)
    constant = deviation <= 1e-6 * largest
    return Standardiser(mean, np.where(constant, np.inf, deviation))


def random_projection(width: int, size: int = 512, *, seed: int = 0) -> NDArray[np.float32]:
    """Return a Gaussian projection of shape (width, size), the first rows of one that has no end.

    Entries are normal with variance 1/size, so squared lengths are kept in expectation (Johnson and
    Lindenstrauss 1984). Sites of every width share one projection of a seed: a narrower site is a wider
    one with zeros behind it, which meet the rows that are missing here. Probes on `features @ projection`
    of one size for every site check that a difference between layers is not one of their widths.
    """
    if width < 1 or size < 1:
        raise ValueError(f"random projection from {width} to {size}: both must be at least 1")
    rng = np.random.default_rng([seed, size])
    return (rng.standard_normal((width, size)) / np.sqrt(size)).astype(np.float32)
