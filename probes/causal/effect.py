"""How much an intervention on hidden states moves a model's answers, against a null, without torch.

Two interventions are summarised: the class erased at a place, against random erasures of equal rank; and an
image's tokens replaced by those of an image of another class, against those of one of its own class. Label
scores are log-likelihoods in nats, one a class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from probes.stats.bootstrap import ClusterBootstrap, interval
from probes.stats.metrics import Estimate, group_index

Floats = NDArray[np.floating]
Integers = NDArray[np.integer]

DRAWS = 10_000  # of the bootstrap, and of the signs that are flipped


@dataclass(frozen=True)
class ErasureEffect:
    """What an erasure costs, and what random erasures of the same images cost.

    `drop` is the mean fall of the label margin in nats with its 95% interval over groups, `null` that mean
    for each random erasure, `p` = (1 + null values at or above the drop) / (1 + their number): one-sided,
    exact if under the null hypothesis the class erasure is one more random one. `accuracy_drop` is the fall
    of the share of right answers, `null_accuracy_drop` its mean over the random erasures.
    """

    drop: Estimate
    null: tuple[float, ...]
    p: float
    accuracy_drop: float
    null_accuracy_drop: float


@dataclass(frozen=True)
class PatchingEffect:
    """What tokens of another class do, and what tokens of the own class do.

    `shift` is the mean change, in nats and with its 95% interval over groups, of the donor class's score less
    that of the image's own class; `null` the same change, of the same two scores, with a donor of the own
    class. `p` is one-sided for a shift no larger than the null's. `taken_over` is the share of images whose
    highest score becomes the donor class's; `null_taken_over` that share, of the same classes, with the donor
    of the own class.
    """

    shift: Estimate
    null: Estimate
    p: float
    taken_over: float
    null_taken_over: float


def margins(scores: Floats, labels: Integers) -> NDArray[np.float64]:
    """Return the right label's score less the best other one, (..., images) for scores (..., images, K)."""
    own = _of_class(scores, labels)
    others = np.where(np.arange(scores.shape[-1]) == labels[:, None], -np.inf, scores)
    return np.asarray(own - others.max(axis=-1), dtype=np.float64)


def erasure_effect(
    plain: Floats,
    erased: Floats,
    random: Floats,
    labels: Integers,
    groups: Sequence[object],
    *,
    seed: int = 0,
) -> ErasureEffect:
    """Compare the answers with the class erased to those of the unchanged model.

    Args:
        plain: label scores (images, K) of the unchanged model.
        erased: the same with the class erased.
        random: (erasures, images, K) the same for each random erasure.
        labels: (images,) the right classes.
        groups: (images,) the images' groups, the unit of the bootstrap.
        seed: of the bootstrap.

    Raises:
        ValueError: shapes do not fit.
    """
    if not plain.shape == erased.shape == random.shape[1:] or len(plain) != len(labels):
        raise ValueError(
            f"erasure of {plain.shape} scores: {erased.shape} erased, {random.shape} at random, "
            f"{len(labels)} labels"
        )
    before = margins(plain, labels)
    drop = _mean(before - margins(erased, labels), groups, seed)
    null = (before - margins(random, labels)).mean(axis=-1)
    right = (plain.argmax(axis=-1) == labels).mean()
    return ErasureEffect(
        drop=drop,
        null=tuple(null.tolist()),
        p=float((1 + (null >= drop.value).sum()) / (1 + len(null))),
        accuracy_drop=float(right - (erased.argmax(axis=-1) == labels).mean()),
        null_accuracy_drop=float(right - (random.argmax(axis=-1) == labels).mean()),
    )


def patching_effect(
    plain: Floats,
    across: Floats,
    within: Floats,
    own: Integers,
    donors: Integers,
    groups: Sequence[object],
    *,
    seed: int = 0,
) -> PatchingEffect:
    """Compare the answers with another class's tokens to those with other tokens of the own class.

    The test flips signs: if the donor's class does not matter, an image's two donors could change places, and
    the difference of their shifts is as likely to be negative. p = (1 + flipped means at or above the
    observed one) / (1 + draws), the signs of a group flipped together. Groups are taken as independent,
    although an image may be the donor of several.

    Args:
        plain: label scores (images, K) of the unchanged model.
        across: the same with the tokens of an image of class `donors`.
        within: the same with the tokens of another image of class `own`.
        own: (images,) the images' classes.
        donors: (images,) the classes of the donors in `across`, none equal to `own`.
        groups: (images,) the images' groups.
        seed: of the bootstrap and of the signs.

    Raises:
        ValueError: shapes do not fit, or a donor is of the image's own class.
    """
    if not plain.shape == across.shape == within.shape or not len(plain) == len(own) == len(donors):
        raise ValueError(f"patching of {plain.shape} scores: {across.shape} across, {within.shape} within")
    if (own == donors).any():
        raise ValueError("patching: a donor is of the image's own class; nothing could shift towards it")
    before, across_shift, within_shift = (
        _of_class(scores, donors) - _of_class(scores, own) for scores in (plain, across, within)
    )
    across_shift, within_shift = across_shift - before, within_shift - before
    return PatchingEffect(
        shift=_mean(across_shift, groups, seed),
        null=_mean(within_shift, groups, seed),
        p=sign_flip_p(across_shift - within_shift, groups, seed=seed),
        taken_over=float((across.argmax(axis=-1) == donors).mean()),
        null_taken_over=float((within.argmax(axis=-1) == donors).mean()),
    )


def sign_flip_p(differences: Floats, groups: Sequence[object], *, draws: int = DRAWS, seed: int = 0) -> float:
    """Return the one-sided p of a positive mean of paired differences (images,), signs flipped by group."""
    index, count = group_index(groups)
    sums = np.bincount(index, weights=differences, minlength=count)
    signs = np.random.default_rng(seed).integers(0, 2, size=(draws, count)) * 2.0 - 1.0
    tolerance = 1e-9 * np.abs(sums).sum()  # the same sum in another order counts as a tie
    return float((1 + (signs @ sums >= sums.sum() - tolerance).sum()) / (1 + draws))


def _of_class(scores: Floats, classes: Integers) -> NDArray[np.floating]:
    return scores[..., np.arange(scores.shape[-2]), classes]


def _mean(values: Floats, groups: Sequence[object], seed: int) -> Estimate:
    value = float(values.mean())
    draws = ClusterBootstrap.of(groups, draws=DRAWS, seed=seed).means(values[None])[:, 0]
    low, high = interval(draws, value)
    return Estimate(value, min(low, value), max(high, value), len(values))
