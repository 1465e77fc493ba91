"""The permutation null: valid without a signal, powerful with one, equal to scikit-learn's ridge."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import balanced_accuracy_score

from probes.stats.permutation import permutation_null


def sample(rng, *, sites=4, images=60, width=12, classes=3, signal=0.0, group_size=1):
    """Train and test features; images of a group share their label and part of their features."""

    def draw():
        groups = np.repeat(np.arange(images // group_size), group_size)
        labels = rng.integers(0, classes, images // group_size)[groups]
        shared = rng.normal(size=(sites, images // group_size, width))[:, groups]
        x = shared + 0.2 * rng.normal(size=(sites, images, width))
        x += signal * np.arange(sites)[:, None, None] * np.eye(classes, width)[labels]
        return x.astype(np.float32), labels, groups

    return draw(), draw()


def test_without_a_signal_p_is_uniform_or_larger_also_for_grouped_images():
    rng = np.random.default_rng(0)
    single, familywise = [], []
    for run in range(250):
        (x, y, g), (t, z, _) = sample(rng, group_size=1 + 2 * (run % 2))
        null = permutation_null(list(x), y, g, list(t), z, 3, draws=39, seed=run)
        single.append(null.p[0])
        familywise.append(null.familywise_p.min())
    for level in (0.05, 0.1, 0.25, 0.5):
        allowed = level + 3 * np.sqrt(level * (1 - level) / 250)
        assert np.mean(np.array(single) <= level) <= allowed
        assert np.mean(np.array(familywise) <= level) <= allowed
    assert np.mean(np.array(single) <= 0.5) > 0.3


def test_labels_move_with_whole_groups():
    """Features that name the group and test images equal to the training images show each group's label.

    Two of four groups carry each label, so dealing whole groups gives 0, 2 or 4 groups right; dealing
    single images would give 1 and 3 as well.
    """
    groups = np.repeat(np.arange(4), 9)
    labels = np.array([0, 0, 1, 1])[groups]
    x = [np.eye(4, dtype=np.float32)[groups]]
    null = permutation_null(x, labels, groups, x, labels, 2)
    assert set(null.null.ravel()) == {0.0, 0.5, 1.0}
    assert not set(permutation_null(x, labels, np.arange(36), x, labels, 2).null.ravel()) <= {0.0, 0.5, 1.0}


def test_a_signal_is_found_where_it_is_and_family_wise_p_is_the_larger():
    (x, y, g), (t, z, _) = sample(np.random.default_rng(2), images=300, signal=0.7)
    null = permutation_null(list(x), y, g, list(t), z, 3)
    assert null.p[3] == null.familywise_p[3] == pytest.approx(1 / 201)
    assert (null.familywise_p >= null.p).all()
    assert null.observed[3] > null.max_band(0.95) >= null.band(0.95).max() - 1e-12
    assert null.null.shape == (200, 4)
    np.testing.assert_allclose(null.null.mean(), 1 / 3, atol=0.02)


@pytest.mark.parametrize("width", [10, 200])
def test_the_observed_value_is_ridge_regression_by_scikit_learn(width):
    (x, y, g), (t, z, _) = sample(np.random.default_rng(3), sites=2, images=90, width=width, signal=1.0)
    observed = permutation_null(list(x), y, g, list(t), z, 3, draws=1).observed
    for site in range(2):
        mean, scale = x[site].mean(0), x[site].std(0)
        standard, other = (x[site] - mean) / scale, (t[site] - mean) / scale
        values = np.linalg.eigvalsh(standard.T.astype(float) @ standard)
        penalty = values[values > 1e-6 * values[-1]].mean()
        scores = Ridge(alpha=penalty).fit(standard, np.eye(3)[y]).predict(other)
        predicted = (scores / np.eye(3)[y].mean(0)).argmax(1)
        assert observed[site] == pytest.approx(balanced_accuracy_score(z, predicted), abs=0.012)


def test_rare_classes_are_not_drowned_by_the_common_one():
    rng = np.random.default_rng(4)
    y = (rng.random(400) < 0.1).astype(int)
    x = (rng.normal(size=(1, 400, 5)) + 1.5 * y[None, :, None]).astype(np.float32)
    null = permutation_null(list(x[:, :200]), y[:200], np.arange(200), list(x[:, 200:]), y[200:], 2)
    assert null.observed[0] > 0.75


def test_sites_of_different_width_share_their_permutations():
    (x, y, g), (t, z, _) = sample(np.random.default_rng(5), sites=2)
    alone = permutation_null([x[0]], y, g, [t[0]], z, 3, draws=20)
    beside = permutation_null([x[0], x[1][:, :5]], y, g, [t[0], t[1][:, :5]], z, 3, draws=20)
    np.testing.assert_allclose(alone.null[:, 0], beside.null[:, 0])


def test_features_without_variation_are_at_chance():
    y = np.array([0, 1] * 20)
    flat = [np.ones((40, 3), np.float32)]
    null = permutation_null(flat, y, np.arange(40), flat, y, 2, draws=10)
    assert null.observed[0] == 0.5
    assert null.p[0] == 1


def test_labels_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="expected the same"):
        permutation_null([np.ones((4, 2))], np.zeros(4, int), np.arange(4), [], np.zeros(0, int), 2)
