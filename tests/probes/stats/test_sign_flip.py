"""Sign flips over groups: equal to swapping the two sides by hand, exact for few groups, honest about fewer."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import balanced_accuracy_score

from probes.stats.sign_flip import FEWEST_GROUPS, SignFlips, TooFewGroupsError, family, image_weights


def two_sides(rng, groups, *, size=4, classes=3, first=0.7, second=0.7):
    """Labels of one class a group, group names, and two sides' predictions that err together in a group."""
    names = np.repeat(np.arange(groups), size)
    labels = rng.permutation(np.arange(groups) % classes)[names]

    def side(accuracy):
        ease = rng.beta(2 * accuracy, 2 * (1 - accuracy), groups)[names]
        other = (labels + rng.integers(1, classes, len(labels))) % classes
        return np.where(rng.random(len(labels)) < ease, labels, other)

    return labels, names, side(first), side(second)


def difference(labels, first, second):
    return (first == labels).astype(float) - (second == labels)


@pytest.mark.parametrize("seed", range(4))
def test_p_is_that_of_swapping_the_sides_within_groups_by_hand(seed):
    labels, names, first, second = two_sides(np.random.default_rng(seed), 7, first=0.8)
    values = []
    for swap in product([False, True], repeat=7):
        swapped = np.array(swap)[names]
        a, b = np.where(swapped, second, first), np.where(swapped, first, second)
        values.append(balanced_accuracy_score(labels, a) - balanced_accuracy_score(labels, b))
    values = np.array(values)
    flips = SignFlips.of(names, labels)
    found = flips.test(difference(labels, first, second)[None])[0]
    assert flips.exact
    assert found.value == pytest.approx(values[0])
    assert found.p == pytest.approx(np.mean(values >= values[0] - 1e-12))
    sides = min(np.mean(values >= values[0] - 1e-12), np.mean(values <= values[0] + 1e-12))
    assert found.p_two_sided == pytest.approx(min(1, 2 * sides))


def test_single_images_give_the_exact_test_of_discordant_pairs():
    rng = np.random.default_rng(0)
    gaps = np.r_[np.ones(21), -np.ones(9), np.zeros(170)]
    rng.shuffle(gaps)
    found = SignFlips.of(np.arange(200), flips=20_000).test(gaps[None])[0]
    assert found.p == pytest.approx(binomtest(21, 30, alternative="greater").pvalue, abs=0.003)
    assert found.p_two_sided == pytest.approx(binomtest(21, 30).pvalue, abs=0.006)


def test_the_bounds_are_where_the_test_of_a_shifted_difference_begins_to_reject():
    labels, names, first, second = two_sides(np.random.default_rng(5), 9, size=12, first=0.8)
    gaps, flips = difference(labels, first, second), SignFlips.of(names, labels)
    found = flips.test(gaps[None])[0]
    unseen = 1 / flips.effective_groups  # what is added in quadrature
    low = found.value - np.sqrt((found.value - found.low) ** 2 - unseen**2)
    high = found.value + np.sqrt((found.high - found.value) ** 2 - unseen**2)
    for theta, side, inside in (
        (low + 1e-6, 1, True),
        (low - 1e-6, 1, False),
        (high - 1e-6, -1, True),
        (high + 1e-6, -1, False),
    ):
        sums = np.bincount(names, image_weights(len(labels), labels) * (gaps - theta))
        flipped = np.array([sums @ signs for signs in product([1, -1], repeat=9)])
        p = np.mean(side * flipped >= side * sums.sum() - 1e-12)
        assert (p > 0.025) == inside


@pytest.mark.parametrize(("groups", "size"), [(6, 15), (8, 10), (15, 8), (40, 3), (150, 1)])
def test_level_and_coverage_hold_for_few_groups_and_single_images(groups, size):
    rng, draws = np.random.default_rng(groups), 300
    false, covered = 0, 0
    for seed in range(draws):
        labels, names, first, second = two_sides(rng, groups, size=size)
        found = SignFlips.of(names, labels, flips=500, seed=seed).test(
            difference(labels, first, second)[None]
        )[0]
        false += found.p < 0.05
        covered += found.low <= 0 <= found.high
    assert false / draws <= 0.05 + 2.5 * np.sqrt(0.05 * 0.95 / draws)
    assert covered / draws >= 0.93


def test_below_six_groups_there_is_no_p_and_no_interval():
    labels, names, first, second = two_sides(
        np.random.default_rng(1), FEWEST_GROUPS - 1, first=0.99, second=0.1
    )
    flips = SignFlips.of(names, labels)
    found = flips.test(difference(labels, first, second)[None])[0]
    assert not flips.testable
    assert (found.p, found.p_two_sided, found.low, found.high) == (None, None, None, None)
    assert not found.testable
    assert found.value > 0.5
    assert family([found]) is None
    with pytest.raises(TooFewGroupsError, match="5 groups: below 6 nothing can be tested"):
        flips.flipped(difference(labels, first, second)[None])


def test_terms_share_their_flips_so_flips_of_a_sum_are_the_sum_of_flips():
    rng = np.random.default_rng(2)
    gaps = rng.integers(-1, 2, size=(2, 90)).astype(float)
    flips = SignFlips.of(np.arange(90) // 3, np.arange(90) % 2, seed=4)
    both = flips.flipped(np.vstack([gaps, gaps.sum(axis=0)]))
    np.testing.assert_allclose(both[:, 0] + both[:, 1], both[:, 2], atol=1e-12)
    np.testing.assert_array_equal(
        both,
        SignFlips.of(np.arange(90) // 3, np.arange(90) % 2, seed=4).flipped(
            np.vstack([gaps, gaps.sum(axis=0)])
        ),
    )


def test_the_variance_of_refits_widens_interval_and_p():
    labels, names, first, second = two_sides(np.random.default_rng(3), 60, first=0.8, second=0.65)
    gaps, flips = difference(labels, first, second)[None], SignFlips.of(names, labels)
    fixed = flips.test(gaps)[0]
    fitted = flips.test(gaps, fit_variance=np.array([0.05**2]))[0]
    assert fitted.low < fixed.low
    assert fitted.high > fixed.high
    assert fitted.p > fixed.p
    assert fitted.spread == pytest.approx(np.hypot(fixed.spread, 0.05))
    # Where no image differs, what is left is the normal error alone.
    none = flips.test(np.zeros((1, len(names))), fit_variance=np.array([0.05**2]))[0]
    assert none.p == pytest.approx(0.5, abs=0.01)
    assert none.high >= 1.96 * 0.05


def test_two_sides_that_no_image_tells_apart_are_not_known_to_be_equal():
    found = SignFlips.of(np.arange(100)).test(np.zeros((1, 100)))[0]
    assert found.p == 1.0
    assert found.low == pytest.approx(-0.01)
    assert found.high == pytest.approx(0.01)


def test_a_family_is_corrected_by_holm():
    labels, names, first, second = two_sides(np.random.default_rng(6), 80, first=0.9, second=0.6)
    gaps = np.stack([difference(labels, first, second), np.zeros(len(labels))])
    tests = SignFlips.of(names, labels).test(gaps)
    np.testing.assert_allclose(family(tests), [2 * tests[0].p, 1.0])


def test_arrays_that_do_not_fit_are_refused():
    flips = SignFlips.of(np.arange(10))
    with pytest.raises(ValueError, match=r"differences of shape \(1, 9\) for 10 images"):
        flips.test(np.zeros((1, 9)))
    with pytest.raises(ValueError, match="variances of refits"):
        flips.test(np.zeros((1, 10)), fit_variance=np.array([-1.0]))
