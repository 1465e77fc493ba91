"""The projection check against scikit-learn, and what it may and may not change."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from probes.fit.projection import needs_projection, project, projected_predictions
from probes.fit.scaling import random_projection

CLASSES = 3


def layer(
    width: int, images: int, seed: int, *, signal: float, labels: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Features of which a few directions carry the class, beside a few enormous features that carry none."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(CLASSES, size=images) if labels is None else labels
    directions = np.random.default_rng(7).standard_normal((CLASSES, width)) / np.sqrt(width)
    x = rng.standard_normal((images, width)) + signal * directions[labels]
    x[:, :3] = 1000 * rng.standard_normal((images, 3)) + 500
    return x.astype(np.float32), labels


@pytest.mark.parametrize(
    ("widths", "expected"),
    [((96, 96), False), ((96, 384), True), ((1024, 1024), True), ((512,), False), ((513,), True)],
)
def test_only_widths_that_could_matter_are_checked(widths: tuple[int, ...], expected: bool) -> None:
    assert needs_projection(widths) is expected


def test_a_narrow_site_is_a_wide_one_with_zeros_behind_it() -> None:
    narrow, wide = random_projection(20, 64, seed=3), random_projection(300, 64, seed=3)
    np.testing.assert_array_equal(narrow, wide[:20])
    x = np.random.default_rng(0).standard_normal((5, 20))
    np.testing.assert_allclose(np.pad(x, ((0, 0), (0, 280))) @ wide, x @ narrow, atol=1e-5)


def test_features_are_standardised_by_the_training_images_before_they_are_projected() -> None:
    train, _ = layer(40, 200, 0, signal=3)
    test, _ = layer(40, 50, 1, signal=3)
    scaler = StandardScaler().fit(train.astype(float))
    matrix = random_projection(40, 64, seed=5)
    for made, given in zip(project(train, (test,), dimension=64, seed=5), (train, test), strict=True):
        np.testing.assert_allclose(made, scaler.transform(given.astype(float)) @ matrix, atol=1e-3)


def test_predictions_are_those_of_logistic_regressions_on_projected_features() -> None:
    (a, la), (b, lb), (c, lc) = (layer(30, n, n, signal=6) for n in (600, 400, 500))
    wide = [layer(900, len(labels), 1, signal=12, labels=labels)[0] for labels in (la, lb, lc)]
    sites = [(a, b, c), (wide[0], wide[1], wide[2])]
    found = projected_predictions(iter(sites), la, lb, CLASSES, dimension=64, seed=2)
    assert found.shape == (2, 500)
    for (train, validation, test), predicted in zip(sites, found, strict=True):
        scaler = StandardScaler().fit(train.astype(float))
        matrix = random_projection(train.shape[1], 64, seed=2)
        x, v, t = (scaler.transform(part.astype(float)) @ matrix for part in (train, validation, test))
        again = StandardScaler().fit(x)
        fits = [
            LogisticRegression(C=strength, max_iter=5000, tol=1e-8).fit(again.transform(x), la)
            for strength in (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
        ]
        losses = [-f.predict_log_proba(again.transform(v))[np.arange(len(lb)), lb].mean() for f in fits]
        expected = fits[int(np.argmin(losses))].predict(again.transform(t))
        assert (predicted == expected).mean() > 0.985
    assert (found == lc).mean(axis=1).min() > 0.6


def test_a_signal_survives_the_projection_of_a_wide_layer() -> None:
    splits = [layer(2000, n, i, signal=60) for i, n in enumerate((500, 300, 300))]
    (a, la), (b, lb), (c, lc) = splits
    (predicted,) = projected_predictions([(a, b, c)], la, lb, CLASSES)
    assert (predicted == lc).mean() > 0.95
