"""The noise floor: what stands below a small share of a feature's spread does not count as readable.

A class direction that a planted projection left behind as half-precision rounding, at 3e-4 of the largest
standard deviation, is found by a logistic regression on noiseless features. No later layer that rounds its
sums finds it. So every readout reads features plus noise of `EPSILON` standard deviations, in training,
validation and test alike.
"""

from __future__ import annotations

from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from probes.fit.scaling import Floats

EPSILON = 0.03  # standard deviations of a feature over the training images; recorded


def with_noise_floor(
    features: Floats,
    scale: Floats,
    *,
    site: str,
    split: str,
    first: int = 0,
    seed: int = 0,
    epsilon: float = EPSILON,
) -> NDArray[np.float32]:
    """Return features (images, width) plus normal noise of `epsilon` standard deviations.

    An image's noise follows from seed, site, split and its place in the split alone, so it is the same
    whichever images or sites are loaded together.

    Args:
        features: (images, width).
        scale: (width,), standard deviations over the *training* images, as `Standardiser.scale` has them:
            where it is infinite the feature is constant, and stays.
        site: the site's key.
        split: "train", "val" or "test".
        first: place in the split of the first of these images.
        seed: of the run.
        epsilon: size of the noise; 0 leaves the features as they are.

    Raises:
        ValueError: the widths differ, or epsilon is negative.
    """
    if features.ndim != 2 or scale.shape != features.shape[1:]:
        raise ValueError(f"{site}: features of shape {features.shape} and scales of shape {scale.shape}")
    if epsilon < 0:
        raise ValueError(f"noise floor of {epsilon} standard deviations: expected 0 or more")
    size = np.where(np.isfinite(scale), epsilon * scale, 0.0).astype(np.float32)
    stream = [seed, crc32(site.encode()), crc32(split.encode())]
    noisy = np.empty(features.shape, np.float32)
    for row, image in enumerate(features):
        rng = np.random.Generator(np.random.SFC64([*stream, first + row]))
        noisy[row] = image + size * rng.standard_normal(len(size), dtype=np.float32)
    return noisy
