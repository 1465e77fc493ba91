"""Effects of interventions on scores whose truth is known, and tests that hold their level."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from probes.causal.effect import erasure_effect, margins, patching_effect, sign_flip_p

CLASSES = 4
IMAGES = 60


def case(seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[str]]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, IMAGES)
    return rng.standard_normal((IMAGES, CLASSES)), labels, [f"patient {i // 2}" for i in range(IMAGES)]


def test_a_margin_is_the_right_score_less_the_best_other() -> None:
    scores = np.array([[3.0, 1.0, 2.5], [0.0, 4.0, 1.0]])
    np.testing.assert_allclose(margins(scores, np.array([0, 2])), [0.5, -3.0])
    np.testing.assert_allclose(margins(np.stack([scores, -scores]), np.array([0, 2]))[1], [-2.0, -1.0])


def test_a_drop_is_what_the_right_label_lost_and_p_counts_the_random_erasures_that_reach_it() -> None:
    plain, labels, groups = case()
    own = np.eye(CLASSES)[labels]
    plain = plain * 0.1 + 5 * own  # all right, so a margin falls by what the right label loses
    random = np.stack([plain - size * own for size in np.linspace(0, 2, 20)])
    found = erasure_effect(plain, plain - 1.5 * own, random, labels, groups)
    assert found.drop.value == pytest.approx(1.5)
    assert (found.drop.low, found.drop.high) == pytest.approx((1.5, 1.5))
    np.testing.assert_allclose(found.null, np.linspace(0, 2, 20))
    assert found.p == pytest.approx((1 + sum(size >= 1.5 for size in np.linspace(0, 2, 20))) / 21)
    assert found.accuracy_drop == found.null_accuracy_drop == 0
    largest = erasure_effect(plain, plain - 9 * own, random, labels, groups)
    assert largest.p == pytest.approx(1 / 21)
    assert largest.accuracy_drop == 1


def test_nothing_changed_is_no_effect_at_all() -> None:
    plain, labels, groups = case()
    found = erasure_effect(plain, plain, np.stack([plain] * 20), labels, groups)
    assert (found.drop.value, found.p, found.accuracy_drop) == (0, 1, 0)
    donors = (labels + 1) % CLASSES
    patched = patching_effect(plain, plain, plain, labels, donors, groups)
    assert (patched.shift.value, patched.null.value, patched.p) == (0, 0, 1)
    assert patched.taken_over == patched.null_taken_over


def test_an_interval_takes_whole_groups() -> None:
    plain, labels, _ = case()
    rng = np.random.default_rng(1)
    own = np.eye(CLASSES)[labels]
    lost = np.repeat(rng.uniform(0, 2, IMAGES // 6), 6)[:, None]  # six images lose alike
    plain = plain * 0.01 + 9 * own
    widths = []
    for groups in ([str(i) for i in range(IMAGES)], [str(i // 6) for i in range(IMAGES)]):
        drop = erasure_effect(plain, plain - lost * own, plain[None], labels, groups).drop
        widths.append(drop.high - drop.low)
    assert widths[1] == pytest.approx(widths[0] * np.sqrt(6), rel=0.1)


def test_a_shift_is_towards_the_donor_and_its_null_is_of_the_same_two_scores() -> None:
    plain, labels, groups = case()
    donors = (labels + 1 + np.arange(IMAGES) % (CLASSES - 1)) % CLASSES
    towards = 3 * np.eye(CLASSES)[donors]
    away = 0.5 * np.eye(CLASSES)[labels]
    found = patching_effect(plain, plain + towards - away, plain + away, labels, donors, groups)
    assert found.shift.value == pytest.approx(3.5)
    assert found.null.value == pytest.approx(-0.5)
    assert found.p == pytest.approx(1 / 10_001)
    swapped = patching_effect(plain, plain + away, plain + towards - away, labels, donors, groups)
    assert swapped.p == 1  # one-sided
    sure = patching_effect(plain, plain + 99 * towards, plain, labels, donors, groups)
    assert sure.taken_over == 1
    assert sure.null_taken_over == pytest.approx((plain.argmax(axis=1) == donors).mean())


def test_flipped_signs_give_the_exact_p_and_a_groups_signs_flip_together() -> None:
    differences = np.random.default_rng(2).standard_normal(9) + 0.4
    signs = np.array(list(itertools.product((-1, 1), repeat=9)))
    exact = (signs @ differences >= differences.sum() - 1e-12).mean()
    alone = sign_flip_p(differences, [str(i) for i in range(9)], draws=100_000)
    assert alone == pytest.approx(exact, abs=0.005)
    groups = np.repeat(np.arange(3), 3)
    sums = np.bincount(groups, weights=differences)
    signs = np.array(list(itertools.product((-1, 1), repeat=3)))
    exact = (signs @ sums >= sums.sum() - 1e-12).mean()
    assert sign_flip_p(differences, groups.astype(str).tolist(), draws=100_000) == pytest.approx(
        exact, abs=0.005
    )


def test_where_donors_do_not_matter_p_is_small_no_more_often_than_it_says() -> None:
    rng = np.random.default_rng(3)
    p = []
    for seed in range(300):
        _, labels, groups = case(seed)
        donors = (labels + 1) % CLASSES
        patient = np.repeat(rng.standard_normal((IMAGES // 2, CLASSES)), 2, axis=0)  # pairs shift alike
        plain, across, within = (rng.standard_normal((IMAGES, CLASSES)) for _ in range(3))
        p.append(patching_effect(plain, across + patient, within, labels, donors, groups).p)
    assert 0.02 < np.mean(np.array(p) <= 0.05) < 0.09  # three standard errors are 0.038


def test_what_does_not_fit_is_refused() -> None:
    plain, labels, groups = case()
    with pytest.raises(ValueError, match="at random"):
        erasure_effect(plain, plain, np.stack([plain[1:]] * 2), labels, groups)
    with pytest.raises(ValueError, match="across"):
        patching_effect(plain, plain[1:], plain, labels, labels, groups)
    with pytest.raises(ValueError, match="own class"):
        patching_effect(plain, plain, plain, labels, labels, groups)
