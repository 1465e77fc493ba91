"""What probes reach by chance: training labels permuted by whole groups, without torch.

The null hypothesis is that the training features say nothing about which label a group carries. The test
images stay as they are, so p values hold given them, whatever their class balance (Phipson and Smyth
2010 for the added 1; Westfall and Young 1993 for the maximum over sites).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from probes.fit.scaling import Floats, standardise
from probes.stats.metrics import group_index

Integers = NDArray[np.integer]

_BLOCK = 2**24  # scores (test images x classes x draws) held at a time


@dataclass(frozen=True)
class PermutationNull:
    """Observed balanced accuracies of the ridge classifier and their permutation null.

    `observed`, `p` and `familywise_p` have the shape (sites,), `null` (draws, sites). `p` is per site;
    `familywise_p` compares with the largest null value of all sites of the same draw and so holds for the
    whole curve at once. `max_null` (draws,) are those largest values.
    """

    observed: NDArray[np.float64]
    p: NDArray[np.float64]
    familywise_p: NDArray[np.float64]
    null: NDArray[np.float64]
    max_null: NDArray[np.float64]

    def band(self, level: float = 0.95) -> NDArray[np.float64]:
        """Return the null's quantile at `level` for every site (sites,), for a band in a figure."""
        return np.quantile(self.null, level, axis=0)

    def max_band(self, level: float = 0.95) -> float:
        """Return the quantile of the largest null value over sites: above it a site beats chance."""
        return float(np.quantile(self.max_null, level))


def permutation_null(
    train: Sequence[Floats],
    train_labels: Integers,
    train_groups: Sequence[object] | NDArray[np.generic],
    test: Sequence[Floats],
    test_labels: Integers,
    classes: int,
    *,
    draws: int = 200,
    seed: int = 0,
) -> PermutationNull:
    """Test every site against training labels permuted by whole groups.

    Each group carries one label, the commonest among its images (ties to the lower index), and the labels
    are dealt out anew to the groups, so all images of a group get the same label, as patients do. The
    observed value uses the groups' labels as well: it is then one more permutation, which is what makes p
    valid. With one image per group this is the plain permutation test.

    The classifier is ridge regression on the class indicators of standardised features, its class scores
    divided by the classes' shares in training (the Bayes rule for balanced accuracy). Its penalty is the
    mean non-zero eigenvalue of the features' Gram matrix: fixed without labels. One decomposition per
    site serves all draws. Observed and null values come from this same classifier, so `observed` differs
    a little from the accuracy of the logistic probe of the same site.

    Args:
        train: per site, features (images, width); widths may differ.
        train_labels: (images,), from 0 to `classes` - 1.
        train_groups: (images,), patient or near-duplicate group of each training image.
        test: per site, features (images, width).
        test_labels: (images,).
        classes: number of classes.
        draws: permutations; the smallest possible p is 1 / (1 + draws).
        seed: of the permutations.

    Raises:
        ValueError: the number of sites differs, or labels do not fit the features.
    """
    if len(train) != len(test) or not train:
        raise ValueError(f"{len(train)} training and {len(test)} test sites: expected the same, at least 1")
    index, groups = group_index(train_groups)
    if not len(index) == len(train_labels) == len(train[0]) or len(test_labels) != len(test[0]):
        raise ValueError(
            f"{len(train_labels)} training labels and {len(index)} groups for {len(train[0])} images, "
            f"{len(test_labels)} test labels for {len(test[0])} images"
        )
    votes = np.zeros((groups, classes), dtype=np.int64)
    np.add.at(votes, (index, train_labels), 1)
    group_labels = votes.argmax(axis=1)
    rng = np.random.default_rng(seed)
    dealt = [group_labels, *(rng.permutation(group_labels) for _ in range(draws))]
    labels = np.stack(dealt)[:, index]
    values = np.stack(
        [_accuracies(a, b, labels, test_labels, classes) for a, b in zip(train, test, strict=True)], axis=1
    )
    observed, null = values[0], values[1:]
    max_null = null.max(axis=1)
    return PermutationNull(
        observed=observed,
        p=(1 + (null >= observed).sum(axis=0)) / (1 + draws),
        familywise_p=(1 + (max_null[:, None] >= observed).sum(axis=0)) / (1 + draws),
        null=null,
        max_null=max_null,
    )


def _accuracies(
    train: Floats, test: Floats, labels: Integers, test_labels: Integers, classes: int
) -> NDArray[np.float64]:
    """Return the balanced test accuracy under every row of labels (draws + 1, images)."""
    left, right = _ridge_factors(train, test)
    present = [(test_labels == k, k) for k in np.unique(test_labels)]
    block = max(1, _BLOCK // (max(len(left), len(train)) * classes))
    found = []
    for start in range(0, len(labels), block):
        part = labels[start : start + block]
        targets = (part[:, :, None] == np.arange(classes)).astype(np.float32)  # draws x images x classes
        share = targets.mean(axis=1, keepdims=True)
        flat = (targets - share).transpose(1, 0, 2).reshape(len(train), -1)
        scores = (left @ (right @ flat)).reshape(len(left), len(part), classes)
        with np.errstate(divide="ignore", invalid="ignore"):
            scores = np.where(share[:, 0] > 0, scores / share[:, 0], -np.inf)
        predicted = scores.argmax(axis=2)
        found.append(np.mean([(predicted[of_class] == k).mean(axis=0) for of_class, k in present], axis=0))
    return np.concatenate(found)


def _ridge_factors(train: Floats, test: Floats) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return two matrices whose product maps centred training targets to centred test predictions.

    With X = U S V' the predictions are T V diag(s / (s^2 + penalty)) U' Y. U and V come from the smaller
    of the two Gram matrices.
    """
    scaling = standardise(train[None])
    x, t = scaling.apply(train[None])[0].astype(np.float64), scaling.apply(test[None])[0].astype(np.float64)
    wide = x.shape[1] > x.shape[0]
    values, vectors = np.linalg.eigh(x @ x.T if wide else x.T @ x)
    kept = values > 1e-9 * max(values[-1], np.finfo(float).tiny)
    values, vectors = values[kept], vectors[:, kept]
    if values.size == 0:  # no feature differs between images: every prediction is the class shares
        return np.zeros((len(t), 1), np.float32), np.zeros((1, len(x)), np.float32)
    directions = (x.T @ vectors / np.sqrt(values)) if wide else vectors
    shrunk = directions / (values + values.mean())
    return (t @ shrunk).astype(np.float32), (x @ directions).T.astype(np.float32)
