"""Metrics and exact tests for classification answers, without torch.

Everywhere: `labels` (images,) hold class indices; `predicted` (..., images) hold class indices or -1 for
an image without an answer, which counts as not correct and as no prediction of any class; leading axes
are sites, models or anything else measured on the same images. Metrics that average over classes take
the classes that occur in `labels`; a class absent from the test images has no recall to average.
Intervals by resampling are in `probes.stats.bootstrap`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Integers = NDArray[np.integer]

ECE_BINS = 15


@dataclass(frozen=True)
class Estimate:
    """A measured value, its 95% interval (unless said otherwise) and the number of images behind it."""

    value: float
    low: float
    high: float
    n: int


def accuracy(labels: Integers, predicted: Integers) -> Floats:
    """Return the share of images whose predicted class is the label, shape (...)."""
    _check_labels(labels, predicted.shape[-1])
    return np.asarray(np.mean(predicted == labels, axis=-1))


def balanced_accuracy(labels: Integers, predicted: Integers) -> Floats:
    """Return the mean recall over the classes that occur in `labels`, shape (...)."""
    _check_labels(labels, predicted.shape[-1])
    correct = predicted == labels
    return np.asarray(np.mean([correct[..., labels == k].mean(axis=-1) for k in np.unique(labels)], axis=0))


def chance_corrected(balanced: Floats | float, classes: int) -> Floats:
    """Return A = (BA - 1/K) / (1 - 1/K): 0 for guessing, 1 for perfect, below 0 for worse than guessing.

    `classes` is the task's number of classes K, whether or not each occurs in the test images.
    """
    if classes < 2:
        raise ValueError(f"chance correction for {classes} classes: needs at least 2")
    return (np.asarray(balanced, dtype=float) - 1 / classes) / (1 - 1 / classes)


def macro_f1(labels: Integers, predicted: Integers) -> Floats:
    """Return the mean over the classes in `labels` of F1 = 2 TP / (2 TP + FP + FN), shape (...)."""
    _check_labels(labels, predicted.shape[-1])
    scores = []
    for k in np.unique(labels):
        positive, claimed = labels == k, predicted == k
        hits = (positive & claimed).sum(axis=-1)
        scores.append(2 * hits / (positive.sum() + claimed.sum(axis=-1)))
    return np.asarray(np.mean(scores, axis=0))


def macro_auroc(labels: Integers, scores: Floats) -> float:
    """Return the mean one-vs-rest area under the ROC curve over the classes in `labels`.

    The area of class k is the Mann-Whitney probability that an image of k has a higher score for k than
    another image, ties counting one half (Hanley and McNeil 1982). `scores` (images, classes) may be on
    any scale that is comparable between images. NaN where only one class occurs: no image to rank
    against.
    """
    from scipy.stats import rankdata

    _check_labels(labels, scores.shape[0])
    areas = []
    for k in np.unique(labels):
        positive = labels == k
        count, rest = positive.sum(), (~positive).sum()
        if rest == 0:
            return float("nan")
        ranks = rankdata(scores[:, k])
        areas.append((ranks[positive].sum() - count * (count + 1) / 2) / (count * rest))
    return float(np.mean(areas))


def ece_bins(confidence: Floats, bins: int = ECE_BINS) -> Integers:
    """Return the calibration bin of each confidence: bin b of B holds those in (b/B, (b + 1)/B]."""
    if confidence.size and (confidence.min() < 0 or confidence.max() > 1 + 1e-9):
        raise ValueError(f"confidence from {confidence.min()} to {confidence.max()}: expected 0 to 1")
    return np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)


def expected_calibration_error(
    labels: Integers, probabilities: Floats, *, predicted: Integers | None = None, bins: int = ECE_BINS
) -> float:
    """Return the expected calibration error of the top class in equal-width bins.

    ECE = sum over bins of (images in bin / n) * |accuracy in bin - mean confidence in bin|, where the
    confidence is the largest probability (Guo et al. 2017, equation 3). It is biased upwards by noise
    when bins hold few images. `probabilities` (images, classes) sum to 1; `predicted` defaults to their
    argmax.
    """
    _check_labels(labels, probabilities.shape[0])
    chosen = probabilities.argmax(axis=1) if predicted is None else predicted
    confidence = probabilities.max(axis=1)
    gap = (chosen == labels).astype(float) - confidence
    return float(
        np.abs(np.bincount(ece_bins(confidence, bins), weights=gap, minlength=bins)).sum() / len(labels)
    )


def softmax(scores: Floats) -> NDArray[np.float64]:
    """Return the softmax of scores over the last axis, in double precision."""
    shifted = np.asarray(scores, dtype=np.float64) - np.max(scores, axis=-1, keepdims=True)
    powers = np.exp(shifted)
    return powers / powers.sum(axis=-1, keepdims=True)


def group_index(groups: Sequence[object] | NDArray[np.generic]) -> tuple[Integers, int]:
    """Return each image's group as an index from 0, and the number of groups."""
    values = np.asarray(groups)
    if values.ndim != 1 or len(values) == 0:
        raise ValueError(f"groups of shape {values.shape}: expected one group name per image")
    unique, index = np.unique(values, return_inverse=True)
    return index, len(unique)


