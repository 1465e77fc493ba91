"""Transfer: scikit-learn's ridge on token pairs, and it finds again what is there and nothing of what is not."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import balanced_accuracy_score

from probes.fit.linear import fit_linear
from probes.fit.noise_floor import EPSILON
from probes.fit.transfer import (
    Readout,
    TokenPairs,
    Transfer,
    choose_carried,
    fit_subset,
    fold_readouts,
    group_folds,
    out_of_fold_logits,
    token_moments,
    transfer,
)

EARLY, LATE, TOKENS = 12, 90, 16


def world(rng, images=400, *, lost=False, classes=2):
    """Images of two class dimensions among twelve, and tokens that a map to ninety dimensions mixes.

    Sixty of the later dimensions hold nuisance. With `lost` the class's dimensions do not arrive.
    """
    labels = np.arange(images) % classes
    image = rng.standard_normal((images, EARLY))
    image[:, :2] += 1.1 * np.stack([2.0 * labels - 1, 1 - 2.0 * labels], axis=1)
    tokens = image[:, None] + rng.standard_normal((images, TOKENS, EARLY))
    nuisance = 3 * rng.standard_normal((images, 1, LATE - EARLY)) + rng.standard_normal(
        (images, TOKENS, LATE - EARLY)
    )
    kept = tokens * ([0, 0] + [1] * (EARLY - 2)) if lost else tokens
    mixing = np.linalg.qr(np.random.default_rng(99).standard_normal((LATE, LATE)))[0]
    later = np.concatenate([kept, nuisance], axis=2) @ mixing + 5
    return labels, tokens, later


def split(rng, **settings):
    labels, early, late = world(rng, 640, **settings)
    parts = {"train": slice(0, 120), "val": slice(120, 240), "test": slice(240, 640)}
    return {
        name: (labels[p], early[p], late[p], early[p].mean(1), late[p].mean(1)) for name, p in parts.items()
    }


def pairs_of(part):
    return TokenPairs(part[2].reshape(-1, LATE), part[1].reshape(-1, EARLY))


def probe(train, labels, validation, validation_labels):
    return fit_linear(train[None], labels, validation[None], validation_labels, 2)


def accuracy(readout, features, labels):
    return balanced_accuracy_score(labels, readout.logits(features).argmax(axis=1))


@pytest.mark.parametrize("pairs", [60, 500])
def test_the_map_is_ridge_regression_of_the_logits_on_standardised_tokens(pairs):
    """60 pairs are fewer than the 90 dimensions, so they are solved in the dual."""
    rng = np.random.default_rng(pairs)
    _, early, late = world(rng, 40)
    early, late = early.reshape(-1, EARLY)[:pairs], late.reshape(-1, LATE)[:pairs]
    readout = Readout(rng.standard_normal((EARLY, 3)), rng.standard_normal(3))
    strength = 9e-3
    found = transfer([readout], TokenPairs(late, early), late, early, strengths=[strength])
    scaled = (late - late.mean(0)) / late.std(0)
    ridge = Ridge(alpha=strength * pairs).fit(scaled, early @ readout.weights)
    expected = ridge.predict(scaled) + readout.intercept
    np.testing.assert_allclose(found.readouts[0].logits(late), expected, atol=2e-4)


def test_streamed_moments_give_what_kept_tokens_give():
    rng = np.random.default_rng(1)
    _, early, late = world(rng, 60)
    early, late = early.reshape(-1, EARLY), late.reshape(-1, LATE)
    blocks = [(late[i : i + 100].astype(np.float32), early[i : i + 100]) for i in range(0, len(late), 100)]
    moments = token_moments(blocks)
    assert moments.pairs == len(late)
    np.testing.assert_allclose(moments.later, np.cov(late.T, bias=True), atol=1e-4)
    np.testing.assert_allclose(moments.later_mean, late.mean(0), atol=1e-5)
    centred = late - late.mean(0), early - early.mean(0)
    np.testing.assert_allclose(moments.cross, centred[0].T @ centred[1] / len(late), atol=1e-4)
    readout = Readout(rng.standard_normal((EARLY, 2)), np.zeros(2))
    kept, streamed = (transfer([readout], given, late, early) for given in (TokenPairs(late, early), moments))
    np.testing.assert_allclose(streamed.readouts[0].weights, kept.readouts[0].weights, atol=1e-4)
    assert streamed.strength == kept.strength


def test_what_arrives_is_found_again_where_a_probe_of_its_own_reads_little():
    parts = split(np.random.default_rng(2))
    train, val, test = parts["train"], parts["val"], parts["test"]
    vision = Readout.of(probe(train[3], train[0], val[3], val[0]))
    direct = Readout.of(probe(train[4], train[0], val[4], val[0]))
    moved = transfer([vision], pairs_of(train), val[4], val[3])
    before = accuracy(vision, test[3], test[0])
    assert accuracy(moved.readouts[0], test[4], test[0]) == pytest.approx(before, abs=0.01)
    assert accuracy(direct, test[4], test[0]) < before - 0.04
    assert moved.errors[moved.strength] < 0.01


def test_what_was_removed_is_not_found():
    parts = split(np.random.default_rng(3), lost=True)
    train, val, test = parts["train"], parts["val"], parts["test"]
    vision = Readout.of(probe(train[3], train[0], val[3], val[0]))
    moved = transfer([vision], pairs_of(train), val[4], val[3])
    assert accuracy(vision, test[3], test[0]) > 0.85
    assert accuracy(moved.readouts[0], test[4], test[0]) == pytest.approx(0.5, abs=0.08)
    assert moved.errors[moved.strength] > 0.5


def test_a_readout_of_shuffled_labels_carries_nothing():
    rng = np.random.default_rng(4)
    parts = split(rng)
    train, val, test = parts["train"], parts["val"], parts["test"]
    shuffled = [
        Readout.of(probe(train[3], rng.permutation(train[0]), val[3], rng.permutation(val[0])))
        for _ in range(8)
    ]
    found = [transfer([one], pairs_of(train), val[4], val[3]).readouts[0] for one in shuffled]
    assert np.mean([accuracy(one, test[4], test[0]) for one in found]) == pytest.approx(0.5, abs=0.1)


def test_massive_dimensions_and_half_precision_change_nothing():
    rng = np.random.default_rng(5)
    _, early, late = world(rng, 80)
    early, late = early.reshape(-1, EARLY), late.reshape(-1, LATE)
    readout = Readout(rng.standard_normal((EARLY, 2)), np.zeros(2))
    plain = transfer([readout], TokenPairs(late, early), late, early, strengths=[9e-3]).readouts[0]
    massive = late * np.where(np.arange(LATE) == 7, 1000, 1)
    scaled = transfer([readout], TokenPairs(massive, early), massive, early, strengths=[9e-3]).readouts[0]
    np.testing.assert_allclose(scaled.logits(massive), plain.logits(late), atol=1e-3)
    half = TokenPairs(late.astype(np.float16), early.astype(np.float16))
    rounded = transfer([readout], half, late, early, strengths=[9e-3]).readouts[0]
    np.testing.assert_allclose(rounded.logits(late), plain.logits(late), atol=0.05)


def carried(parts, *, moved_from=None):
    train, val = parts["train"], parts["val"]
    folds = group_folds(np.arange(len(train[0])), train[0])
    early, late = (probe(train[i], train[0], val[i], val[0]) for i in (3, 4))
    readouts = [
        (Readout.of(made), *fold_readouts(train[i], train[0], folds, 2, float(made.strength[0])))
        for made, i in ((early, 3), (late, 4))
    ]
    moved = transfer(readouts[0], pairs_of(train), val[4], val[3])
    if moved_from is not None:
        moved = Transfer(tuple(Readout(r.weights * moved_from, r.intercept) for r in moved.readouts), 1.0, {})
    return choose_carried(readouts[1], {"vision": moved}, train[4], train[0], folds, val[4], val[0]), readouts


def test_validation_chooses_transfer_where_the_probe_reads_less_and_the_probe_where_nothing_was_carried():
    parts = split(np.random.default_rng(6))
    test = parts["test"]
    best, readouts = carried(parts)
    assert best.kind in ("transfer", "refit")
    assert best.source == "vision"
    assert len(best.refits) == 5
    assert best.losses[best.kind, "vision"] == min(best.losses.values())
    assert accuracy(best.readout, test[4], test[0]) > accuracy(readouts[1][0], test[4], test[0]) + 0.03
    for refit in best.refits:  # fitted on four fifths, they read nearly as much
        assert accuracy(refit, test[4], test[0]) > accuracy(best.readout, test[4], test[0]) - 0.1
    assert carried(parts, moved_from=0.0)[0].kind == "direct"


def test_a_refit_turns_a_readout_that_says_the_opposite():
    parts = split(np.random.default_rng(7))
    test = parts["test"]
    best, _ = carried(parts, moved_from=-1.0)
    assert best.kind == "refit"
    assert accuracy(best.readout, test[4], test[0]) > 0.8


def test_folds_keep_groups_whole_and_a_subset_is_scikit_learns_regression():
    rng = np.random.default_rng(8)
    labels, _, late = world(rng, 120)
    features, groups = late.mean(1), np.arange(120) // 3
    folds = group_folds(groups, labels, seed=1)
    assert all(len(set(folds[groups == g])) == 1 for g in range(40))
    assert np.bincount(folds).min() >= 15
    np.testing.assert_array_equal(folds, group_folds(groups, labels, seed=1))
    chosen = folds != 2
    found = fit_subset(features, labels, chosen, 2, 0.01)
    part = features[chosen]
    scaled = (part - part.mean(0)) / part.std(0)
    reference = LogisticRegression(C=0.01 * 120 / chosen.sum(), tol=1e-8, max_iter=5000).fit(
        scaled, labels[chosen]
    )
    logits = found.logits(part)
    np.testing.assert_allclose(logits[:, 1] - logits[:, 0], reference.decision_function(scaled), atol=2e-3)
    readouts = fold_readouts(features, labels, folds, 2, 0.01)
    unseen = out_of_fold_logits(readouts, features, folds)
    np.testing.assert_allclose(unseen[~chosen], found.logits(features[~chosen]), atol=1e-4)


def test_what_cannot_be_carried_is_refused():
    readout = Readout(np.ones((EARLY, 2)), np.zeros(2))
    _, early, late = world(np.random.default_rng(9), 10)
    early, late = early.reshape(-1, EARLY), late.reshape(-1, LATE)
    with pytest.raises(ValueError, match=r"at least 0\.0009"):
        transfer([readout], TokenPairs(late, early), late, early, strengths=[EPSILON**2 / 2])
    late[3, 4] = np.inf
    with pytest.raises(ValueError, match="not finite"):
        transfer([readout], TokenPairs(late, early), late, early)
    with pytest.raises(ValueError, match="not finite"):
        token_moments([(late, early)])
    with pytest.raises(ValueError, match="no token pair"):
        token_moments([])
    with pytest.raises(ValueError, match="token pairs of shapes"):
        TokenPairs(late, early[:-1])
    with pytest.raises(ValueError, match="3 groups of training images for 5 folds"):
        group_folds(np.arange(9) // 3, np.arange(9) % 2)
