"""Erasure against scikit-learn's classifiers and against the least-squares problem that it solves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score

from probes.causal.erasure import Eraser, class_eraser, erasers_with_null, random_erasers


def correlated(
    seed: int, images: int = 400, width: int = 12, classes: int = 4
) -> tuple[np.ndarray, np.ndarray]:
    """Features with unequal, correlated variances, in which every class has a mean of its own."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), rng.integers(0, classes, images - classes)])
    mixing = rng.standard_normal((width, width)) * np.exp(rng.uniform(-1, 1, width))
    means = rng.standard_normal((classes, width)) * 3
    return rng.standard_normal((images, width)) @ mixing + means[labels] + 5.0, labels


def cross_covariance(features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    indicators = np.eye(labels.max() + 1)[labels]
    return (features - features.mean(axis=0)).T @ (indicators - indicators.mean(axis=0)) / len(labels)


def recovered(features: np.ndarray, labels: np.ndarray) -> float:
    model = LogisticRegression(C=1e4, max_iter=2000).fit(features, labels)
    return float(balanced_accuracy_score(labels, model.predict(features)))


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    width=st.integers(2, 20),
    classes=st.integers(2, 6),
    shrinkage=st.sampled_from([0.0, 0.3, 1.0, None]),
)
def test_classes_have_equal_means_afterwards(
    seed: int, width: int, classes: int, shrinkage: float | None
) -> None:
    features, labels = correlated(seed, images=60, width=width, classes=classes)
    eraser = class_eraser(features, labels, shrinkage=shrinkage)
    erased = eraser.apply(features)
    scale = np.abs(cross_covariance(features, labels)).max()
    assert np.abs(cross_covariance(erased, labels)).max() < 1e-9 * scale
    assert eraser.rank == min(width, classes - 1)
    np.testing.assert_allclose(erased.mean(axis=0), features.mean(axis=0), atol=1e-9)
    np.testing.assert_allclose(eraser.projection @ eraser.projection, eraser.projection, atol=1e-7)


def test_no_linear_classifier_is_better_than_chance_afterwards() -> None:
    features, labels = correlated(1)
    assert recovered(features, labels) > 0.9
    erased = class_eraser(features, labels).apply(features)
    assert recovered(erased, labels) <= 1 / 4 + 1e-9  # the commonest class, whatever the image
    model = LogisticRegression(C=1e4, max_iter=2000).fit(erased, labels)
    shares = np.bincount(labels) / len(labels)
    np.testing.assert_allclose(model.predict_proba(erased), np.tile(shares, (len(labels), 1)), atol=1e-3)


def test_other_images_lose_the_class_as_well() -> None:
    features, labels = correlated(2, images=3000)
    eraser = class_eraser(features[:2000], labels[:2000])
    model = LogisticRegression(max_iter=2000).fit(eraser.apply(features[:2000]), labels[:2000])
    predicted = model.predict(eraser.apply(features[2000:]))
    assert balanced_accuracy_score(labels[2000:], predicted) < 0.30


@pytest.mark.parametrize("shrinkage", [0.0, 0.3])
def test_map_solves_the_constrained_least_squares_problem(shrinkage: float) -> None:
    """Lagrange: the P with P C = C of least tr(P S P') is C (C' S^-1 C)^-1 C' S^-1, row by row."""
    features, labels = correlated(3)
    covariance = np.cov(features.T, bias=True)
    covariance = (1 - shrinkage) * covariance + shrinkage * np.trace(covariance) / 12 * np.eye(12)
    cross = cross_covariance(features, labels)[:, 1:]  # the columns add up to 0: one of them is redundant
    precision = np.linalg.inv(covariance)
    expected = cross @ np.linalg.inv(cross.T @ precision @ cross) @ cross.T @ precision
    np.testing.assert_allclose(
        class_eraser(features, labels, shrinkage=shrinkage).projection, expected, atol=1e-8
    )


def test_change_is_smaller_than_that_of_projecting_the_means_away() -> None:
    features, labels = correlated(4)
    centred = features - features.mean(axis=0)
    basis = np.linalg.svd(cross_covariance(features, labels), full_matrices=False)[0][:, :3]
    plain = np.mean((centred @ basis) ** 2)
    change = np.mean((class_eraser(features, labels).apply(features) - features) ** 2)
    assert change < 0.95 * plain * len(basis.T) / features.shape[1]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_no_other_erasing_map_changes_less(seed: int) -> None:
    features, labels = correlated(seed % 7, images=200, width=6)
    rng = np.random.default_rng(seed)
    cross = cross_covariance(features, labels)
    free = np.eye(6) - cross @ np.linalg.pinv(cross)  # what may be added to P without undoing P C = C
    centred = features - features.mean(axis=0)
    projection = class_eraser(features, labels).projection
    other = projection + 0.1 * rng.standard_normal((6, 6)) @ free
    np.testing.assert_allclose(other @ cross, cross, atol=1e-8)
    assert np.sum((centred @ other.T) ** 2) >= np.sum((centred @ projection.T) ** 2) * (1 - 1e-12)


