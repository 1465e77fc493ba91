"""The cluster bootstrap: resample whole groups of images, for many sites and metrics on the same draws.

Assumption throughout: groups (patients, near-duplicates) are independent draws from the population of
interest, the images within one may depend on each other in any way (Davison and Hinkley 1997, section
3.8). Fitted probes and models are held fixed, so the spread is that of the test images alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from probes.stats.metrics import (
    ECE_BINS,
    Estimate,
    balanced_accuracy,
    ece_bins,
    expected_calibration_error,
    group_index,
    macro_auroc,
    macro_f1,
)

Floats = NDArray[np.floating]
Integers = NDArray[np.integer]

_CHUNK = 2**22  # group weights held at a time


@dataclass(frozen=True)
class Difference:
    """A paired difference: its interval and the one-sided p for it to be 0 or less."""

    value: float
    low: float
    high: float
    p: float
    n: int


@dataclass(frozen=True, eq=False)
class ClusterBootstrap:
    """A fixed sequence of resamples of the groups of some images.

    Two calls on the same object use the same resamples, draw by draw, so differences between any two
    results are paired. `index` (images,) is each image's group.
    """

    index: Integers
    groups: int
    draws: int
    seed: int

    @classmethod
    def of(
        cls, groups: Sequence[object] | NDArray[np.generic], *, draws: int = 10_000, seed: int = 0
    ) -> ClusterBootstrap:
        """Plan `draws` resamples of the groups named in `groups` (images,)."""
        if draws < 1:
            raise ValueError(f"bootstrap with {draws} draws: needs at least 1")
        index, count = group_index(groups)
        return cls(index, count, draws, seed)

    def weights(self) -> Iterator[NDArray[np.float64]]:
        """Yield how often each draw holds each group, in blocks of shape (draws of the block, groups)."""
        rng = np.random.default_rng(self.seed)
        block = max(1, _CHUNK // self.groups)
        for start in range(0, self.draws, block):
            rows = min(block, self.draws - start)
            chosen = rng.integers(self.groups, size=(rows, self.groups))
            chosen += np.arange(rows)[:, None] * self.groups
            counts = np.bincount(chosen.ravel(), minlength=rows * self.groups)
            yield counts.reshape(rows, self.groups).astype(np.float64)

    def sums(self, values: Floats) -> NDArray[np.float64]:
        """Return each draw's column sums (draws, columns) of values (images, columns)."""
        per_group = np.zeros((self.groups, values.shape[1]))
        np.add.at(per_group, self.index, values)
        return np.concatenate([weights @ per_group for weights in self.weights()])

    def means(self, values: Floats) -> NDArray[np.float64]:
        """Return each draw's means over images (draws, sites) of values (sites, images)."""
        columns = np.concatenate([values, np.ones((1, values.shape[1]))]).T
        totals = self.sums(columns)
        return totals[:, :-1] / totals[:, -1:]

    def balanced_accuracy(self, labels: Integers, predicted: Integers) -> NDArray[np.float64]:
        """Return each draw's balanced accuracy (draws, sites) of predictions (sites, images)."""
        present = np.unique(labels)
        sites = len(predicted)
        of_class = (labels[:, None] == present).astype(float)  # images x classes
        correct = (predicted == labels).T.astype(float)  # images x sites
        hits = (of_class[:, :, None] * correct[:, None, :]).reshape(len(labels), -1)
        totals = self.sums(np.concatenate([of_class, hits], axis=1))
        size = totals[:, : len(present), None]
        recall = totals[:, len(present) :].reshape(-1, len(present), sites) / np.where(size > 0, size, 1)
        return recall.sum(axis=1) / (size > 0).sum(axis=1)

    def macro_f1(self, labels: Integers, predicted: Integers) -> NDArray[np.float64]:
        """Return each draw's macro F1 (draws, sites) of predictions (sites, images)."""
        present = np.unique(labels)
        of_class = (labels[:, None] == present).astype(float)
        claimed = (predicted.T[:, None, :] == present[:, None]).astype(float)  # images x classes x sites
        hits = claimed * of_class[:, :, None]
        shape = (-1, len(present), len(predicted))
        size = self.sums(of_class)[:, :, None]
        claims = self.sums(claimed.reshape(len(labels), -1)).reshape(shape)
        good = self.sums(hits.reshape(len(labels), -1)).reshape(shape)
        score = 2 * good / np.where(size > 0, size + claims, 1) * (size > 0)
        return score.sum(axis=1) / (size > 0).sum(axis=1)

    def macro_auroc(self, labels: Integers, scores: Floats) -> NDArray[np.float64]:
        """Return each draw's macro one-vs-rest AUC (draws,) of scores (images, classes).

        Every class is ranked once; a draw then needs cumulative sums of its weights in that order. A
        class that a draw lacks is left out of that draw's mean.
        """
        present = np.unique(labels)
        orders = [_ranking(scores[:, k], labels == k, self.index) for k in present]
        return np.concatenate([_weighted_areas(orders, weights) for weights in self._image_blocks()])

    def calibration_error(
        self, labels: Integers, probabilities: Floats, *, predicted: Integers | None = None
    ) -> NDArray[np.float64]:
        """Return each draw's expected calibration error (draws,); see `expected_calibration_error`."""
        chosen = probabilities.argmax(axis=1) if predicted is None else predicted
        confidence = probabilities.max(axis=1)
        bins = ece_bins(confidence)[:, None] == np.arange(ECE_BINS)
        gap = bins * ((chosen == labels) - confidence)[:, None]
        totals = self.sums(np.concatenate([gap, np.ones((len(labels), 1))], axis=1))
        return np.abs(totals[:, :-1]).sum(axis=1) / totals[:, -1]

    def _image_blocks(self) -> Iterator[NDArray[np.float64]]:
        step = max(1, _CHUNK // len(self.index))
        for weights in self.weights():
            for start in range(0, len(weights), step):
                yield weights[start : start + step]


def _ranking(
    scores: Floats, positive: NDArray[np.bool_], index: Integers
) -> tuple[Integers, NDArray[np.float64], Integers, Integers]:
    """Sort one class's scores: groups in that order, positives, and the first and last of each tie."""
    order = np.argsort(scores, kind="stable")
    ranked = scores[order]
    first = np.searchsorted(ranked, ranked, side="left")
    last = np.searchsorted(ranked, ranked, side="right")
    return index[order], positive[order].astype(np.float64), first, last


def _weighted_areas(
    orders: list[tuple[Integers, NDArray[np.float64], Integers, Integers]], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    total, present = np.zeros(len(weights)), np.zeros(len(weights))
    for index, positive, first, last in orders:
        image_weights = weights[:, index]
        above = np.zeros((len(weights), len(index) + 1))
        np.cumsum(image_weights * (1 - positive), axis=1, out=above[:, 1:])
        at = np.flatnonzero(positive)
        below = (above[:, first[at]] + above[:, last[at]]) / 2  # ties count one half
        own = image_weights[:, at]
        pairs = own.sum(axis=1) * above[:, -1]
        defined = pairs > 0
        total += np.where(defined, (own * below).sum(axis=1) / np.where(defined, pairs, 1), 0.0)
        present += defined
    return np.where(present > 0, total / np.maximum(present, 1), np.nan)


def interval(
    draws: Floats,
    value: float,
    *,
    kind: Literal["percentile", "bias_corrected"] = "percentile",
    level: float = 0.95,
) -> tuple[float, float]:
    """Return a bootstrap interval from draws (draws,) around a value.

    "percentile" takes the outer quantiles. "bias_corrected" shifts their levels by twice the normal
    quantile of the share of draws below the value, ties counting one half (Efron 1981): use it for
    statistics that resampling shifts, such as the calibration error. Both are too short with few groups,
    and have no length at all where every image is right. Draws that are not defined (NaN) are left out.
    """
    from scipy.stats import norm

    usable = draws[~np.isnan(draws)]
    if usable.size == 0:
        raise ValueError("bootstrap interval: no draw gave a value; are there images of two classes?")
    tails = np.array([(1 - level) / 2, (1 + level) / 2])
    if kind == "bias_corrected":
        share = (np.mean(usable < value) + np.mean(usable <= value)) / 2
        below = np.clip(share, 1 / (usable.size + 1), 1 - 1 / (usable.size + 1))
        tails = norm.cdf(2 * norm.ppf(below) + norm.ppf(tails))
    low, high = np.quantile(usable, tails)
    return float(low), float(high)


def _estimate(draws: Floats, value: float, n: int, kind: Literal["percentile", "bias_corrected"]) -> Estimate:
    low, high = interval(draws, value, kind=kind)
    return Estimate(value, min(low, value), max(high, value), n)


def balanced_accuracy_estimate(
    labels: Integers, predicted: Integers, bootstrap: ClusterBootstrap
) -> Estimate:
    """Return the balanced accuracy of predictions (images,) with its percentile interval."""
    draws = bootstrap.balanced_accuracy(labels, predicted[None])[:, 0]
    return _estimate(draws, float(balanced_accuracy(labels, predicted)), len(labels), "percentile")


def macro_f1_estimate(labels: Integers, predicted: Integers, bootstrap: ClusterBootstrap) -> Estimate:
    """Return the macro F1 of predictions (images,) with its percentile interval."""
    draws = bootstrap.macro_f1(labels, predicted[None])[:, 0]
    return _estimate(draws, float(macro_f1(labels, predicted)), len(labels), "percentile")


def macro_auroc_estimate(labels: Integers, scores: Floats, bootstrap: ClusterBootstrap) -> Estimate | None:
    """Return the macro AUC of scores (images, classes); None where fewer than two classes occur."""
    value = macro_auroc(labels, scores)
    if np.isnan(value):
        return None
    return _estimate(bootstrap.macro_auroc(labels, scores), value, len(labels), "percentile")


def calibration_error_estimate(
    labels: Integers,
    probabilities: Floats,
    bootstrap: ClusterBootstrap,
    *,
    predicted: Integers | None = None,
) -> Estimate:
    """Return the expected calibration error with its bias-corrected interval.

    Resampling adds noise to every bin and so pushes the error up; the percentile interval would lie too
    high.
    """
    value = expected_calibration_error(labels, probabilities, predicted=predicted)
    draws = bootstrap.calibration_error(labels, probabilities, predicted=predicted)
    return _estimate(draws, value, len(labels), "bias_corrected")


def paired_accuracy_difference(
    first: Floats | NDArray[np.bool_], second: Floats | NDArray[np.bool_], bootstrap: ClusterBootstrap
) -> Difference:
    """Return the accuracy of the first minus that of the second, both correctness per image (images,)."""
    both = np.stack([first, second]).astype(float)
    draws = bootstrap.means(both)
    value = float(both[0].mean() - both[1].mean())
    return difference(draws[:, 0] - draws[:, 1], value, both.shape[1])


def difference(draws: Floats, value: float, n: int, *, level: float = 0.95) -> Difference:
    """Summarise the draws (draws,) of a paired difference, both terms from one `ClusterBootstrap`.

    The interval is the percentile one; p = (1 + draws at or below 0) / (1 + draws), one-sided for a
    difference of 0 or less (Davison and Hinkley 1997, section 4.4, by inversion of the interval).
    """
    low, high = interval(draws, value, level=level)
    p = (1 + int((draws <= 0).sum())) / (1 + len(draws))
    return Difference(value, low, high, p, n)
