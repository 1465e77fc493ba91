"""Standardising and random projection."""

from __future__ import annotations

import numpy as np
import pytest

from probes.fit.scaling import random_projection, standardise


def test_training_features_get_mean_0_and_deviation_1_and_constant_ones_0():
    rng = np.random.default_rng(0)
    x = rng.normal(1e3, 2.0, size=(3, 200, 5)).astype(np.float32)
    x[:, :, 2] = 0.1
    z = standardise(x).apply(x)
    np.testing.assert_allclose(z.mean(axis=1), 0, atol=1e-4)
    np.testing.assert_allclose(z.std(axis=1)[:, [0, 1, 3, 4]], 1, rtol=1e-4)
    assert not z[:, :, 2].any()


def test_a_projection_keeps_lengths_and_is_fixed_by_its_seed():
    projection = random_projection(2000, seed=3)
    assert projection.shape == (2000, 512)
    x = np.random.default_rng(1).normal(size=(50, 2000))
    ratio = ((x @ projection) ** 2).sum(1) / (x**2).sum(1)
    assert ratio.mean() == pytest.approx(1, abs=0.05)
    np.testing.assert_array_equal(projection, random_projection(2000, seed=3))
    assert np.abs(projection - random_projection(2000, seed=4)).max() > 0.01


def test_features_that_are_not_finite_are_named():
    x = np.ones((2, 4, 3), np.float32)
    x[1, 0, 0] = np.nan
    with pytest.raises(ValueError, match="site 1: not finite"):
        standardise(x)
