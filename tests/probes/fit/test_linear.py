"""The linear readout against scikit-learn, fit by fit, and at the edges where batching could go wrong."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import probes.fit.linear as fit_linear_module
from probes.fit.linear import NotConverged, fit_linear


def features(sites=4, images=500, width=40, classes=4, seed=0):
    """Correlated features of unequal scale whose signal grows with the site; train, validation, test."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, images * 4)
    labels[:classes] = np.arange(classes)
    spectrum = np.arange(1, width + 1) ** -0.7
    found = []
    for site in range(sites):
        means = rng.normal(size=(classes, width)) * site / sites
        latent = (rng.normal(size=(images * 4, width)) + means[labels]) * spectrum
        mixed = latent @ np.linalg.qr(rng.normal(size=(width, width)))[0]
        found.append(mixed * rng.lognormal(size=width) + rng.normal(size=width) * 3)
    x, a, b = np.stack(found).astype(np.float32), images, images + images // 2
    return (x[:, :a], labels[:a]), (x[:, a:b], labels[a:b]), (x[:, b:], labels[b:])


def tight_optimum(train, labels, test, strength, solver):
    mean, scale = train.mean(0, dtype=np.float64), train.std(0, dtype=np.float64)
    model = LogisticRegression(C=strength, solver=solver, tol=1e-9, max_iter=20_000)
    return model.fit((train - mean) / scale, labels).predict_log_proba((test - mean) / scale)


@pytest.mark.parametrize(
    ("images", "width", "classes", "solver"),
    [
        (500, 40, 4, "newton-cholesky"),
        (500, 30, 2, "newton-cholesky"),
        (150, 300, 5, "lbfgs"),  # fewer images than features
    ],
)
def test_every_site_and_strength_agrees_with_scikit_learn(images, width, classes, solver):
    train, validation, test = features(images=images, width=width, classes=classes)
    for strength in (1e-4, 1e-2, 1.0, 10.0):
        probes = fit_linear(*train, *validation, classes, strengths=[strength])
        assert probes.converged.all()
        scores = probes.predict(test[0])
        for site in range(len(scores)):
            truth = tight_optimum(train[0][site], train[1], test[0][site], strength, solver)
            accuracy = [(s.argmax(1) == test[1]).mean() for s in (scores[site], truth)]
            assert abs(accuracy[0] - accuracy[1]) <= 0.01
            assert np.abs(np.exp(scores[site]) - np.exp(truth)).max() < 0.06


def test_the_strength_is_the_one_with_the_lowest_validation_log_loss():
    train, validation, _ = features()
    grid = [1e-4, 1e-2, 1.0]
    probes = fit_linear(*train, *validation, 4, strengths=grid)
    losses = np.empty((4, 3))
    for column, strength in enumerate(grid):
        for site in range(4):
            scores = tight_optimum(train[0][site], train[1], validation[0][site], strength, "newton-cholesky")
            losses[site, column] = -scores[np.arange(len(validation[1])), validation[1]].mean()
    np.testing.assert_allclose(probes.validation_log_loss, losses, atol=2e-3)
    np.testing.assert_array_equal(probes.strength, np.asarray(grid)[losses.argmin(axis=1)])
    scores = probes.predict(validation[0])
    of_label = np.take_along_axis(scores, validation[1][None, :, None], axis=2)
    np.testing.assert_allclose(-of_label.mean(axis=(1, 2)), losses.min(axis=1), atol=2e-3)


def test_equal_losses_go_to_the_stronger_penalty():
    """Features that are the same for every image give every strength the same loss."""
    train, validation, _ = features(sites=1)
    flat = [np.ones_like(x[0]) for x in (train, validation)]
    probes = fit_linear(flat[0], train[1], flat[1], validation[1], 4, strengths=[10.0, 0.1, 1.0])
    assert probes.strength.tolist() == [0.1]
    share = np.bincount(train[1]) / len(train[1])
    np.testing.assert_allclose(np.exp(probes.predict(flat[1]))[0, 0], share, atol=1e-4)


def test_groups_of_sites_do_not_change_the_result():
    train, validation, test = features(sites=5)
    whole = fit_linear(*train, *validation, 4).predict(test[0])
    one_by_one = fit_linear(*train, *validation, 4, memory_bytes=1).predict(test[0])
    np.testing.assert_allclose(np.exp(whole), np.exp(one_by_one), atol=0.02)


def test_a_feature_constant_in_training_is_ignored_even_where_it_changes_later():
    train, validation, test = features()
    train[0][:, :, 7] = 5.0
    validation[0][:, :, 7] = 5.0
    probes = fit_linear(*train, *validation, 4)
    moved = test[0].copy()
    moved[:, :, 7] = 1e6
    np.testing.assert_array_equal(probes.predict(test[0]), probes.predict(moved))


def test_a_class_without_training_images_is_never_predicted_and_scores_stay_finite():
    train, validation, test = features()
    kept = train[1] != 2
    probes = fit_linear(train[0][:, kept], train[1][kept], *validation, 4)
    scores = probes.predict(test[0])
    assert np.isfinite(scores).all()
    assert not (scores.argmax(axis=2) == 2).any()
    np.testing.assert_allclose(np.exp(scores).sum(axis=2), 1, atol=1e-9)


def test_one_training_class_is_predicted_everywhere():
    train, validation, test = features()
    kept = train[1] == 3
    scores = fit_linear(train[0][:, kept], train[1][kept], *validation, 4).predict(test[0])
    assert (scores.argmax(axis=2) == 3).all()


def test_an_unfinished_fit_is_reported(monkeypatch):
    monkeypatch.setattr(fit_linear_module, "_MAX_ITERATIONS", 1)
    train, validation, _ = features()
    with pytest.warns(NotConverged, match="did not reach the tolerance"):
        probes = fit_linear(*train, *validation, 4, strengths=[1e-5, 10.0])
    assert not probes.converged[:, 1].any()


def test_a_finished_fit_warns_of_nothing():
    train, validation, _ = features()
    with warnings.catch_warnings():
        warnings.simplefilter("error", NotConverged)
        fit_linear(*train, *validation, 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, v: (t[0][:, :, :5], t[1], *v), "widths differ"),
        (lambda t, v: (t[0], t[1][:-1], *v), "labels for"),
        (lambda t, v: (t[0], t[1] + 1, *v), "labels from"),
        (lambda t, v: (t[0], t[1], v[0][:, :0], v[1][:0]), "validation: no image"),
        (lambda t, v: (np.where(t[0] > 0, np.inf, t[0]), t[1], *v), "not finite"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(change, message):
    train, validation, _ = features(sites=2, images=50, width=8)
    with pytest.raises(ValueError, match=message):
        fit_linear(*change(train, validation), 4)