def test_erasing_tokens_erases_their_mean() -> None:
    features, labels = correlated(5)
    eraser = class_eraser(features, labels)
    tokens = features[:12].reshape(2, 6, -1)
    np.testing.assert_allclose(
        eraser.apply(tokens).mean(axis=1), eraser.apply(tokens.mean(axis=1)), atol=1e-10
    )


def test_more_features_than_images() -> None:
    """The sample covariance is singular; the classes' means are made equal all the same."""
    features, labels = correlated(6, images=30, width=50)
    for shrinkage in (0.0, None):
        erased = class_eraser(features, labels, shrinkage=shrinkage).apply(features)
        assert np.abs(cross_covariance(erased, labels)).max() < 1e-9


def test_shrinkage_spares_other_images_where_images_are_few() -> None:
    features, labels = correlated(6, images=1150, width=120)
    moved = {}
    for shrinkage in (0.0, None):
        eraser = class_eraser(features[:150], labels[:150], shrinkage=shrinkage)
        moved[shrinkage] = np.mean((eraser.apply(features[150:]) - features[150:]) ** 2)
    assert moved[None] < 0.95 * moved[0.0]


def test_random_erasures_have_the_rank_and_leave_the_class() -> None:
    features, labels = correlated(7, width=24)
    erasers = random_erasers(features, 3, count=5, seed=2)
    assert [e.rank for e in erasers] == [3] * 5
    for eraser in erasers:
        assert np.linalg.matrix_rank(eraser.projection) == 3
        np.testing.assert_allclose(eraser.projection @ eraser.projection, eraser.projection, atol=1e-7)
        assert recovered(eraser.apply(features), labels) > 0.8
    again = random_erasers(features, 3, count=5, seed=2)
    np.testing.assert_array_equal(again[4].projection, erasers[4].projection)
    assert not np.allclose(erasers[0].projection, erasers[1].projection)


def test_random_erasures_move_as_much_as_erasing_permuted_labels() -> None:
    """Erasing a concept that the features know nothing about is what the random subspaces stand for."""
    features, labels = correlated(8, images=2000)
    rng = np.random.default_rng(0)

    def moved(eraser: Eraser) -> float:
        return float(np.mean((eraser.apply(features) - features) ** 2))

    permuted = [moved(class_eraser(features, rng.permutation(labels))) for _ in range(200)]
    drawn = [moved(eraser) for eraser in random_erasers(features, 3, count=200)]
    error = np.hypot(np.std(permuted), np.std(drawn)) / np.sqrt(200)
    assert abs(np.mean(permuted) - np.mean(drawn)) < 4 * error


def test_one_class_erases_nothing() -> None:
    features, _ = correlated(9)
    eraser = class_eraser(features, np.zeros(len(features), int))
    assert eraser.rank == 0
    np.testing.assert_array_equal(eraser.apply(features), features)


@pytest.mark.parametrize(
    ("features", "labels", "shrinkage", "message"),
    [
        (np.ones(4), [0, 1, 0, 1], 0.0, r"shape \(4,\)"),
        (np.ones((4, 2)), [0, 1], 0.0, "labels for 4 images"),
        (np.full((4, 2), np.nan), [0, 1, 0, 1], 0.0, "not finite"),
        (np.ones((4, 2)), [0, 1, 0, 1], 1.5, r"shrinkage 1\.5"),
    ],
)
def test_what_cannot_be_erased_is_refused(
    features: np.ndarray, labels: list[int], shrinkage: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        class_eraser(features, labels, shrinkage=shrinkage)


def test_rank_beyond_the_features_is_refused() -> None:
    with pytest.raises(ValueError, match="vary in 12 dimensions"):
        random_erasers(correlated(0)[0], 13)


def test_both_at_once_are_those_fitted_one_after_the_other() -> None:
    features, labels = correlated(5)
    eraser, null = erasers_with_null(features, labels, count=3, seed=7, shrinkage=None)
    alone = class_eraser(features, labels, shrinkage=None)
    others = random_erasers(features, alone.rank, count=3, seed=7, shrinkage=None)
    assert len(null) == 3
    for one, two in zip((eraser, *null), (alone, *others), strict=True):
        assert (one.projection == two.projection).all()
        assert (one.mean == two.mean).all()
