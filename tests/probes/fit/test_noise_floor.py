"""The noise floor: as large as it says, the same however images are loaded, and above half-precision residue."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from probes.fit.noise_floor import EPSILON, with_noise_floor
from probes.fit.scaling import standardise


def test_noise_is_epsilon_of_each_features_deviation_and_constant_features_stay():
    rng = np.random.default_rng(0)
    features = (rng.standard_normal((3000, 4)) * [0.01, 1, 300, 0]).astype(np.float32)
    scale = standardise(features[None]).scale[0]
    added = with_noise_floor(features, scale, site="connector.00.mean", split="train") - features
    np.testing.assert_allclose(added.std(axis=0)[:3] / features.std(axis=0)[:3], EPSILON, rtol=0.05)
    np.testing.assert_array_equal(added[:, 3], 0)
    assert abs(np.corrcoef(added[:, 0], added[:, 1])[0, 1]) < 0.06


def test_an_image_gets_the_same_noise_whatever_is_loaded_with_it():
    features, scale = np.zeros((10, 5), np.float32), np.ones(5)
    whole = with_noise_floor(features, scale, site="a", split="test")
    parts = [
        with_noise_floor(features[i : i + 3], scale, site="a", split="test", first=i) for i in range(0, 10, 3)
    ]
    np.testing.assert_array_equal(whole, np.concatenate(parts))


def test_sites_splits_and_seeds_have_noise_of_their_own():
    features, scale = np.zeros((2, 64), np.float32), np.ones(64)
    settings = [("a", "test", 0), ("b", "test", 0), ("a", "val", 0), ("a", "test", 1)]
    made = [with_noise_floor(features, scale, site=s, split=p, seed=n).ravel() for s, p, n in settings]
    assert np.abs(np.corrcoef(made) - np.eye(4)).max() < 0.35


def test_a_class_that_stands_in_rounding_alone_is_not_read():
    """A class direction at 3e-4 of the largest deviation, where nothing else lies."""
    rng = np.random.default_rng(1)
    labels = np.arange(800) % 2
    features = rng.standard_normal((800, 16)) @ np.linalg.qr(rng.standard_normal((16, 16)))[0][:, :16]
    direction = np.linalg.qr(rng.standard_normal((16, 1)))[0][:, 0]
    features = features - np.outer(features @ direction, direction)
    features = (features + 3e-4 * np.outer(2.0 * labels - 1, direction)).astype(np.float64)
    scale = standardise(features[None]).scale[0]
    noisy = with_noise_floor(features, scale, site="c", split="train")

    def read(given):
        probe = LogisticRegression(C=1e6, max_iter=5000, tol=1e-10)
        standardised = (given - given.mean(0)) / given.std(0) * 1e3
        return probe.fit(standardised[:400], labels[:400]).score(standardised[400:], labels[400:])

    assert read(features) > 0.95
    assert read(noisy) < 0.6


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"connector: features of shape \(2, 3\) and scales of shape \(4,\)"):
        with_noise_floor(np.zeros((2, 3), np.float32), np.ones(4), site="connector", split="val")
    with pytest.raises(ValueError, match="noise floor of -1 standard deviations"):
        with_noise_floor(np.zeros((2, 3), np.float32), np.ones(3), site="c", split="val", epsilon=-1)