def effective_size(correct: Floats, groups: Sequence[object] | NDArray[np.generic]) -> float:
    """Return n divided by the design effect of the groups for the mean of `correct` (images,).

    The design effect is the variance of the mean with whole groups as the sampling unit, sum over groups
    of (sum of residuals)^2 / n^2, over its value p (1 - p) / n for independent images (Kish 1965). It is
    taken as at least 1, and as at most that of groups whose images all agree, sum of squared group sizes
    / n; where every image is right or wrong, so that it cannot be estimated, that upper value is taken.
    """
    index, count = group_index(groups)
    n = len(correct)
    if count == n:
        return float(n)
    p = float(np.mean(correct))
    largest = float((np.bincount(index).astype(float) ** 2).sum() / n)
    spread = float(np.mean((correct - p) ** 2))
    if spread == 0:
        return n / largest
    clustered = float((np.bincount(index, weights=correct - p) ** 2).sum() / n)
    return n / float(np.clip(clustered / spread * count / max(count - 1, 1), 1.0, largest))


def wilson_interval(p: float, n: float, level: float = 0.95) -> tuple[float, float]:
    """Return the Wilson score interval of a proportion `p` out of `n`, without continuity correction.

    `n` may be an effective number and need not be whole, which scipy's `binomtest` asks for. Source: Wilson 1927.
    """
    from scipy.stats import norm

    if not 0 <= p <= 1 or n <= 0:
        raise ValueError(f"Wilson interval of p = {p} out of n = {n}: needs 0 <= p <= 1 and n > 0")
    z = float(norm.ppf((1 + level) / 2))
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def proportion_estimate(
    correct: Floats | NDArray[np.bool_],
    groups: Sequence[object] | NDArray[np.generic],
    level: float = 0.95,
) -> Estimate:
    """Return the mean of `correct` (images,) with a Wilson interval on the effective number of images.

    With one image per group this is the plain Wilson interval. Otherwise n is replaced by
    `effective_size` (Korn and Graubard 1998 do the same for the Clopper-Pearson interval), because
    images of one patient agree more than independent ones do.
    """
    values = np.asarray(correct, dtype=float)
    p = float(values.mean())
    low, high = wilson_interval(p, effective_size(values, groups), level)
    return Estimate(p, low, high, len(values))


def exact_mcnemar(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Return the two-sided exact McNemar p of two models on the same images.

    Given the b + c images on which exactly one is correct, b is binomial with probability 1/2 if the
    models are equally good (McNemar 1947, exact form): p = min(1, 2 P(X <= min(b, c))); 1 without such
    images. Images are taken as independent: with several images per patient use the cluster bootstrap. scipy's
    `binomtest` agrees but for the last bits, in which results are filed.
    """
    from scipy.stats import binom

    if first.shape != second.shape:
        raise ValueError(f"McNemar: {first.shape} and {second.shape} outcomes; the images must be the same")
    only_first = int((first & ~second).sum())
    only_second = int((~first & second).sum())
    if only_first + only_second == 0:
        return 1.0
    return min(1.0, 2 * float(binom.cdf(min(only_first, only_second), only_first + only_second, 0.5)))


def holm(p_values: Sequence[float] | Floats) -> NDArray[np.float64]:
    """Return Holm-adjusted p values, which hold for the whole family under any dependence (Holm 1979).

    The i-th smallest of m is multiplied by m - i + 1, kept at least as large as those before it, and at
    most 1. scipy has no such function; that of statsmodels gives the same bits, and takes seconds to import.
    """
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p))))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def _check_labels(labels: Integers, images: int) -> None:
    if labels.ndim != 1 or len(labels) != images or images == 0:
        raise ValueError(f"labels of shape {labels.shape} for {images} images: expected one per image")
    if labels.min() < 0:
        raise ValueError(f"label {labels.min()}: labels are class indices from 0")
