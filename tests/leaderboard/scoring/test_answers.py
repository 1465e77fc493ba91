"""Tests of the answers against plain counts, scikit-learn, and simulated prompts of known accuracy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.stats import norm
from sklearn.metrics import balanced_accuracy_score, confusion_matrix

from leaderboard.record.samples import NO_CLASS, Asked, SampleLine
from leaderboard.scoring import answers
from leaderboard.scoring.answers import score_answers
from probes.stats.bootstrap import ClusterBootstrap
from probes.stats.metrics import expected_calibration_error, softmax
from tests.leaderboard.lines import CLASSES, made_up, sample


def scored(samples: tuple[SampleLine, ...], **changes: object):
    arguments = {"classes": CLASSES, "headline": "scores", "primary_prompt": "free", **changes}
    return score_answers(samples, **arguments)  # type: ignore[arg-type]


@given(
    st.integers(2, 5).flatmap(
        lambda k: st.lists(st.tuples(st.integers(0, k - 1), st.integers(-1, k - 1)), min_size=1).map(
            lambda pairs: (k, pairs)
        )
    )
)
def test_confusion_counts_every_image_once(drawn: tuple[int, list[tuple[int, int]]]) -> None:
    classes, pairs = drawn
    labels, predicted = (np.array(column) for column in zip(*pairs, strict=True))
    found = np.array(answers.confusion(labels, predicted, classes))
    said = np.where(predicted == NO_CLASS, classes, predicted)
    np.testing.assert_array_equal(found, confusion_matrix(labels, said, labels=range(classes + 1))[:-1])


@given(arrays.arrays(float, (30, 3), elements=st.floats(-6, 6)), st.integers(0, 9))
def test_reliability_bins_make_up_the_calibration_error(scores: np.ndarray, seed: int) -> None:
    labels = np.random.default_rng(seed).integers(3, size=30)
    bins = answers.reliability(labels, softmax(scores))
    assert sum(bin.count for bin in bins) == 30
    error = sum(bin.count * abs(bin.accuracy - bin.confidence) for bin in bins) / 30
    assert error == pytest.approx(expected_calibration_error(labels, softmax(scores)))
    # Rounding may put one confidence on both sides of a bin's end, so that its means come apart by as much.
    assert np.diff([bin.confidence for bin in bins]).min(initial=0) >= -1e-12


@pytest.mark.parametrize("order", list(itertools.permutations(range(CLASSES)))[1::5])
def test_a_permutation_of_the_labels_is_found_and_undone(order: tuple[int, ...]) -> None:
    run = made_up(0, spoken=lambda scores: scores[:, order])
    found = scored(run.samples)
    assert found.relabelling == order
    assert found.relabelling_p is not None
    assert found.relabelling_p < 1e-6
    assert found.mapped is not None
    labels = [line.label for line in run.test()]
    undone = [order[line.predicted] for line in run.test() if line.predicted is not None]
    assert found.mapped["relabelled"].value == pytest.approx(balanced_accuracy_score(labels, undone))
    assert found.mapped["plain"] == found.balanced_accuracy
    assert found.mapped["logistic"].value > found.mapped["plain"].high
    assert found.mapped["without_prior"].value < 0.5


def test_a_label_prior_is_measured_and_taken_off() -> None:
    run = made_up(1, spoken=lambda scores: scores + np.array([0.0, 3.0, 0.0, 0.0]))
    found = scored(run.samples)
    shares = softmax(np.array([line.scores for line in run.test()]))
    assert found.label_prior == pytest.approx(shares.mean(axis=0))
    assert found.label_prior is not None
    assert found.label_prior[1] > 0.4
    assert found.mapped is not None
    assert found.mapped["without_prior"].low > found.mapped["plain"].high
    assert found.relabelling == tuple(range(CLASSES))
    assert found.relabelling_p == 1.0


def test_without_scores_or_other_splits_nothing_is_mapped() -> None:
    run = made_up(2, sizes={"train": 60, "val": 40, "test": 60})
    alone = scored(tuple(run.test()))
    assert (alone.mapped, alone.relabelling, alone.relabelling_p) == (None, None, None)
    assert alone.label_prior is not None
    silent = tuple(
        line.model_copy(update={"scores": None, "predicted": None, "outcome": "error"})
        for line in run.samples
    )
    found = scored(silent, headline="generated")
    assert (found.mapped, found.label_prior, found.reliability) == (None, None, None)
    assert found.confusion is not None
    assert [row[-1] for row in found.confusion] == np.bincount(
        [line.label for line in run.test()], minlength=CLASSES
    ).tolist()


ORDERS = tuple(itertools.permutations(range(3)))
SHIFTS = [tuple(np.roll(range(4), k).tolist()) for k in range(4)]


def letters(orders_of, classes: int, count: int, seed: int) -> list[SampleLine]:
    rng = np.random.default_rng(seed)
    lines = []
    for i in range(count):
        asked = tuple(
            Asked(prompt="letters", order=order, scores=None, predicted=int(rng.integers(classes)))
            for order in orders_of(i)
        )
        scores = [0.0] * classes
        lines.append(sample("test", i, int(rng.integers(classes)), scores, group=str(i // 2), orders=asked))
    return lines


@settings(max_examples=10)
@given(st.integers(0, 1000))
def test_accuracy_by_order_is_a_plain_count(seed: int) -> None:
    test = letters(lambda i: ORDERS, 3, 40, seed)
    found = answers.order_accuracies(test, ("letters",))
    assert len(found) == len(ORDERS) + 3
    for place, order in enumerate(ORDERS):
        right = [line.orders[place].predicted == line.label for line in test]
        assert found["letters/" + "-".join(map(str, order))].value == pytest.approx(np.mean(right))
    for place, letter in enumerate("ABC"):
        shares = []
        for line in test:
            own = [one.predicted == line.label for one in line.orders if one.order[place] == line.label]
            shares.append(sum(own) / len(own))
        assert found[f"letters/right at {letter}"].value == pytest.approx(np.mean(shares))


def test_seeded_orders_are_told_apart_by_the_right_letter_alone() -> None:
    test = letters(lambda i: (SHIFTS[i % 4], SHIFTS[(i + 2) % 4]), 4, 60, 0)
    found = answers.order_accuracies(test, ("letters",))
    assert list(found) == [f"letters/right at {letter}" for letter in "ABCD"]
    for place, letter in enumerate("ABCD"):
        right = [
            one.predicted == line.label
            for line in test
            for one in line.orders
            if one.order[place] == line.label
        ]
        part = found[f"letters/right at {letter}"]
        assert (part.value, part.n) == (pytest.approx(np.mean(right)), len(right))
        assert part.low <= part.value <= part.high


@pytest.mark.parametrize("true", [(0.8, 0.8), (0.8,) * 5, (0.7, 0.75, 0.9)], ids=str)
def test_the_spread_interval_covers_the_true_spread(true: tuple[float, ...]) -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(100):
        hardness = rng.standard_normal(200)
        correct = {
            str(p): (0.8 * hardness + 0.6 * rng.standard_normal(200) < norm.ppf(a)).astype(float)
            for p, a in enumerate(true)
        }
        resamples = ClusterBootstrap.of(list(range(200)), draws=200, seed=seed)
        found = answers.prompt_spread_interval(correct, resamples)
        assert found is not None
        means = [values.mean() for values in correct.values()]
        assert found.value == pytest.approx(max(means) - min(means))
        covered += found.low <= max(true) - min(true) <= found.high
    assert covered >= 90  # 95 expected; fewer than 90 has a probability of 1%


def test_one_prompt_has_no_spread() -> None:
    resamples = ClusterBootstrap.of(list(range(4)), draws=10)
    assert answers.prompt_spread_interval({"free": np.ones(4)}, resamples) is None
