"""Metrics against scikit-learn and scipy, with images that have no answer and classes that do not occur."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import f1_score, recall_score, roc_auc_score

from probes.stats.metrics import (
    accuracy,
    balanced_accuracy,
    chance_corrected,
    effective_size,
    exact_mcnemar,
    expected_calibration_error,
    holm,
    macro_auroc,
    macro_f1,
    proportion_estimate,
    softmax,
    wilson_interval,
)


@st.composite
def answers(draw):
    classes = draw(st.integers(2, 6))
    images = draw(st.integers(2, 40))
    labels = draw(st.lists(st.integers(0, classes - 1), min_size=images, max_size=images))
    predicted = draw(st.lists(st.integers(-1, classes - 1), min_size=images, max_size=images))
    return np.array(labels), np.array(predicted), classes


@settings(max_examples=60, deadline=None)
@given(answers())
def test_metrics_of_answers_agree_with_scikit_learn(case):
    labels, predicted, _ = case
    present = np.unique(labels)
    averaged = {"labels": present, "average": "macro", "zero_division": 0}
    assert accuracy(labels, predicted) == pytest.approx((labels == predicted).mean())
    assert balanced_accuracy(labels, predicted) == pytest.approx(recall_score(labels, predicted, **averaged))
    assert macro_f1(labels, predicted) == pytest.approx(f1_score(labels, predicted, **averaged))


@settings(max_examples=40, deadline=None)
@given(answers(), st.integers(0, 10_000))
def test_auc_agrees_with_scikit_learn_ties_and_absent_classes_included(case, seed):
    labels, _, classes = case
    scores = np.random.default_rng(seed).integers(0, 5, (len(labels), classes)).astype(float)
    present = np.unique(labels)
    if len(present) == 1:
        assert np.isnan(macro_auroc(labels, scores))
        return
    truth = np.mean([roc_auc_score(labels == k, scores[:, k]) for k in present])
    assert macro_auroc(labels, scores) == pytest.approx(truth)


def test_leading_axes_are_sites():
    rng = np.random.default_rng(0)
    labels, predicted = rng.integers(0, 3, 50), rng.integers(-1, 3, (4, 2, 50))
    for metric in (accuracy, balanced_accuracy, macro_f1):
        values = metric(labels, predicted)
        assert values.shape == (4, 2)
        assert values[3, 1] == pytest.approx(float(metric(labels, predicted[3, 1])))


def test_an_image_without_an_answer_is_not_correct():
    labels = np.array([0, 1, 1])
    assert accuracy(labels, np.array([0, -1, 1])) == pytest.approx(2 / 3)
    assert balanced_accuracy(labels, np.array([0, -1, 1])) == pytest.approx(0.75)


@pytest.mark.parametrize(("balanced", "classes", "corrected"), [(0.5, 2, 0), (1, 7, 1), (0.6, 5, 0.5)])
def test_chance_is_0_and_perfection_1(balanced, classes, corrected):
    assert chance_corrected(balanced, classes) == pytest.approx(corrected)


def test_calibration_error_by_hand():
    """Bin (12/15, 13/15]: one of two right at .85; bin (8/15, 9/15]: right at .55. ECE = (.7 + .45) / 3."""
    probabilities = np.array([[0.85, 0.15], [0.15, 0.85], [0.55, 0.45]])
    assert expected_calibration_error(np.array([0, 0, 0]), probabilities) == pytest.approx((0.7 + 0.45) / 3)


def test_calibrated_scores_have_nearly_no_calibration_error():
    rng = np.random.default_rng(0)
    probabilities = softmax(rng.normal(size=(40_000, 4)))
    labels = (rng.random((40_000, 1)) > probabilities.cumsum(axis=1)).sum(axis=1).clip(max=3)
    assert expected_calibration_error(labels, probabilities) < 0.01


def test_softmax_survives_large_scores():
    np.testing.assert_allclose(softmax(np.array([[1e4, 1e4, -1e4]])), [[0.5, 0.5, 0]])


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 400), st.floats(0, 1))
def test_wilson_agrees_with_scipy(n, share):
    hits = round(share * n)
    truth = binomtest(hits, n).proportion_ci(method="wilson")
    assert wilson_interval(hits / n, n) == pytest.approx((truth.low, truth.high), abs=1e-9)


def test_grouped_images_that_agree_count_once():
    correct = np.repeat(np.random.default_rng(0).random(80) < 0.7, 5)
    groups = np.repeat(np.arange(80), 5)
    assert effective_size(correct.astype(float), groups) == pytest.approx(80, rel=0.02)
    assert effective_size(correct.astype(float), np.arange(400)) == 400
    assert effective_size(np.ones(400), groups) == pytest.approx(80)
    grouped, single = proportion_estimate(correct, groups), proportion_estimate(correct, np.arange(400))
    assert grouped.value == single.value
    assert grouped.high - grouped.low > 2 * (single.high - single.low)
    assert grouped.n == 400


def test_groups_whose_images_are_independent_cost_little():
    correct = np.random.default_rng(2).random(3000) < 0.6
    size = effective_size(correct.astype(float), np.repeat(np.arange(1000), 3))
    assert 2500 < size <= 3000


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_mcnemar_is_the_exact_binomial_test_of_discordant_images(pairs):
    first, second = np.array(pairs).T
    only_first, only_second = int((first & ~second).sum()), int((~first & second).sum())
    total = only_first + only_second
    truth = binomtest(only_first, total).pvalue if total else 1.0
    assert exact_mcnemar(first, second) == pytest.approx(truth)


def test_holm_by_hand():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.6, 0.9]), [1.0, 1.0])


def test_labels_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="labels of shape"):
        accuracy(np.array([0, 1]), np.array([0, 1, 1]))
    with pytest.raises(ValueError, match="class indices from 0"):
        balanced_accuracy(np.array([0, -1]), np.array([0, 1]))
