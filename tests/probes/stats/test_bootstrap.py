"""The cluster bootstrap against a plain resampling loop, and its coverage where images come in groups."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from probes.stats.bootstrap import (
    ClusterBootstrap,
    balanced_accuracy_estimate,
    calibration_error_estimate,
    difference,
    interval,
    macro_auroc_estimate,
    macro_f1_estimate,
    paired_accuracy_difference,
)
from probes.stats.metrics import balanced_accuracy, expected_calibration_error, macro_f1, softmax


def answers(images=60, groups=25, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, images)
    scores = rng.normal(size=(images, classes)).round(1) + 1.2 * np.eye(classes)[labels]
    predicted = scores.argmax(axis=1)
    predicted[:4] = -1
    return labels, scores, predicted, rng.integers(0, groups, images)


def resampled_images(bootstrap):
    """Every draw as a plain list of image indices."""
    for block in bootstrap.weights():
        for row in block:
            yield np.repeat(np.arange(len(bootstrap.index)), row[bootstrap.index].astype(int))


def test_every_metric_is_that_of_the_resampled_images():
    labels, scores, predicted, groups = answers()
    bootstrap = ClusterBootstrap.of(groups, draws=40, seed=3)
    probabilities = softmax(scores)
    both = np.stack([predicted, np.roll(predicted, 1)])
    found = {
        "mean": bootstrap.means((both == labels).astype(float)),
        "ba": bootstrap.balanced_accuracy(labels, both),
        "f1": bootstrap.macro_f1(labels, both),
        "auc": bootstrap.macro_auroc(labels, scores),
        "ece": bootstrap.calibration_error(labels, probabilities, predicted=predicted),
    }
    for draw, chosen in enumerate(resampled_images(bootstrap)):
        y = labels[chosen]
        for site in (0, 1):
            assert found["mean"][draw, site] == pytest.approx((both[site, chosen] == y).mean())
            assert found["ba"][draw, site] == pytest.approx(balanced_accuracy(y, both[site, chosen]))
            assert found["f1"][draw, site] == pytest.approx(macro_f1(y, both[site, chosen]))
        areas = [roc_auc_score(y == k, scores[chosen, k]) for k in np.unique(y)]
        assert found["auc"][draw] == pytest.approx(np.mean(areas))
        ece = expected_calibration_error(y, probabilities[chosen], predicted=predicted[chosen])
        assert found["ece"][draw] == pytest.approx(ece)


def test_groups_are_drawn_whole_and_with_replacement():
    bootstrap = ClusterBootstrap.of(["a", "a", "b", "c"], draws=3000, seed=0)
    counts = np.concatenate(list(bootstrap.weights()))
    assert counts.shape == (3000, 3)
    assert (counts.sum(axis=1) == 3).all()
    np.testing.assert_allclose(counts.mean(axis=0), 1, atol=0.06)
    np.testing.assert_allclose(counts.var(axis=0), 2 / 3, atol=0.06)


def test_two_calls_share_their_draws_so_equal_models_never_differ():
    labels, _, predicted, groups = answers()
    correct = predicted == labels
    result = paired_accuracy_difference(correct, correct, ClusterBootstrap.of(groups, draws=500))
    assert (result.value, result.low, result.high, result.p) == (0, 0, 0, 1)


def test_a_class_missing_from_a_draw_is_left_out_of_its_mean():
    labels = np.array([0, 0, 0, 0, 0, 1])
    draws = ClusterBootstrap.of(np.arange(6), draws=200).balanced_accuracy(labels, labels[None])
    np.testing.assert_allclose(draws, 1)


def test_intervals_hold_the_value_and_cover_the_truth_for_grouped_images():
    """Six images a patient, all alike: a bootstrap of images would cover about half as often."""
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(150):
        patients = rng.random(60) < 0.7
        correct = np.repeat(patients, 6)
        draws = ClusterBootstrap.of(np.repeat(np.arange(60), 6), draws=400).means(correct[None].astype(float))
        low, high = interval(draws[:, 0], float(correct.mean()))
        covered += low <= 0.7 <= high
    assert covered / 150 > 0.88


def test_the_one_sided_p_of_no_difference_is_uniform():
    rng = np.random.default_rng(1)
    p = []
    for _ in range(200):
        both = rng.random((2, 200)) < 0.6
        p.append(paired_accuracy_difference(*both, ClusterBootstrap.of(np.arange(200), draws=300)).p)
    assert 0.02 < np.mean(np.array(p) < 0.1) < 0.18
    assert 0.4 < np.mean(np.array(p) < 0.5) < 0.6


def test_bias_correction_moves_the_interval_against_the_bias():
    draws = np.random.default_rng(0).normal(1.0, 1.0, 20_000)  # of a value of 0: biased upwards by 1
    assert interval(draws, 0.0) == pytest.approx((-0.96, 2.96), abs=0.1)
    low, high = interval(draws, 0.0, kind="bias_corrected")
    assert (low, high) == pytest.approx((-2.96, 0.96), abs=0.3)


def test_estimates_bracket_their_value():
    labels, scores, predicted, groups = answers(images=200)
    bootstrap = ClusterBootstrap.of(groups, draws=300)
    probabilities = softmax(scores)
    for estimate in (
        balanced_accuracy_estimate(labels, predicted, bootstrap),
        macro_f1_estimate(labels, predicted, bootstrap),
        macro_auroc_estimate(labels, scores, bootstrap),
        calibration_error_estimate(labels, probabilities, bootstrap),
    ):
        assert estimate.low <= estimate.value <= estimate.high
        assert estimate.n == 200
    assert macro_auroc_estimate(np.zeros(200, int), scores, bootstrap) is None


def test_undefined_draws_are_left_out_and_none_at_all_is_an_error():
    assert interval(np.array([0.5, np.nan, 0.5]), 0.5) == (0.5, 0.5)
    with pytest.raises(ValueError, match="no draw gave a value"):
        interval(np.array([np.nan]), 0.5)


def test_a_difference_counts_ties_against_itself():
    assert difference(np.array([0.0, 0.1, 0.2, -0.1]), 0.05, 10).p == pytest.approx(3 / 5)
