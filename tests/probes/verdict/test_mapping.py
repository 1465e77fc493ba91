"""Label scores become answers: what a prior, a relabelling and a logistic map of the scores repair."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.fit.logistic_map import fit_logistic_map, log_loss
from probes.stats.metrics import balanced_accuracy
from probes.verdict.mapping import (
    NO_PREDICTION,
    apply_score_maps,
    best_relabelling,
    fit_score_maps,
    permutation_p,
    score_array,
)

CLASSES = 5


def scores_of_a_model(rng, images, *, signal=4.0, classes=CLASSES):
    """Label log-likelihoods that favour the true class: about 85% right for the default signal."""
    labels = rng.integers(classes, size=images)
    scores = rng.normal(size=(images, classes)) + signal * 0.7 * np.eye(classes)[labels] - 20
    return scores, labels


def fitted(rng, change, images=600):
    """Fit the maps on scores that went through `change`; return them with test answers and labels."""
    parts = [scores_of_a_model(rng, size) for size in (images, 200, 1000)]
    (fit, fit_labels), (validation, validation_labels), (test, test_labels) = (
        (change(scores), labels) for scores, labels in parts
    )
    maps = fit_score_maps(fit, fit_labels, validation, validation_labels)
    return maps, apply_score_maps(maps, test), test_labels


def right(predicted, labels):
    return float((predicted == labels).mean())


def test_worked_example():
    scores = np.array([[3.0, 0.0], [2.0, 1.0], [4.0, 3.0], [3.0, 4.0]])
    maps = fit_score_maps(scores, np.array([0, 1, 1, 1]), scores, np.array([0, 1, 1, 1]))
    mapped = apply_score_maps(maps, np.array([[3.0, 2.5], [0.0, 5.0], [np.nan, 1.0]]))
    assert maps.prior.tolist() == [3.0, 2.0]
    assert mapped.plain.tolist() == [0, 1, NO_PREDICTION]
    assert mapped.without_prior.tolist() == [1, 1, NO_PREDICTION]  # 3 - 3 < 2.5 - 2


def test_a_healthy_model_is_left_alone():
    maps, mapped, labels = fitted(np.random.default_rng(0), lambda s: s)
    assert not maps.permuted
    assert permutation_p(maps, mapped, labels) == 1.0
    assert right(mapped.logistic, labels) == pytest.approx(right(mapped.plain, labels), abs=0.02)


def test_a_label_prior_is_repaired_by_subtracting_it():
    _, mapped, labels = fitted(np.random.default_rng(1), lambda s: s + np.array([6.0, 0, 0, 3.0, 0]))
    assert right(mapped.plain, labels) < 0.5
    assert right(mapped.without_prior, labels) > 0.8
    assert right(mapped.logistic, labels) > 0.8


@pytest.mark.parametrize("cycle", [[1, 2, 3, 4, 0], [1, 0, 2, 3, 4]])
def test_a_permutation_of_labels_is_found_and_named(cycle):
    maps, mapped, labels = fitted(np.random.default_rng(2), lambda s: s[:, cycle])
    assert maps.permutation == tuple(cycle)  # the answer k stands for class cycle[k]
    assert permutation_p(maps, mapped, labels) < 1e-6
    assert right(mapped.relabelled, labels) > 0.8
    assert right(mapped.logistic, labels) > 0.8


def test_a_constant_answer_is_repaired_where_the_scores_still_carry_the_class():
    def constant(scores):
        return 0.01 * scores + np.array([0, 0, 5.0, 0, 0])

    maps, mapped, labels = fitted(np.random.default_rng(3), constant)
    assert set(mapped.plain) == {2}
    assert not maps.permuted
    assert right(mapped.logistic, labels) > 0.8


def test_scores_without_the_class_are_not_repaired():
    rng = np.random.default_rng(4)
    _, mapped, labels = fitted(rng, lambda s: rng.normal(size=s.shape))
    assert right(mapped.logistic, labels) < 0.3


@settings(max_examples=40, deadline=None)
@given(
    classes=st.integers(2, 5),
    answers=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=5, max_size=40),
)
def test_relabelling_is_the_best_of_all_permutations(classes, answers):
    labels = np.array([a % classes for a, _ in answers])
    predicted = np.array([b % classes for _, b in answers])
    tried = {
        p: float(balanced_accuracy(labels, np.asarray(p)[predicted])) for p in permutations(range(classes))
    }
    found = best_relabelling(predicted, labels, classes)
    assert tried[found] == pytest.approx(max(tried.values()), abs=1e-12)
    if tried[tuple(range(classes))] >= max(tried.values()) - 1e-12:
        assert found == tuple(range(classes))


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    classes=st.integers(2, 5),
    signal=st.floats(0, 5),
    spread=st.sampled_from([1e-3, 1.0, 30.0]),
)
def test_the_logistic_map_never_fits_worse_than_the_scores_themselves(seed, classes, signal, spread):
    rng = np.random.default_rng(seed)
    scores, labels = scores_of_a_model(rng, 80, signal=signal, classes=classes)
    scores = scores * spread
    fit = fit_logistic_map(scores[:50], labels[:50], scores[50:], labels[50:])
    # The slope is bounded to 1e-4 to 1e3 standard deviations, which holds 1 for these scores.
    assert log_loss(fit.logits(scores[:50]), labels[:50]) <= log_loss(scores[:50], labels[:50]) + 1e-6


def test_a_strong_penalty_leaves_the_plain_answers():
    rng = np.random.default_rng(5)
    scores, labels = scores_of_a_model(rng, 400)
    validation, validation_labels = scores_of_a_model(rng, 150)
    fit = fit_logistic_map(scores, labels, validation, validation_labels, strengths=(1e-9,))
    slope = np.diag(fit.weights).mean()
    assert slope > 0
    assert np.abs(fit.weights - slope * np.eye(CLASSES)).max() < 1e-5 * slope
    if fit.form == "temperature":
        assert (fit.logits(scores).argmax(axis=1) == scores.argmax(axis=1)).all()


def test_a_strong_penalty_costs_no_more_than_an_intercept_and_none_overfits():
    rng = np.random.default_rng(11)
    (scores, labels), (validation, truth) = (scores_of_a_model(rng, size) for size in (100, 1000))
    strong = fit_logistic_map(scores, labels, validation, truth, strengths=(1e-9,))
    _, intercept, full = strong.validation_log_loss
    assert full == pytest.approx(intercept, abs=1e-3)
    weak = fit_logistic_map(scores, labels, validation, truth, strengths=(1e9,))
    assert weak.validation_log_loss[2] > 2 * intercept
    assert weak.form != "full"


@pytest.mark.parametrize("temperature", [0.1, 1.0, 10.0])
def test_calibrated_scores_at_another_temperature_give_the_identity_times_it(temperature):
    rng = np.random.default_rng(10)
    true = rng.normal(size=(4000, 3)) * 2
    labels = (true + rng.gumbel(size=true.shape)).argmax(axis=1)  # a draw from softmax(true)
    scores = true / temperature
    fit = fit_logistic_map(scores[:3000], labels[:3000], scores[3000:], labels[3000:], strengths=(1e-9,))
    assert fit.weights == pytest.approx(temperature * np.eye(3), abs=0.08 * temperature)
    assert fit.intercept == pytest.approx(np.zeros(3), abs=0.15)


def test_pure_noise_in_the_fit_keeps_the_identity():
    """Labels that the fit images do not explain: validation prefers the plain answers to any matrix."""
    rng = np.random.default_rng(6)
    scores, _ = scores_of_a_model(rng, 40)
    validation, validation_labels = scores_of_a_model(rng, 400)
    fit = fit_logistic_map(scores, rng.integers(CLASSES, size=40), validation, validation_labels)
    assert fit.form != "full" or fit.strength < 1
    assert right(fit.logits(validation).argmax(axis=1), validation_labels) > 0.7


def test_without_a_penalty_it_is_scikit_learns_regression():
    linear_model = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(7)
    scores, labels = scores_of_a_model(rng, 500, signal=2.0)
    scores = scores @ rng.normal(size=(CLASSES, CLASSES))  # nothing near the identity
    fit = fit_logistic_map(scores, labels, scores, labels, strengths=(1e9,))
    truth = linear_model.LogisticRegression(C=1e9, max_iter=5000, tol=1e-8).fit(scores, labels)
    assert fit.form == "full"
    assert log_loss(fit.logits(scores), labels) == pytest.approx(
        log_loss(truth.decision_function(scores), labels), abs=1e-4
    )


def test_adding_a_constant_to_an_images_scores_changes_no_plain_answer_and_missing_rows_are_counted():
    rng = np.random.default_rng(8)
    scores, labels = scores_of_a_model(rng, 100)
    scores[:10] = np.nan
    maps = fit_score_maps(scores, labels, scores, labels)
    assert (maps.images, maps.missing) == (90, 10)
    assert maps.prior == pytest.approx(scores[10:].mean(axis=0))
    mapped = apply_score_maps(maps, scores)
    for predicted in (mapped.plain, mapped.without_prior, mapped.relabelled, mapped.logistic):
        assert (predicted[:10] == NO_PREDICTION).all()
        assert (predicted[10:] >= 0).all()


def test_the_permutation_test_is_the_exact_binomial_one():
    from scipy.stats import binomtest

    maps, mapped, labels = fitted(np.random.default_rng(9), lambda s: s[:, [1, 0, 2, 3, 4]], images=100)
    gained = int(((mapped.relabelled == labels) & (mapped.plain != labels)).sum())
    lost = int(((mapped.relabelled != labels) & (mapped.plain == labels)).sum())
    assert permutation_p(maps, mapped, labels) == pytest.approx(binomtest(gained, gained + lost).pvalue)


def test_score_array_marks_missing_rows_and_refuses_other_widths():
    array = score_array([(1.0, 2.0), None, (), (float("-inf"), 0.0)], 2)
    assert array[0].tolist() == [1.0, 2.0]
    assert np.isnan(array[1:]).all()
    with pytest.raises(ValueError, match="image 1: 3 values for 2 labels"):
        score_array([(1.0, 2.0), (1.0, 2.0, 3.0)], 2)


def test_no_scores_at_all_are_refused_by_name():
    scores, labels = np.full((4, 2), np.nan), np.array([0, 1, 0, 1])
    with pytest.raises(ValueError, match="fit: none of 4 images has label scores"):
        fit_score_maps(scores, labels, np.zeros((4, 2)), labels)
    with pytest.raises(ValueError, match="labels from 0 to 2"):
        fit_score_maps(np.zeros((3, 2)), np.array([0, 1, 2]), np.zeros((3, 2)), np.array([0, 1, 1]))
